"""The words between a night and those who watch it (docs/watching.md)."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from daemon.errors import ProtocolViolation

T = TypeVar("T")

VERSION = 1
PREFIX = b"LMW" + bytes([VERSION])


class Body(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of what is told; the tag is also the topic."""


class SeenObject(msgspec.Struct, frozen=True, kw_only=True):
    """A detection as watchers see it; box x0, y0, x1, y1 in px of the frame."""

    box: tuple[int, int, int, int]
    class_name: str
    score: float
    below_threshold: bool


class Overview(Body, frozen=True, kw_only=True, tag="overview"):
    """A field was secured. One blob: its overview as JPEG; `frame_px` (height, width) is what boxes refer to."""

    slide: int
    field: int
    sample: str
    frame_px: tuple[int, int]
    focus_z_um: float | None
    objects: tuple[SeenObject, ...]


class Counters(Body, frozen=True, kw_only=True, tag="counters"):
    """How far the night is."""

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


class State(Body, frozen=True, kw_only=True, tag="state"):
    """What the night does now, such as `scanning`, `paused` or `complete`, and why."""

    state: str
    reason: str = ""


class Told(Body, frozen=True, kw_only=True, tag="event"):
    """An event, as it also stands in the catalog."""

    level: str
    name: str
    message: str
    slide: int | None = None
    field: int | None = None


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The night that is watched: its name, and of each mini-slide its sample and planned fields."""

    night: str
    samples: dict[int, str]
    planned: dict[int, int]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Frame 1 of the stream, behind the prefix. `seq` counts all messages, so a gap shows what was lost."""

    seq: int
    utc: float
    body: Overview | Counters | State | Told


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Frame 0 of an answer, behind the prefix; the frames behind it are the images of `overviews`, in their order.

    It holds everything up to `seq`. `stream` is the endpoint of the PUB stream; `dropped` counts what the queue lost.
    """

    seq: int
    utc: float
    stream: str
    about: About
    state: State | None
    counters: Counters | None
    overviews: tuple[Overview, ...]
    events: tuple[Told, ...]
    dropped: int


class SnapshotRequest(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", forbid_unknown_fields=True):
    """The one thing that may be asked."""


AnyBody = Overview | Counters | State | Told
_encoder = msgspec.msgpack.Encoder()
_request = msgspec.msgpack.Decoder(SnapshotRequest)
_envelope = msgspec.msgpack.Decoder(Envelope)
_snapshot = msgspec.msgpack.Decoder(Snapshot)


def encode(message: Envelope | Snapshot | SnapshotRequest) -> bytes:
    """Frame of a message: prefix and msgpack."""
    return PREFIX + _encoder.encode(message)


def decode_envelope(frame: bytes) -> Envelope:
    """Frame 1 of the stream; raises `ProtocolViolation`."""
    return _decode(frame, _envelope)


def decode_snapshot(frame: bytes) -> Snapshot:
    """Frame 0 of an answer; raises `ProtocolViolation`."""
    return _decode(frame, _snapshot)


def decode_request(frame: bytes) -> SnapshotRequest:
    """Frame of a question; raises `ProtocolViolation`."""
    return _decode(frame, _request)


def _decode(frame: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    if not frame.startswith(PREFIX):
        raise ProtocolViolation(f"a message begins with {PREFIX!r}, not with {frame[: len(PREFIX)]!r}")
    try:
        return decoder.decode(frame[len(PREFIX) :])
    except msgspec.DecodeError as error:
        raise ProtocolViolation(f"the {len(frame)} bytes are not such a message: {error}") from error
