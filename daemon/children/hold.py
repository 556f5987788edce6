"""The instrument in one pair of hands: locked, and nothing left running of whoever held it before.

A night takes `sole_use` and keeps children of its own. What holds the instrument short of a night takes `hold`, which
comes with a ring, and from it a microscope that is started, and made safe whatever happens:

    with hold(config, folder, "calibrate", busy, shape) as held:
        asyncio.run(work(held))

    async def work(held: Held) -> None:
        async with held.microscope(tell) as (microscope, ready):
            ...
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from daemon.children.child import Child
from daemon.children.microscope import run_microscope
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.model import NightConfig
from daemon.protocols.pipes import FrameLanded, MicroscopeReady
from daemon.records.events import EmitEvent
from daemon.records.names import LOCK
from daemon.system import crash_points
from daemon.system.durable_files import make_folder
from daemon.system.errors import Refused, RequestFailed
from daemon.system.locks import sole, sole_on
from daemon.system.logbook import Logbook
from daemon.system.process_table import ProcessTable, end_stale
from daemon.system.ring import Ring, Shape
from daemon.system.signals import handling
from drivers.backends import find_back_end
from drivers.errors import HardwareLost

_log = logging.getLogger(__name__)


@contextmanager
def sole_use(config: NightConfig, folder: Path, process: str) -> Iterator[None]:
    """Hold the instrument, and end every process that an earlier holder left behind.

    Parameters
    ----------
    folder
        where the holder works, which it has locked already: its processes and logs are found there.
    process
        what the holder is called in its log.

    Raises
    ------
    Refused
        Another program holds the instrument.
    """
    hardware = find_back_end(config.instrument.backend).hardware
    with sole_on(config.instrument.name) if hardware else nullcontext():
        end_stale(folder)
        with Logbook(folder, process):
            crash_points.arm(folder)
            yield


@contextmanager
def hold(config: NightConfig, folder: Path, process: str, busy: str, shape: Shape) -> Iterator[Held]:
    """Hold the instrument short of a night.

    Parameters
    ----------
    folder
        where the holder works; it is made, and locked.
    process
        what the holder is called in its log.
    busy
        said where another program works in `folder`.
    shape
        of the largest stack that is exposed, CZYX.

    Raises
    ------
    Refused
        Another program works in the folder, or holds the instrument.
    """
    make_folder(folder)
    with sole(folder / LOCK, busy), sole_use(config, folder, process), closing(Ring.create(folder, 1, shape)) as ring:
        yield Held(config, folder, ring)


@dataclass
class Held:
    """The instrument while it is held.

    Attributes
    ----------
    ring
        of one slot, for the frames.
    safe
        whether the microscope was made safe when it was last let go of.
    """

    config: NightConfig
    folder: Path
    ring: Ring
    safe: bool = True

    @asynccontextmanager
    async def microscope(self, emit: EmitEvent) -> AsyncIterator[tuple[MicroscopeLink, MicroscopeReady]]:
        """Start the microscope, and make it safe at the end; what it says of itself comes with it.

        Ctrl-C or a termination makes it safe at once, and cancels the task that uses it.

        Raises
        ------
        Refused
            The microscope cannot be used as it is configured.
        RequestFailed
            The hardware is not there, or cannot be made safe.
        ChildLost
            Its process died, or hangs.
        """
        microscope = link_microscope(self.config, self.folder, self.ring, ProcessTable(self.folder), emit)
        loop, user = asyncio.get_running_loop(), asyncio.current_task()
        assert user is not None

        def let_go() -> None:
            microscope.abandon()
            user.cancel()

        with handling(lambda _number, _frame: loop.call_soon_threadsafe(let_go)):
            try:
                with refusing_at_start():
                    ready = await microscope.start()
                yield microscope, ready
            finally:
                try:
                    await microscope.close()
                finally:
                    self.safe = microscope.safe
                    _log.info("microscope safe" if self.safe else "microscope not safe")


def link_microscope(
    config: NightConfig,
    folder: Path,
    ring: Ring,
    table: ProcessTable,
    emit: EmitEvent,
    *,
    sweep_s: float = 0.0,
    on_landed: Callable[[FrameLanded], None] | None = None,
) -> MicroscopeLink:
    """Link to a microscope that is not started yet.

    Parameters
    ----------
    folder
        where its log goes.
    table
        where its process is written down.
    sweep_s
        what a sweep may take beside its command; 0 where every sweep comes with a deadline of its own.
    on_landed
        told of every frame.
    """
    deadlines = config.instrument.deadlines
    command_s = deadlines.move_s + 2 * deadlines.focus_s + deadlines.switch_s
    arguments = (config, folder, ring.name, ring.slots, ring.shape)
    return MicroscopeLink(
        lambda: Child("microscope", table, run_microscope, *arguments, on_notice=on_landed),
        command_s,
        command_s + sweep_s,
        emit,
    )


@contextmanager
def refusing_at_start() -> Iterator[None]:
    """Make what a child cannot do at its start a refusal, unless the hardware is lost."""
    try:
        yield
    except RequestFailed as error:
        if error.kind == HardwareLost.__name__:
            raise
        raise Refused(str(error)) from error
