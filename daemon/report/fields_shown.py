"""Pictures of the fields that a report speaks of: which are shown, and why.

Of each mini-slide one ordinary field comes first, to compare with: of those that are counted and have no flag, the one
with the median number of objects. Then those that are not like it, one for each reason: not counted, kept raw, with a
flag that somebody may want to look at. Of the whole night, the densest. Where a mini-slide was looked through and
nothing was found, three fields of it, from its beginning, its middle and its end, show what was seen.

There are `SHOWN` at most; where there are more, those that something is said of go before the ordinary ones.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from daemon.dataset.reader import Dataset
from daemon.dataset.summary import alike_judged
from daemon.records.flags import FieldFlag
from daemon.records.names import picture_file
from daemon.records.records import FieldSecured
from daemon.report.numbers import FieldNumbers, NightNumbers, SlideNumbers

SHOWN = 24
OF_EMPTY_SLIDES = 3
WIDTH_PX, QUALITY = 720, 80
"""A kept picture may have 0.3 MB; in a page it has about a fifth of that."""
LOOKED_AT = tuple(flag for flag in FieldFlag if flag is not FieldFlag.BLANK)
"""Flags of fields that are shown although they are counted; that a field is blank its number of objects says."""
ORDINARY, DENSEST = "an ordinary field, to compare with", "the densest field of the night"


@dataclass(frozen=True)
class FieldShown:
    """A field as pages show it; `picture` is a JPEG of what the detector looked at, its polarizations side by side.

    `whys` say why it is shown; `stands` whether it is counted, in words. Where there is no picture, `without` says why.
    """

    field: FieldNumbers
    sample: str
    polarizations: tuple[str, ...]
    whys: tuple[str, ...]
    stands: str
    picture: bytes
    without: str = ""


def choose_fields(numbers: NightNumbers) -> list[tuple[FieldNumbers, tuple[str, ...]]]:
    """Choose the fields that are shown, mini-slide by mini-slide, each with the reasons why."""
    places = {(field.slide, field.field): field for field in numbers.fields if field.state != "open"}
    whys: dict[tuple[int, int], list[str]] = {}
    for slide, field, why in (*_told_of(numbers), *_found(numbers)):
        if (slide, field) in places:
            whys.setdefault((slide, field), []).append(why)
    chosen = sorted(list(whys)[:SHOWN], key=lambda place: (place[0], ORDINARY not in whys[place], place[1]))
    return [(places[place], tuple(dict.fromkeys(whys[place]))) for place in chosen]


def _told_of(numbers: NightNumbers) -> Iterator[tuple[int, int, str]]:
    """Give the fields of which something is said: of those of a mini-slide that are alike, the first."""
    for fields, one in alike_judged(numbers.judged):
        if not one.counted:
            alike = "" if fields == str(one.field) else f", as are fields {fields}"
            yield one.slide, one.field, f"not counted{alike}"
    told = set()
    for one in numbers.judged:
        for flag in one.flags:
            if one.counted and flag in LOOKED_AT and (one.slide, flag) not in told:
                told.add((one.slide, flag))
                yield one.slide, one.field, f"counted although {flag.words}"
    for slide in numbers.slides:
        waiting = [field for field in slide.fields if field.state == "not analysed"]
        yield from ((slide.slide, field.field, "not analysed yet") for field in waiting[:1])


def _found(numbers: NightNumbers) -> Iterator[tuple[int, int, str]]:
    """Give the densest field, some of mini-slides on which nothing was found, and the ordinary ones."""
    counted = {slide.slide: [one for one in slide.fields if _is_counted(one)] for slide in numbers.slides}
    every = [field for fields in counted.values() for field in fields]
    if (densest := max(every, key=lambda field: field.objects, default=None)) is not None and densest.objects:
        yield densest.slide, densest.field, DENSEST
    for position, fields in counted.items():
        if fields and not any(field.objects for field in fields):
            last = len(fields) - 1
            for at in sorted({round(last * share / (OF_EMPTY_SLIDES - 1)) for share in range(OF_EMPTY_SLIDES)}):
                yield position, fields[at].field, "what was seen where nothing was found"
    for slide in numbers.slides:
        plain = sorted((one for one in counted[slide.slide] if not one.flags), key=lambda one: one.objects)
        if plain and plain[-1].objects:
            yield slide.slide, plain[(len(plain) - 1) // 2].field, ORDINARY


def _is_counted(field: FieldNumbers) -> bool:
    return field.state == "recorded" and field.counted


def show_fields(dataset: Dataset, numbers: NightNumbers) -> tuple[FieldShown, ...]:
    """Read the pictures of the fields that a report speaks of."""
    chosen = choose_fields(numbers)
    slides = {slide.slide: slide for slide in numbers.slides}
    return tuple(_shown(dataset, field, whys, slides[field.slide]) for field, whys in chosen)


def _shown(dataset: Dataset, field: FieldNumbers, whys: Sequence[str], slide: SlideNumbers) -> FieldShown:
    record = next(iter(dataset.fields(field.slide, field.field)), None)
    states = record.polarizations if isinstance(record, FieldSecured) else ()
    picture, without = _picture(dataset, record) if isinstance(record, FieldSecured) else (b"", "it was not recorded")
    return FieldShown(field, slide.sample, states, tuple(whys), stands(field), picture, without)


def stands(field: FieldNumbers) -> str:
    """Say whether a field is counted, and who decided that; empty where nothing speaks against it."""
    if field.state != "recorded" or (field.counted and not field.reason):
        return ""
    if field.counted:
        return f"counted: {field.reason}"
    return f"not counted by {'a person' if field.by_person else 'the rule'}: {field.reason}"


def _picture(dataset: Dataset, record: FieldSecured) -> tuple[bytes, str]:
    """Give the picture that is kept of a field as small as a page needs it, or why there is none."""
    name = picture_file(record.slide, record.field, record.attempt)
    file = next((one for one in record.files if one.name == name), None)
    if file is None:
        return b"", "no picture of this field was kept"
    path = dataset.path(file)
    try:
        with Image.open(path) as kept:
            kept.draft(None, (WIDTH_PX, kept.height))
            shrunk = kept.resize(
                (WIDTH_PX, max(1, round(kept.height * WIDTH_PX / kept.width))), Image.Resampling.LANCZOS
            )
            stream = io.BytesIO()
            shrunk.save(stream, "JPEG", quality=QUALITY)
    except OSError as error:
        return b"", f"its picture {path} cannot be read ({error}); fetch it again from the recorder"
    return stream.getvalue(), ""
