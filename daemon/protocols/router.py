"""The one kind of server between processes: a ROUTER that others send messages to and get answers from.

Recorder, orders and snapshots differ in what their messages mean. How a server is bound and secured, what size of
message it takes, how much it lets wait, how it ends and how it counts what it refuses is the same, and stands here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from daemon.config.model import CurveKeys
from daemon.protocols.sockets import KnownClients, check_endpoint, secure
from daemon.system.errors import ProtocolViolation, Refused
from daemon.system.throttle import Refusals

TURN_MS = 20
"""How long a server waits for a message before it does what else it has to do."""
MESSAGES_A_TURN = 16
LINGER_MS = 500
"""How long what is on its way may take once a server is closed."""
_UNFIT = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH


class Bounds(NamedTuple):
    """What one peer can cost a server.

    Attributes
    ----------
    message_bytes
        a frame that is larger makes libzmq hang up before it is received, and so before it can be counted.
    waiting_in
        messages from one peer that wait here; what it sends beyond that stays with it.
    waiting_out
        messages to one peer that wait here; what it does not fetch beyond that is dropped.
    """

    message_bytes: int
    waiting_in: int
    waiting_out: int


class Router:
    """A ROUTER in a context of its own. Bound when it is made, serves until it is closed.

    Parameters
    ----------
    setting
        where the endpoint comes from, such as `control.endpoint`, for whoever has to change it.
    endpoint
        where it listens; `tcp://127.0.0.1:*` takes a free port.
    keys
        CURVE keys, needed unless the endpoint is loopback.
    log
        where what is refused is told.
    ending
        once set, the server ends; its own, which `close` sets, where None is given.

    Attributes
    ----------
    endpoint
        as it was bound.
    ending
        set once the server is to end.
    messages
        those that broke the protocol.
    connections
        those that had the wrong keys, or did not speak ZeroMQ.

    Raises
    ------
    Refused
        The endpoint is malformed, taken, or reachable by others without keys.
    """

    def __init__(
        self,
        setting: str,
        endpoint: str,
        keys: CurveKeys | None,
        bounds: Bounds,
        log: logging.Logger,
        ending: threading.Event | None = None,
    ) -> None:
        check_endpoint(endpoint, keys, "server")
        self._keys = keys
        self.ending = ending or threading.Event()
        self.messages = Refusals(log)
        self.connections = Refusals(log)
        self._thread: threading.Thread | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clients = KnownClients(self._context, keys)
        self._clients.__enter__()
        try:
            self._socket = self._context.socket(zmq.ROUTER)
            # Before it is bound, so that no connection escapes it.
            self._handshakes = self._socket.get_monitor_socket(_UNFIT)
            self.endpoint = self._bind(self._socket, setting, endpoint, bounds)
        except BaseException:
            self._release()
            raise

    def publisher(self, setting: str, endpoint: str, bounds: Bounds) -> tuple[zmq.Socket[bytes], str]:
        """Bind a PUB socket beside it, with the same keys, that lives as long; returns it and its endpoint as bound.

        Raises
        ------
        Refused
            The endpoint is malformed, taken, or reachable by others without keys. The server is closed then.
        """
        try:
            check_endpoint(endpoint, self._keys, "server")
            stream = self._context.socket(zmq.PUB)
            return stream, self._bind(stream, setting, endpoint, bounds)
        except BaseException:
            self._release()
            raise

    def start(self, name: str, take: Callable[[list[bytes]], None], turn: Callable[[], None]) -> None:
        """Serve in a thread of this name from now on; see `serve`."""
        self._thread = threading.Thread(target=self.serve, args=(take, turn), name=name, daemon=True)
        self._thread.start()

    def serve(self, take: Callable[[list[bytes]], None], turn: Callable[[], None]) -> None:
        """Take messages until the server is to end, then let go of the endpoint.

        Parameters
        ----------
        take
            called with each message, the name of its sender first; raises `ProtocolViolation` for one that is counted
            and has no effect.
        turn
            called between messages, every 20 ms at least, and once more at the end.
        """
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._handshakes, zmq.POLLIN)
        try:
            while not self.ending.is_set():
                turn()
                ready = dict(poller.poll(TURN_MS))
                if self._handshakes in ready:
                    self._note_handshakes()
                if self._socket in ready:
                    self._take_some(take)
            turn()
        finally:
            self._release()

    def send(self, message: list[bytes]) -> bool:
        """Send an answer, the name of its receiver first; False where it found no room. For `take` alone."""
        try:
            self._socket.send_multipart(message, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """End the server and let go of its endpoints; may be called again."""
        self.ending.set()
        if self._thread is not None:
            self._thread.join()
        else:
            self._release()

    def _bind(self, socket: zmq.Socket[bytes], setting: str, endpoint: str, bounds: Bounds) -> str:
        socket.linger = LINGER_MS
        socket.maxmsgsize = bounds.message_bytes
        socket.rcvhwm, socket.sndhwm = bounds.waiting_in, bounds.waiting_out
        socket.ipv6 = "[" in endpoint
        secure(socket, self._keys, "server")
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise Refused(
                f"{setting} {endpoint!r} cannot be bound ({error}); choose another, or use port * for a free one"
            ) from error
        return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def _note_handshakes(self) -> None:
        while self._handshakes.poll(0):
            recv_monitor_message(self._handshakes)
            self.connections.add("a connection had the wrong keys, or did not speak ZeroMQ")

    def _take_some(self, take: Callable[[list[bytes]], None]) -> None:
        for _ in range(MESSAGES_A_TURN):
            if self.ending.is_set():
                return
            try:
                message = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                take(message)
            except ProtocolViolation as violation:
                self.messages.add(str(violation))

    def _release(self) -> None:
        self._clients.__exit__()
        self._context.destroy()


def sender_and_frame(message: list[bytes]) -> tuple[list[bytes], bytes]:
    """Sender of a message and its one frame, before which a REQ socket puts an empty one and a DEALER need not.

    Raises
    ------
    ProtocolViolation
        It has more frames, or none.
    """
    sender, frame = message[:-1], message[-1]
    if len(sender) == 1 or (len(sender) == 2 and sender[1] == b""):
        return sender, frame
    raise ProtocolViolation(f"a message of {len(message) - 1} frames came, where one of a single frame is awaited")
