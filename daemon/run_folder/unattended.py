"""Whether a night may be begun, or gone on with, by a computer that nobody sits at."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from daemon.records.states import EndedBy
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.heartbeat import Heartbeat, read_heartbeat

LATEST_H = 12.0
"""A night that gave its last sign of life longer ago is a person's to go on with: the holder may have been changed."""


def why_not(run: Path, now: float | None = None) -> str | None:
    """Return why the night of a run folder is not taken up by itself; None where it is begun, or gone on with.

    It is where there is none yet, and where it ended without saying so, or because the system told it to. One that is
    complete, that a person or a fault stopped, or that was refused stays so.
    """
    if not RunFolder(run).journal.exists():
        return None
    beat = _last_beat(run)
    if beat is None:
        return None
    if beat.state.ended and beat.state.by is not EndedBy.SYSTEM:
        return f"the night in {run} has ended ({beat.state}); it is not resumed by itself"
    age_h = ((time.time() if now is None else now) - beat.utc) / 3600
    if age_h > LATEST_H:
        return (
            f"the night in {run} gave its last sign of life {age_h:.0f} hours ago, more than {LATEST_H:.0f}; "
            "see to the microscope, then go on with --resume"
        )
    return None


def _last_beat(run: Path) -> Heartbeat | None:
    try:
        return read_heartbeat(run)
    except (FileNotFoundError, msgspec.DecodeError):  # none yet, or cut short by a full disk
        return None
