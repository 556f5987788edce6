"""A message in one frame: four bytes that say what protocol it is of and in which version, then msgpack."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from daemon.system.errors import OtherVersion, ProtocolViolation

T = TypeVar("T")


def decode_frame(frame: bytes, prefix: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """Message of a frame.

    Raises
    ------
    OtherVersion
        It is of the same protocol in another version.
    ProtocolViolation
        It begins otherwise, or is not what the decoder knows.
    """
    if len(frame) >= len(prefix) and frame[: len(prefix) - 1] == prefix[:-1] and not frame.startswith(prefix):
        spoken = f"version {frame[len(prefix) - 1]} of the protocol, this one speaks {prefix[-1]}"
        raise OtherVersion(f"the peer speaks {spoken}; install the same version of lamelle on both")
    if not frame.startswith(prefix):
        raise ProtocolViolation(f"a message begins with {prefix!r}, not with {frame[: len(prefix)]!r}")
    try:
        return decoder.decode(frame[len(prefix) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"the {len(frame)} bytes are not such a message: {error}") from error
