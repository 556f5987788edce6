"""What the supervisor and its children say to each other: msgpack over pipes, one reply to every request."""

from __future__ import annotations

from typing import Literal

import msgspec

from daemon.protocols.watching import ShownSpecimen
from daemon.records.fields import ArchiveField, PlannedField
from daemon.records.flags import FieldFlag
from daemon.records.records import FieldAnalysed, FieldSecured, FieldSkipped, ReadBack, SourceFile
from drivers.errors import FaultOf
from drivers.microscope import Sweep

Device = Literal["cpu", "cuda", "none"]
"""What a detector runs on; none where there is no detector."""


class PipeMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages."""


# To the microscope ---------------------------------------------------------------------------------------------------


class Prepare(PipeMessage, frozen=True, kw_only=True):
    """Do what takes time before the first exposure; the hardware is safe meanwhile."""


class OpenSlide(PipeMessage, frozen=True, kw_only=True):
    """Enforce the z window of this mini-slide from now on."""

    slide: int


class Expose(PipeMessage, frozen=True, kw_only=True):
    """Move to a field, which was `exposed` so often before, and expose a sweep into a slot of the ring."""

    planned: PlannedField
    exposed: int
    sweep: Sweep
    slot: int


class SwitchLight(PipeMessage, frozen=True, kw_only=True):
    """Switch lamp and shutter."""

    on: bool


class Withdraw(PipeMessage, frozen=True, kw_only=True):
    """Withdraw the objective."""


class Close(PipeMessage, frozen=True, kw_only=True):
    """Make safe at once, whatever is going on; then let go, and end. Not answered, but see `MadeSafe`."""


# From the microscope -------------------------------------------------------------------------------------------------


class MicroscopeReady(PipeMessage, frozen=True, kw_only=True):
    """The hardware is loaded, checked and safe; `notes` are what a person should know of it, a sentence each.

    `bits` are those of the camera.
    """

    backend: str
    camera: str
    bits: int
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


class FrameLanded(PipeMessage, frozen=True, kw_only=True):
    """A plane is in the ring. Also what the analysis is told."""

    slot: int
    c: int
    z: int


class MadeSafe(PipeMessage, frozen=True, kw_only=True):
    """Told, unasked, after `Close`: shutter closed, lamp off, objective withdrawn."""


class Exposed(PipeMessage, frozen=True, kw_only=True):
    """A sweep is complete.

    `x_um` and `y_um` are where the XY stage reads back that it stands before the first plane, `read_s` the monotonic
    times at which frames were read and `read_back` what was read back afterwards, of each polarization in the order of
    the sweep. `bits` are those of the camera, `sources` the files of a recording that was replayed.
    """

    utc: float
    monotonic_s: float
    x_um: float
    y_um: float
    read_s: tuple[tuple[float, ...], ...]
    seconds: dict[str, float]
    bits: int
    read_back: tuple[ReadBack, ...] = ()
    sources: tuple[SourceFile, ...] = ()


class Done(PipeMessage, frozen=True, kw_only=True):
    """A request was carried out."""


class Failed(PipeMessage, frozen=True, kw_only=True):
    """A request failed.

    `kind` names the error's class; `again` says whether the same request may be made again, `fault_of` what the fault
    is of, where the microscope failed.
    """

    kind: str
    message: str
    again: bool
    fault_of: FaultOf | None = None


class EndsWithError(PipeMessage, frozen=True, kw_only=True):
    """The last word of any child, unasked: the error that ends it, as the last line of the traceback in its log."""

    error: str


# To the analysis -----------------------------------------------------------------------------------------------------


class StackFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a stack cannot be analysed: the kind of the error, and a sentence."""

    kind: str
    message: str


class StackBegins(PipeMessage, frozen=True, kw_only=True):
    """Planes of a new stack will be announced for this slot; what was announced before is void."""

    slot: int


class Finish(PipeMessage, frozen=True, kw_only=True):
    """All planes have landed: analyse, write the field's files into the spool, and answer.

    `read_back` is what the instrument read of each polarization, `bits` those of the camera, `sources` the files of a
    recording that was replayed. With a `fault`, what went wrong with this stack before, do not analyse it: keep it raw.
    Where the analysis died as it named its objects before, leave them `nameless`, and this says so; where it died even
    as it kept the stack raw, leave its picture `undrawn`.
    """

    slot: int
    planned: PlannedField
    first_z_um: float
    exposed_utc: float
    bits: int
    read_back: tuple[ReadBack, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    keep_raw: bool
    keep_fused: bool = False
    fault: StackFault | None = None
    nameless: str = ""
    undrawn: bool = False


class MeasureSharpness(PipeMessage, frozen=True, kw_only=True):
    """Sharpness of the first planes of a slot's first channel, for the focus search."""

    slot: int
    planes: int


# From the analysis ---------------------------------------------------------------------------------------------------


class AnalysisReady(PipeMessage, frozen=True, kw_only=True):
    """The detector is loaded and warm, or there is none: `device` says what it runs on.

    `runtimes` names what runs it, `refusals` says why faster ones do not; a sentence each. `named_by` is the sha256 of
    the classifier, empty where there is none; `nameless` says why there is none that works.
    """

    weights_sha256: str
    named_by: str = ""
    nameless: str = ""
    device: Device = "cpu"
    runtimes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


class NamingBegins(PipeMessage, frozen=True, kw_only=True):
    """Told, unasked: the objects of this slot's stack are named from now on."""

    slot: int


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """An object through focus, for those who watch: a JPEG, a row a polarization and a column a plane."""

    specimen: ShownSpecimen
    jpeg: bytes


class Analysed(PipeMessage, frozen=True, kw_only=True):
    """A field is analysed and its files are durable in the spool.

    `record` is the field's, but for what the night alone knows: attempts, search, and how long the microscope took.
    `views` are JPEGs for those who watch, the fused one and then the polarizations, none of a stack that could not be
    analysed; `strips` show some of the objects. `nameless` says why its objects have no names, if they have none.
    """

    slot: int
    record: FieldSecured
    views: tuple[bytes, ...]
    strips: tuple[Strip, ...] = ()
    nameless: str = ""


class Sharpness(PipeMessage, frozen=True, kw_only=True):
    """One number a plane, larger is sharper."""

    values: tuple[float, ...]


# To a worker that goes through stacks on disk ------------------------------------------------------------------------


class CutField(PipeMessage, frozen=True, kw_only=True):
    """Read a stack, analyse it, write the field's file into the dataset, and answer.

    `kind` says what the stack's file is: an image of an archive, or the raw stack of a field of a dataset, either for a
    field of another dataset (`kept`) or to add what is found to the field it belongs to (`later`). `nameless` is as of
    `Finish`. `flags` and `excluded_by` are what the record of that raw stack says of its field.
    """

    planned: ArchiveField
    kind: Literal["image", "kept", "later"]
    nameless: str = ""
    flags: tuple[FieldFlag, ...] = ()
    excluded_by: tuple[FieldFlag, ...] = ()


# From a worker -------------------------------------------------------------------------------------------------------


class FieldCut(PipeMessage, frozen=True, kw_only=True):
    """The field's record; the files it lists are durable. `nameless` says why objects have no names."""

    record: FieldSecured | FieldAnalysed | FieldSkipped
    nameless: str = ""


# Recorder ------------------------------------------------------------------------------------------------------------


class RecorderReady(PipeMessage, frozen=True, kw_only=True):
    """The recorder listens at this endpoint."""

    endpoint: str


class Reported(PipeMessage, frozen=True, kw_only=True):
    """The recorder ends, and what became of the report: the page, or why there is none; neither of an open night."""

    page: str = ""
    problem: str = ""


AnyMessage = (
    Prepare
    | OpenSlide
    | Expose
    | SwitchLight
    | Withdraw
    | Close
    | MicroscopeReady
    | FrameLanded
    | MadeSafe
    | Exposed
    | Done
    | Failed
    | EndsWithError
    | StackBegins
    | Finish
    | MeasureSharpness
    | AnalysisReady
    | NamingBegins
    | Analysed
    | Sharpness
    | CutField
    | FieldCut
    | RecorderReady
    | Reported
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: AnyMessage) -> bytes:
    """Msgpack bytes of a message."""
    return _encoder.encode(message)


def decode(body: bytes) -> AnyMessage:
    """Message of msgpack bytes; raises `msgspec.ValidationError` for anything else."""
    message: AnyMessage = _decoder.decode(body)
    return message
