"""Keeps trying to make hardware safe that did not obey: a program that was frozen comes back as it was, light on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from daemon.children.child import Child
from daemon.protocols.pipes import Close, MicroscopeReady
from daemon.system.errors import ChildLost, RequestFailed

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 60.0
OPEN_S = 30.0
"""A microscope child that was started to make safe has loaded the hardware by then, and has done it, on a computer with
eight times as much to do as it has cores too: 14 s were seen there."""
END_S = 5.0

_log = logging.getLogger(__name__)


async def make_safe_at_last(
    spawn: Callable[[], Child],
    within_s: float,
    tell: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> bool:
    """Start one microscope child after another, whose first act is to make safe, until one has; whether one has.

    Parameters
    ----------
    spawn
        starts a microscope child.
    within_s
        how long it is tried at most; the first attempt is made in any case.
    tell
        told in words what goes on, and that it ended without success.
    now
        where time comes from.
    sleep
        how it is waited for.
    """
    end, pause_s, told = now() + within_s, FIRST_PAUSE_S, False
    while True:
        why = await _attempt(spawn)
        if why is None:
            return True
        _log.error("not safe yet: %s", why)
        left_s = end - now()
        if left_s <= 0:
            tell(f"the hardware is not safe ({why}); see to shutter, lamp and objective at once")
            return False
        if not told:
            told = True
            tell(
                f"the hardware is not safe ({why}); it is tried again for {within_s / 60:.0f} min. See to shutter, "
                "lamp and objective"
            )
        await sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _attempt(spawn: Callable[[], Child]) -> str | None:
    """Make safe by a new child; why it could not."""
    child = spawn()
    try:
        await child.ready(MicroscopeReady, OPEN_S)
    except (ChildLost, RequestFailed) as error:
        return str(error)
    finally:
        with suppress(ChildLost):
            child.send(Close())
        await child.end(grace_s=END_S)
    return None
