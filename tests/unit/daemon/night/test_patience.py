"""Faults of every kind and length, hours of them in no time: what is tried again, waited for, skipped, given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from daemon.config.model import Retry
from daemon.night.patience import LIT_S, InstrumentPatience
from daemon.night.pause import Interrupt, NightClock, Pause
from daemon.records.events import EventName
from daemon.records.fields import PlannedField
from daemon.records.states import NightState
from daemon.system.errors import NightStopped, RequestFailed
from drivers.errors import FaultOf

FIELD = PlannedField(1, 1, "sample", 0.0, 0.0, (0.0, 0.0, 1.0, 1.0))


class FastClock(NightClock):
    """Its hours pass as soon as somebody waits for them."""

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        self.seconds = 0.0
        self._look = look

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self._look()
        await asyncio.sleep(0)


class Scene:
    """An instrument that is out of order for a while, and what the night does meanwhile."""

    def __init__(self, **retry: Any) -> None:
        self.clock = FastClock(self._look)
        self.lit = False
        self.lit_for_nothing_s: list[float] = []
        self.dark = self.withdrawn = 0
        self.states: list[NightState] = []
        self.events: list[tuple[float, str, EventName]] = []
        self.tries: list[float] = []
        self.interrupted = False
        self.held: str | None = None
        pause = Pause(self._darken, self._state, self._told, lambda: self.interrupted, self.clock)
        self.patience = InstrumentPatience(
            Retry(**retry), pause, self.emit, self._withdraw, lambda: self.held, self.clock
        )

    def emit(self, level: str, name: EventName, _message: str, *_place: object, **_fields: object) -> None:
        self.events.append((self.clock.now(), level, name))

    def _told(self, level: str, name: EventName, message: str) -> None:
        self.emit(level, name, message)

    def _state(self, state: NightState, _reason: str) -> None:
        if self.states[-1:] != [state]:
            self.states.append(state)

    def _look(self) -> None:
        if self.lit and self.states[-1:] == [NightState.PAUSED]:
            self.lit_for_nothing_s.append(self.clock.now())

    async def _darken(self) -> bool:
        self.dark += self.lit
        self.lit = False
        return True

    async def _withdraw(self) -> None:
        self.withdrawn += 1

    def field(self, seconds: float, fault_of: FaultOf = "instrument", kind: str = "X", *, again: bool = True) -> int:
        """Take a field that meets a fault for so long; how often it was tried."""
        until_s, tries = self.clock.now() + seconds, 0

        async def expose(number: int) -> None:
            nonlocal tries
            assert number == tries
            tries += 1
            self.tries.append(self.clock.now())
            self.lit = True
            if self.clock.now() < until_s:
                raise RequestFailed(kind, "it failed", again=again, fault_of=fault_of)

        asyncio.run(self.patience.persist(expose, FIELD))
        return tries

    def titles(self, name: EventName) -> list[tuple[float, str]]:
        return [(at, level) for at, level, named in self.events if named is name]


@pytest.mark.parametrize("fault_of", ["frame", "place", "instrument"])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0])
def test_what_is_short_costs_no_field(seconds: float, fault_of: FaultOf) -> None:
    scene = Scene()
    assert scene.field(seconds, fault_of) > 1
    lit_s = [after - before for before, after in zip(scene.tries, scene.tries[1:], strict=False)]
    assert bool(scene.dark) == (sum(lit_s) > LIT_S)
    assert scene.states == ([NightState.PAUSED, NightState.SCANNING] if scene.dark else [])


def test_a_frame_is_exposed_again_at_once() -> None:
    scene = Scene(attempts=4)
    scene.field(0.1, "frame")
    assert scene.tries[:4] == [0, 0, 0, 0]


@pytest.mark.parametrize("fault_of", ["frame", "place"])
def test_a_field_that_stays_bad_is_skipped_and_the_next_one_waited_for(fault_of: FaultOf) -> None:
    scene = Scene()
    with pytest.raises(RequestFailed):
        scene.field(3600, fault_of)
    assert 30 < scene.clock.now() < 35
    assert [event[1:] for event in scene.events[-2:]] == [("error", EventName.FAULT), ("info", EventName.RESUMED)]
    assert scene.states[-1] is NightState.SCANNING
    scene.field(7200, fault_of)
    assert scene.clock.now() > 7200
    # What is well again is forgotten: the next fault of that kind is of its place.
    with pytest.raises(RequestFailed):
        scene.field(3600, fault_of)


def test_another_fault_on_the_next_field_is_one_of_its_own() -> None:
    scene = Scene()
    for kind in ("StageStuck", "FrameFault", "StageStuck"):
        with pytest.raises(RequestFailed):
            scene.field(3600, "place", kind)


def test_an_instrument_out_of_order_is_waited_for_in_the_dark_by_a_growing_pause() -> None:
    scene = Scene()
    scene.field(5 * 3600.0)
    pauses_s = [after - before for before, after in zip(scene.tries, scene.tries[1:], strict=False)]
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[0] == 0.5
    assert set(pauses_s[8:]) == {60.0}
    assert scene.withdrawn == 1
    # Each try switches the light on, and none leaves it on while the next one is waited for.
    assert scene.dark == len([at for at in scene.tries if at >= LIT_S - 1]) - 1
    assert not scene.lit_for_nothing_s
    assert scene.states == [NightState.PAUSED, NightState.SCANNING]
    assert len(scene.titles(EventName.PAUSED)) == len(scene.titles(EventName.RESUMED)) == 1
    errors = [at for at, level in scene.titles(EventName.FAULT) if level == "error"]
    assert [round(at / 3600) for at in errors] == [1, 2, 3, 4]
    assert len(scene.titles(EventName.FAULT)) < 12


@pytest.mark.slow
def test_a_patience_of_days_waits_days() -> None:
    scene = Scene(light_cycles=10_000, instrument_patience_h=72)
    assert scene.field(70 * 3600.0) > 4000


@pytest.mark.parametrize(("retry", "tries"), [({"instrument_patience_h": 2}, 130), ({"light_cycles": 20}, 25)])
def test_patience_comes_to_its_end(retry: dict[str, Any], tries: int) -> None:
    scene = Scene(**retry)
    with pytest.raises(
        NightStopped, match=r"^x: it failed; that has lasted .* was tried \d+ times, so the night has ended"
    ):
        scene.field(72 * 3600.0)
    assert len(scene.tries) == pytest.approx(tries, abs=5)


def test_what_cannot_be_asked_again_is_not() -> None:
    scene = Scene()
    with pytest.raises(RequestFailed):
        scene.field(3600, again=False)
    assert scene.tries == [0]


def test_a_command_is_no_field_that_could_be_skipped() -> None:
    scene = Scene(instrument_patience_h=1)

    async def stuck() -> None:
        raise RequestFailed("StageStuck", "Z stands", again=True, fault_of="place")

    with pytest.raises(NightStopped, match="stage stuck: Z stands; that has lasted"):
        asyncio.run(scene.patience.command(stuck))
    assert scene.clock.now() > 3600


def test_a_person_with_a_hand_at_the_microscope_is_waited_for() -> None:
    scene = Scene()

    async def expose(tries: int) -> None:
        if tries > 3:
            scene.held = "anna keeps the night paused" if scene.clock.now() < 1000 else None
        if tries < 6:
            raise RequestFailed("X", "it failed", again=True, fault_of="instrument")
        scene.tries.append(scene.clock.now())

    async def repair() -> None:
        while scene.clock.now() < 1000:
            await asyncio.sleep(0)
        scene.held = None

    async def play() -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(repair())
            await scene.patience.persist(expose, FIELD)

    asyncio.run(play())
    assert 1000 <= scene.tries[0] < 1100


def test_a_person_may_end_the_night_or_want_the_field_no_more() -> None:
    scene = Scene()

    async def fails(_tries: int) -> None:
        scene.interrupted = scene.clock.now() > 100
        raise RequestFailed("X", "it failed", again=True, fault_of="instrument")

    with pytest.raises(Interrupt):
        asyncio.run(scene.patience.persist(fails, FIELD))
    scene = Scene()
    with pytest.raises(RequestFailed):
        asyncio.run(scene.patience.persist(fails, FIELD, lambda: scene.clock.now() > 50))
    assert scene.clock.now() < 100
