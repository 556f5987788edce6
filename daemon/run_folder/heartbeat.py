"""A small file that tells, from outside, whether the night still lives: a crashed process cannot say so itself."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec

from daemon.protocols.watching import Verdict
from daemon.records.states import NightState
from daemon.run_folder.folder import RunFolder
from daemon.system.durable_files import replacing


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The night a moment ago.

    `unsafe` tells what could not be made safe, and is empty where all is. `again_made` of `again_ordered` fields are
    taken again. `verdict` is how the night stands, in words; None of an earlier version.
    """

    utc: float
    monotonic_s: float
    pid: int
    state: NightState
    reason: str
    planned: int
    secured: int
    skipped: int
    slide: int | None
    objects: int = 0
    not_analysed: int = 0
    seconds_left: float | None = None
    spool_bytes: int = 0
    spool_limit_bytes: int = 0
    disk_free_bytes: int | None = None
    unsafe: str = ""
    again_ordered: int = 0
    again_made: int = 0
    verdict: Verdict | None = None


def write_heartbeat(run: Path, heartbeat: Heartbeat) -> None:
    """Replace the run folder's heartbeat; on a full disk write over the old one, which takes no room.

    Raises
    ------
    OSError
        Neither can be done.
    """
    text, path = msgspec.json.encode(heartbeat), RunFolder(run).heartbeat
    try:
        with replacing(path) as stream:
            stream.write(text)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        with path.open("r+b", buffering=0) as stream:
            stream.write(text)
            stream.truncate()


def read_heartbeat(run: Path) -> Heartbeat:
    """Heartbeat of a run folder."""
    return msgspec.json.decode(RunFolder(run).heartbeat.read_bytes(), type=Heartbeat)
