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

from daemon.config.model import Watch
from daemon.live.summaries import of_other_fields
from daemon.live.tallies import Tallies
from daemon.protocols.router import MESSAGES_A_TURN, Bounds, Router, sender_and_frame
from daemon.protocols.watching import (
    EVENTS_KEPT,
    About,
    AnyStreamMessage,
    Counters,
    Envelope,
    EventNotice,
    FieldDone,
    Hardware,
    Overview,
    Snapshot,
    Specimens,
    State,
    Verdict,
    count_blobs,
    decode_request,
    encode,
    encode_field,
    encode_fields,
)

MAX_QUEUE_BYTES = 16 << 20
MAX_REQUEST_BYTES = 1024
SPECIMENS_KEPT = 6
"""Fields whose specimens a late joiner is shown."""
SNAPSHOT_BOUNDS = Bounds(MAX_REQUEST_BYTES, waiting_in=MESSAGES_A_TURN, waiting_out=4)
STREAM_BOUNDS = Bounds(MAX_REQUEST_BYTES, waiting_in=MESSAGES_A_TURN, waiting_out=64)

_log = logging.getLogger("lamelle.broadcast")


@dataclass
class _LateJoinerMemory:
    """What a late joiner is told: the latest of everything, every field in short, the last events."""

    state: State | None = None
    verdict: Verdict | None = None
    counters: Counters | None = None
    hardware: Hardware | None = None
    overviews: dict[int, tuple[Overview, tuple[bytes, ...]]] = field(default_factory=dict)
    specimens: deque[tuple[Specimens, tuple[bytes, ...]]] = field(default_factory=lambda: deque(maxlen=SPECIMENS_KEPT))
    events: deque[EventNotice] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    fields: dict[tuple[int, int], msgspec.Raw] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)

    def keep(self, body: AnyStreamMessage, blobs: tuple[bytes, ...]) -> None:
        match body:
            case Overview():
                self.overviews[body.slide] = (body, blobs)
            case Specimens():
                self.specimens = deque((*of_other_fields(self.specimens, body), (body, blobs)), SPECIMENS_KEPT)
            case FieldDone():
                self.fields[body.slide, body.field] = encode_field(body)
                self.tallies.add(body)
            case Counters():
                self.counters = body
            case Hardware():
                self.hardware = body
            case State():
                self.state = body
            case EventNotice():
                self.events.append(body)
            case Verdict():
                self.verdict = body


class Broadcaster:
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
        self.dropped = 0
        self._router = Router("watch.snapshot", watch.snapshot, watch.keys, SNAPSHOT_BOUNDS, _log)
        self._stream, self.publish_endpoint = self._router.publisher("watch.publish", watch.publish, STREAM_BOUNDS)
        self.snapshot_endpoint = self._router.endpoint

    def start(self) -> None:
        """Send what is queued, and answer who asks, from now on."""
        self._router.start("broadcast", self._answer_request, self._send_queued)

    @property
    def violations(self) -> int:
        """Messages that were no request."""
        return self._router.messages.count

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting to be sent, never above `MAX_QUEUE_BYTES`."""
        return self._queued_bytes

    def publish(self, body: AnyStreamMessage, *blobs: bytes) -> None:
        """Send to everyone who watches; returns at once.

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
        self._router.close()

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

    def _answer_request(self, message: list[bytes]) -> None:
        sender, question = sender_and_frame(message)
        decode_request(question)
        if not self._router.send([*sender, *self._snapshot()]):
            self.dropped += 1

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
                    verdict=memory.verdict,
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
                self._answer = [encode(snapshot), encode_fields(list(memory.fields.values())), *images]
            return self._answer


def _size(frames: list[bytes]) -> int:
    return sum(map(len, frames))
