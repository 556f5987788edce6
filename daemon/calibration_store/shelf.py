"""The shelf of calibration records: written once, never over one another; and which of them a night uses."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.record import CalibrationRecord, KeptFile, RecordDamaged, decode, encode
from daemon.config.model import NightConfig
from daemon.system.durable_files import make_folder, replacing, sha256_of
from daemon.system.errors import Refused
from drivers.settings import Instrument

_NAME = re.compile(r"(?P<routine>[a-z][a-z-]*)-(?P<time>\d{8}T\d{6}Z)(?:-(?P<number>\d+))?", re.ASCII)
RECORD, ARRAYS, PICTURE = ".json", ".npz", ".png"
PIXEL_SIGMAS, PIXEL_SHARE = 3.0, 0.002
"""How far a configured size of pixels may lie off the measured one before that is told."""
UNPROVEN = (
    "instrument.motion.z_sequence is true, but there is no valid calibration of trigger, so each plane is commanded; "
    "`lamelle calibrate trigger` makes one"
)
Arrays = dict[str, NDArray[np.float32]]
Fault = Literal["missing", "expired", "foreign", "damaged"]
"""Why a routine has no record as it should be."""


@dataclass(frozen=True)
class Kept:
    """A record on the shelf, or what is wrong with its file."""

    name: str
    routine: str
    record: CalibrationRecord | None
    damage: str = ""


@dataclass(frozen=True)
class Complaint:
    """What a person should know of a routine's records before a night relies on them."""

    routine: str
    fault: Fault
    message: str


@dataclass(frozen=True)
class Choice:
    """The records that a night would use, by routine, and what is to be said about the others."""

    records: Mapping[str, Kept]
    complaints: tuple[Complaint, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the records, as a night keeps them."""
        return tuple(kept.name for kept in self.records.values())


class Shelf:
    """The folder of the records: `ROUTINE-TIME.json`, with arrays (.npz) and picture (.png) of the same name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_name(self, routine: str, taken: datetime) -> str:
        """Return a name that nothing on the shelf has."""
        first = f"{routine}-{taken:%Y%m%dT%H%M%SZ}"
        name, number = first, 1
        while any(self._folder.glob(f"{name}.*")) or self.frames(name).exists():
            number += 1
            name = f"{first}-{number}"
        return name

    def frames(self, name: str) -> Path:
        """Folder of the raw frames of a record."""
        return self._folder / f"{name}-frames"

    def put(self, name: str, record: CalibrationRecord, arrays: Arrays | None, picture: bytes | None) -> Path:
        """Write a record and what lies beside it, durably; the record last, so that it never lacks its files."""
        make_folder(self._folder)
        beside: dict[str, KeptFile] = {}
        if arrays:
            stream = io.BytesIO()
            np.savez_compressed(stream, allow_pickle=False, **{key: arrays[key] for key in sorted(arrays)})
            beside["arrays"] = self._write(name + ARRAYS, stream.getvalue())
        if picture is not None:
            beside["picture"] = self._write(name + PICTURE, picture)
        self._write(name + RECORD, encode(msgspec.structs.replace(record, **beside)))
        return self._folder / (name + RECORD)

    def kept(self) -> list[Kept]:
        """Everything on the shelf, the newest first; arrays are not opened."""
        names = {path.stem: match for path in self._folder.glob(f"*{RECORD}") if (match := _NAME.fullmatch(path.stem))}
        newest = sorted(names, key=lambda name: (names[name]["time"], int(names[name]["number"] or 1)), reverse=True)
        return [self.read(name) for name in newest]

    def read(self, name: str) -> Kept:
        """Read a record, or say what is wrong with it; its arrays are not opened."""
        match = _NAME.fullmatch(name)
        routine = match["routine"] if match else name
        try:
            record = decode((self._folder / (name + RECORD)).read_bytes())
        except OSError as error:
            return Kept(name, routine, None, f"it cannot be read ({error.strerror})")
        except RecordDamaged as error:
            return Kept(name, routine, None, str(error))
        if record.routine != routine:
            return Kept(name, routine, None, f"it is a record of {record.routine} under another name")
        return Kept(name, routine, record)

    def sound(self, kept: Kept) -> Kept:
        """Return the same, damaged if its arrays are not those that were written."""
        if kept.record is None or kept.record.arrays is None:
            return kept
        try:
            self._check(kept.record.arrays)
        except RecordDamaged as error:
            return replace(kept, record=None, damage=str(error))
        return kept

    def load(self, name: str) -> tuple[CalibrationRecord, Arrays]:
        """Read a record and its arrays.

        Raises
        ------
        RecordDamaged
            It is gone, or it or its arrays have been changed.
        """
        kept = self.read(name)
        if kept.record is None:
            raise RecordDamaged(kept.damage)
        if kept.record.arrays is None:
            return kept.record, {}
        self._check(kept.record.arrays)
        with np.load(self._folder / kept.record.arrays.name, allow_pickle=False) as file:
            return kept.record, {key: np.asarray(file[key], np.float32) for key in file.files}

    def _check(self, file: KeptFile) -> None:
        path = self._folder / file.name
        try:
            same = path.name == file.name and sha256_of(path) == file.sha256
        except OSError as error:
            raise RecordDamaged(f"its arrays, {file.name}, cannot be read ({error.strerror})") from error
        if not same:
            raise RecordDamaged(f"its arrays, {file.name}, were changed after they were written")

    def _write(self, name: str, body: bytes) -> KeptFile:
        path = self._folder / name
        with replacing(path) as stream:
            stream.write(body)
        return KeptFile(name=name, size=len(body), sha256=sha256_of(path))


def choose(config: NightConfig, now: datetime | None = None) -> Choice:
    """Choose the newest valid record of each routine that a night wants; say what else was found.

    An expired record stands in where there is no other; `complain` says whether the night may go on so.
    """
    now = now or datetime.now(UTC)
    shelf = Shelf(config.calibration.folder)
    everything = shelf.kept()
    chosen: dict[str, Kept] = {}
    complaints: list[Complaint] = []
    for routine in config.calibration.wanted:
        kept, told = _choose(shelf, routine, [one for one in everything if one.routine == routine], config, now)
        complaints += [Complaint(routine, fault, message) for fault, message in told]
        if kept is not None:
            chosen[routine] = kept
    return Choice(chosen, tuple(complaints))


def complain(choice: Choice, config: NightConfig) -> Iterator[tuple[str, str]]:
    """Give level and sentence of each complaint that the configuration lets pass; missing records are told as one.

    Raises
    ------
    Refused
        It does not let one pass.
    """
    settings = config.calibration
    for complaint in choice.complaints:
        if getattr(settings, complaint.fault) == "refuse":
            raise Refused(
                f"{complaint.message}; run `lamelle calibrate {complaint.routine} CONFIG`, or set "
                f"calibration.{complaint.fault} to warn"
            )
    missing = [complaint.routine for complaint in choice.complaints if complaint.fault == "missing"]
    if missing:
        assumed = f"no calibration of {', '.join(missing)} in {settings.folder}, so assumed values are used"
        yield "warning", f"{assumed}; `lamelle calibrate` makes them"
    yield from (("warning", complaint.message) for complaint in choice.complaints if complaint.fault != "missing")
    yield from _differing_pixel(choice, config)


def _differing_pixel(choice: Choice, config: NightConfig) -> Iterator[tuple[str, str]]:
    """Return where `instrument.pixel_um` is not the size that was measured."""
    kept = choice.records.get("pixel-size")
    if kept is None or kept.record is None or "pixel" not in kept.record.values:
        return
    measured, set_um = kept.record.values["pixel"], config.instrument.pixel_um
    if abs(measured.value - set_um) > max(PIXEL_SIGMAS * measured.uncertainty, PIXEL_SHARE * set_um):
        yield (
            "warning",
            f"instrument.pixel_um is {set_um:g}, but the calibration {kept.name} measured {measured.value:.6g}; set it",
        )


def newest_of(folder: Path, instrument: str, frame_px: tuple[int, int], now: datetime | None = None) -> tuple[str, ...]:
    """Name the newest valid record of each routine in a folder, for an instrument and its frames (height, width)."""
    shelf, now = Shelf(folder), now or datetime.now(UTC)
    newest: dict[str, str] = {}
    for found in shelf.kept():
        record = shelf.sound(found).record
        valid = record is not None and record.usable and record.valid_until >= now
        if valid and record is not None and not _stranger(record, instrument, frame_px):
            newest.setdefault(found.routine, found.name)
    return tuple(newest[routine] for routine in sorted(newest))


def proven(config: NightConfig, now: datetime | None = None) -> tuple[Instrument, tuple[str, ...]]:
    """Return the instrument as it may be driven, and what is to be said: no z sequence without a valid calibration."""
    instrument = config.instrument
    if not instrument.motion.z_sequence:
        return instrument, ()
    names = newest_of(config.calibration.folder, instrument.name, instrument.frame_px, now)
    if any(name.startswith("trigger-") for name in names):
        return instrument, ()
    motion = instrument.motion.model_copy(update={"z_sequence": False})
    return instrument.model_copy(update={"motion": motion}), (UNPROVEN,)


def require(folder: Path, names: Sequence[str]) -> None:
    """Refuse to go on with a night whose records, in a folder, are not what they were when it began.

    Raises
    ------
    Refused
        One is gone or has been changed.
    """
    shelf = Shelf(folder)
    for name in names:
        kept = shelf.sound(shelf.read(name))
        if kept.record is None:
            raise Refused(
                f"the calibration {name} in {folder}, with which the night began, cannot be used: "
                f"{kept.damage}; put it back as it was"
            )


def _choose(
    shelf: Shelf, routine: str, newest_first: list[Kept], config: NightConfig, now: datetime
) -> tuple[Kept | None, list[tuple[Fault, str]]]:
    told: list[tuple[Fault, str]] = []
    expired = foreign = None
    for found in newest_first:
        kept = shelf.sound(found)
        if kept.record is None:
            told.append(("damaged", f"the calibration {kept.name} is not used: {kept.damage}"))
        elif not kept.record.usable:
            continue
        elif stranger := _stranger(kept.record, config.instrument.name, config.instrument.frame_px):
            foreign = foreign or f"the calibration {kept.name} is not used: it was made {stranger}"
        elif kept.record.valid_until < now:
            expired = expired or kept
        else:
            return kept, told
    if expired is not None and expired.record is not None:
        until = f"{expired.record.valid_until:%Y-%m-%d}"
        return expired, [
            *told,
            ("expired", f"the calibration {expired.name} was valid until {until}; measure it again"),
        ]
    if foreign is not None:
        return None, [*told, ("foreign", f"{foreign}; assumed values are used")]
    return None, [*told, ("missing", f"there is no calibration of {routine} in {config.calibration.folder}")]


def _stranger(record: CalibrationRecord, instrument: str, frame_px: tuple[int, int]) -> str:
    """Say what it was made for, where that is not this instrument."""
    if record.instrument != instrument:
        return f"for instrument.name {record.instrument!r}, not {instrument!r}"
    if record.frame_px != frame_px:
        return f"for instrument.frame_px {list(record.frame_px)}, not {list(frame_px)}"
    return ""
