"""Where a night takes orders: a ROUTER in a thread of its own, from which only orders that are whole get to the night.

docs/control.md describes the wire. Whatever else comes is refused, counted and without effect.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import zmq
from zmq.utils.monitor import recv_monitor_message

from daemon.config.model import Control
from daemon.live.standing import Standing
from daemon.live.steering import OrderOutcome
from daemon.protocols.control import MAX_ORDER_BYTES, Answer, Order, decode_order, encode
from daemon.protocols.sockets import KnownClients, check_endpoint, secure
from daemon.system.errors import ProtocolViolation, Refused

MAX_FRAME_BYTES = 64 * 1024
"""A larger frame makes libzmq hang up before it is received, and so before it can be counted."""
ANSWER_S = 2.0
"""How long the night may take to carry out an order."""
ORDERS_KEPT = 1000
"""Orders whose answer is remembered, so that one that is sent again is carried out once."""
BURST, ORDERS_PER_S = 20, 2.0
"""So many orders at once, and then so many a second, are carried out: each is an event that is made durable."""
_HWM = 64
_TURN_MS = 20
_LINGER_MS = 500
_UNFIT = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH

_log = logging.getLogger("lamelle.control")
_Pending = concurrent.futures.Future[OrderOutcome]


class Controller(threading.Thread):
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
    refused
        messages that were no order, orders beyond what is carried out in a second, and connections that had the wrong
        keys or spoke no ZeroMQ.

    Raises
    ------
    Refused
        The endpoint is malformed, taken, or reachable by others without keys.
    """

    def __init__(self, settings: Control, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="control", daemon=True)
        if settings.endpoint is None:
            raise Refused("control.endpoint is not set; set it, such as tcp://127.0.0.1:*")
        check_endpoint(settings.endpoint, settings.keys, "server")
        self._clock = clock
        self._ending = threading.Event()
        self._kept: OrderedDict[str, tuple[Order, _Pending]] = OrderedDict()
        self._allowed = float(BURST)
        self._filled_s = clock()
        self.refused = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clients = KnownClients(self._context, settings.keys)
        self._clients.__enter__()
        try:
            self._router = self._context.socket(zmq.ROUTER)
            self._router.linger = _LINGER_MS
            self._router.sndhwm = self._router.rcvhwm = _HWM
            self._router.maxmsgsize = MAX_FRAME_BYTES
            secure(self._router, settings.keys, "server")
            self._monitor = self._router.get_monitor_socket(_UNFIT)
            try:
                self._router.bind(settings.endpoint)
            except zmq.ZMQError as error:
                raise Refused(
                    f"control.endpoint {settings.endpoint!r} cannot be bound ({error}); choose another or use port *"
                ) from error
        except BaseException:
            self._release()
            raise
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

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
        self.start()
        _log.info("orders are taken at %s", self.endpoint)

    def close(self) -> None:
        """Let go of the endpoint; may be called again."""
        self._ending.set()
        if self.ident is not None:
            self.join()
        else:
            self._release()

    def run(self) -> None:
        """Take orders until closed."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        try:
            while not self._ending.is_set():
                ready = dict(poller.poll(_TURN_MS))
                if self._monitor in ready:
                    recv_monitor_message(self._monitor)
                    self._refuse("a connection had the wrong keys, or is none of ZeroMQ's")
                if self._router in ready:
                    self._take(self._router.recv_multipart())
        finally:
            self._release()

    def _release(self) -> None:
        self._clients.__exit__()
        self._context.destroy()

    def _take(self, frames: list[bytes]) -> None:
        sender, frame = frames[:-1], frames[-1]
        # A REQ socket puts an empty frame before its order, a DEALER need not.
        if not (len(sender) == 1 or (len(sender) == 2 and sender[1] == b"")):
            self._refuse(f"a message of {len(frames)} frames is no order")
            return
        if len(frame) > MAX_ORDER_BYTES:
            self._refuse(f"a message of {len(frame)} bytes is no order, which has {MAX_ORDER_BYTES} at most")
            return
        try:
            order = decode_order(frame)
        except ProtocolViolation as violation:
            self._refuse(str(violation))
            return
        answer = encode(self._answer(order, self._obey(order)))
        try:
            self._router.send_multipart([*sender, answer], zmq.NOBLOCK)
        except zmq.Again:
            _log.warning("an answer found no room on its way to %s", order.who)

    def _obey(self, order: Order) -> OrderOutcome:
        if order.name == "status":
            return OrderOutcome(True, self._standing().sentence())
        kept, pending = self._kept.get(order.id, (None, None))
        if pending is None:
            if not self._may_go_on():
                self._refuse("more orders came than are carried out")
                return OrderOutcome(False, f"more than {ORDERS_PER_S:g} orders a second; send it again in a moment")
            pending = self._hand_over(order)
        elif kept != order:
            self._refuse("an order had the id of another one")
            return OrderOutcome(False, f"another order had the id {order.id}; draw a new one for each")
        return self._outcome(pending)

    def _may_go_on(self) -> bool:
        now_s = self._clock()
        self._allowed = min(BURST, self._allowed + (now_s - self._filled_s) * ORDERS_PER_S)
        self._filled_s = now_s
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

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
        while not self._ending.is_set() and self._clock() < end_s:
            done, _ = concurrent.futures.wait([pending], timeout=_TURN_MS / 1000)
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

    def _refuse(self, why: str) -> None:
        self.refused += 1
        # Told ever more rarely, so that a flood cannot push other lines out of the log.
        if self.refused.bit_count() == 1:
            _log.warning("refused: %s", why, extra={"refused": self.refused})
