"""Following a night from another process: what is known of it, kept up to date, whatever is lost on the way.

The page in the browser, the terminal and the metrics all show one `NightView`. docs/watching.md describes the wire.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import zmq

from daemon.config.model import CurveKeys
from daemon.live.summaries import of_other_fields
from daemon.live.tallies import Tallies
from daemon.protocols.sockets import check_endpoint, secure, seen_from_here
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
    SnapshotRequest,
    Specimens,
    State,
    Verdict,
    count_blobs,
    decode_envelope,
    decode_fields,
    decode_snapshot,
    encode,
)
from daemon.system.errors import LamelleError, ProtocolViolation

SPECIMENS_KEPT = 60
SILENCE_S = 5.0
"""A night says something every second; after so long without a word it counts as lost."""
ASK_S, ASK_MOST_S = 3.0, 48.0
"""How long an answer is awaited: longer after each try without one, as a slow line takes long for its pictures."""
MAX_MESSAGE_BYTES = 64 << 20
_TURN_MS = 100
_STREAM_HWM = 200

_log = logging.getLogger(__name__)


@dataclass
class NightView:
    """What a watcher knows of a night.

    Attributes
    ----------
    process
        that sent the last message that is part of it.
    seq
        of that message.
    fields
        by mini-slide and number.
    overviews
        the last one of each mini-slide, with its images.
    latest
        mini-slide of the last overview.
    specimens
        those of the newest fields with their images, the newest last: as many fields as hold the newest
        `SPECIMENS_KEPT` objects.
    lost
        messages that were missed, made good by a snapshot.
    """

    process: str = ""
    seq: int = 0
    about: About | None = None
    control: str | None = None
    state: State | None = None
    verdict: Verdict | None = None
    counters: Counters | None = None
    hardware: Hardware | None = None
    fields: dict[tuple[int, int], FieldDone] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)
    overviews: dict[int, tuple[Overview, tuple[bytes, ...]]] = field(default_factory=dict)
    latest: int | None = None
    specimens: deque[tuple[Specimens, tuple[bytes, ...]]] = field(default_factory=deque)
    events: deque[EventNotice] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    dropped: int = 0
    violations: int = 0
    lost: int = 0

    def take_snapshot(self, snapshot: Snapshot, fields: tuple[FieldDone, ...], images: list[bytes]) -> None:
        """Begin anew with a snapshot.

        Raises
        ------
        ProtocolViolation
            It came with another number of images than it says.
        """
        pictured: tuple[Overview | Specimens, ...] = (*snapshot.overviews, *snapshot.specimens)
        if len(images) != sum(map(count_blobs, pictured)):
            raise ProtocolViolation(f"a snapshot came with {len(images)} images, not with those it names")
        self.process, self.seq = snapshot.process, snapshot.seq
        self.about, self.control = snapshot.about, snapshot.control
        self.state, self.verdict = snapshot.state, snapshot.verdict
        self.counters, self.hardware = snapshot.counters, snapshot.hardware
        self.dropped, self.violations = snapshot.dropped, snapshot.violations
        self.fields = {(done.slide, done.field): done for done in fields}
        self.tallies = Tallies(snapshot.tallies)
        self.events.clear()
        self.events.extend(snapshot.events)
        self.specimens.clear()
        rest = iter(images)
        for body in pictured:
            self._show(body, tuple(next(rest) for _ in range(count_blobs(body))))
        done = max(fields, key=lambda one: one.utc, default=None)
        if done is not None and done.slide in self.overviews:
            self.latest = done.slide

    def follows(self, envelope: Envelope) -> bool:
        """Whether a message is the next one, nothing missed between."""
        return envelope.process == self.process and envelope.seq == self.seq + 1

    def take(self, envelope: Envelope, images: tuple[bytes, ...]) -> None:
        """Add the next message.

        Raises
        ------
        ProtocolViolation
            It came with another number of images than it says.
        """
        body = envelope.body
        if len(images) != count_blobs(body):
            raise ProtocolViolation(f"{type(body).__name__} came with {len(images)} images, not with those it names")
        self.seq = envelope.seq
        match body:
            case Overview() | Specimens():
                self._show(body, images)
            case FieldDone():
                self.fields[body.slide, body.field] = body
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

    def _show(self, body: Overview | Specimens, images: tuple[bytes, ...]) -> None:
        if isinstance(body, Overview):
            self.overviews[body.slide] = (body, images)
            self.latest = body.slide
        else:
            self.specimens = deque((*of_other_fields(self.specimens, body), (body, images)))
            while sum(len(one.specimens) for one, _ in islice(self.specimens, 1, None)) >= SPECIMENS_KEPT:
                self.specimens.popleft()


class Follower(threading.Thread):
    """Keeps a `NightView` of a night, from its first word to the last, over losses and restarts of the night.

    Parameters
    ----------
    where
        tells the endpoint for snapshots, asked anew at each try: a night that was resumed may have another one. Raises
        `Refused` or `OSError` while there is none.
    news
        called in this thread, with the lock held, after each change: with the message, or None after a snapshot or when
        the night was lost.
    clock
        monotonic seconds.

    Attributes
    ----------
    view
        guarded by `lock`.
    heard_s
        when the last word came, None before the first.
    joined
        whether the view follows the stream.
    trouble
        why it does not.
    """

    def __init__(
        self,
        where: Callable[[], str],
        keys: CurveKeys | None,
        news: Callable[[AnyStreamMessage | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self._where = where
        self._keys = keys
        self._news = news
        self._clock = clock
        self._ending = threading.Event()
        self._patience_s = ASK_S
        self.lock = threading.Lock()
        self.view = NightView()
        self.heard_s: float | None = None
        self.joined = False
        self.trouble = "not connected yet"

    def close(self) -> None:
        """Stop following; may be called again."""
        self._ending.set()
        if self.ident is not None:
            self.join()

    @property
    def ended(self) -> bool:
        """Whether the night said that it ends."""
        state = self.view.state
        return state is not None and state.state.ended

    def run(self) -> None:
        """Follow until closed."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            while not self._ending.is_set():
                try:
                    self._follow(context)
                except (OSError, zmq.ZMQError, LamelleError) as error:
                    self._lose(str(error))
                    self._ending.wait(1.0)
        finally:
            context.destroy(linger=0)

    def _follow(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Join the night and follow it until nothing comes any more."""
        place = self._where()
        check_endpoint(place, self._keys, "client")
        with context.socket(zmq.DEALER) as asking, context.socket(zmq.SUB) as stream:
            for socket in (asking, stream):
                socket.linger = 0
                socket.maxmsgsize = MAX_MESSAGE_BYTES
                socket.rcvhwm = _STREAM_HWM
                secure(socket, self._keys, "client")
            asking.connect(place)
            first = self._ask(asking)
            stream.connect(seen_from_here(first[0].stream, place))
            stream.subscribe(b"")
            heard_s = self._clock()
            while not self._ending.is_set():
                if stream.poll(_TURN_MS):
                    heard_s = self._clock()
                    self._hear(asking, stream.recv_multipart())
                elif self._clock() - heard_s > SILENCE_S:
                    self._lose(f"nothing was heard for {SILENCE_S:.0f} s")
                    return

    def _hear(self, asking: zmq.Socket[bytes], frames: list[bytes]) -> None:
        envelope = decode_envelope(frames[1]) if len(frames) > 1 else None
        if envelope is None:
            raise ProtocolViolation("a message of one frame does not come from a night")
        with self.lock:
            stale = self.joined and envelope.process == self.view.process and envelope.seq <= self.view.seq
            follows = self.joined and self.view.follows(envelope)
            if follows:
                self.view.take(envelope, tuple(frames[2:]))
                self.heard_s = self._clock()
                self._news(envelope.body)
            if self.joined and not stale and not follows and envelope.process == self.view.process:
                self.view.lost += envelope.seq - self.view.seq - 1
        if stale or follows:
            return
        snapshot, fields, images = self._ask(asking)
        with self.lock:
            self.view.take_snapshot(snapshot, fields, images)
            self.joined, self.trouble, self.heard_s = True, "", self._clock()
            self._news(None)

    def _ask(self, asking: zmq.Socket[bytes]) -> tuple[Snapshot, tuple[FieldDone, ...], list[bytes]]:
        asking.send(encode(SnapshotRequest()))
        begun_s = self._clock()
        while not asking.poll(_TURN_MS):
            patience_s = self._patience_s
            if self._clock() - begun_s > patience_s or self._ending.is_set():
                self._patience_s = min(2 * patience_s, ASK_MOST_S)
                raise ConnectionError(
                    f"no answer from the night within {patience_s:.0f} s; is it of the same version of lamelle?"
                )
        self._patience_s = max(ASK_S, 2 * (self._clock() - begun_s))
        header, fields, *images = _two_frames(asking.recv_multipart())
        return decode_snapshot(header), decode_fields(fields), images

    def _lose(self, trouble: str) -> None:
        with self.lock:
            if self.joined or self.trouble != trouble:
                _log.info("the night is not heard: %s", trouble)
                self.joined, self.trouble = False, trouble
                self._news(None)


def _two_frames(frames: list[bytes]) -> list[bytes]:
    if len(frames) < 2:
        raise ProtocolViolation(f"an answer of {len(frames)} frames is not a snapshot")
    return frames
