"""What a night does, how it can end, and who ended it."""

from __future__ import annotations

from enum import StrEnum


class EndedBy(StrEnum):
    """Who ended a night; the system is the computer's own, which shuts down or stops a service."""

    PERSON = "person"
    SYSTEM = "system"
    FAULT = "fault"
    ITSELF = "itself"


class NightState(StrEnum):
    """Every state that a night can be in."""

    STARTING = "starting"
    SCANNING = "scanning"
    PAUSED = "paused"
    DELIVERING = "delivering"
    COMPLETE = "complete"
    NOT_DELIVERED = "not delivered"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    REFUSED = "refused"

    @property
    def by(self) -> EndedBy | None:
        """Who ended the night; None while it goes on."""
        return _ENDED_BY.get(self)

    @property
    def ended(self) -> bool:
        """Whether the night has said itself that, and how, it ended."""
        return self in _ENDED_BY


_ENDED_BY = {
    NightState.COMPLETE: EndedBy.ITSELF,
    NightState.NOT_DELIVERED: EndedBy.FAULT,
    NightState.STOPPED: EndedBy.FAULT,
    NightState.INTERRUPTED: EndedBy.PERSON,
    NightState.TERMINATED: EndedBy.SYSTEM,
    NightState.REFUSED: EndedBy.ITSELF,
}
