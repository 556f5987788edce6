"""Giving an order to a night, from anywhere: sent once, answered once."""

from __future__ import annotations

import getpass
import socket
import uuid
from collections.abc import Callable

import zmq

from daemon.config.model import CurveKeys
from daemon.protocols.control import Answer, Order, OrderName, decode_answer, encode
from daemon.protocols.sockets import check_endpoint, secure
from daemon.system.errors import Refused

PATIENCE_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024


def myself() -> str:
    """Give the name of whoever runs this program, user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name; ImportError is Windows' word for it
        user = "somebody"
    name = f"{user}@{socket.gethostname()}"
    return "".join(letter for letter in name if letter.isprintable())[:100]


def give_order(
    where: Callable[[], str],
    keys: CurveKeys | None,
    name: OrderName,
    who: str,
    slide: int | None = None,
    patience_s: float = PATIENCE_S,
) -> Answer:
    """Give an order and await its answer.

    Parameters
    ----------
    where
        tells the endpoint, as `daemon.run_folder.endpoints.find_endpoint` makes it.
    slide
        mini-slide that a `skip` means.

    Raises
    ------
    Refused
        The endpoint or the keys are not usable, the order is malformed, or nobody answers.
    ProtocolViolation
        What came back is no answer.
    """
    if not who.isprintable() or not who.strip() or len(who) > 100:
        raise Refused(f"--who is {who!r}; give a name of 1 to 100 letters that can be printed, not of blanks alone")
    endpoint = where()
    check_endpoint(endpoint, keys, "client")
    order = Order(id=uuid.uuid4().hex, name=name, who=who, slide=slide)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.maxmsgsize = MAX_ANSWER_BYTES
        secure(dealer, keys, "client")
        dealer.connect(endpoint)
        dealer.send(encode(order))
        if not dealer.poll(round(patience_s * 1000)):
            raise Refused(
                f"nobody answers at {endpoint} within {patience_s:g} s; is the night running, and are the keys right?"
            )
        return decode_answer(dealer.recv())
