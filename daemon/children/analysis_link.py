"""The supervisor's end of the analysis: a child that is told again what it has not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec.structs import replace

from daemon.analysis.naming import told_nameless
from daemon.children.child import CLOSE_S, Child
from daemon.protocols.pipes import (
    Analysed,
    AnalysisReady,
    AnyMessage,
    Close,
    Device,
    Finish,
    FrameLanded,
    MeasureSharpness,
    Sharpness,
    StackBegins,
    StackFault,
)
from daemon.records.events import EmitEvent, EventName
from daemon.system.errors import ChildLost, NightStopped, RequestFailed

ANALYSIS_START_S = 300.0
"""Once for each weights and size of frames the model is exported then, and an engine built."""
ANALYSIS_S = 120.0
DEATHS_KEPT_RAW, DEATHS_SKIPPED = 2, 4
"""A stack that the analysis died of so often is kept raw, and is skipped where it dies of that too."""
DEATHS_NAMELESS = 2
"""Once the analysis has died so often as it named objects, none is named any more."""


@dataclass
class _Job:
    slot: int
    landed: list[FrameLanded] = field(default_factory=list)
    finish: Finish | None = None
    answer: asyncio.Future[AnyMessage] | None = None
    deaths: int = 0
    died: str = ""
    naming: bool = False
    nameless: str = ""

    @property
    def answered(self) -> bool:
        return self.answer is not None and self.answer.done() and self.answer.exception() is None


class AnalysisLink:
    """The analysis as the night sees it: what it has not answered yet it is told again after it died.

    The ring keeps the stacks, so no exposure is repeated. A stack that it dies of again is kept raw, without a look at
    it: as it answers in order, that is the first one that it has not answered. `spawn` makes the child, told what the
    night's detector has run on so far: `device` at first, None where nobody knows. A night that began on a GPU goes on
    without a detector where that is lost. `stands` says in words what the child does.
    """

    def __init__(self, spawn: Callable[[Device | None], Child], emit: EmitEvent, device: Device | None = None) -> None:
        self._spawn = spawn
        self._emit = emit
        self._device = device
        self._runs_on: Device | None = None
        self._child: Child | None = None
        self._jobs: dict[int, _Job] = {}
        self._spared: Child | None = None
        self._reviving = asyncio.Lock()
        self._told: set[str] = set()
        self._restarts = 0
        self._nameless = ""
        self._deaths_naming = 0
        self.stands = "not started"

    async def start(self) -> AnalysisReady:
        """Start the child and await its detector, or where the GPU is lost a child that does without.

        What runs the detector, and what does not, is told once.
        """
        self.stands = "loads the detector" if self._restarts == 0 else self.stands
        try:
            ready = await self._start(self._device)
        except (ChildLost, RequestFailed):
            if self._device != "cuda":
                raise
            if self._child is not None:
                await self._child.end()
            ready = await self._start("none")
        self._device = self._device or ready.device
        if self._runs_on != (runs_on := ready.device):
            self._emit_device(self._runs_on, runs_on)
            self._runs_on = runs_on
        for refusal in ready.refusals:
            self._emit_once("warning", EventName.RUNTIME_REFUSED, refusal)
        if ready.nameless:
            self._emit_nameless(ready.nameless)
        for runtime in ready.runtimes:
            self._emit_once("info", EventName.DETECTOR, f"runs on {runtime}")
        runs = f"runs on {', '.join(ready.runtimes)}" if self.detects else "no detector: raw stacks are kept"
        self.stands = runs if self._restarts == 0 else f"{runs}; started again {self._restarts} times"
        return ready

    @property
    def detects(self) -> bool:
        """Whether objects are looked for; else raw stacks are kept."""
        return self._runs_on != "none"

    async def _start(self, device: Device | None) -> AnalysisReady:
        self._child = self._spawn(device)
        self._child.on_naming = self._naming_begins
        return await self._child.ready(AnalysisReady, ANALYSIS_START_S)

    def _emit_device(self, before: Device | None, now: Device) -> None:
        if now == "none":
            told = "no CUDA device answers, and the night began on one: focus is followed, and every raw stack is kept"
            self._emit("error", EventName.DETECTOR_LOST, f"{told} for `lamelle analyse`")
        elif before == "none":
            self._emit("info", EventName.DETECTOR_BACK, "the CUDA device answers again, and the night goes on with it")

    def begin(self, slot: int) -> None:
        """Planes of a new stack will land in this slot."""
        self._jobs.pop(slot, None)
        self._jobs[slot] = _Job(slot)
        self._pass_on(StackBegins(slot=slot))

    def landed(self, frame: FrameLanded) -> None:
        """Pass on that a plane has landed."""
        if (job := self._jobs.get(frame.slot)) is not None:
            job.landed.append(frame)
            if job.deaths < DEATHS_KEPT_RAW:
                self._pass_on(frame)

    def drop(self, slot: int) -> None:
        """Forget a stack that will not be finished."""
        self._jobs.pop(slot, None)

    def complete(self, request: Finish) -> None:
        """All planes of a slot have landed; comes before the next `begin`. Then await `result`."""
        job = self._jobs[request.slot]
        job.finish = request
        self._ask(job)

    async def result(self, slot: int) -> Analysed:
        """Await the analysis of a complete stack, its files written.

        Raises
        ------
        RequestFailed
            The spool could not be written (`again`: await the result once more), or the analysis died of this stack
            even where it was to be kept raw.
        """
        job = self._jobs[slot]
        while job.deaths < DEATHS_SKIPPED:
            child = await self._living()
            try:
                if job.answer is None:
                    raise ChildLost("the analysis process has ended")
                analysed = await child.answer(job.answer, Analysed, ANALYSIS_S)
                self.drop(slot)
                if analysed.nameless:
                    self._emit_nameless(analysed.nameless)
                return analysed
            except ChildLost as error:
                await self._revive(child, error)
            except RequestFailed:
                # Another stack may already have taken the session's buffers: a new child is told everything again.
                job.answer, self._spared = None, child
                await child.end()
                raise
        self.drop(slot)
        raise RequestFailed("analysis", f"the analysis died {job.deaths} times on this stack: {job.died}", again=False)

    async def sharpness(self, slot: int, planes: int) -> tuple[float, ...]:
        """Sharpness of the first planes of a slot's first channel.

        Raises
        ------
        RequestFailed
            They cannot be looked at, or the analysis died of them, which is told.
        """
        request = MeasureSharpness(slot=slot, planes=planes)
        deaths = 0
        while True:
            child = await self._living()
            try:
                return (await child.answer(child.ask(request), Sharpness, ANALYSIS_S)).values
            except ChildLost as error:
                failed = RequestFailed("analysis", str(error), again=False)
                deaths += all(job.answered or job.finish is None for job in self._jobs.values())
                await self._revive(child, error)
            except RequestFailed as error:
                failed, deaths = error, DEATHS_KEPT_RAW
            if deaths >= DEATHS_KEPT_RAW:
                told = f"the planes of a focus search: {failed}; the field is taken without a search"
                self._emit("warning", EventName.ANALYSIS_FAILED, told)
                raise failed

    async def close(self) -> None:
        """End the child."""
        if self._child is not None:
            with suppress(ChildLost):
                self._child.send(Close())
            await self._child.end(grace_s=CLOSE_S)

    def _naming_begins(self, slot: int) -> None:
        if (job := self._jobs.get(slot)) is not None:
            job.naming = True

    def _emit_nameless(self, why: str) -> None:
        """Say, once a night, that objects get no names."""
        if not self._nameless:
            self._nameless = why
            self._emit("warning", EventName.NOT_NAMED, told_nameless(why))

    def _emit_once(self, level: str, name: EventName, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._emit(level, name, message)

    async def _living(self) -> Child:
        """Wait while a new child starts."""
        async with self._reviving:
            assert self._child is not None
            return self._child

    def _ask(self, job: _Job) -> None:
        assert self._child is not None
        assert job.finish is not None
        job.answer, job.naming, request = None, False, job.finish
        if job.deaths >= DEATHS_KEPT_RAW:
            why = f"the analysis died of it {job.deaths} times: {job.died}"
            fault = StackFault(kind=ChildLost.__name__, message=why)
            request = replace(request, fault=fault, undrawn=job.deaths > DEATHS_KEPT_RAW)
        elif job.nameless or self._deaths_naming >= DEATHS_NAMELESS:
            why = job.nameless or f"the analysis died {self._deaths_naming} times as it named objects"
            request = replace(request, nameless=why)
        # While a new child starts nothing is passed on: as soon as it is ready it is told everything, once.
        if not self._reviving.locked():
            with suppress(ChildLost):
                job.answer = self._child.ask(request)

    def _pass_on(self, message: AnyMessage) -> None:
        assert self._child is not None
        if not self._reviving.locked():
            # Whoever awaits an answer of a lost child revives it.
            with suppress(ChildLost):
                self._child.send(message)

    async def _revive(self, dead: Child, error: ChildLost) -> None:
        async with self._reviving:
            if self._child is not dead:
                return
            if dead is not self._spared:
                self._blame(error)
            await dead.end()
            self._restarts += 1
            self.stands = f"starts again: {error}"
            told = f"{error}; its stacks are analysed again from the ring"
            self._emit("warning", EventName.ANALYSIS_RESTARTED, told)
            try:
                await self.start()
            except (ChildLost, RequestFailed) as again:
                raise NightStopped(f"the analysis cannot be started again: {again}") from again
        for job in self._jobs.values():
            if job.deaths < DEATHS_KEPT_RAW:
                self._pass_on(StackBegins(slot=job.slot))
                for frame in job.landed:
                    self._pass_on(frame)
            if job.finish is not None and job.deaths < DEATHS_SKIPPED:
                self._ask(job)

    def _blame(self, error: ChildLost) -> None:
        """Count a death to the stack that it died of."""
        job = next((job for job in self._jobs.values() if not job.answered), None)
        if job is None:
            return
        job.died = str(error)
        if job.naming and not job.nameless:
            # It was well until then: only its names are left out, unless it dies again.
            self._deaths_naming += 1
            job.nameless = f"the analysis died as it named objects: {error}"
        else:
            job.deaths += 1
