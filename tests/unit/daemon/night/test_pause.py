"""The night standing still: in the dark, told once, for as long as something keeps it."""

from __future__ import annotations

import asyncio

import pytest

from daemon.night.pause import Interrupt, NightClock, Pause
from daemon.records.events import EventName
from daemon.records.states import NightState
from tests.support.deadlines import DEADLINE_S


class Scene:
    """What a pause does to light, state and events."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.interrupted = False
        self.pause = Pause(self._darken, self._state, self._tell, lambda: self.interrupted, NightClock())

    async def _darken(self) -> bool:
        self.done.append("dark")
        return True

    def _state(self, state: NightState, reason: str) -> None:
        self.done.append(f"{state} {reason}")

    def _tell(self, _level: str, name: EventName, _message: str) -> None:
        self.done.append(f"told {name}")


def test_what_is_free_is_not_kept() -> None:
    scene = Scene()
    asyncio.run(scene.pause.until_free(lambda: None))
    assert scene.done == []


def test_two_that_wait_are_one_pause_that_ends_with_the_last() -> None:
    scene = Scene()
    kept = {"spool": "no room", "journal": "disk full"}

    async def play() -> None:
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as waiting:
            waiting.create_task(scene.pause.until_free(lambda: kept.get("spool")))
            second = waiting.create_task(scene.pause.until_free(lambda: kept.get("journal")))
            await asyncio.sleep(0)
            kept.pop("spool")
            following = waiting.create_task(scene.pause.over())
            while "paused disk full" not in scene.done:
                await asyncio.sleep(0.01)
            assert not second.done()
            assert not following.done()
            kept.clear()

    asyncio.run(play())
    told = list(dict.fromkeys(scene.done))
    assert told == ["paused no room", "dark", "told paused", "paused disk full", "scanning ", "told resumed"]


def test_a_person_may_interrupt_a_pause() -> None:
    scene = Scene()
    scene.interrupted = True
    with pytest.raises(Interrupt):
        asyncio.run(scene.pause.until_free(lambda: "no room"))
    assert scene.done[:2] == ["paused no room", "dark"]
