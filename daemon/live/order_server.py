"""Where a night takes orders: a ROUTER in a thread of its own, from which only orders that are whole get to the night.

docs/control.md describes the wire. Whatever else comes is refused, counted and without effect.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from daemon.config.model import Control
from daemon.live.standing import Standing
from daemon.live.steering import OrderOutcome
from daemon.protocols.control import MAX_ORDER_BYTES, Answer, Order, decode_order, encode
from daemon.protocols.router import Bounds, Router, sender_and_frame
from daemon.system.errors import ProtocolViolation, Refused
from daemon.system.throttle import Allowance

BOUNDS = Bounds(message_bytes=64 * 1024, waiting_in=64, waiting_out=64)
ANSWER_S = 2.0
"""How long the night may take to carry out an order."""
ORDERS_KEPT = 1000
"""Orders whose answer is remembered, so that one that is sent again is carried out once."""
BURST, ORDERS_PER_S = 20, 2.0
"""So many orders at once, and then so many a second, are carried out: each is an event that is made durable."""
_LOOK_S = 0.02
"""How soon the end of the server ends the wait for an answer."""

_log = logging.getLogger("lamelle.control")
_Pending = concurrent.futures.Future[OrderOutcome]


class Controller:
    """Takes orders. Bound when it is made, serves from `listen` until `close`.

    Parameters
    ----------
    settings
        the endpoint, which must be set, and its keys.
    clock
        monotonic seconds.

    Attributes
    ----------
    endpoint
        as it was bound.

    Raises
    ------
    Refused
        The endpoint is malformed, taken, or reachable by others without keys.
    """

    def __init__(self, settings: Control, clock: Callable[[], float] = time.monotonic) -> None:
        if settings.endpoint is None:
            raise Refused("control.endpoint is not set; set it, such as tcp://127.0.0.1:*")
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Order, _Pending]] = OrderedDict()
        self._allowance = Allowance(BURST, ORDERS_PER_S, clock)
        self._router = Router("control.endpoint", settings.endpoint, settings.keys, BOUNDS, _log)
        self.endpoint = self._router.endpoint

    @property
    def refused(self) -> int:
        """Messages that were no order, orders beyond what is carried out in a second, and connections that did not fit.

        Those had the wrong keys, or did not speak ZeroMQ.
        """
        return self._router.messages.count + self._router.connections.count

    def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        carry_out: Callable[[Order], OrderOutcome],
        standing: Callable[[], Standing],
    ) -> None:
        """Serve from now on.

        Parameters
        ----------
        carry_out
            called in the thread of `loop`, once for each order.
        standing
            how the night stands; called in this thread.
        """
        self._loop, self._carry_out, self._standing = loop, carry_out, standing
        self._router.start("control", self._take, lambda: None)
        _log.info("orders are taken at %s", self.endpoint)

    def close(self) -> None:
        """Let go of the endpoint; may be called again."""
        self._router.close()

    def _take(self, message: list[bytes]) -> None:
        sender, frame = sender_and_frame(message)
        if len(frame) > MAX_ORDER_BYTES:
            raise ProtocolViolation(f"a message of {len(frame)} bytes; an order has {MAX_ORDER_BYTES} at most")
        order = decode_order(frame)
        if not self._router.send([*sender, encode(self._answer(order, self._obey(order)))]):
            _log.warning("an answer found no room on its way to %s", order.who)

    def _obey(self, order: Order) -> OrderOutcome:
        if order.name == "status":
            return OrderOutcome(True, self._standing().headline)
        kept, pending = self._kept.get(order.id, (None, None))
        if pending is None:
            if not self._allowance.take():
                self._router.messages.add("more orders came than are carried out")
                return OrderOutcome(False, f"more than {ORDERS_PER_S:g} orders a second; send it again in a moment")
            pending = self._hand_over(order)
        elif kept != order:
            self._router.messages.add("an order had the id of another one")
            return OrderOutcome(False, f"another order had the id {order.id}; draw a new one for each")
        return self._outcome(pending)

    def _hand_over(self, order: Order) -> _Pending:
        pending: _Pending = concurrent.futures.Future()
        self._kept[order.id] = (order, pending)
        if len(self._kept) > ORDERS_KEPT:
            self._kept.popitem(last=False)

        def carry_out() -> None:
            try:
                pending.set_result(self._carry_out(order))
            except BaseException as error:
                pending.set_exception(error)
                raise

        try:
            self._loop.call_soon_threadsafe(carry_out)
        except RuntimeError:  # the loop is closed
            pending.set_result(OrderOutcome(False, "the night has ended"))
        return pending

    def _outcome(self, pending: _Pending) -> OrderOutcome:
        end_s = self._clock() + ANSWER_S
        while not self._router.ending.is_set() and self._clock() < end_s:
            done, _ = concurrent.futures.wait([pending], timeout=_LOOK_S)
            if not done:
                continue
            if (error := pending.exception()) is not None:
                return OrderOutcome(False, f"the night could not carry it out: {error}")
            return pending.result()
        return OrderOutcome(
            False, "the night has not answered yet; send the same order again to learn what became of it"
        )

    def _answer(self, order: Order, verdict: OrderOutcome) -> Answer:
        standing = self._standing()
        return Answer(
            id=order.id,
            accepted=verdict.accepted,
            message=verdict.message,
            state=standing.state,
            reason=standing.reason,
            slide=standing.slide,
            secured=standing.secured,
            skipped=standing.skipped,
            planned=standing.planned,
            refused=self.refused,
        )
