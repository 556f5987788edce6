"""The names of events, and why fields are skipped: what programs go by, beside the sentences that people read."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


class EventName(StrEnum):
    """Every event of a night; docs/events.md says what each is."""

    # What people ordered.
    PAUSE_ORDERED = "pause ordered"
    RESUME_ORDERED = "resume ordered"
    SKIP_ORDERED = "skip ordered"
    STOP_ORDERED = "stop ordered"
    ORDER_REFUSED = "order refused"
    # How the night goes on, and ends.
    PAUSED = "paused"
    RESUMED = "resumed"
    INTERRUPTED = "interrupted"
    NIGHT_STOPPED = "night stopped"
    NOT_DELIVERED = "not delivered"
    NIGHT_RESUMED = "night resumed"
    NOT_SAFE = "not safe"
    MADE_SAFE = "made safe"
    # Fields and mini-slides.
    FAULT = "fault"
    ANALYSIS_FAILED = "analysis failed"
    NOT_MEASURED = "not measured"
    NOT_NAMED = "not named"
    SLIDE_LEFT = "slide left"
    FOCUS_NOT_FOUND = "focus not found"
    FOCUS_OUT_OF_REACH = "focus out of reach"
    CAMERA_FULL = "camera full"
    DIM_FIELD = "dim field"
    OIL_LOST = "oil lost?"
    LAMP_DIM = "lamp dim?"
    SPOOL_NOT_WRITTEN = "spool not written"
    # Processes and devices.
    MICROSCOPE_LOST = "microscope lost"
    MICROSCOPE_RESTARTED = "microscope restarted"
    MICROSCOPE_NOTED = "microscope noted"
    ANALYSIS_RESTARTED = "analysis restarted"
    DETECTOR = "detector"
    DETECTOR_LOST = "detector lost"
    DETECTOR_BACK = "detector back"
    RUNTIME_REFUSED = "runtime refused"
    CALIBRATION = "calibration"
    NOT_KEPT_AWAKE = "not kept awake"
    NOT_WATCHED = "not watched"
    # What lies in an archive.
    LISTED = "listed"
    LEFT_OUT = "left out"
    # Delivery.
    RECORDER_AWAY = "recorder away"
    RECORDER_WAITS = "recorder waits"
    RECORDER_RESTARTED = "recorder restarted"
    DELIVERY_REFUSED = "delivery refused"
    DELIVERY_WAITS = "delivery waits"
    DELIVERY_RESTARTED = "delivery restarted"
    DELIVERY_GOES_ON = "delivery goes on"
    # Of a monitor that follows the night; never of a record.
    NIGHT_NOT_HEARD = "night not heard"
    NIGHT_HEARD_AGAIN = "night heard again"


EmitEvent = Callable[[str, EventName, str], None]
"""Takes level, name and message of an event."""


class ReasonCode(StrEnum):
    """Why a field is skipped, or a mini-slide left."""

    BY_ORDER = "by order"
    NO_FOCUS = "no focus"
    FAULTS_IN_A_ROW = "faults in a row"
    FAULT = "fault"
    ANALYSIS_FAILED = "analysis failed"
    UNREADABLE = "unreadable"


class SkipReason(NamedTuple):
    """Why a field is skipped: the code for programs, the sentence for people, who ordered it, what fault it was."""

    code: ReasonCode
    sentence: str
    who: str | None = None
    fault: str | None = None


def skipped_by(who: str) -> SkipReason:
    """Give the reason of a field that somebody wants skipped."""
    return SkipReason(ReasonCode.BY_ORDER, f"skipped by {who}", who=who)


def fault_in_words(fault: str) -> str:
    """Write the kind of a fault as people do: `StageStuck` becomes `stage stuck`."""
    return _WORD.sub(" ", fault).lower()


def title_of(name: EventName, fault: str | None) -> str:
    """Give what people read before the message of an event: its name, or of a fault what kind it is."""
    return fault_in_words(fault) if name is EventName.FAULT and fault else name.value
