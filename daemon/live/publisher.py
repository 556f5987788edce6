"""What a night shows to whoever watches: a lossy PUB stream, and a ROUTER that answers late joiners with a snapshot.

docs/watching.md describes the wire. Nothing here can slow the night: publishing puts bytes into a queue that is bounded
and drops its oldest, and sockets drop what a watcher does not fetch.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import zmq

from daemon.config.model import CurveKeys, Watch
from daemon.live.tallies import Tallies
from daemon.protocols.sockets import KnownClients, check_endpoint, secure
from daemon.protocols.watching import (
    EVENTS_KEPT,
    About,
    AnyStreamMessage,
    Counters,
    Envelope,
    FieldDone,
    Hardware,
    Overview,
    Snapshot,
    Specimens,
    State,
    Told,
    count_blobs,
    decode_request,
    encode,
    encode_field,
    encode_fields,
)
from daemon.system.errors import ProtocolViolation, Refused

MAX_QUEUE_BYTES = 16 << 20
MAX_REQUEST_BYTES = 1024
SPECIMENS_KEPT = 6
"""Fields whose specimens a late joiner is shown."""
_STREAM_HWM = 64
_REPLY_HWM = 4
_REQUESTS_A_TURN = 16
_TURN_MS = 20
_LINGER_MS = 500

_log = logging.getLogger("lamelle.broadcast")


@dataclass
class _LateJoinerMemory:
    """What a late joiner is told: the latest of everything, every field in short, the last events."""

    state: State | None = None
    counters: Counters | None = None
    hardware: Hardware | None = None
    overviews: dict[int, tuple[Overview, tuple[bytes, ...]]] = field(default_factory=dict)
    specimens: deque[tuple[Specimens, tuple[bytes, ...]]] = field(default_factory=lambda: deque(maxlen=SPECIMENS_KEPT))
    events: deque[Told] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    fields: list[msgspec.Raw] = field(default_factory=list)
    tallies: Tallies = field(default_factory=Tallies)

    def keep(self, body: AnyStreamMessage, blobs: tuple[bytes, ...]) -> None:
        match body:
            case Overview():
                self.overviews[body.slide] = (body, blobs)
            case Specimens():
                self.specimens.append((body, blobs))
            case FieldDone():
                self.fields.append(encode_field(body))
                self.tallies.add(body)
            case Counters():
                self.counters = body
            case Hardware():
                self.hardware = body
            case State():
                self.state = body
            case Told():
                self.events.append(body)


class Broadcaster(threading.Thread):
    """Publishes the night. Made (bound) and closed by one thread, `publish` may be called by any.

    Parameters
    ----------
    watch
        endpoints and keys.
    about
        the night.
    control
        endpoint of the socket that takes orders, which snapshots name.
    before
        fields that were done before this process began.

    Raises
    ------
    Refused
        An endpoint is malformed, taken, or reachable by others without keys.
    """

    def __init__(
        self, watch: Watch, about: About, control: str | None = None, before: Iterable[FieldDone] = ()
    ) -> None:
        super().__init__(name="broadcast", daemon=True)
        for endpoint in (watch.publish, watch.snapshot):
            check_endpoint(endpoint, watch.keys, "server")
        self._about = about
        self._control = control
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._queue: deque[list[bytes]] = deque()
        self._queued_bytes = 0
        self._memory = _LateJoinerMemory()
        for done in before:
            self._memory.keep(done, ())
        self._seq = 0
        self._answer: list[bytes] | None = None
        self._ending = threading.Event()
        self.dropped = 0
        self.violations = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clients = KnownClients(self._context, watch.keys)
        self._clients.__enter__()
        try:
            self._stream = self._bind(zmq.PUB, watch.publish, watch.keys, _STREAM_HWM)
            self._router = self._bind(zmq.ROUTER, watch.snapshot, watch.keys, _REPLY_HWM)
        except BaseException:
            self._release()
            raise
        self.publish_endpoint = self._stream.getsockopt_string(zmq.LAST_ENDPOINT)
        self.snapshot_endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting to be sent, never above `MAX_QUEUE_BYTES`."""
        return self._queued_bytes

    def publish(self, body: AnyStreamMessage, *blobs: bytes) -> None:
        """Tell everyone who watches; returns at once.

        An `Overview` comes with a JPEG for each view, `Specimens` with one for each object, others with none.
        """
        if len(blobs) != (expected := count_blobs(body)):
            raise ValueError(f"{type(body).__name__} came with {len(blobs)} blobs instead of {expected}")
        with self._lock:
            self._seq += 1
            envelope = Envelope(process=self._process, seq=self._seq, utc=time.time(), body=body)
            topic = str(body.__struct_config__.tag).encode()
            self._memory.keep(body, blobs)
            self._answer = None
            self._enqueue([topic, encode(envelope), *blobs])

    def close(self) -> None:
        """Send what waits, for half a second at most, and let go of the endpoints; may be called again."""
        self._ending.set()
        if self.ident is not None:
            self.join()
        else:
            self._release()

    def run(self) -> None:
        """Send what is queued and answer who asks, until closed."""
        try:
            while not self._ending.is_set():
                self._send_queued()
                if self._router.poll(_TURN_MS):
                    self._answer_some()
            self._send_queued()
        finally:
            self._release()

    def _bind(self, kind: int, endpoint: str, keys: CurveKeys | None, high_water_mark: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = _LINGER_MS
        socket.sndhwm = high_water_mark
        socket.rcvhwm = _REQUESTS_A_TURN
        socket.maxmsgsize = MAX_REQUEST_BYTES
        secure(socket, keys, "server")
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise Refused(f"endpoint {endpoint!r} cannot be bound ({error}); choose another or use port *") from error
        return socket

    def _release(self) -> None:
        self._clients.__exit__()
        self._context.destroy()

    def _enqueue(self, frames: list[bytes]) -> None:
        size = _size(frames)
        while self._queue and self._queued_bytes + size > MAX_QUEUE_BYTES:
            self._queued_bytes -= _size(self._queue.popleft())
            self.dropped += 1
        if size > MAX_QUEUE_BYTES:
            self.dropped += 1
            return
        self._queue.append(frames)
        self._queued_bytes += size

    def _send_queued(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    return
                frames = self._queue.popleft()
                self._queued_bytes -= _size(frames)
            self._stream.send_multipart(frames, copy=False)

    def _answer_some(self) -> None:
        for _ in range(_REQUESTS_A_TURN):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            sender, question = frames[:-1], frames[-1]
            if not _is_request(sender, question):
                self._count_violation()
                continue
            try:
                self._router.send_multipart([*sender, *self._snapshot()], zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self.dropped += 1

    def _count_violation(self) -> None:
        self.violations += 1
        # Told ever more rarely, so that a flood cannot push other lines out of the log.
        if self.violations.bit_count() == 1:
            _log.warning("a watcher sent what is not a request", extra={"violations": self.violations})

    def _snapshot(self) -> list[bytes]:
        with self._lock:
            if self._answer is None:
                memory = self._memory
                shown = [memory.overviews[slide] for slide in sorted(memory.overviews)]
                snapshot = Snapshot(
                    process=self._process,
                    seq=self._seq,
                    utc=time.time(),
                    stream=self.publish_endpoint,
                    control=self._control,
                    about=self._about,
                    state=memory.state,
                    counters=memory.counters,
                    hardware=memory.hardware,
                    overviews=tuple(overview for overview, _ in shown),
                    specimens=tuple(specimens for specimens, _ in memory.specimens),
                    events=tuple(memory.events),
                    tallies=memory.tallies.rows(),
                    dropped=self.dropped,
                    violations=self.violations,
                )
                images = [image for _, images in (*shown, *memory.specimens) for image in images]
                self._answer = [encode(snapshot), encode_fields(memory.fields), *images]
            return self._answer


def _size(frames: list[bytes]) -> int:
    return sum(map(len, frames))


def _is_request(sender: list[bytes], question: bytes) -> bool:
    # A REQ socket puts an empty frame before its question, a DEALER need not.
    if not (len(sender) == 1 or (len(sender) == 2 and sender[1] == b"")):
        return False
    try:
        decode_request(question)
    except ProtocolViolation:
        return False
    return True
