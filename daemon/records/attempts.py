"""Attempts: a field may be taken again. At most one attempt counts, the last complete one, whatever it found."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Purpose(StrEnum):
    """Why an attempt is made."""

    PLAN = "plan"
    RETAKE = "retake"
    """A fault kept the field from being recorded."""
    REDO = "redo"
    """A person wants it anew."""


class AttemptName(msgspec.Struct, frozen=True, order=True):
    """Which attempt is meant: mini-slide, field, and the number of the attempt, from 1."""

    slide: int
    field: int
    attempt: int


def supersedes(complete: bool, before: bool | None) -> bool:
    """Whether an attempt at a field counts from now on.

    Parameters
    ----------
    complete
        whether it is complete.
    before
        whether the attempt is that counted so far; None where there was none.
    """
    return complete or not before
