"""The words between sender and recorder (docs/protocol.md): a versioned msgpack header, and raw bytes behind it.

A message is one or two ZeroMQ frames. Frame 0 is `LML`, the protocol version as one byte, and a msgpack map. Frame 1
is there for `record` and `chunk` alone and holds the record's msgpack bytes or a piece of a file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec

from daemon.system.errors import OtherVersion, ProtocolViolation

VERSION = 5
BEFORE = 4
"""A recorder takes a sender of this version too, and answers in it: headers are the same, records had fewer keys."""
MAGIC = b"LML"
PREFIX = MAGIC + bytes([VERSION])
MAX_HEADER_BYTES = 16 << 10
MAX_PAYLOAD_BYTES = 16 << 20
"""Bounds of frame 0 and frame 1."""
MAX_PARTS = 64

# Whole numbers stay below 2**53, so that a client whose only numbers are doubles can be written.
_MOST = 2**53 - 1
Number = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Session = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]


class DeliveryMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages; `session` is a number that the sender draws anew for every hello."""

    session: Session


class Hello(DeliveryMessage, frozen=True, kw_only=True, tag="hello"):
    """Sender: begins a session for a night, with at most `window` payload bytes on the way."""

    night: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    window: Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


class RecordFollows(DeliveryMessage, frozen=True, kw_only=True, tag="record"):
    """Sender: frame 1 is record `seq`; the chunks of its files follow, file by file."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


class ChunkFollows(DeliveryMessage, frozen=True, kw_only=True, tag="chunk"):
    """Sender: frame 1 is what file number `file` (from 0) of record `seq` holds from byte `offset` on."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
    file: Number
    offset: Number


class Beat(DeliveryMessage, frozen=True, kw_only=True, tag="beat"):
    """Either: I am here; a recorder answers one with one."""


class Welcome(DeliveryMessage, frozen=True, kw_only=True, tag="welcome"):
    """Recorder: answers hello.

    It holds records 1 to `acknowledged`, the last with the sha256 `digest` (None where it holds none). `parts` are
    files begun, by sha256, with the bytes there are of each; sending goes on behind them. `limit` as in `Credit`.
    """

    acknowledged: Number
    digest: Sha256 | None
    parts: Annotated[dict[Sha256, Number], msgspec.Meta(max_length=MAX_PARTS)]
    limit: Number


class Credit(DeliveryMessage, frozen=True, kw_only=True, tag="credit"):
    """Recorder: a payload may be sent while the payload bytes sent in this session are below `limit`."""

    limit: Number


class Ack(DeliveryMessage, frozen=True, kw_only=True, tag="ack"):
    """Recorder: holds every record up to `seq` and its files, durably."""

    seq: Number


class Refuse(DeliveryMessage, frozen=True, kw_only=True, tag="refuse"):
    """Recorder: changed nothing, and the session (if it names one) is over; say hello again if `retry`.

    `violations` counts what was refused for breaking the protocol since the recorder started.
    """

    session: Number = 0
    code: Annotated[str, msgspec.Meta(max_length=40)]
    reason: Text
    retry: bool
    violations: Number


FromSender = Hello | RecordFollows | ChunkFollows | Beat
FromRecorder = Welcome | Credit | Ack | Refuse | Beat
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_WITH_PAYLOAD = (RecordFollows, ChunkFollows)

_encoder = msgspec.msgpack.Encoder()
_from_sender = msgspec.msgpack.Decoder(FromSender, strict=True)
_from_recorder = msgspec.msgpack.Decoder(FromRecorder, strict=True)


def encode(message: FromSender | FromRecorder, payload: bytes | None = None, version: int = VERSION) -> list[bytes]:
    """Frames of a message; `payload` with a `record` or `chunk` alone."""
    header = MAGIC + bytes([version]) + _encoder.encode(message)
    return [header] if payload is None else [header, payload]


def answered_in(frames: Sequence[bytes]) -> int:
    """Version in which a recorder answers a sender's message: the sender's own, if this recorder speaks it."""
    return BEFORE if frames and frames[0].startswith(MAGIC + bytes([BEFORE])) else VERSION


def decode_from_sender(frames: Sequence[bytes]) -> tuple[FromSender, bytes]:
    """Message and payload (empty where there is none) that a recorder received.

    Raises
    ------
    ProtocolViolation
        The frames are not a message of this version or the one before, or larger than allowed.
    """
    header = _header(frames, (VERSION, BEFORE))
    try:
        message: FromSender = _from_sender.decode(header)
    except _UNREADABLE as error:
        raise ProtocolViolation(f"the header of {len(header)} bytes is not a sender's message: {error}") from error
    return message, _payload(frames, isinstance(message, _WITH_PAYLOAD))


def decode_from_recorder(frames: Sequence[bytes]) -> FromRecorder:
    """Message that a sender received; raises like `decode_from_sender`, and `OtherVersion`."""
    header = _header(frames, (VERSION,))
    try:
        message: FromRecorder = _from_recorder.decode(header)
    except _UNREADABLE as error:
        raise ProtocolViolation(f"the header of {len(header)} bytes is not a recorder's message: {error}") from error
    _payload(frames, expected=False)
    return message


def _header(frames: Sequence[bytes], spoken: Collection[int]) -> bytes:
    if not frames or len(frames[0]) > MAX_HEADER_BYTES:
        raise ProtocolViolation(f"a message begins with a header of at most {MAX_HEADER_BYTES} bytes")
    prefix, header = frames[0][: len(PREFIX)], frames[0][len(PREFIX) :]
    if len(prefix) != len(PREFIX) or not prefix.startswith(MAGIC):
        raise ProtocolViolation(f"a header begins with {MAGIC!r} and a version, not with {prefix!r}")
    if prefix[-1] not in spoken:
        raise OtherVersion(f"the peer speaks version {prefix[-1]} of the protocol, this one speaks {VERSION}")
    return header


def _payload(frames: Sequence[bytes], expected: bool) -> bytes:
    if len(frames) != 1 + expected:
        raise ProtocolViolation(f"the message has {len(frames)} frames and must have {1 + expected}")
    if not expected:
        return b""
    if not 0 < len(frames[1]) <= MAX_PAYLOAD_BYTES:
        raise ProtocolViolation(f"frame 1 has {len(frames[1])} bytes and must have 1 to {MAX_PAYLOAD_BYTES}")
    return frames[1]
