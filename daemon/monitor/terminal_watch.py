"""`lamelle watch`: a night in a terminal, until it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from daemon.config.model import CurveKeys
from daemon.live.follower import Follower
from daemon.monitor.terminal import Hearing, clock, draw, printable
from daemon.protocols.watching import AnyStreamMessage, EventNotice, State
from daemon.system.errors import Refused

JOIN_S = 10.0
"""How long `--once` waits for the night."""
REDRAW_S = 0.5
PLAIN_HEIGHT = 60


def watch(where: Callable[[], str], keys: CurveKeys | None, console: Console, *, once: bool) -> None:
    """Show a night until it ends, or once.

    Where the console is no terminal a line is printed for each state and event instead.

    Raises
    ------
    Refused
        With `once`: nothing was heard of the night.
    """
    changed = threading.Event()
    lines = _LinePrinter(console)

    def news(body: AnyStreamMessage | None) -> None:
        if not once and not console.is_terminal:
            lines.print_news(body, watcher)
        changed.set()

    watcher = Follower(where, keys, news)
    watcher.start()
    try:
        if once:
            _await_first(watcher, changed)
        elif console.is_terminal:
            _follow(watcher, console)
        else:
            while not watcher.ended:
                changed.wait()
                changed.clear()
    finally:
        watcher.close()
    console.print(_drawn(watcher, console.width, PLAIN_HEIGHT), highlight=False)


def _await_first(watcher: Follower, changed: threading.Event) -> None:
    end_s = time.monotonic() + JOIN_S
    while watcher.view.about is None or watcher.view.counters is None:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise Refused(f"the night is not heard: {watcher.trouble}")
        changed.wait(left_s)
        changed.clear()


def _follow(watcher: Follower, console: Console) -> None:
    """Draw again twice a second, all at once and on a screen of its own, so that nothing flickers or scrolls."""
    ticking = threading.Event()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not watcher.ended:
            width, height = console.size
            live.update(_drawn(watcher, width, height), refresh=True)
            ticking.wait(REDRAW_S)


def _drawn(watcher: Follower, width: int, height: int) -> Text:
    now_utc = time.time()
    with watcher.lock:
        heard = None if watcher.heard_s is None else now_utc - (time.monotonic() - watcher.heard_s)
        hearing = Hearing(watcher.joined or watcher.ended, watcher.trouble, heard)
        return draw(watcher.view, hearing, now_utc, width, height)


class _LinePrinter:
    """Prints what is told as lines that stay."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def print_news(self, body: AnyStreamMessage | None, watcher: Follower) -> None:
        if body is None and not watcher.joined:
            self._print(time.time(), f"the night is not heard: {watcher.trouble}")
            return
        # Whoever has just joined is told what the night does.
        match body or watcher.view.state:
            case State(state=state, reason=reason):
                self._print(time.time(), f"{state}: {reason}" if reason else state)
            case EventNotice(utc=utc, message=message) as told:
                self._print(utc, f"{told.title}: {message}")

    def _print(self, utc: float, line: str) -> None:
        self._console.print(f"{clock(utc)} {printable(line)}", markup=False, highlight=False, soft_wrap=True)
