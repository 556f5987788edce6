"""The colours of everything that lamelle draws: one set, once for light grounds and once for dark ones.

Pages in a browser have the same set, as properties in `daemon/web/page/base.css`; a test holds the two together.

`SERIES` tells up to eight mini-slides, classes or polarizations apart. Its colours were found by a search: with full
sight, and without long, medium or short cones (as Machado, Oliveira and Fernandes 2009 simulate it), any two of them
differ by CIEDE2000 of `LEAST_DIFFERENCE` or more, and each has a contrast of `LEAST_CONTRAST` to its grounds. Where
points are drawn, a mark (`MARKS`) goes with each colour, for those who see none and for paper without any.
"""

from __future__ import annotations

from typing import NamedTuple

LEAST_DIFFERENCE = 15.0
LEAST_CONTRAST = 3.0


class OnGrounds(NamedTuple):
    """A colour for light grounds and for dark ones."""

    light: str
    dark: str

    @property
    def rgb_light(self) -> tuple[int, int, int]:
        """Give the one for light grounds as numbers."""
        return _rgb(self.light)

    @property
    def rgb_dark(self) -> tuple[int, int, int]:
        """Give the one for dark grounds as numbers."""
        return _rgb(self.dark)


SERIES = (
    OnGrounds("#183e73", "#97aafd"),
    OnGrounds("#a88530", "#947400"),
    OnGrounds("#2a7553", "#1e8671"),
    OnGrounds("#ef3381", "#ff5694"),
    OnGrounds("#4950f5", "#9e4cea"),
    OnGrounds("#664a00", "#d6c62e"),
    OnGrounds("#019c97", "#76f1ec"),
    OnGrounds("#403e42", "#d8e8bb"),
)
MARKS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""Of points, as matplotlib names them."""

GROUND = OnGrounds("#f5f5f3", "#0f1114")
PANEL = OnGrounds("#ffffff", "#16191d")
LINE = OnGrounds("#e0e1de", "#262b31")
TEXT = OnGrounds("#1f2328", "#d9dde2")
DIM = OnGrounds("#5d646d", "#99a1ab")
ACCENT = OnGrounds("#0c7a6c", "#5cc0b0")
TONES = {
    "good": OnGrounds("#0c7a6c", "#5cc0b0"),
    "warning": OnGrounds("#8a5a00", "#e6b450"),
    "bad": OnGrounds("#b3341f", "#f0806c"),
    "running": OnGrounds("#1f5fa8", "#7fb2f0"),
}
"""Of verdicts."""


def series(at: int) -> OnGrounds:
    """Give the colour of the several things in a row; after eight they begin anew."""
    return SERIES[at % len(SERIES)]


def page_colours() -> dict[str, OnGrounds]:
    """Give the properties of a page that hold these colours, by name."""
    named = {"ground": GROUND, "panel": PANEL, "line": LINE, "text": TEXT, "dim": DIM, "accent": ACCENT}
    named |= {"good": TONES["good"], "attention": TONES["warning"], "bad": TONES["bad"]}
    return named | {f"series-{at}": colour for at, colour in enumerate(SERIES, start=1)}


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue
