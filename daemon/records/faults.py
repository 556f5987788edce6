"""What could not be done with single objects, in words."""

from __future__ import annotations

from collections.abc import Iterable

from daemon.records.records import ObjectRow


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
