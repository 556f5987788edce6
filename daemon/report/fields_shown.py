"""Pictures of the fields that a report speaks of: which are shown, and why.

Of each mini-slide one ordinary field comes first, to compare with: of those that are counted and have no flag, the one
with the median number of objects. Then those that are not like it, one for each reason: not counted, kept raw, with a
flag that somebody may want to look at. Of the whole night, the densest. Where a mini-slide was looked through and
nothing was found, three fields of it, from its beginning, its middle and its end, show what was seen.

There are `SHOWN` at most; where there are more, those that something is said of go before the ordinary ones.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from daemon.dataset.reader import Dataset
from daemon.dataset.summary import alike_judged
from daemon.figures.pixels import scale_bar
from daemon.records.flags import FieldFlag
from daemon.records.names import picture_file
from daemon.records.records import FieldSecured
from daemon.report.numbers import FieldNumbers, NightNumbers

SHOWN = 24
OF_EMPTY_SLIDES = 3
WIDTH_PX, QUALITY, LETTERS = 720, 80, 20
"""A kept picture may have 0.3 MB; in a page it has about a fifth of that."""
LOOKED_AT = tuple(flag for flag in FieldFlag if flag is not FieldFlag.BLANK)
"""Flags of fields that are shown although they are counted; that a field is blank its number of objects says."""
ORDINARY, DENSEST = "an ordinary field, to compare with", "the densest field of the night"


@dataclass(frozen=True)
class FieldPicture:
    """A field as pages show it; `picture` is a JPEG of what the detector looked at, its polarizations side by side.

    `whys` say why it is shown. Where there is no picture, `without` says why.
    """

    field: FieldNumbers
    sample: str
    polarizations: tuple[str, ...]
    whys: tuple[str, ...]
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
            by = "the rule" if one.utc is None else f"a person ({one.by})"
            alike = "" if fields == str(one.field) else f"; so are fields {fields}"
            yield one.slide, one.field, f"not counted by {by}: {one.reason}{alike}"
        elif one.reason:
            yield one.slide, one.field, f"counted by a person ({one.by}): {one.reason}"
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


def show_fields(dataset: Dataset, numbers: NightNumbers) -> tuple[FieldPicture, ...]:
    """Read the pictures of the fields that a report speaks of."""
    chosen = choose_fields(numbers)
    samples = {slide.slide: slide.sample for slide in numbers.slides}
    width_um = None if numbers.config is None else numbers.frame_um[0]
    return tuple(_shown(dataset, field, whys, samples[field.slide], width_um) for field, whys in chosen)


def _shown(
    dataset: Dataset, field: FieldNumbers, whys: tuple[str, ...], sample: str, width_um: float | None
) -> FieldPicture:
    record = next(iter(dataset.fields(field.slide, field.field)), None)
    if not isinstance(record, FieldSecured):
        return FieldPicture(field, sample, (), whys, b"", "it was not recorded")
    name = picture_file(record.slide, record.field, record.attempt)
    file = next((one for one in record.files if one.name == name), None)
    if file is None:
        return FieldPicture(field, sample, record.polarizations, whys, b"", "no picture of this field was kept")
    path = dataset.path(file)
    try:
        picture = _drawn(path, len(record.polarizations), width_um)
    except OSError as error:
        without = f"its picture {path} cannot be read ({error}); fetch it again from the recorder"
        return FieldPicture(field, sample, record.polarizations, whys, b"", without)
    return FieldPicture(field, sample, record.polarizations, whys, picture)


def _drawn(path: Path, states: int, width_um: float | None) -> bytes:
    """Draw the kept picture of a field as small as a page needs it, with a scale bar where its width is known."""
    with Image.open(path) as kept:
        height = max(1, round(kept.height * WIDTH_PX / kept.width))
        kept.draft(None, (WIDTH_PX, height))
        shrunk = kept.resize((WIDTH_PX, height), Image.Resampling.LANCZOS).convert("RGB")
    if width_um is not None:
        side = WIDTH_PX // states
        scale_bar(ImageDraw.Draw(shrunk), (0, height - side), (side, side), width_um / side, side, LETTERS)
    stream = io.BytesIO()
    shrunk.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
