"""Numbers as people read them: one rule of rounding and one sign of each unit, in sentences, tables and pictures.

The pages in a browser have the same in `daemon/web/page/words.js`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MICROMETRE = "\u00b5m"
DASH = "\u2013"
"""Stands for what nobody knows, and between the ends of a range."""
MINUS = "\u2212"


def counted(number: int, one: str, many: str = "") -> str:
    """Write how many there are of something: 1 box, 2 boxes.

    Parameters
    ----------
    one
        what one of them is called, perhaps with what is said of it.
    many
        what several are; with an s where it is left out.
    """
    return f"{whole(number)} {one if number == 1 else many or one + 's'}"


def whole(number: int) -> str:
    """Write a whole number, its thousands apart."""
    return f"{number:,}"


def fixed(value: float, places: int) -> str:
    """Write a number with so many decimals, its thousands apart; what rounds to nothing has no sign."""
    return f"{value:z,.{places}f}".replace("-", MINUS)


def short(value: float) -> str:
    """Write three digits that count, without an exponent."""
    return "0" if not value else fixed(value, _places(value))


def optional(value: float | None) -> str:
    """Write three digits, or a dash for what nobody knows."""
    return DASH if value is None else short(value)


def with_deviation(value: float, deviation: float | None) -> str:
    """Write a number and its standard deviation, where one is known, with as many decimals as the number has."""
    if deviation is None:
        return short(value)
    return f"{short(value)} \u00b1 {fixed(deviation, _places(value) if value else 2)}"


def length(um: float) -> str:
    """Write a length."""
    return f"{short(um)} {MICROMETRE}"


def mass(pg: float, deviation_pg: float | None = None) -> str:
    """Write a mass."""
    return f"{with_deviation(pg, deviation_pg)} pg"


def percent(share: float) -> str:
    """Write a share in percent; what is not nothing is not written as nothing."""
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else "< 1 %"


def _places(value: float) -> int:
    """Give the decimals of a number of three digits that count; 9.995 is one of 10.0 already."""
    return max(0, 2 - math.floor(math.log10(float(f"{abs(value):.2e}"))))


def listed(texts: Sequence[str]) -> str:
    """Write several things in a row: a, b and c."""
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
