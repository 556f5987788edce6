"""What the processes of a night have logged, and waiting for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.deadlines import DEADLINE_S

SAFE_WITHIN_S = 5.0
"""The promise of the safe state, by the clock: the hardware does not know how busy the computer is."""


def log(run: Path, process: str) -> list[dict[str, Any]]:
    """What a process has logged so far, whole lines only."""
    path = run / "log" / f"{process}.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def times(run: Path, message: str, process: str = "microscope") -> list[float]:
    """When a process logged a message, by the clock that all processes share."""
    return [line["monotonic_s"] for line in log(run, process) if line["message"].startswith(message)]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.005)


def safe_after(run: Path, moment_s: float) -> float:
    """Seconds from a moment until the log says that all is safe."""
    wait_for(lambda: any(at >= moment_s for at in times(run, "safe")), "the safe state")
    return min(at for at in times(run, "safe") if at >= moment_s) - moment_s
