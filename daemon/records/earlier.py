"""What version 0.1 said in sentences alone, as the fields that records have since then.

This is the only place that reads a sentence back. It is asked by `records.decode` where such a field is missing.
"""

from __future__ import annotations

import re

from daemon.records.events import EventName, ReasonCode, SkipReason, fault_in_words, skipped_by
from daemon.records.states import EndedBy

ORDERS = frozenset(
    {
        EventName.PAUSE_ORDERED,
        EventName.RESUME_ORDERED,
        EventName.SKIP_ORDERED,
        EventName.STOP_ORDERED,
        EventName.ORDER_REFUSED,
    }
)
"""Events whose message began with who gave the order, and went on in one of a few ways."""
_ORDERED = re.compile(
    r"(.*?): (?:the night (?:pauses|stops) (?:safely )?at the next field boundary|the night goes on; "
    r"|the remaining fields of mini-slide \d|(?:pause|resume|skip|stop): )"
)
_FAULTS = (
    "ChildLost",
    "DeviceTimeout",
    "FrameFault",
    "HardwareLost",
    "OutsideWindow",
    "PresetNotReached",
    "SettingRefused",
    "StageStuck",
)
"""Errors whose name stood before the sentence."""


def who_ordered(message: str) -> str:
    """Read who gave an order, colons in the name included."""
    match = _ORDERED.match(message)
    return message.partition(": ")[0] if match is None else match[1]


def who_ended(name: EventName, message: str) -> EndedBy | None:
    """Read who ended a night; None of other events."""
    match name:
        case EventName.INTERRUPTED:
            return EndedBy.SYSTEM if message.startswith("stopped by the system") else EndedBy.PERSON
        case EventName.NIGHT_STOPPED | EventName.NOT_DELIVERED:
            return EndedBy.FAULT
    return None


def why_left(message: str) -> ReasonCode:
    """Read why a mini-slide was left."""
    return ReasonCode.NO_FOCUS if "without focus" in message else ReasonCode.FAULTS_IN_A_ROW


def why_skipped(reason: str) -> SkipReason:
    """Read why a field was skipped."""
    kind, _, rest = reason.partition(": ")
    if reason.startswith("skipped by "):
        return skipped_by(reason.removeprefix("skipped by "))
    if kind == "slide left":
        return SkipReason(why_left(rest), reason)
    if kind == "analysis failed":
        return SkipReason(ReasonCode.ANALYSIS_FAILED, reason)
    if kind in _FAULTS:
        return SkipReason(ReasonCode.FAULT, f"{fault_in_words(kind)}: {rest}", fault=kind)
    return SkipReason(ReasonCode.UNREADABLE, reason)
