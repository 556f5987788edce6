"""The records of a night: what the journal stores, the wire carries and the catalog keeps, in one sequence.

Every record is a msgpack map with its `kind` (docs/protocol.md lists the keys). Times are UTC seconds since 1970
(`*_utc`) and seconds of a monotonic clock (`*_monotonic_s`) of the computer that runs the night.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from daemon.records import earlier
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.events import EventName, ReasonCode, title_of
from daemon.records.flags import FieldFlag
from daemon.records.names import attempt_of
from daemon.records.states import EndedBy, NightState

NAMES_TOLD = 20


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all records."""

    utc: float


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a field: its path inside the dataset (posix), size in bytes and sha256 (hex)."""

    name: str
    size: int
    sha256: str


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that pixels were read from: its path below the folder it was given by (posix), and the sha256 (hex).

    The sha256 is empty where the file could not be read to its end. `stack` says which one was read of several in it.
    """

    name: str
    sha256: str
    stack: str = ""

    @property
    def title(self) -> str:
        """What people read: the name, and which stack of the file is meant."""
        return f"{self.name}: {self.stack}" if self.stack else self.name


class ObjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One object's numbers: what detection and cropping say of it, then measuring (docs/measurement.md) and naming.

    Boxes in px of the frame, half-open; `series` is its place in the field's OME-TIFF. What was not, or cannot be,
    measured is None. `focus_plane` is the plane of the object itself, `display_plane` where it is shown best, both
    fractional; they differ for what does not turn light. `focus_by` and `outline_by` name the state that told. `fault`
    is the error that kept it from being measured, None of nearly all. `taxon` is an identifier of the taxonomy, or
    `unsure`; None: nobody named it. It has `taxon_probability`; `runner_up` is the species that was next likely, and
    `named_by` the sha256 of the classifier's weights.
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
    feret_um: float | None = None
    arc_length_um: float | None = None
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
    outline_doubtful: bool | None = None
    background_disturbed: bool | None = None
    defocused: bool | None = None
    saturated: bool | None = None
    folded: bool | None = None
    fault: str | None = None
    usable_for_size: bool | None = None
    usable_for_mass: bool | None = None
    taxon: str | None = None
    taxon_probability: float | None = None
    runner_up: str | None = None
    named_by: str | None = None

    @property
    def counted(self) -> bool:
        """Whether it counts where its field does: it scores at least the threshold, and lies in its own tile."""
        return not self.below_threshold and self.in_exclusive_tile


NAMED = ("taxon", "taxon_probability", "runner_up", "named_by")
"""Names of what naming says of an object."""
MEASURED = tuple(
    field.name for field in msgspec.structs.fields(ObjectRow) if not field.required and field.name not in NAMED
)
"""Names of an object's numbers that measuring gives."""


class FocusResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where a field was in focus: stage z of the sharpest plane, None for a blank field."""

    z_um: float | None
    at_edge: bool
    contrast: float


class NightStarted(Record, frozen=True, kw_only=True, tag="night_started"):
    """First record. `configuration` is the frozen run.yaml; `samples` maps mini-slide positions to sheet columns.

    `taxonomy` is the file of the taxa as it was when the night began, empty where none is configured; `named_by` the
    sha256 of the classifier's head, empty where objects get no names; `encoder` that of what makes the features of
    objects, `reference` what the library of the classifier looked like (`inference.classification.reference`); both
    empty where nothing tells.
    """

    night: str
    configuration: str
    samples: dict[int, dict[str, str]]
    planned: dict[int, int]
    versions: dict[str, str]
    weights_sha256: str
    calibrations: tuple[str, ...] = ()
    taxonomy: str = ""
    named_by: str = ""
    encoder: str = ""
    reference: str = ""


class ReadBack(msgspec.Struct, frozen=True, kw_only=True):
    """What the instrument read back once the planes of a polarization were exposed.

    `z_um` is where the focus drive stood after the last plane. What cannot be read back is as it was commanded.
    """

    polarization: str
    x_um: float
    y_um: float
    z_um: float
    exposure_ms: float


class FieldSecured(Record, frozen=True, kw_only=True, tag="field"):
    """One field, complete: its files are in the spool and on their way.

    `search` is what a focus search made before the field found, None where there was none; `backgrounds_dn` the median
    intensity of each polarization, along C. `device` is what the detector ran on. Where `analysed` is false nothing has
    been looked for yet, and the raw stack is kept; where it could not be analysed `reason` says why, as of skipped
    fields, `fault` is the kind of the error, and nothing is known of focus and backgrounds. `sources` are the files of
    an archive or a recording that the stack was read from, `told` what a person should know of how, a clause each; none
    for a stack that a camera exposed. `attempts` says how often its stack was exposed until it was complete; `attempt`
    which attempt at the field this is (`daemon.records.attempts`). `read_back` is in the order in which the
    polarizations were exposed. `flags` are what is to be known of the field as a whole, `excluded_by` those of them for
    which the night's configuration does not count it; what a person says of it later stands above that
    (`daemon.dataset.exclusions`).
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
    reason: str = ""
    fault: str | None = None
    attempt: int = 1
    purpose: Purpose = Purpose.PLAN
    read_back: tuple[ReadBack, ...] = ()
    told: tuple[str, ...] = ()
    flags: tuple[FieldFlag, ...] = ()
    excluded_by: tuple[FieldFlag, ...] = ()

    @property
    def counted_objects(self) -> list[ObjectRow]:
        """The objects that count by the night's own rules."""
        return _counted(self)


class FieldAnalysed(Record, frozen=True, kw_only=True, tag="analysed"):
    """What was found later in a field that was secured without being analysed; it takes the place of what is there.

    `files` are those written for it: the raw stack, listed before, stays. `flags` and `excluded_by` are as of
    `FieldSecured`.
    """

    slide: int
    field: int
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    objects: tuple[ObjectRow, ...]
    files: tuple[FileEntry, ...]
    flags: tuple[FieldFlag, ...] = ()
    excluded_by: tuple[FieldFlag, ...] = ()

    @property
    def attempt(self) -> int:
        """Attempt at the field whose stack was analysed; its files are named after it."""
        return max((attempt_of(file.name) for file in self.files), default=1)

    @property
    def counted_objects(self) -> list[ObjectRow]:
        """The objects that count by the night's own rules."""
        return _counted(self)


def _counted(field: FieldSecured | FieldAnalysed) -> list[ObjectRow]:
    return [] if field.excluded_by else [row for row in field.objects if row.counted]


class FieldSkipped(Record, frozen=True, kw_only=True, tag="skipped"):
    """An attempt at a planned field that did not record it; what stands in `FieldSecured` too is meant alike.

    `reason` is a sentence for people, `reason_code` what programs go by; every record that was decoded has one. `who`
    ordered it, if anybody did, and `fault` is the kind of the last fault, if one was the cause.
    """

    slide: int
    field: int
    sample: str
    reason: str
    attempts: int
    search: FocusResult | None = None
    sources: tuple[SourceFile, ...] = ()
    reason_code: ReasonCode | None = None
    who: str | None = None
    fault: str | None = None
    attempt: int = 1
    purpose: Purpose = Purpose.PLAN


class AttemptsOrdered(Record, frozen=True, kw_only=True, tag="attempts_ordered"):
    """Fields are to be taken again after the plan; a night that was closed is open again.

    `who` ordered it, None where the night did by itself.
    """

    purpose: Purpose
    attempts: tuple[AttemptName, ...]
    who: str | None = None


class Event(Record, frozen=True, kw_only=True, tag="event"):
    """Something a person should know: a fault and what was done about it, a pause, a slide left early.

    `message` is a sentence for people; programs go by `name` and what follows. `who` gave an order; `by` is who ended
    the night, of events that end it; `fault` is the kind of a fault, the name of its error, such as `StageStuck`;
    `reason_code` says why a mini-slide was left. `names` are those of the files that it is about, all of them.
    """

    level: str
    name: EventName
    message: str
    monotonic_s: float
    slide: int | None = None
    field: int | None = None
    who: str | None = None
    by: EndedBy | None = None
    fault: str | None = None
    reason_code: ReasonCode | None = None
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What people read before the message: the name, or of a fault its kind."""
        return title_of(self.name, self.fault)

    @property
    def sentence(self) -> str:
        """The message, and the first of the files that it is about."""
        return message_with(self.message, self.names)

    @property
    def ending(self) -> NightState | None:
        """The state that a night ends in by this event; None of events that do not end it."""
        match self.name:
            case EventName.NIGHT_STOPPED:
                return NightState.STOPPED
            case EventName.NOT_DELIVERED:
                return NightState.NOT_DELIVERED
            case EventName.INTERRUPTED:
                return NightState.TERMINATED if self.by is EndedBy.SYSTEM else NightState.INTERRUPTED
        return None


def message_with(message: str, names: tuple[str, ...], shown: int = NAMES_TOLD) -> str:
    """Write a message and the first of the files that it is about."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{message}: {', '.join(names[:shown])}{more}" if names else message


class SlideClosed(Record, frozen=True, kw_only=True, tag="slide_closed"):
    """Every field of a mini-slide is secured or skipped; told again once fields of it were taken again."""

    slide: int
    sample: str
    recorded: int
    skipped: int


class NightClosed(Record, frozen=True, kw_only=True, tag="night_closed"):
    """Last record of a complete night, until further attempts are ordered."""

    recorded: int
    skipped: int


AnyRecord = (
    NightStarted | FieldSecured | FieldAnalysed | FieldSkipped | AttemptsOrdered | Event | SlideClosed | NightClosed
)


def slides_of(record: AnyRecord) -> set[int]:
    """Mini-slides of the plan that a record speaks of."""
    match record:
        case FieldSecured() | FieldSkipped() | FieldAnalysed() | SlideClosed():
            return {record.slide}
        case AttemptsOrdered():
            return {name.slide for name in record.attempts}
    return set()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyRecord)
_NAMES = frozenset(EventName)


def encode(record: AnyRecord) -> bytes:
    """Msgpack bytes of a record."""
    return _encoder.encode(record)


def decode(body: bytes) -> AnyRecord:
    """Record of msgpack bytes; what version 0.1 said in sentences alone is read into its fields.

    Raises
    ------
    msgspec.DecodeError
        The bytes are not a record of this version or the one before.
    """
    try:
        try:
            record: AnyRecord = _decoder.decode(body)
        except msgspec.ValidationError:
            record = _fault_by_name(msgspec.msgpack.decode(body))
    except (UnicodeDecodeError, RecursionError) as error:  # text that is none, nesting without end
        raise msgspec.DecodeError(str(error)) from error
    return _completed(record)


def _fault_by_name(plain: Any) -> AnyRecord:
    """Read an event of version 0.1, where the kind of a fault was the name of the event."""
    if isinstance(plain, dict) and plain.get("kind") == "event":
        name = plain.get("name")
        if isinstance(name, str) and name not in _NAMES:
            plain |= {"name": EventName.FAULT, "fault": name}
    record: AnyRecord = msgspec.convert(plain, AnyRecord)
    return record


def _completed(record: AnyRecord) -> AnyRecord:
    match record:
        case FieldSkipped(reason_code=None, reason=reason):
            why = earlier.why_skipped(reason)
            return replace(record, reason=why.sentence, reason_code=why.code, who=why.who, fault=why.fault)
        case Event(name=EventName.SLIDE_LEFT, reason_code=None, message=message):
            return replace(record, reason_code=earlier.why_left(message))
        case Event(name=name, who=None, message=message) if name in earlier.ORDERS:
            return replace(record, who=earlier.who_ordered(message))
        case Event(name=name, by=None, message=message) if (by := earlier.who_ended(name, message)) is not None:
            return replace(record, by=by)
    return record
