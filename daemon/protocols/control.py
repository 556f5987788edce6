"""The words between a night and those who may steer it (docs/control.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from daemon.protocols.frames import decode_frame
from daemon.records.states import NightState
from daemon.system.errors import ProtocolViolation

VERSION = 1
PREFIX = b"LMC" + bytes([VERSION])
MAX_ORDER_BYTES = 1024

OrderName = Literal["pause", "resume", "skip", "stop", "status"]
"""Pause at the next field; go on; leave the mini-slide that is scanned; end the night safely; say how things stand."""


class Order(msgspec.Struct, frozen=True, kw_only=True, tag="order", tag_field="type", forbid_unknown_fields=True):
    """What someone wants done.

    An order that is sent again with the same `id` is carried out once. `who` is who says so, for the events: it can be
    printed on one line, so that no name can forge another line or steer a terminal. `slide`
    names the mini-slide that `skip` means, so that a late order does not skip the next one; None for other orders.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name: OrderName
    who: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    slide: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer", tag_field="type"):
    """What became of an order, and how the night stands.

    `message` is a sentence for people; `refused` counts what came and was no order.
    """

    id: str
    accepted: bool
    message: str
    state: NightState
    reason: str
    slide: int | None
    secured: int
    skipped: int
    planned: int
    refused: int


_encoder = msgspec.msgpack.Encoder()
_order = msgspec.msgpack.Decoder(Order)
_answer = msgspec.msgpack.Decoder(Answer)


def encode(message: Order | Answer) -> bytes:
    """Frame of a message: prefix and msgpack."""
    return PREFIX + _encoder.encode(message)


def decode_order(frame: bytes) -> Order:
    """Order of a frame; raises `ProtocolViolation`."""
    order = decode_frame(frame, PREFIX, _order)
    if not (order.who.isprintable() and order.who.strip() and order.id.isprintable()):
        raise ProtocolViolation(f"id {order.id!r} or who {order.who!r} of an order is blank or cannot be printed")
    return order


def decode_answer(frame: bytes) -> Answer:
    """Answer of a frame; raises `ProtocolViolation`."""
    return decode_frame(frame, PREFIX, _answer)
