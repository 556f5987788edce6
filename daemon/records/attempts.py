"""Attempts: a field may be taken again. At most one attempt counts, the last complete one, whatever it found."""

from __future__ import annotations

from collections.abc import Iterable
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


class FurtherAttempts:
    """How many of the further attempts that were ordered are made; an order that comes once all are made begins anew.

    Attributes
    ----------
    ordered
        attempts that were ordered.
    made
        those of them that are made, whatever became of them.
    """

    def __init__(self) -> None:
        self.ordered = self.made = 0
        self._due: set[AttemptName] = set()

    def order(self, names: Iterable[AttemptName]) -> None:
        """Take in an order."""
        if not self._due:
            self.ordered = self.made = 0
        added = set(names) - self._due
        self._due |= added
        self.ordered += len(added)

    def make(self, name: AttemptName) -> None:
        """Take in an attempt; one that was not ordered is of the plan."""
        if name in self._due:
            self._due.remove(name)
            self.made += 1
