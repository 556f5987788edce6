"""From the watcher's thread to the browsers: each has a queue of bounded size, and loses no data when it overflows."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from msgspec.structs import replace

from daemon.config.model import CurveKeys
from daemon.live.follower import Follower
from daemon.monitor.browser_messages import Link, changes, frame, whole
from daemon.monitor.night_place import NightPlace
from daemon.protocols.watching import AnyStreamMessage, EventNotice
from daemon.records.events import EventName
from daemon.verdict.afterwards import afterwards
from daemon.web.morning import RUNNING_PAGE, RunningNight

MAX_QUEUED_BYTES = 4 << 20
MAX_BROWSERS = 64
NOTES_KEPT = 40
KEEP_ALIVE_S = 4.0
TURN_S = 0.5


class Browser:
    """One open page: what waits to be sent to it.

    What does not fit is thrown away, and everything is told anew once the browser has fetched what is on its way.
    Used by the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self.behind = True
        """Whether it must be told everything."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait, never above `MAX_QUEUED_BYTES`."""
        return self._bytes

    def put(self, events: list[bytes] | None) -> None:
        """Queue what changed; None: everything did."""
        self._news.set()
        size = 0 if events is None else sum(map(len, events))
        if events is None or self.behind or self._bytes + size > MAX_QUEUED_BYTES:
            self._queue.clear()
            self._bytes, self.behind = 0, True
            return
        self._queue.extend(events)
        self._bytes += size

    async def take(self) -> bytes:
        """Give what waits, all of it together; nothing after `TURN_S` without news."""
        try:
            await asyncio.wait_for(self._news.wait(), TURN_S)
        except TimeoutError:
            return b""
        self._news.clear()
        told = b"".join(self._queue)
        self._queue.clear()
        self._bytes = 0
        return told


class Feed:
    """Follows the night, and tells every open page.

    Parameters
    ----------
    where
        as of `Follower`.
    keys
        as of `Follower`.
    orders
        whether orders may be given through the page.
    place
        what is known of the night without hearing it.

    Attributes
    ----------
    watcher
        what is known; its view is guarded by its lock.
    browsers
        open pages.
    """

    def __init__(
        self, where: Callable[[], str], keys: CurveKeys | None, *, orders: bool, place: NightPlace | None = None
    ) -> None:
        self._orders = orders
        self.place = place or NightPlace()
        self._notes: deque[EventNotice] = deque(maxlen=NOTES_KEPT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._process = ""
        self._lost = False
        self.browsers: set[Browser] = set()
        self.watcher = Follower(where, keys, self._hear)

    def start(self) -> None:
        """Begin to follow; call it in the event loop that serves the browsers."""
        self._loop = asyncio.get_running_loop()
        self.watcher.start()

    def end_streams(self) -> None:
        """Let the pages go, so that the server can end; may be called from any thread."""
        self._closing = True

    def close(self) -> None:
        """Stop following; blocks for a moment."""
        self._loop = None
        self.watcher.close()

    def link(self) -> Link:
        """Return how the monitor stands to the night; call it with the watcher's lock held."""
        watcher, place = self.watcher, self.place
        heard = watcher.heard_s
        here = place.here()
        about = watcher.view.about
        where = place.where() if about is None else about.dataset
        return Link(
            joined=watcher.joined,
            trouble=watcher.trouble,
            heard_utc=None if heard is None else time.time() - (time.monotonic() - heard),
            ended=watcher.ended,
            orders=self._orders and watcher.joined and watcher.view.control is not None and not watcher.ended,
            morning=here,
            afterwards=place.trouble or afterwards(ended=watcher.ended, heard=watcher.joined, here=here, where=where),
        )

    def is_over(self) -> bool:
        """Whether the night is over as far as is known, and what it recorded is here."""
        with self.watcher.lock:
            ended, known = self.watcher.ended, self.watcher.view.about is not None
        return self.place.here() and (ended or (not known and not self.place.runs()))

    def running(self) -> RunningNight | None:
        """Return how the night stands, for another page; None where it was never heard."""
        watcher = self.watcher
        with watcher.lock:
            verdict, running = watcher.view.verdict, watcher.joined and not watcher.ended
        return None if verdict is None else RunningNight(RUNNING_PAGE, verdict.headline, verdict.tone, running)

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events of one page, until it closes or the monitor ends."""
        browser = Browser()
        self.browsers.add(browser)
        last_s, stood = 0.0, None
        try:
            while not self._closing:
                if browser.behind:
                    browser.behind = False
                    told = await asyncio.to_thread(self._everything)
                else:
                    told = await browser.take()
                with self.watcher.lock:
                    link = self.link()
                stands = replace(link, heard_utc=None)
                if stands != stood or (not told and time.monotonic() - last_s > KEEP_ALIVE_S):
                    told += frame("alive", link)
                    stood = stands
                if told and not browser.behind:
                    last_s = time.monotonic()
                    yield told
        finally:
            self.browsers.discard(browser)

    def _everything(self) -> bytes:
        with self.watcher.lock:
            told = whole(self.watcher.view, self.link(), tuple(self._notes), time.time())
        return frame("whole", told)

    def _hear(self, body: AnyStreamMessage | None) -> None:
        """Pass on what the watcher heard; in its thread, with its lock held."""
        if body is None:
            self._note()
        events = None if body is None else changes(self.watcher.view, body)
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(self._spread, events)

    def _spread(self, events: list[bytes] | None) -> None:
        for browser in self.browsers:
            browser.put(events)

    def _note(self) -> None:
        """Keep in words that the night was lost, or found again."""
        watcher = self.watcher
        process = watcher.view.process
        if not watcher.joined:
            if process and not self._lost and not watcher.ended:
                self._add_note("warning", EventName.NIGHT_NOT_HEARD, watcher.trouble)
                self._lost = True
            return
        if self._process and process != self._process:
            self._add_note(
                "info", EventName.NIGHT_RESUMED, "another process goes on with the night; what it knows was taken over"
            )
        elif self._lost:
            self._add_note(
                "info", EventName.NIGHT_HEARD_AGAIN, "what was missed was asked for; nothing is missing here"
            )
        self._process, self._lost = process, False

    def _add_note(self, level: str, name: EventName, message: str) -> None:
        self._notes.append(EventNotice(utc=time.time(), level=level, name=name, message=message))
