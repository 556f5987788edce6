"""A message in one frame: four bytes that say what protocol it is of and in which version, then msgpack."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from daemon.system.errors import ProtocolViolation

T = TypeVar("T")


def decode_frame(frame: bytes, prefix: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """Message of a frame.

    Raises
    ------
    ProtocolViolation
        It begins otherwise, or is not what the decoder knows.
    """
    if not frame.startswith(prefix):
        raise ProtocolViolation(f"a message begins with {prefix!r}, not with {frame[: len(prefix)]!r}")
    try:
        return decoder.decode(frame[len(prefix) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"the {len(frame)} bytes are not such a message: {error}") from error
