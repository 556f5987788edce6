"""Starts the watcher of a night as a process that outlives every other one, and again should it die."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from daemon.records.events import EmitEvent, EventName

KEEP_S = 2.0
RESTARTS = 5
DETACHED = ("-m", "daemon", "guard")


class GuardKeeper:
    """Keeps the watcher of a run folder.

    It belongs to no process group or console of the night, so neither a Ctrl-C nor the end of the night ends it.

    Parameters
    ----------
    run
        the run folder.
    emit
        takes level, name and message of an event.
    """

    def __init__(self, run: Path, emit: EmitEvent) -> None:
        self._run = run
        self._emit = emit
        self._process: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Start it, and look after it for ever.

        One that finds another on watch ends with status 2, and that is well.
        """
        for _ in range(1 + RESTARTS):
            try:
                self._process = await asyncio.to_thread(_start, self._run)
            except OSError as error:
                self._emit(
                    "warning", EventName.NOT_WATCHED, f"the watcher that sends alerts cannot be started: {error}"
                )
                return
            while (status := self._process.poll()) is None:
                await asyncio.sleep(KEEP_S)
            if status in (0, 2):
                return
        self._emit(
            "warning",
            EventName.NOT_WATCHED,
            f"the watcher that sends alerts ended {1 + RESTARTS} times; its log says why",
        )


def _start(run: Path) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        flags = 0
    return subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, *DETACHED, str(run)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        creationflags=flags,
    )
