"""Which processes belong to a run, so that a later one can end what was left behind."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import msgspec
import psutil

from daemon.records.names import PROCESSES
from daemon.system.durable_files import replacing
from daemon.system.errors import DamagedFile

START_TOLERANCE_S = 0.5

_log = logging.getLogger(__name__)


class Running(msgspec.Struct, frozen=True):
    """A process: its pid, and when it started, since pids are given again."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Running:
        """Describe a living process."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Return the very process described, or None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < START_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class ProcessTable:
    """The roles of a run (supervisor, microscope, analysis, recorder) and who plays them now."""

    def __init__(self, run: Path) -> None:
        self._path = run / PROCESSES
        self._lock = threading.Lock()
        self._table: dict[str, Running] = {}
        self._written = True

    def register(self, role: str, pid: int) -> None:
        """Write down that the process `pid` plays `role`; on a full disk `write` has to be called again."""
        with self._lock:
            self._table[role] = Running.of(pid)
            self._written = False
        self.write()

    def write(self) -> None:
        """Write the table unless that is done."""
        with self._lock:
            if self._written:
                return
            try:
                with replacing(self._path) as stream:
                    stream.write(msgspec.json.encode(self._table))
            except OSError as error:
                _log.warning("%s cannot be written: %s", self._path, error)
            else:
                self._written = True


def read_processes(run: Path) -> dict[str, Running]:
    """Roles of a run folder, empty when none was ever written.

    Raises
    ------
    DamagedFile
        The table cannot be read.
    """
    try:
        content = (run / PROCESSES).read_bytes()
    except FileNotFoundError:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, Running])
    except msgspec.DecodeError as error:
        raise DamagedFile(
            f"{run / PROCESSES} cannot be read ({error}); end what still runs of that folder, then delete the file"
        ) from error


def end_stale(run: Path, deadline_s: float = 10.0) -> list[str]:
    """Kill every process that an earlier `scan` of this run left behind; return the roles they played."""
    found = {role: process for role, running in read_processes(run).items() if (process := running.find())}
    for process in found.values():
        process.kill()
    psutil.wait_procs(list(found.values()), timeout=deadline_s)
    return sorted(found)
