"""The hardware is made safe within seconds of every way a night ends: real microscope processes, read by their logs."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.children.child import Child
from daemon.children.microscope import run_microscope
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.config.samples import read_samples
from daemon.planning.estimate import shape_of
from daemon.planning.plan import make_plan
from daemon.protocols.pipes import Expose
from daemon.system.process_table import ProcessTable, read_processes
from daemon.system.ring import Ring
from drivers.microscope import Sweep
from tests.support.deadlines import DEADLINE_S
from tests.support.emulated_night import write_configuration
from tests.support.process_logs import SAFE_WITHIN_S, log, safe_after, times, wait_for

HANG = {"faults": [{"kind": "hang", "slide": 1, "fields": [1], "attempts": None}]}
SLOW = {"timing": {"xy_ms": 0, "z_ms": 300, "polarizer_ms": 0}}
"""A stack that takes longer than anything the tests wait for."""


def configuration(folder: Path, emulation: dict[str, Any]) -> NightConfig:
    return load(write_configuration(folder, slides=1, fields=1, frame_px=256, emulation=emulation))


@contextmanager
def ring_of(config: NightConfig, run: Path) -> Iterator[Ring]:
    ring = Ring.create(run, config.ring_stacks, shape_of(config))
    try:
        yield ring
    finally:
        ring.close()


def microscope(config: NightConfig, run: Path, ring: tuple[str, int, Any]) -> MicroscopeLink:
    table = ProcessTable(run)
    spawn = lambda: Child("microscope", table, run_microscope, config, run, *ring)  # noqa: E731
    return MicroscopeLink(spawn, DEADLINE_S, DEADLINE_S, lambda *_: None, rescue_s=0.0)


def stack_of(config: NightConfig) -> Expose:
    scan = config.scan
    planned = make_plan(config, read_samples(scan.samples, [1]))[0]
    sweep = Sweep(-2.0, scan.step_um, scan.planes, scan.polarizations, tuple(range(len(scan.polarizations))))
    return Expose(planned=planned, exposed=0, sweep=sweep, slot=0)


async def begin(link: MicroscopeLink, config: NightConfig, run: Path) -> asyncio.Task[Any]:
    """Start, and be in the middle of an exposure."""
    await link.start()
    await link.open_slide(1)
    task = asyncio.create_task(link.expose(stack_of(config)))
    await asyncio.to_thread(wait_for, lambda: bool(times(run, "exposing")), "an exposure")
    return task


def test_a_night_that_is_abandoned_is_made_safe_by_the_process_that_exposes(tmp_path: Path) -> None:
    config = configuration(tmp_path, SLOW)

    async def abandoned(ring: Ring) -> float:
        link = microscope(config, tmp_path, (ring.name, ring.slots, ring.shape))
        task = await begin(link, config, tmp_path)
        moment_s = time.monotonic()
        link.abandon()
        task.cancel()
        assert await link.close()
        with suppress(asyncio.CancelledError):
            await task
        return moment_s

    with ring_of(config, tmp_path) as ring:
        moment_s = asyncio.run(asyncio.wait_for(abandoned(ring), DEADLINE_S))
    assert safe_after(tmp_path, moment_s) < SAFE_WITHIN_S
    assert len({line["pid"] for line in log(tmp_path, "microscope")}) == 1
    assert read_processes(tmp_path)["microscope"].find() is None


def supervise(config: NightConfig, run: Path, ring: tuple[str, int, Any]) -> None:
    async def expose() -> None:
        await (await begin(microscope(config, run, ring), config, run))

    asyncio.run(expose())


@pytest.mark.parametrize("emulation", [SLOW, HANG], ids=["exposing", "hanging"])
def test_a_supervisor_that_is_killed_leaves_the_hardware_safe(tmp_path: Path, emulation: dict[str, Any]) -> None:
    config = configuration(tmp_path, emulation)
    with ring_of(config, tmp_path) as ring:
        arguments = (config, tmp_path, (ring.name, ring.slots, ring.shape))
        supervisor = multiprocessing.get_context("spawn").Process(target=supervise, args=arguments)
        supervisor.start()
        wait_for(lambda: bool(times(tmp_path, "exposing")), "an exposure")
        running = read_processes(tmp_path)["microscope"]
        moment_s = time.monotonic()
        supervisor.kill()
        supervisor.join(DEADLINE_S)
        supervisor.close()
        assert safe_after(tmp_path, moment_s) < SAFE_WITHIN_S
        wait_for(lambda: running.find() is None, "the end of the microscope's process")
        assert time.monotonic() - moment_s < 2 * SAFE_WITHIN_S
