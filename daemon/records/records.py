"""The records of a night: what the journal stores, the wire carries and the catalog keeps, in one sequence.

Every record is a msgpack map with its `kind` (docs/protocol.md lists the keys). Times are UTC seconds since 1970
(`*_utc`) and seconds of a monotonic clock (`*_monotonic_s`) of the computer that runs the night.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all records."""

    utc: float


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a field: its path inside the dataset (posix), size in bytes and sha256 (hex)."""

    name: str
    size: int
    sha256: str


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that pixels were read from: its path below the folder it was given by (posix), and the sha256 (hex).

    The sha256 is empty where the file could not be read to its end.
    """

    name: str
    sha256: str


class ObjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One object's numbers: what detection and cropping say of it, then what measuring does (docs/measurement.md).

    Boxes in px of the frame, half-open; `series` is its place in the field's OME-TIFF. What was not, or cannot be,
    measured is None. `focus_plane` is the plane of the object itself, `display_plane` where it is shown best, both
    fractional; they differ for what does not turn light. `focus_by` and `outline_by` name the state that told.
    """

    number: int
    series: int
    class_name: str
    score: float
    below_threshold: bool
    box: tuple[int, int, int, int]
    crop_box: tuple[int, int, int, int]
    x_um: float
    y_um: float
    z_um: float
    best_plane: float
    best_plane_at_edge: bool
    touches_edge: bool
    in_exclusive_tile: bool
    focus_plane: float | None = None
    focus_z_um: float | None = None
    focus_by: str | None = None
    display_plane: float | None = None
    sharpness: float | None = None
    depth_um: float | None = None
    outline_by: str | None = None
    length_um: float | None = None
    width_um: float | None = None
    length_by: str | None = None
    area_um2: float | None = None
    perimeter_um: float | None = None
    equivalent_diameter_um: float | None = None
    circularity: float | None = None
    solidity: float | None = None
    orientation_deg: float | None = None
    thickness_mean_um: float | None = None
    thickness_max_um: float | None = None
    volume_um3: float | None = None
    calcite_equivalent_pg: float | None = None
    calcite_equivalent_deviation_pg: float | None = None
    calcite_equivalent_fused_pg: float | None = None
    mass_pg: float | None = None
    leakage: float | None = None
    cut: bool | None = None
    overlapping: bool | None = None
    outline_clipped: bool | None = None
    background_disturbed: bool | None = None
    defocused: bool | None = None
    saturated: bool | None = None
    folded: bool | None = None

    @property
    def counted(self) -> bool:
        """Whether it counts: it scores at least the threshold, and lies in its field's own tile."""
        return not self.below_threshold and self.in_exclusive_tile


MEASURED = tuple(field.name for field in msgspec.structs.fields(ObjectRow) if not field.required)
"""Names of an object's numbers that measuring gives."""


class FocusResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where a field was in focus: stage z of the sharpest plane, None for a blank field."""

    z_um: float | None
    at_edge: bool
    contrast: float


class NightStarted(Record, frozen=True, kw_only=True, tag="night_started"):
    """First record. `configuration` is the frozen run.yaml; `samples` maps mini-slide positions to sheet columns."""

    night: str
    configuration: str
    samples: dict[int, dict[str, str]]
    planned: dict[int, int]
    versions: dict[str, str]
    weights_sha256: str
    calibrations: tuple[str, ...] = ()


class FieldSecured(Record, frozen=True, kw_only=True, tag="field"):
    """One field, complete: its files are in the spool and on their way.

    `search` is what a focus search made before the field found, None where there was none; `backgrounds_dn` the median
    intensity of each polarization, along C. `device` is what the detector ran on. Where `analysed` is false nothing has
    been looked for yet, and the raw stack is kept. `sources` are the files of an archive that the stack was read from;
    none for a stack that a camera exposed.
    """

    slide: int
    field: int
    sample: str
    x_um: float
    y_um: float
    first_z_um: float
    step_um: float
    polarizations: tuple[str, ...]
    shape_czyx: tuple[int, int, int, int]
    attempts: int
    exposed_utc: float
    exposed_monotonic_s: float
    seconds: dict[str, float]
    focus: FocusResult
    search: FocusResult | None = None
    backgrounds_dn: tuple[float, ...] = ()
    objects: tuple[ObjectRow, ...]
    files: tuple[FileEntry, ...]
    analysed: bool = True
    device: str = ""
    sources: tuple[SourceFile, ...] = ()


class FieldAnalysed(Record, frozen=True, kw_only=True, tag="analysed"):
    """What was found later in a field that was secured without being analysed; it takes the place of what is there.

    `files` are those written for it: the raw stack, listed before, stays.
    """

    slide: int
    field: int
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    objects: tuple[ObjectRow, ...]
    files: tuple[FileEntry, ...]


class FieldSkipped(Record, frozen=True, kw_only=True, tag="skipped"):
    """A planned field that will not be recorded, and why; `search` and `sources` as in `FieldSecured`."""

    slide: int
    field: int
    sample: str
    reason: str
    attempts: int
    search: FocusResult | None = None
    sources: tuple[SourceFile, ...] = ()


class Event(Record, frozen=True, kw_only=True, tag="event"):
    """Something a person should know: a fault and what was done about it, a pause, a slide left early."""

    level: str
    name: str
    message: str
    monotonic_s: float
    slide: int | None = None
    field: int | None = None


class SlideClosed(Record, frozen=True, kw_only=True, tag="slide_closed"):
    """Every field of a mini-slide is secured or skipped."""

    slide: int
    sample: str
    recorded: int
    skipped: int


class NightClosed(Record, frozen=True, kw_only=True, tag="night_closed"):
    """Last record of a complete night."""

    recorded: int
    skipped: int


AnyRecord = NightStarted | FieldSecured | FieldAnalysed | FieldSkipped | Event | SlideClosed | NightClosed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyRecord)


def encode(record: AnyRecord) -> bytes:
    """Msgpack bytes of a record."""
    return _encoder.encode(record)


def decode(body: bytes) -> AnyRecord:
    """Record of msgpack bytes.

    Raises
    ------
    msgspec.DecodeError
        The bytes are not a record of this version.
    """
    try:
        record: AnyRecord = _decoder.decode(body)
    except (UnicodeDecodeError, RecursionError) as error:  # text that is none, nesting without end
        raise msgspec.DecodeError(str(error)) from error
    return record
