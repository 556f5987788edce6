"""Nights in processes of their own, a few in each: what a night leaves behind in a process ends with it."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from benchmarks.faults.listing import Fault
from benchmarks.faults.night import Outcome, spend

NIGHT_S = 120.0
"""No night computes for so long."""
NIGHTS_EACH = 6


@dataclass(frozen=True)
class Case:
    """A fault, how long it lasts, and whether the bridge's wire lies between."""

    fault: Fault
    lasts_s: float | None
    wire: bool = False


def spent(cases: Sequence[Case], seed: int, at_a_time: int) -> Iterator[tuple[int, Outcome]]:
    """Run a night for each case; gives the number of the case, and what became of it, as they end."""
    context = multiprocessing.get_context("spawn")
    # pyjavaz never lets go of a server that was killed: over the wire each night has its process.
    numbers = list(enumerate(cases))
    here, wired = [one for one in numbers if not one[1].wire], [one for one in numbers if one[1].wire]
    waiting = [here[at : at + NIGHTS_EACH] for at in range(0, len(here), NIGHTS_EACH)] + [[one] for one in wired]
    running: dict[Connection, tuple[SpawnProcess, int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                share = waiting.pop(0)
                ours, theirs = context.Pipe()
                process = context.Process(target=_spend, args=(theirs, share, seed))
                process.start()
                theirs.close()
                running[ours] = process, len(share)
            ready = wait(list(running), NIGHT_S)
            if not ready:
                raise TimeoutError(f"a night did not end within {NIGHT_S:g} s")
            for pipe in ready:
                assert isinstance(pipe, Connection)
                yield pipe.recv()
                process, left = running.pop(pipe)
                if left > 1:
                    running[pipe] = process, left - 1
                else:
                    process.join()
                    pipe.close()
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _spend(pipe: Connection, share: Sequence[tuple[int, Case]], seed: int) -> None:
    logging.disable(logging.CRITICAL)
    for number, case in share:
        if case.wire:
            gc.disable()
        trouble = case.fault.trouble(case.lasts_s, seed)
        pipe.send((number, spend(trouble, case.wire, case.fault.parts)))
    pipe.close()
    # pyjavaz waits for ever for servers that have ended.
    os._exit(0)
