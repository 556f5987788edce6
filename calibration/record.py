"""What is kept of a calibration: one JSON document, checked against its schema and sealed against later changes.

Numbers stand as `[value, uncertainty, unit]`, times in UTC. The seal is the sha256 of the document without it, so that
a number that was changed by hand is found out; it is no signature.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from calibration.steps import Quantity

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Named = Annotated[str, msgspec.Meta(min_length=1)]
Pixels = Annotated[int, msgspec.Meta(ge=1)]


class RecordDamaged(Exception):
    """A record does not hold what it must, or has been changed since it was written; the message says what."""


class KeptFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file beside the record, its name in the same folder, size in bytes and sha256 (hex)."""

    name: Named
    size: int
    sha256: Sha256


class TakenShot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was exposed: places in um of the stage, exposures in ms along `polarizations`.

    `sha256` is that of the frames, CZYX, uint16, little endian, C-contiguous; `file` names them where they are kept.
    """

    utc: datetime
    x_um: float
    y_um: float
    first_z_um: float
    step_um: float
    planes: int
    polarizations: tuple[str, ...]
    exposures_ms: tuple[float, ...]
    lit: bool
    sha256: Sha256
    file: str = ""


class CalibrationRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One calibration.

    Attributes
    ----------
    routine
        its name.
    instrument
        name of the microscope.
    camera
        what it says it is.
    slide
        mini-slide it lay on.
    verdict
        whether it is usable; a record that is not is never used.
    reason
        why it is not usable.
    values
        numbers by name.
    residuals
        how far the data lie from what was fitted, by name.
    taken
        when it began.
    valid_until
        how long it counts.
    frame_px
        height, width.
    configuration_sha256
        of the configuration it was taken with, defaults written out.
    versions
        of the software.
    shots
        what was exposed, in order.
    arrays
        files beside the record; none of a record that is not usable.
    picture
        file beside the record; none of a record that is not usable.
    """

    schema: Literal[1] = 1
    routine: Named
    verdict: Literal["usable", "not usable"]
    reason: str = ""
    values: dict[str, Quantity]
    residuals: dict[str, Quantity]
    taken: datetime
    valid_until: datetime
    instrument: Named
    camera: str
    frame_px: tuple[Pixels, Pixels]
    slide: int
    configuration_sha256: Sha256
    versions: dict[str, str]
    shots: tuple[TakenShot, ...]
    arrays: KeptFile | None = None
    picture: KeptFile | None = None
    seal: str = ""

    @property
    def usable(self) -> bool:
        """Whether its numbers may be used, as long as it is valid."""
        return self.verdict == "usable"


def encode(record: CalibrationRecord) -> bytes:
    """JSON of a record, sealed, made for reading."""
    sealed = msgspec.structs.replace(record, seal=_seal(record))
    return msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"


def decode(body: bytes) -> CalibrationRecord:
    """Record of JSON bytes.

    Raises
    ------
    RecordDamaged
        It is no such record, or its seal is broken.
    """
    try:
        record = msgspec.json.decode(body, type=CalibrationRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordDamaged(f"it is not a calibration record ({error})") from error
    if record.taken.tzinfo is None or record.valid_until.tzinfo is None:
        raise RecordDamaged("its times do not say that they are in UTC")
    if record.seal != _seal(record):
        raise RecordDamaged("its seal is broken, so it was changed after it was written")
    return record


def _seal(record: CalibrationRecord) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(record, seal=""))).hexdigest()
