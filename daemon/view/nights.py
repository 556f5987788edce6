"""The nights that are looked at: each is read in steps, the most wanted first, and again when it has grown.

First come its fields and how it stands; then its objects; then the numbers of the report, and what is wrong with its
dataset. Each step takes the place of what was known before as a whole: whoever asks meanwhile waits for nothing.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from daemon.added.store import folders_beside
from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.later_tables import Given, later_tables
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import JudgedSummary
from daemon.places.nights import look_through
from daemon.protocols.watching import Verdict
from daemon.records.names import CATALOG, REPORT
from daemon.records.records import NightStarted
from daemon.report import words
from daemon.report.gather import COLUMNS, gather
from daemon.report.numbers import FieldNumbers, NightNumbers
from daemon.report.verdict import run_of, standing_of, verdict_of
from daemon.report.words import Table
from daemon.system.errors import LamelleError, last_line
from daemon.view.night_objects import NightObjects
from daemon.view.objects import ObjectIndex

LOOK_S = 5.0
"""So often it is looked whether a night has grown."""
SHARE = 0.2
"""At most so much of the time is spent on reading nights again."""
END_S = 5.0
DIGITS = 8
_log = logging.getLogger("lamelle.view")


@dataclass(frozen=True)
class SlideSeen:
    """A mini-slide: its sample, what was done on it in a line, its fields, and its taxa as the report has them."""

    slide: int
    sample: str
    about: str
    planned: int
    closed: bool
    fields: tuple[FieldNumbers, ...]
    kinds: Table | None = None
    taxa: Table | None = None


@dataclass(frozen=True)
class NightWords:
    """What the report says of a night, in its own words."""

    heading: str
    facts: tuple[tuple[str, str], ...]
    counted: str
    samples: Table
    kinds: Table
    taxa: Table
    unlike: str
    excluded: Table
    flags: str
    skipped: Table
    events: Table
    titles: Mapping[str, str] = field(default_factory=lambda: {"excluded": words.EXCLUDED, "skipped": words.SKIPPED})


@dataclass(frozen=True)
class NightSeen:
    """What is known of a night.

    Attributes
    ----------
    checked
        whether the verdict knows of faults of the dataset, too.
    frame_um
        width and height of a frame; None where nothing tells yet.
    polarizations
        of its stacks.
    judged
        by mini-slide and number, the fields with flags or a person's word.
    said
        what the report says; None until it was read.
    """

    started: NightStarted
    verdict: Verdict
    slides: tuple[SlideSeen, ...]
    checked: bool = False
    polarizations: tuple[str, ...] = ()
    frame_um: tuple[float, float] | None = None
    judged: Mapping[tuple[int, int], JudgedSummary] = field(default_factory=dict)
    objects: NightObjects | None = None
    said: NightWords | None = None


class ShownNight:
    """A night that is looked at.

    Parameters
    ----------
    night
        its name.
    folder
        of its dataset.

    Attributes
    ----------
    key
        its name in addresses, the same each time.
    seen
        what is known of it; None until something is.
    trouble
        why it could not be read, a sentence; empty where it could.
    reading
        whether it is being read, or soon will be.
    """

    def __init__(self, night: str, folder: Path) -> None:
        self.night, self.folder = night, folder
        self.key = key_of(night)
        self.seen: NightSeen | None = None
        self.trouble = ""
        self.reading = False
        self._state: object = None
        self._again_s = 0.0
        self._hurried = False

    def hurry(self) -> None:
        """Have it read again at once: somebody waits for what follows from his own deed."""
        self._hurried = self.reading = True

    def grown(self, now_s: float) -> bool:
        """Whether it is time to read it, and there is something to read."""
        return (self._hurried or now_s >= self._again_s) and self._look() != self._state

    def read(self, clock: threading.Event) -> Iterator[NightSeen]:
        """Read it step by step; each gives what is known by then. It ends early once `clock` is set."""
        begun_s = time.monotonic()
        self.reading, self._hurried = True, False
        self._state = self._look()
        try:
            for seen in self._steps():
                self.seen, self.trouble = seen, ""
                yield seen
                if clock.is_set():
                    return
        except (LamelleError, OSError) as error:
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the other nights are shown
            _log.exception("night %s cannot be read", self.night)
            self.trouble = f"it cannot be read ({last_line(error)}); the log of `lamelle view` says more"
        self.reading = self._hurried
        pa.default_memory_pool().release_unused()
        took_s = time.monotonic() - begun_s
        self._again_s = time.monotonic() + max(LOOK_S, took_s / SHARE)

    def report(self, suffix: str) -> Path | None:
        """Return where its report lies, as a page or on paper; None where there is none."""
        path = (self.folder / REPORT).with_suffix(suffix)
        return path if path.is_file() else None

    def _steps(self) -> Iterator[NightSeen]:
        with Dataset.open(self.folder) as dataset, dataset.unchanging():
            started = dataset.night()
            if started is None:
                return
            run = run_of(self.folder, dataset)
            standing = None if run is None else standing_of(run)
            # Of one that was read before all is known, and stays until it is known anew.
            seen = self.seen or NightSeen(started, verdict_of(dataset, standing, 0), tuple(_slides(dataset)))
            stands = standing_exclusions(dataset).fields
            seen = replace(seen, judged={place: JudgedSummary.of(one) for place, one in stands.items()})
            yield seen
            seen = replace(seen, objects=NightObjects.of(dataset))
            yield seen
            numbers, _ = gather(dataset, columns=COLUMNS)
            seen = replace(
                seen,
                slides=tuple(_slides_in_words(numbers)),
                frame_um=numbers.frame_um,
                polarizations=numbers.polarizations,
                said=_said(numbers),
            )
            yield seen
            faults = len(dataset.totals().faults)
            yield replace(seen, verdict=verdict_of(dataset, standing, faults, numbers.unlike_slides), checked=True)

    def _look(self) -> tuple[object, ...]:
        """Say how it stands, and what its files look like from outside; it changes whenever what they hold does."""
        catalog = self.folder / CATALOG
        paths = [catalog, catalog.with_name(f"{CATALOG}-wal")]
        for folder in folders_beside(self.folder, self.night):
            paths += sorted(folder.glob("**/*"))
        for given in Given:
            paths += [path for same in later_tables(self.folder, given).values() for path in same]
        # A night ends, or is killed, after the last of its records.
        return standing_of(self.folder.parent), *(_stat(path) for path in paths)


class ShownNights:
    """All nights that are looked at, read and read again by a thread of their own. Close it in the end.

    Parameters
    ----------
    places
        datasets, run folders, or folders that hold some.

    Raises
    ------
    Refused
        A place holds no night, or none of the nights can be looked at.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        found = look_through(places, lambda *_: None)
        self.notes = found.notes
        self.shown = {one.key: one for one in (ShownNight(*each) for each in found.folders.items())}
        self.index = ObjectIndex({})
        self.version = 0
        """Goes up whenever more is known."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="nights", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """End, within what a step takes."""
        self._ended.set()
        self._thread.join(END_S)

    @property
    def reading(self) -> bool:
        """Whether a night is not read to its end yet."""
        return any(not one.trouble and (one.seen is None or not one.seen.checked) for one in self.shown.values())

    @property
    def gathering(self) -> bool:
        """Whether the objects of a night are not known yet."""
        nights = list(self.shown.values())
        return any(not one.trouble and (one.seen is None or one.seen.objects is None) for one in nights)

    def _read(self) -> None:
        while not self._ended.is_set():
            waiting = [one for one in self.shown.values() if one.grown(time.monotonic())]
            # All nights take a step, then each of them the next: the first screen waits for no night's numbers.
            reads = [one.read(self._ended) for one in waiting]
            while reads and not self._ended.is_set():
                reads = [read for read in reads if next(read, None) is not None]
                self._gather()
            for one in waiting:
                self.version += bool(one.trouble)
            self._ended.wait(LOOK_S / 5)

    def _gather(self) -> None:
        objects = {key: one.seen.objects for key, one in self.shown.items() if one.seen and one.seen.objects}
        if objects:
            self.index = ObjectIndex(objects)
        self.version += 1


def key_of(night: str) -> str:
    """Name a night in addresses: letters that are safe there, and what tells it from others of like names."""
    digest = hashlib.sha256(night.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    words_of_it = re.sub(r"[^A-Za-z0-9]+", "-", night).strip("-")[:40]
    return f"{words_of_it}-{digest}" if words_of_it else digest


def _slides(dataset: Dataset) -> Iterator[SlideSeen]:
    """Give what the catalog's tables alone say of fields: places of those that were recorded."""
    fields: dict[int, list[FieldNumbers]] = {}
    for one in dataset.mapped():
        fields.setdefault(one.slide, []).append(
            FieldNumbers(
                slide=one.slide,
                field=one.field,
                state=("recorded" if one.analysed else "not analysed") if one.recorded else "skipped",
                x_um=math.nan if one.x_um is None else one.x_um,
                y_um=math.nan if one.y_um is None else one.y_um,
                objects=one.objects,
                focus_z_um=one.focus_z_um,
            )
        )
    for held in dataset.slides():
        about = f"{held.recorded} of {held.planned} fields recorded"
        own = tuple(fields.get(held.slide, ()))
        yield SlideSeen(held.slide, held.columns.get("sample", ""), about, held.planned, held.closed, own)


def _slides_in_words(numbers: NightNumbers) -> Iterator[SlideSeen]:
    for one in numbers.slides:
        yield SlideSeen(
            slide=one.slide,
            sample=one.sample,
            about=words.about_slide(one),
            planned=one.planned,
            closed=one.closed,
            fields=one.fields,
            kinds=words.kinds(one.kinds),
            taxa=words.kinds(one.taxa, "taxon"),
        )


def _said(numbers: NightNumbers) -> NightWords:
    return NightWords(
        heading=words.heading(numbers),
        facts=tuple(words.facts(numbers)),
        counted=words.counted(numbers),
        samples=words.samples(numbers),
        kinds=words.kinds(numbers.kinds, excluded=bool(numbers.excluded_fields)),
        taxa=words.kinds(numbers.taxa, "taxon", excluded=bool(numbers.excluded_fields)),
        unlike=words.unlike(numbers),
        excluded=words.excluded(numbers),
        flags=words.flags(numbers),
        skipped=words.skipped(numbers),
        events=words.events(numbers),
    )


def _stat(path: Path) -> tuple[str, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return path.name, found.st_size, found.st_mtime_ns
