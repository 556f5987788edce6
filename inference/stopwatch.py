"""Where the time of a stack goes: seconds of each stage of the work, on the wall and on the processor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the stages of a piece of work in one process.

    Attributes
    ----------
    seconds
        of every `stage` the wall time, and as `stage_cpu` the processor time of the whole process.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            passed = {stage: time.perf_counter() - wall_s, f"{stage}_cpu": time.process_time() - cpu_s}
            for name, seconds in passed.items():
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds
