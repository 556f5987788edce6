"""What Ctrl-C and a termination mean, for as long as a part of a program says so."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def handling(handler: Callable[[int, object], object], *signals: signal.Signals) -> Iterator[None]:
    """Let a handler take signals: interruptions and terminations, if none are named."""
    before = {number: signal.signal(number, handler) for number in signals or (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)
