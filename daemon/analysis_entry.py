"""Entry of the analysis child: imported by the supervisor, which must not import torch, so it imports late."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from daemon.config import Night
from daemon.records import NightStarted
from daemon.ring import Shape


def start_analysis(
    connection: Connection,
    config: Night,
    started: NightStarted,
    run: Path,
    ring_name: str,
    slots: int,
    shape: Shape,
) -> None:
    """Run `daemon.analysis.run_analysis` in this process."""
    from daemon.analysis import run_analysis

    run_analysis(connection, config, started, run, ring_name, slots, shape)
