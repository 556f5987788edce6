"""What could not be done with single objects, in words."""

from __future__ import annotations

from collections.abc import Iterable

from daemon.records.records import ObjectRow

MOST, FEW = 0.5, 3
"""A camera is full where it is saturated at this share of the objects of a field, and at so many."""


def unmeasured(rows: Iterable[ObjectRow]) -> str:
    """Say which objects of a field could not be measured, and why; empty where none failed."""
    faulty = [row for row in rows if row.fault is not None]
    if not faulty:
        return ""
    first = faulty[0]
    one = f"object {first.number} ({first.class_name}): {first.fault}"
    if len(faulty) == 1:
        return f"{one}; it is kept, unmeasured"
    return f"{len(faulty)} objects, the first one {one}; they are kept, unmeasured"


def overexposed(rows: Iterable[ObjectRow]) -> str:
    """Say that the camera is saturated at most objects of a field; empty where it is not."""
    known = [row.saturated for row in rows if row.saturated is not None]
    full = sum(known)
    if full < FEW or full < MOST * len(known):
        return ""
    told = f"the camera is saturated at {full} of {len(known)} objects, whose masses are wrong"
    return f"{told}: lower exposure or lamp for the next night"
