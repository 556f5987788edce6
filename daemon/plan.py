"""The plan of a night: every field, in the order it is taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedField:
    """One field: mini-slide position (1..8), number on it (1..n), centre in stage um, and its exclusive tile.

    `tile_um` is x0, y0, x1, y1 in stage coordinates, half-open: an object belongs to the field whose tile holds its
    centre.
    """

    slide: int
    field: int
    sample: str
    x_um: float
    y_um: float
    tile_um: tuple[float, float, float, float]
