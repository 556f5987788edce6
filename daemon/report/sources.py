"""What a night rests on, by name: calibration records and how old they were, weights, versions, configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from daemon.calibration_store.quantities import told
from daemon.calibration_store.shelf import Shelf
from daemon.dataset.later_tables import (
    MeasuredWith,
    NamedWith,
    TableOrigin,
    TableOrigins,
    later_tables,
    measured_with,
    named_with,
)
from daemon.dataset.summary import size
from daemon.records.events import EventName
from daemon.report.numbers import NightNumbers
from daemon.system.errors import DamagedFile

_With = TypeVar("_With", MeasuredWith, NamedWith)


@dataclass(frozen=True)
class CalibrationUsed:
    """A calibration record: what it says, its age in days when the night began, and what speaks against it.

    `taken` and `valid_until` are days; empty, as all the rest, where the record is not at hand.
    """

    name: str
    routine: str
    values: tuple[str, ...]
    age_days: float | None
    valid_until: str
    warning: str
    taken: str = ""
    expired: bool = False


@dataclass(frozen=True)
class Sources:
    """What the numbers rest on; `facts` are names and values, the checksums among them.

    `calibrations` are the records that lengths and masses rest on: the night's, or those of a later measurement.
    `assumed` are routines that such numbers want and have no record of. `measured` and `named` say how that was done
    later, None where the night's own numbers and names stand.
    """

    calibrations: tuple[CalibrationUsed, ...]
    assumed: tuple[str, ...]
    complaints: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    measured: MeasuredWith | None = None
    named: NamedWith | None = None


def sources_of(numbers: NightNumbers, origins: TableOrigins, folder: Path) -> Sources:
    """Find what a night rests on.

    Parameters
    ----------
    origins
        where lengths, masses and names come from.
    folder
        of the dataset.
    """
    damaged: list[str] = []
    measured = _told_by(measured_with, folder, origins.measured, damaged)
    named = _told_by(named_with, folder, origins.named, damaged)
    names = numbers.started.calibrations if measured is None else measured.calibrations
    used = tuple(_calibrations(numbers, names))
    there = {one.routine for one in used}
    wanted = () if numbers.config is None else numbers.config.calibration.wanted
    complaints = [event.message for event in numbers.events if event.name is EventName.CALIBRATION]
    return Sources(
        calibrations=used,
        assumed=tuple(routine for routine in wanted if routine not in there),
        complaints=tuple(dict.fromkeys([*complaints, *damaged])),
        facts=tuple(_facts(numbers, origins)),
        measured=measured,
        named=named,
    )


def _told_by(read: Callable[[Path], _With], folder: Path, origin: TableOrigin, damaged: list[str]) -> _With | None:
    """Read what a later table says of how it was made; None of the night's own, or where it no longer says it."""
    if not origin.number:
        return None
    try:
        return read(later_tables(folder, origin.given)[origin.number][0])
    except DamagedFile as error:
        damaged.append(str(error))
        return None


def _calibrations(numbers: NightNumbers, names: tuple[str, ...]) -> Iterator[CalibrationUsed]:
    began = datetime.fromtimestamp(numbers.started.utc, UTC)
    folder = None if numbers.config is None else numbers.config.calibration.folder
    for name in names:
        routine = name.rpartition("-2")[0] or name
        if folder is None or not folder.is_dir():
            elsewhere = "its folder is not on this computer, so what it says is not known here"
            yield CalibrationUsed(name, routine, (), None, "", elsewhere)
            continue
        kept = Shelf(folder).read(name)
        if kept.record is None:
            yield CalibrationUsed(name, kept.routine, (), None, "", kept.damage)
            continue
        record = kept.record
        yield CalibrationUsed(
            name=name,
            routine=kept.routine,
            values=tuple(
                f"{key.replace('_', ' ')} {told(number).removesuffix(' 1')}" for key, number in record.values.items()
            ),
            age_days=(began - record.taken).total_seconds() / 86400,
            valid_until=f"{record.valid_until:%Y-%m-%d}",
            warning="it was out of date when the night began" if record.valid_until < began else "",
            taken=f"{record.taken:%Y-%m-%d}",
            expired=record.valid_until < began,
        )


def _facts(numbers: NightNumbers, origins: TableOrigins) -> Iterator[tuple[str, str]]:
    started, config = numbers.started, numbers.config
    yield "night", started.night
    if config is not None:
        yield "instrument", f"{config.instrument.name} ({config.instrument.backend})"
        scan = config.scan
        yield "stack", f"{', '.join(scan.polarizations)}; {scan.planes} planes, {scan.step_um:g} \u00b5m apart"
        yield "detector", f"{config.detector.architecture}, looking at {config.detector.mode}"
        yield "threshold", f"{config.detector.threshold:g}; kept above {config.detector.keep_above:g}"
    yield "classes", ", ".join(numbers.classes)
    yield "ran on", ", ".join(numbers.devices) or "not known"
    yield "weights, sha256", started.weights_sha256
    yield "configuration, sha256", hashlib.sha256(started.configuration.encode()).hexdigest()
    yield "versions", ", ".join(f"{name} {version}" for name, version in started.versions.items())
    yield "frames became files", f"{size(numbers.bytes_exposed)} became {size(numbers.bytes_recorded)}"
    for what, how, origin in (
        ("lengths and masses", "measured again", origins.measured),
        ("names", "named later", origins.named),
    ):
        if origin.number:
            gap = f"; {origin.gap}" if origin.gap else ""
            yield what, f"{how}: {origin.given}-{origin.number:03d}.parquet{gap}"
