"""The children of a night, in this process: they are sent the messages of real ones, and do what those do."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import numpy as np

from benchmarks.faults.clock import SimulatedTime, TimeIsUp
from benchmarks.faults.world import Shot, World
from daemon.calibration_store.shelf import proven
from daemon.children.analysis import AnalysisDesk
from daemon.children.child import understood
from daemon.children.microscope import SAFE_S, carry_out, introduce, open_safe
from daemon.config.model import NightConfig
from daemon.protocols.pipes import (
    AnalysisReady,
    AnyMessage,
    Close,
    Expose,
    Exposed,
    Failed,
    Finish,
    FrameLanded,
    decode,
)
from daemon.records.attempts import AttemptName
from daemon.system.errors import ChildLost
from daemon.system.ring import Ring
from drivers.driving import DrivenMicroscope
from drivers.microscope import Microscope

Reply = TypeVar("Reply")
Took = dict[AttemptName, list[Shot]]
"""The frames of each attempt that was exposed to its end."""


class MicroscopeHere:
    """The microscope child, carrying out each request when its answer is awaited; it dies of what hangs."""

    def __init__(
        self,
        world: World,
        config: NightConfig,
        ring: Ring,
        time: SimulatedTime,
        on_notice: Callable[[FrameLanded], None],
        took: Took,
    ) -> None:
        self._world = world
        self._config = config
        self._ring = ring
        self._time = time
        self._on_notice = on_notice
        self._took = took
        self._microscope: Microscope | None = None
        self._asked: dict[asyncio.Future[AnyMessage], AnyMessage] = {}
        self._safe = self._hangs = False
        self._notes: tuple[str, ...] = ()

    async def ready(self, kind: type[Reply], deadline_s: float) -> Reply:
        """Open the hardware, and make it safe."""
        opened = self._within(deadline_s, lambda: open_safe(self._open, self._make_safe))
        if isinstance(opened, Failed):
            return understood("microscope", opened, kind)
        self._microscope = opened
        return understood("microscope", introduce(opened, self._notes), kind)

    def _open(self) -> Microscope:
        instrument, self._notes = proven(self._config)
        equipment = self._world.open()
        try:
            return DrivenMicroscope(instrument, self._config.scan.slides, equipment, self._time.of_drivers())
        except BaseException:
            equipment.close()
            raise

    def _make_safe(self, microscope: Microscope) -> bool:
        with suppress(ChildLost):
            return self._within(SAFE_S, microscope.make_safe)
        return False

    def send(self, message: AnyMessage) -> None:
        """Take a message that is not answered: make safe."""
        assert isinstance(message, Close)
        self._safe = self._microscope is not None and self._make_safe(self._microscope)

    def ask(self, message: AnyMessage) -> asyncio.Future[AnyMessage]:
        """Take a request."""
        future: asyncio.Future[AnyMessage] = asyncio.get_running_loop().create_future()
        self._asked[future] = message
        return future

    async def answer(self, future: asyncio.Future[AnyMessage], kind: type[Reply], deadline_s: float) -> Reply:
        """Carry out a request; raises as `Child.answer` does."""
        request, microscope = self._asked.pop(future), self._microscope
        assert microscope is not None
        self._world.shots()
        answer = self._within(deadline_s, lambda: carry_out(request, microscope, self._ring, self._tell))
        if isinstance(request, Expose) and isinstance(answer, Exposed) and len(request.sweep.channels) > 1:
            self._took[_name(request)] = self._world.shots()
        return understood("microscope", answer, kind)

    def _tell(self, message: AnyMessage) -> None:
        assert isinstance(message, FrameLanded)
        self._on_notice(message)

    def _within(self, deadline_s: float, act: Callable[[], Reply]) -> Reply:
        self._time.deadline = self._time.now() + deadline_s
        try:
            return act()
        except TimeIsUp as end:
            self._hangs = True
            told = str(end) or f"the microscope process did not answer within {deadline_s:g} s"
            raise ChildLost(told) from None
        finally:
            self._time.deadline = math.inf

    async def made_safe(self, _deadline_s: float) -> bool:
        """Whether it was made safe."""
        return self._safe

    async def end(self, grace_s: float = 0.0) -> None:
        """Let go of the hardware, or be killed without doing so."""
        if grace_s > 0 and self._microscope is not None and not self._hangs:
            self._microscope.close()
        self._microscope = None


def _name(request: Expose) -> AttemptName:
    planned = request.planned
    return AttemptName(planned.slide, planned.field, planned.attempt)


class AnalysisHere:
    """The analysis child, without a network: it follows focus, and keeps each stack raw.

    It compares every stack that is finished with the frames that the camera delivered for it.
    """

    def __init__(self, desk: AnalysisDesk, ring: Ring, took: Took, strange: list[str]) -> None:
        self._desk = desk
        self._ring = ring
        self._took = took
        self._strange = strange

    async def ready(self, kind: type[Reply], _deadline_s: float) -> Reply:
        """Say what it runs on."""
        return understood("analysis", AnalysisReady(weights_sha256="", device="none"), kind)

    def send(self, message: AnyMessage) -> None:
        """Take a message that is not answered."""
        if not isinstance(message, Close):
            self._desk.answer(message)

    def ask(self, message: AnyMessage) -> asyncio.Future[AnyMessage]:
        """Do what is asked at once."""
        future: asyncio.Future[AnyMessage] = asyncio.get_running_loop().create_future()
        if isinstance(message, Finish):
            self._compare(message)
        answer = self._desk.answer(message)
        assert answer is not None
        future.set_result(decode(answer))
        return future

    async def answer(self, future: asyncio.Future[AnyMessage], kind: type[Reply], _deadline_s: float) -> Reply:
        """Give the answer; raises as `Child.answer` does."""
        return understood("analysis", future.result(), kind)

    async def end(self, grace_s: float = 0.0) -> None:
        """End."""

    def _compare(self, finish: Finish) -> None:
        planned = finish.planned
        name = AttemptName(planned.slide, planned.field, planned.attempt)
        stack = self._ring.stack(finish.slot)
        if sorted(_crcs(stack.reshape(-1, *stack.shape[2:]))) != sorted(shot.crc for shot in self._took[name]):
            self._strange.append(f"{name} holds other frames than were delivered for it")


def _crcs(frames: Iterable[np.ndarray[tuple[int, ...], np.dtype[np.uint16]]]) -> list[int]:
    return [zlib.crc32(frame.tobytes()) for frame in frames]
