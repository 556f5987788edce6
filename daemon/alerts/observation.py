"""Looks at a night from outside: heartbeat, process table and journal of its run folder, and nothing else."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import msgspec

from daemon.alerts.model import Facts
from daemon.records.records import AnyRecord, decode
from daemon.run_folder.heartbeat import Heartbeat, read_heartbeat
from daemon.run_folder.journal import read_records
from daemon.system.errors import DamagedFile, Refused
from daemon.system.process_table import Running, read_processes

RECORDS_A_LOOK = 500

_log = logging.getLogger(__name__)


class Lookout:
    """Sees what there is to be seen; what cannot be read at present is logged once, and seen at a later look.

    Parameters
    ----------
    run
        the run folder.
    journal
        its journal.
    recorded_here
        whether the night's recorder writes on this computer.
    """

    def __init__(self, run: Path, journal: Path, *, recorded_here: bool) -> None:
        self._run = run
        self._journal = journal
        self._recorded_here = recorded_here
        self._complained = ""

    def look(self, after: int) -> Facts:
        """See how the night stands, and which records followed number `after`."""
        # The process first: what a process that has ended wrote last is there to be read afterwards.
        supervisor = self._supervisor()
        lives = supervisor is not None and supervisor.find() is not None
        heartbeat = self._heartbeat()
        records = self._records(after)
        return Facts(
            supervisor=supervisor,
            lives=lives,
            heartbeat=heartbeat,
            records=records,
            more=len(records) == RECORDS_A_LOOK,
            recorded_here=self._recorded_here,
        )

    def _supervisor(self) -> Running | None:
        try:
            return read_processes(self._run).get("supervisor")
        except (OSError, DamagedFile) as error:
            self._complain(f"the process table cannot be read: {error}")
            return None

    def _heartbeat(self) -> Heartbeat | None:
        try:
            return read_heartbeat(self._run)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            self._complain(f"the heartbeat cannot be read: {error}")
            return None

    def _records(self, after: int) -> tuple[tuple[int, AnyRecord], ...]:
        try:
            rows = read_records(self._journal, after, RECORDS_A_LOOK)
            return tuple((seq, decode(body)) for seq, body in rows)
        except (OSError, sqlite3.Error, Refused, msgspec.DecodeError) as error:
            self._complain(f"the journal cannot be read: {error}")
            return ()

    def _complain(self, message: str) -> None:
        if message != self._complained:
            self._complained = message
            _log.warning("%s", message)
