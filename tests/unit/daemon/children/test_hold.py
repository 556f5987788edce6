"""Holding the instrument short of a night: nobody else meanwhile, nothing left of who was there before, safe after."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from daemon.children.hold import Held, hold
from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.system.errors import Refused
from daemon.system.process_table import ProcessTable, read_processes
from daemon.system.ring import ring_name
from tests.support.deadlines import DEADLINE_S
from tests.support.emulated_night import write_configuration
from tests.support.process_logs import log

SHAPE = (1, 2, 64, 64)


@pytest.fixture
def config(tmp_path: Path) -> NightConfig:
    return load(write_configuration(tmp_path, slides=1, fields=1, frame_px=64))


def test_it_is_held_by_one_and_what_was_left_behind_is_ended(config: NightConfig, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    hardware = config.instrument.model_copy(update={"backend": "micromanager"})
    config = config.model_copy(update={"instrument": hardware})
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stale:
        ProcessTable(here).register("microscope", stale.pid)
        with hold(config, here, "trial", "busy", SHAPE) as held:
            stale.wait(DEADLINE_S)
            assert held.ring.shape == SHAPE
            with pytest.raises(Refused, match="in use by another scan"), hold(config, there, "trial", "busy", SHAPE):
                pass
            with pytest.raises(Refused, match="busy"), hold(config, here, "trial", "busy", SHAPE):
                pass
    with hold(config, there, "trial", "busy", SHAPE):
        pass
    with pytest.raises(FileNotFoundError):
        SharedMemory(ring_name(here))


@pytest.mark.slow
def test_the_microscope_is_made_safe_whatever_its_user_does(config: NightConfig, tmp_path: Path) -> None:
    async def use(held: Held) -> None:
        async with held.microscope(lambda *_: None) as (microscope, _):
            await microscope.open_slide(1)
            await microscope.light(on=True)
            raise ValueError("a fault of the user")

    with hold(config, tmp_path / "work", "trial", "busy", SHAPE) as held:
        with pytest.raises(ValueError, match="of the user"):
            asyncio.run(use(held))
        assert held.safe
    assert read_processes(tmp_path / "work")["microscope"].find() is None
    assert [line["message"] for line in log(tmp_path / "work", "microscope")][-1] == "safe"


def test_what_the_microscope_cannot_be_started_with_is_refused(config: NightConfig, tmp_path: Path) -> None:
    hardware = tmp_path / "wrong.cfg"
    hardware.write_text("Device,Camera,NoSuchLibrary,NoSuchDevice\n", "utf-8")
    changed = config.instrument.model_copy(update={"hardware": hardware})
    wrong = config.model_copy(update={"instrument": changed})

    async def use(held: Held) -> None:
        async with held.microscope(lambda *_: None):
            pytest.fail("it was started")

    with hold(wrong, tmp_path / "work", "trial", "busy", SHAPE) as held, pytest.raises(Refused):
        asyncio.run(use(held))
