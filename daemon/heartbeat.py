"""A small file that tells, from outside, whether the night still lives: a crashed process cannot say so itself."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from daemon.durable import replacing

FILE = "heartbeat.json"


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The night a moment ago."""

    utc: float
    monotonic_s: float
    pid: int
    state: str
    reason: str
    planned: int
    secured: int
    skipped: int
    slide: int | None


def write_heartbeat(run: Path, heartbeat: Heartbeat) -> None:
    """Replace the run folder's heartbeat."""
    with replacing(run / FILE) as stream:
        stream.write(msgspec.json.encode(heartbeat))


def read_heartbeat(run: Path) -> Heartbeat:
    """Heartbeat of a run folder."""
    return msgspec.json.decode((run / FILE).read_bytes(), type=Heartbeat)


def age_s(heartbeat: Heartbeat) -> float:
    """Seconds since the heartbeat, by the wall clock, which another process shares."""
    return time.time() - heartbeat.utc
