"""What the night does about faults of the microscope: it tries again, and waits where the instrument is out of order.

A fault of a frame is met by exposing again. One of a field's place may last for some time; then the field is skipped,
unless the one before it was skipped for the same fault: then it is no longer the place. A fault of the instrument
burns no field: the night stands still, light off and told, tries by a growing pause, and goes on by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from daemon.config.model import Retry
from daemon.night.pause import NightClock, Pause
from daemon.records.events import EventName, fault_in_words
from daemon.records.fields import PlannedField
from daemon.system.errors import NightStopped, RequestFailed
from daemon.system.progress import duration

FIRST_PAUSE_S = 0.5
"""Each pause is twice as long as the one before."""
MOST_DOUBLINGS = 64
"""More of them than any pause is long, fewer than a number of seconds holds."""
LIT_S = 2.0
"""So long after the first fault the light may stay on for nothing."""
WITHDRAW_S = 60.0
"""After so long the objective is withdrawn: oil creeps, and somebody may come to look."""
TELL_S = 3600.0

Answer = TypeVar("Answer")


class EmitFault(Protocol):
    """Takes level, name and message of an event, the field it is of, and the kind of the fault."""

    def __call__(
        self, level: str, name: EventName, message: str, planned: PlannedField | None, /, *, fault: str | None
    ) -> None:
        """Emit it."""


class InstrumentPatience:
    """Persists in what it asks of the microscope.

    Parameters
    ----------
    retry
        how long, and how often.
    pause
        where the night stands still.
    withdraw
        withdraws the objective as well as it can, however out of order the instrument is.
    held
        why the night is not to try at present, as a person ordered it; None where it may.
    """

    def __init__(
        self,
        retry: Retry,
        pause: Pause,
        emit: EmitFault,
        withdraw: Callable[[], Awaitable[None]],
        held: Callable[[], str | None],
        clock: NightClock,
    ) -> None:
        self._retry = retry
        self._pause = pause
        self._emit = emit
        self._withdraw = withdraw
        self._held = held
        self._clock = clock
        self._skipped_for: str | None = None
        self._light_cycles = 0

    async def command(self, command: Callable[[], Awaitable[None]]) -> None:
        """Carry out a command between fields, whatever it takes.

        Raises
        ------
        Interrupt
            A person asked the night to stop meanwhile.
        NightStopped
            It cannot be carried out, or patience has come to its end.
        """
        try:
            await self.persist(lambda _tries: command())
        except RequestFailed as fault:
            raise NightStopped(f"{fault_in_words(fault.kind)}: {fault}") from fault

    async def persist(
        self,
        act: Callable[[int], Awaitable[Answer]],
        planned: PlannedField | None = None,
        unwanted: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Await `act(tries so far)`, again after each fault.

        Parameters
        ----------
        planned
            the field that it is for, which may be skipped; None where nothing may be.
        unwanted
            whether a person wants the field no more.

        Raises
        ------
        RequestFailed
            The last fault; the field is to be skipped.
        Interrupt
            A person asked the night to stop meanwhile.
        NightStopped
            Patience has come to its end.
        """
        outage = _Outage(self._clock.now(), planned)
        async with AsyncExitStack() as standing_still:
            while True:
                try:
                    answer = await act(outage.tries)
                except RequestFailed as fault:
                    outage.meet(fault)
                    if unwanted():
                        raise
                    if not fault.again:
                        self._tell_skipped(outage, fault)
                        raise
                    pause_s = self._pause_before_next(outage, fault)
                    if not outage.stands_still and self._clock.now() + pause_s > outage.began_s + LIT_S:
                        outage.stands_still = True
                        await standing_still.enter_async_context(self._pause.lasting(lambda: self._why(outage)))
                    await self._wait(outage, pause_s, unwanted)
                else:
                    self._skipped_for = None
                    return answer

    def _pause_before_next(self, outage: _Outage, fault: RequestFailed) -> float:
        """Tell a fault, and how long to wait before the next try.

        Raises
        ------
        RequestFailed
            The field is to be skipped.
        NightStopped
            Patience has come to its end.
        """
        lasted_s = self._clock.now() - outage.began_s
        if fault.fault_of == "frame" and outage.tries < self._retry.attempts:
            self._tell(outage, fault, "")
            return 0.0
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(outage.pauses, MOST_DOUBLINGS), self._retry.longest_pause_s)
        outage.pauses += 1
        may_skip = outage.planned is not None and fault.fault_of != "instrument" and fault.kind != self._skipped_for
        if may_skip and lasted_s + pause_s > self._retry.field_patience_s:
            self._skipped_for = fault.kind
            self._tell_skipped(outage, fault)
            raise fault
        self._light_cycles += outage.stands_still
        if lasted_s > 3600 * self._retry.instrument_patience_h or self._light_cycles > self._retry.light_cycles:
            raise NightStopped(
                f"{fault_in_words(fault.kind)}: {fault}; that has lasted {duration(lasted_s)} and was tried "
                f"{outage.tries} times, so the night has ended: put it right, and go on with --resume"
            ) from fault
        self._tell(outage, fault, f" in {pause_s:g} s" if pause_s > LIT_S else "")
        return pause_s

    async def _wait(self, outage: _Outage, pause_s: float, unwanted: Callable[[], bool]) -> None:
        """Wait as long as a person wants it, and no shorter than `pause_s`."""
        if not outage.stands_still:
            await self._clock.sleep(pause_s)
            return
        if not outage.withdrawn and self._clock.now() - outage.began_s >= WITHDRAW_S:
            outage.withdrawn = True
            await self._withdraw()
        until_s = self._clock.now() + pause_s
        await self._pause.wait(lambda: not unwanted() and (self._clock.now() < until_s or self._held() is not None))

    def _why(self, outage: _Outage) -> str:
        """Say why the night stands still: also that a person keeps it so, as nothing is tried then."""
        held = self._held()
        return outage.fault if held is None else f"{outage.fault}; and {held}"

    def _tell(self, outage: _Outage, fault: RequestFailed, when: str) -> None:
        """Tell a fault once, and that it lasts every hour."""
        lasted_s = self._clock.now() - outage.began_s
        if fault.kind == outage.told and lasted_s < outage.tell_again_s:
            return
        level, what = "warning", f"{'exposing' if outage.planned else 'commanding'} again{when}"
        if lasted_s >= outage.tell_again_s:
            level, what = "error", f"that has lasted {duration(lasted_s)}; the night goes on once it is put right"
            outage.tell_again_s = lasted_s + TELL_S
        # The sentence of a fault may have another number each time.
        outage.told = fault.kind if outage.stands_still else ""
        self._emit(level, EventName.FAULT, f"{fault}; {what}", outage.planned, fault=fault.kind)

    def _tell_skipped(self, outage: _Outage, fault: RequestFailed) -> None:
        if outage.planned is not None:
            told = f"{fault}; the field is skipped"
            self._emit("error", EventName.FAULT, told, outage.planned, fault=fault.kind)


@dataclass
class _Outage:
    """What is tried, and what has become of it so far."""

    began_s: float
    planned: PlannedField | None
    fault: str = ""
    tries: int = 0
    pauses: int = 0
    stands_still: bool = False
    withdrawn: bool = False
    told: str = ""
    tell_again_s: float = TELL_S

    def meet(self, fault: RequestFailed) -> None:
        """Take in that another try failed."""
        self.tries += 1
        self.fault = str(fault)
