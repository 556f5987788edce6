"""Asking again after a fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from daemon.system.errors import RequestFailed

Answer = TypeVar("Answer")


async def persist(
    act: Callable[[int], Awaitable[Answer]], attempts: int, on_fault: Callable[[RequestFailed, bool], None]
) -> Answer:
    """Await `act(attempt)`, again after each fault that allows it, `attempts` times at most.

    `on_fault` is told every fault, and whether it was the last one.

    Raises
    ------
    RequestFailed
        The last fault.
    """
    attempt = 0
    while True:
        try:
            return await act(attempt)
        except RequestFailed as error:
            attempt += 1
            last = not error.again or attempt == attempts
            on_fault(error, last)
            if last:
                raise
