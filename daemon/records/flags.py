"""What is measured of a field as a whole and may keep it from being counted; never how many objects it holds."""

from __future__ import annotations

from enum import StrEnum


class FieldFlag(StrEnum):
    """What is to be known of a field before its objects are counted; docs/dataset.md says by which rule each is set."""

    DIM = "dim"
    DARK = "dark"
    OIL_LOST = "oil-lost"
    BLURRED = "blurred"
    BLANK = "blank"
    BUBBLE = "bubble"
    EDGE = "edge"
    SATURATED = "saturated"
    OPERATOR = "operator"

    @property
    def words(self) -> str:
        """Say it as people do."""
        return _WORDS.get(self, self.value)


OF_THE_NIGHT = frozenset({FieldFlag.DIM, FieldFlag.OIL_LOST, FieldFlag.OPERATOR})
"""Flags that only the night can set, which knows the fields before and what befell the instrument."""
_WORDS = {
    FieldFlag.OIL_LOST: "oil lost",
    FieldFlag.BUBBLE: "bubble in the oil",
    FieldFlag.EDGE: "cover-slip edge",
    FieldFlag.OPERATOR: "operator's hand",
}


def words_of(flags: tuple[FieldFlag, ...]) -> str:
    """Say several flags as people do; empty where there are none."""
    return ", ".join(flag.words for flag in flags)
