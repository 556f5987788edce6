"""Lengths as images say them: in units of many names, of pixels that must be square."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median

from drivers.errors import ImageRefused

SQUARENESS = 0.01
"""By so much the two sides of a pixel may differ."""
EVENNESS = 0.1
"""By so much of the usual one a step may differ, as stages do not stand where they should to the nanometre."""
_UM = (
    dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", "\\u00b5m"), 1.0)
    | dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3)
    | dict.fromkeys(("å", "angstrom"), 1e-4)
    | dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3)
    | dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4)
    | dict.fromkeys(("m", "meter", "metre"), 1e6)
    | dict.fromkeys(("in", "inch", '"'), 25_400.0)
)


def of_unit(unit: object) -> float | None:
    """Length of a unit in um; None where it is none, such as `pixel`."""
    return _UM.get(str(unit).strip().lower())


def number(said: object) -> float | None:
    """Read a number that a file says; None where it is none."""
    try:
        value = float(str(said))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def positive(said: object) -> float | None:
    """Read a number above 0 that a file says; None where it is none."""
    value = number(said)
    return value if value is not None and value > 0 else None


def square(x_um: float | None, y_um: float | None) -> float | None:
    """Side of a pixel; None where it is not said.

    Raises
    ------
    ImageRefused
        Its sides differ.
    """
    if x_um is None or y_um is None or min(x_um, y_um) <= 0 or not math.isfinite(x_um + y_um):
        return None
    if abs(x_um - y_um) > SQUARENESS * x_um:
        raise ImageRefused(f"its pixels are {x_um:g} x {y_um:g} um; resample it to square ones")
    return float(f"{x_um:.9g}")  # as a resolution, 1 / 0.059 comes back as 0.059000000000000004


def step(heights_um: Sequence[float]) -> tuple[float | None, Iterable[str]]:
    """Give the usual distance of planes at these heights, and what is to be told of them."""
    steps = [above - below for below, above in pairwise(heights_um)]
    usual = median(map(abs, steps)) if steps else 0.0
    if not usual:
        return None, ()
    told = []
    if all(one < 0 for one in steps):
        told.append(f"its planes run downward, from {heights_um[0]:g} to {heights_um[-1]:g} um")
    if any(abs(abs(one) - usual) > EVENNESS * usual for one in steps) or len({one > 0 for one in steps}) > 1:
        least, most = min(steps, key=abs), max(steps, key=abs)
        told.append(f"its planes are unequally far apart, {abs(least):g} to {abs(most):g} um")
    return usual, told
