"""What people have ordered, as the night asks it at each field boundary, and what may be ordered when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from daemon.protocols.control import Order, OrderName
from daemon.records.events import EventName, ReasonCode, SkipReason, skipped_by
from daemon.records.records import Event, FieldSecured, FieldSkipped
from daemon.records.states import EndedBy

_ORDERED: dict[OrderName, EventName] = {
    "pause": EventName.PAUSE_ORDERED,
    "resume": EventName.RESUME_ORDERED,
    "skip": EventName.SKIP_ORDERED,
    "stop": EventName.STOP_ORDERED,
}


class EmitOrderEvent(Protocol):
    """Takes level, name and message of an event, and who gave the order that it tells of."""

    def __call__(self, level: str, name: EventName, message: str, *, who: str) -> None:
        """Emit it."""


class OrderOutcome(NamedTuple):
    """What became of an order; the message is a sentence for people."""

    accepted: bool
    message: str


class Steering:
    """Lives in the thread of the event loop.

    A pause that was ordered lasts until a person ends it, also over a crash: whoever ordered it may have a hand at the
    microscope. A night that a person stopped begins without it.

    Parameters
    ----------
    emit
        takes the events.
    before
        events of the night so far.

    Attributes
    ----------
    stopping
        whether the night is to stop at the next field boundary.
    slide
        mini-slide that is scanned now; None between two, and where nothing is scanned.
    scans
        whether the night is still to expose anything.
    """

    def __init__(self, emit: EmitOrderEvent, before: Iterable[Event] = ()) -> None:
        self._emit = emit
        self._keeper: str | None = None
        self._skips: dict[int, str] = {}
        self.stopping = False
        self.slide: int | None = None
        self.scans = True
        for event in before:
            match event:
                case Event(name=EventName.PAUSE_ORDERED):
                    self._keeper = event.who
                case Event(name=EventName.RESUME_ORDERED | EventName.STOP_ORDERED) | Event(by=EndedBy.PERSON):
                    self._keeper = None

    def carry_out(self, order: Order) -> OrderOutcome:
        """Do what is ordered, if it can be done, and tell it."""
        verdict = self._judge(order)
        if verdict.accepted:
            self._emit("info", _ORDERED[order.name], f"{order.who}: {verdict.message}", who=order.who)
        else:
            refused = f"{order.who}: {order.name}: {verdict.message}"
            self._emit("warning", EventName.ORDER_REFUSED, refused, who=order.who)
        return verdict

    def keeps(self) -> str | None:
        """Who keeps the night paused, in words; None where nobody does."""
        return None if self._keeper is None else f"{self._keeper} keeps the night paused, until someone resumes it"

    def leaves(self, slide: int) -> SkipReason | None:
        """Why the remaining fields of a mini-slide are skipped; None where nobody wants that."""
        who = self._skips.get(slide)
        return None if who is None else skipped_by(who)

    def _judge(self, order: Order) -> OrderOutcome:
        if not self.scans:
            return OrderOutcome(False, "the night does not scan any more")
        if self.stopping:
            return OrderOutcome(False, "the night is stopping already")
        match order.name:
            case "pause":
                return self._pause(order.who)
            case "resume":
                return self._resume()
            case "skip":
                return self._skip(order.slide, order.who)
            case "stop":
                self.stopping = True
                return OrderOutcome(True, "the night stops safely at the next field boundary; go on with --resume")
        raise ValueError(f"{order.name!r} is not an order that changes anything")

    def _pause(self, who: str) -> OrderOutcome:
        if self._keeper is not None:
            return OrderOutcome(False, f"{self._keeper} keeps the night paused already")
        self._keeper = who
        return OrderOutcome(True, "the night pauses at the next field boundary, light off, until someone resumes it")

    def _resume(self) -> OrderOutcome:
        if self._keeper is None:
            return OrderOutcome(False, "the night is not paused")
        keeper, self._keeper = self._keeper, None
        return OrderOutcome(True, f"the night goes on; {keeper} had paused it")

    def _skip(self, slide: int | None, who: str) -> OrderOutcome:
        if slide is None:
            return OrderOutcome(False, "name the mini-slide to skip")
        if slide != self.slide:
            now = "no mini-slide is" if self.slide is None else f"mini-slide {self.slide} is"
            return OrderOutcome(False, f"mini-slide {slide} is not being scanned, {now}")
        if slide in self._skips:
            return OrderOutcome(False, f"mini-slide {slide} is being skipped already")
        self._skips[slide] = who
        return OrderOutcome(True, f"the remaining fields of mini-slide {slide} are skipped")


def left_by_order(before: Iterable[FieldSecured | FieldSkipped]) -> SkipReason | None:
    """Why a mini-slide was left by order, from what became of its fields so far; None where it was not."""
    for one in before:
        if isinstance(one, FieldSkipped) and one.reason_code is ReasonCode.BY_ORDER and one.who is not None:
            return skipped_by(one.who)
    return None
