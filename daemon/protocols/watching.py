"""The words between a night and those who watch it (docs/watching.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from daemon.protocols.frames import decode_frame
from daemon.records.events import EventName, ReasonCode, title_of
from daemon.records.states import EndedBy, NightState

VERSION = 3
PREFIX = b"LMW" + bytes([VERSION])


class StreamMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of what is told; the tag is also the topic."""


class ShownObject(msgspec.Struct, frozen=True, kw_only=True):
    """A detection as watchers see it; box x0, y0, x1, y1 in px of the frame.

    `number` names it within its field. `counted` is true of those above the threshold that belong to this field.
    `taxon` is an identifier (`About.taxa`), None of what has no name.
    """

    number: int
    box: tuple[int, int, int, int]
    class_name: str
    score: float
    below_threshold: bool
    counted: bool
    length_um: float | None = None
    mass_pg: float | None = None
    taxon: str | None = None
    taxon_probability: float | None = None


class Overview(StreamMessage, frozen=True, kw_only=True, tag="overview"):
    """A field was secured. One blob a view: a JPEG; `frame_px` (height, width) is what boxes refer to.

    `views` names them: `fused`, then the polarizations in their sharpest planes. `attempt` is that at the field.
    """

    slide: int
    field: int
    sample: str
    frame_px: tuple[int, int]
    views: tuple[str, ...]
    objects: tuple[ShownObject, ...]
    attempt: int = 1


class ShownSpecimen(msgspec.Struct, frozen=True, kw_only=True):
    """An object whose focus strip is shown; `tile_px` (height, width) is the size of each picture in it."""

    number: int
    class_name: str
    score: float
    best_plane: float
    tile_px: tuple[int, int]
    tile_um: float
    length_um: float | None = None
    mass_pg: float | None = None
    taxon: str | None = None
    taxon_probability: float | None = None


class Specimens(StreamMessage, frozen=True, kw_only=True, tag="specimens"):
    """Some objects of a field that was secured. One blob an object: a JPEG, its planes from left to right.

    It has a row of them for each of `polarizations`, from top to bottom. `tile_um` is how wide a picture is. They
    take the place of those of an earlier `attempt` at the field.
    """

    slide: int
    field: int
    sample: str
    polarizations: tuple[str, ...]
    planes: int
    step_um: float
    specimens: tuple[ShownSpecimen, ...]
    attempt: int = 1


class Find(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A counted object: its class, what is known of its size, and its taxon."""

    class_name: str
    length_um: float | None
    mass_pg: float | None
    taxon: str | None = None


class FieldDone(StreamMessage, frozen=True, kw_only=True, tag="field"):
    """A field was secured, or skipped: then `reason` says why to people, and `reason_code` to programs.

    `seconds` is how long the microscope took for it; `backgrounds_dn` are in the order of the polarizations.
    `finds` are its counted objects, `objects` of them. A field that was taken again is told again, if the new `attempt`
    counts: then `instead_of` are the objects that were counted there before, and are not any more. A snapshot leaves
    both out, its tallies hold them.
    """

    slide: int
    field: int
    utc: float
    x_um: float
    y_um: float
    objects: int = 0
    focus_z_um: float | None = None
    seconds: float = 0.0
    backgrounds_dn: tuple[float, ...] = ()
    reason: str | None = None
    reason_code: ReasonCode | None = None
    finds: tuple[Find, ...] = ()
    attempt: int = 1
    instead_of: tuple[Find, ...] = ()


class Counters(StreamMessage, frozen=True, kw_only=True, tag="counters"):
    """How far the night is, and how full what may fill up.

    `backlog` records are not yet at the recorder. `disk_hours` is how long the run folder's disk lasts at the pace so
    far, None where nothing was written yet. `ring_used` of `ring_stacks` stacks are being exposed or analysed.
    `again_made` of `again_ordered` fields are taken again; `attempts` at fields were made, also such as do not count.
    """

    planned: int
    secured: int
    skipped: int
    objects: int
    fields_per_s: float
    seconds_left: float | None
    slide: int | None
    spool_bytes: int
    spool_limit_bytes: int
    acknowledged: int
    backlog: int
    ring_used: int
    ring_stacks: int
    disk_free_bytes: int
    disk_hours: float | None
    again_ordered: int = 0
    again_made: int = 0
    attempts: int = 0


class Hardware(StreamMessage, frozen=True, kw_only=True, tag="hardware"):
    """What the microscope was last told, and what runs the detector; empty or None where it is not known yet."""

    x_um: float | None = None
    y_um: float | None = None
    z_um: float | None = None
    light: bool | None = None
    microscope: str = ""
    analysis: str = ""
    recorder: str = ""


class State(StreamMessage, frozen=True, kw_only=True, tag="state"):
    """What the night does now, such as `scanning`, `paused` or `complete`, and why."""

    state: NightState
    reason: str = ""


class EventNotice(StreamMessage, frozen=True, kw_only=True, tag="event"):
    """An event, as it also stands in the catalog (docs/events.md)."""

    utc: float
    level: str
    name: EventName
    message: str
    slide: int | None = None
    field: int | None = None
    who: str | None = None
    by: EndedBy | None = None
    fault: str | None = None
    reason_code: ReasonCode | None = None

    @property
    def title(self) -> str:
        """What people read before the message."""
        return title_of(self.name, self.fault)


Tone = Literal["good", "running", "warning", "bad"]
"""Whether it is well how a night stands; one that runs and needs nobody is `running`."""


class Verdict(StreamMessage, frozen=True, kw_only=True, tag="verdict"):
    """How a night stands, in one sentence, and what a person should do, the most urgent first (daemon/verdict).

    `detail` is all of `needs` as one text, or says that nothing needs anybody.
    """

    headline: str
    tone: Tone
    needs: tuple[str, ...]
    detail: str


class SlidePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A mini-slide of the night; `places` are the centres of its fields in their order, x and y in um of the stage."""

    position: int
    sample: str
    centre_um: tuple[float, float]
    size_um: tuple[float, float]
    places: tuple[tuple[float, float], ...]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The night that is watched, and what does not change in it; `frame_um` is the width and height of a field.

    `named_by` is the sha256 of the classifier, empty where objects get no names; `taxa` what people call its taxa;
    `dataset` says where what it records is kept, and which command shows it there, empty in earlier versions.
    """

    night: str
    began_utc: float
    slides: tuple[SlidePlan, ...]
    frame_um: tuple[float, float]
    polarizations: tuple[str, ...]
    planes: int
    step_um: float
    weights_sha256: str
    calibrations: tuple[str, ...]
    version: str
    named_by: str = ""
    taxa: dict[str, str] = {}
    dataset: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Frame 1 of the stream, behind the prefix.

    `process` names the process that runs the night, `seq` counts its messages, so a gap shows what was lost.
    """

    process: str
    seq: int
    utc: float
    body: Overview | Specimens | FieldDone | Counters | Hardware | State | EventNotice | Verdict


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Counted objects of a class on a mini-slide: how many, and how many in each bin of length and of mass.

    `taxa` says how many of them are of each taxon; those without a name are left out.
    """

    slide: int
    class_name: str
    objects: int
    lengths: tuple[int, ...]
    masses: tuple[int, ...]
    taxa: dict[str, int] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Frame 0 of an answer, behind the prefix.

    Frame 1 holds every field so far, the frames behind it are the images of `overviews` and then of `specimens`, in
    their order. It holds everything up to `seq`. `stream` is the endpoint of the PUB stream, `control` that of the
    socket that takes orders, if there is one; `dropped` counts what the queue lost, `violations` what was no request.
    """

    process: str
    seq: int
    utc: float
    stream: str
    control: str | None
    about: About
    state: State | None
    verdict: Verdict | None
    counters: Counters | None
    hardware: Hardware | None
    overviews: tuple[Overview, ...]
    specimens: tuple[Specimens, ...]
    events: tuple[EventNotice, ...]
    tallies: tuple[Tally, ...]
    dropped: int
    violations: int


class SnapshotRequest(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", forbid_unknown_fields=True):
    """The one thing that may be asked."""


AnyStreamMessage = Overview | Specimens | FieldDone | Counters | Hardware | State | EventNotice | Verdict
_encoder = msgspec.msgpack.Encoder()
_request = msgspec.msgpack.Decoder(SnapshotRequest)
_envelope = msgspec.msgpack.Decoder(Envelope)
_snapshot = msgspec.msgpack.Decoder(Snapshot)
_fields = msgspec.msgpack.Decoder(tuple[FieldDone, ...])


def count_blobs(body: AnyStreamMessage) -> int:
    """How many frames of pictures come behind a message."""
    match body:
        case Overview():
            return len(body.views)
        case Specimens():
            return len(body.specimens)
    return 0


def encode(message: Envelope | Snapshot | SnapshotRequest) -> bytes:
    """Frame of a message: prefix and msgpack."""
    return PREFIX + _encoder.encode(message)


def decode_envelope(frame: bytes) -> Envelope:
    """Frame 1 of the stream; raises `ProtocolViolation`."""
    return decode_frame(frame, PREFIX, _envelope)


def decode_snapshot(frame: bytes) -> Snapshot:
    """Frame 0 of an answer; raises `ProtocolViolation`."""
    return decode_frame(frame, PREFIX, _snapshot)


def encode_field(done: FieldDone) -> msgspec.Raw:
    """Encode a field as it stands in the second frame of a snapshot."""
    return msgspec.Raw(_encoder.encode(msgspec.structs.replace(done, finds=(), instead_of=())))


def encode_fields(fields: Sequence[msgspec.Raw]) -> bytes:
    """Second frame of a snapshot, from what `encode_field` made."""
    return _encoder.encode(fields)


def decode_fields(frame: bytes) -> tuple[FieldDone, ...]:
    """Second frame of a snapshot; raises `ProtocolViolation`."""
    return decode_frame(PREFIX + frame, PREFIX, _fields)


def decode_request(frame: bytes) -> SnapshotRequest:
    """Frame of a question; raises `ProtocolViolation`."""
    return decode_frame(frame, PREFIX, _request)


EVENTS_KEPT = 100
