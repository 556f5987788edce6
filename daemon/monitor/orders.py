"""Orders to the night, given through the page: one question and one answer on the socket that takes orders."""

from __future__ import annotations

import zmq

from daemon.config import CurveKeys
from daemon.controlwire import Answer, Order, decode_answer, encode
from daemon.endpoints import check_endpoint, secure
from daemon.errors import LamelleError
from daemon.watching import MAX_MESSAGE_BYTES

ANSWER_S = 5.0


class NoAnswer(LamelleError):
    """The night did not say what became of an order."""


def give(order: Order, endpoint: str, keys: CurveKeys | None) -> Answer:
    """Give an order and wait for the answer; blocks for `ANSWER_S` at most.

    Raises
    ------
    NoAnswer
        None came: the night may have taken the order or not.
    ProtocolViolation
        What came is no answer.
    Refused
        The endpoint can be reached by others and there are no keys for it.
    """
    check_endpoint(endpoint, keys, "client")
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.maxmsgsize = MAX_MESSAGE_BYTES
        secure(socket, keys, "client")
        socket.connect(endpoint)
        socket.send(encode(order))
        if not socket.poll(int(ANSWER_S * 1000)):
            raise NoAnswer(
                f"the night did not answer within {ANSWER_S:.0f} s whether it takes the order {order.name!r}; look at "
                "its state before you give it again"
            )
        return decode_answer(socket.recv_multipart()[-1])
