"""The outline of one object, by the rules of docs/measurement.md: where a dark field ends, or a bright one is steepest.

Points are x, y in px of the images, where pixel n reaches from n to n + 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inference.objects import contour as closed
from inference.objects.contour import Floats, Mask, Points
from inference.objects.edges import EVENING_UM, Gradient, amplitude, lit, to_crest, to_level
from inference.objects.objects import Box
from inference.objects.rim import FIT_POWER, rims
from inference.objects.search import Search

RULE = "end of the dark field, steepest bright one or best closed rim, 6"
"""Names the rule; another one gets another number."""
DARK_THREAD_UM, BRIGHT_THREADS_UM, VALVE_THREADS_UM = 0.7, (0.3,), (0.7, 1.3)
"""What is thinner and hangs on the filled outline is cut off: light beside light makes a bridge in the dark field, and
bristles and horns, as they are seen, are no part of a valve; of two threads the better outline counts."""
PREFERENCE = 0.02
"""A bright outline must fit the detection's box by so much better than a dark one to be taken instead."""
GOOD_ENOUGH = 0.8
"""Worth of a contour, of at most 1, from which on no other way is tried."""
RIMS_TRIED = 2
LEAST_STRENGTH = 0.4
"""An edge counts so much on average along what is an outline at all; the best line through noise reaches 0.3."""
LEAST_WIDTH_UM = 0.8
"""Mean width below which an outline is but a line along its object's rim."""
WEAKEST_SHARE = 0.12
"""Standard deviation, as a share of an outline, over which its weakest part is looked for."""
FITS, VALVE_FITS = 0.7, 0.6
"""Fit below which an outline is doubtful; a valve's box holds its horns, too."""
SURE = 0.6
"""Weakest part of a convex body's outline below which it is doubtful."""
SLIM = 3.5
"""Length over mean width from which on the halo beside a valve is as broad as a good part of it."""
ALIKE = 0.2
"""Share by which lines in two planes may differ that are the end of the same valve."""
FAINT, SEEN_WELL = 0.4, 0.76
"""Weakest part that is enough for a line whose brighter side is known and which is seen so well on average."""
HOLLOW, BENT = 0.04, 0.01
"""What the convex hull of a convex body's outline has beyond it, at most: a share of the hull, or, as slim bodies may
be bent, of the square of its length."""
BESIDE_UM, WIDER, SEEN_TOO = 0.35, 1.25, 0.65
"""Another line, from so far outside an outline, that makes a body so much wider, and the weakest part from which on it
may be the body's end as well: both edges of a broad rim are seen."""


@dataclass(frozen=True, eq=False)
class Outline:
    """Where an object ends: a closed line that does not cross itself, inside the box and its margin.

    Attributes
    ----------
    points
        (N, 2) x, y, once around.
    inside
        (h, w), pixels whose centre lies inside.
    dark
        whether the dark field showed it.
    clipped
        it runs along the border of what was searched, so the object may go on beyond.
    doubtful
        it does not fit the detection's box, or no edge is seen along a part of it, or its form is not one that the
        object can have: its size is not to be used.
    weakest
        how surely an edge is seen along the part of it where it is seen least, at most 1; of one in the dark field 1.
    """

    points: Points
    inside: Mask
    dark: bool
    clipped: bool
    doubtful: bool
    weakest: float


class _Line(NamedTuple):
    """A closed line.

    Attributes
    ----------
    points
        (N, 2) x, y.
    fit
        intersection over union of the box around it with the detection's.
    strength
        how surely an edge, brighter on the same side all around, is seen along it on average, from 0 to 1.
    weakest
        the same of the part where it is seen least.
    solidity
        area over that of its convex hull.
    hollow
        whether its hull has more beyond it than that of a convex body, which may be bent.
    rivalled
        whether a line outside of it may be the end of the body as well.
    sided
        whether it was known which side of it is brighter.
    """

    points: Points
    fit: float
    strength: float = 1.0
    weakest: float = 1.0
    solidity: float = 1.0
    hollow: bool = False
    rivalled: bool = False
    sided: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether it may not be the end of a valve: it does not fit, is not seen all along, or has not its form."""
        least = FAINT if self.sided and self.strength >= SEEN_WELL else SURE
        return self.fit < VALVE_FITS or self.weakest < least or self.hollow or self.rivalled

    @property
    def worth(self) -> float:
        """How well it shows an edge and fits the box, and how full it is."""
        return float((self.strength + self.weakest) / 2 * self.fit**FIT_POWER * self.solidity**2)


def find_outline(
    dark: Floats | None,
    bright: Floats | None,
    box: Box,
    pixel_um: float,
    dark_shift_px: tuple[float, float] = (0.0, 0.0),
    *,
    convex: bool = False,
    lower: Floats | None = None,
) -> Outline | None:
    """Outline what a detection's box holds; None where nothing in it stands out from the noise.

    Parameters
    ----------
    dark
        light of the crossed state, (h, w), of one plane, in any unit, without offset; None if it was not exposed.
    bright
        the same of the parallel state.
    box
        the detection, in px of the images.
    pixel_um
        size of a pixel on the sample.
    dark_shift_px
        where the dark image lies, relative to the bright one, x and y; the outline is told in the bright one's px.
    convex
        whether it is known to be about convex, as the valve of a diatom is, and to turn no light: then it is looked for
        in the bright field first, and where its rim does not close the best closed line is taken.
    lower
        light of the parallel state in a plane nearer to the objective than the object, where what has a lower index
        than its medium is darker than that along its end; None where no such plane is known. What is slim and convex is
        outlined in it.
    """
    given = dark if dark is not None else bright
    if given is None:
        raise ValueError("neither a dark nor a bright field image was given; an outline needs one")
    search = Search.around(box, given.shape, pixel_um)
    if search.is_empty:
        return None
    lines = {True: None if dark is None else _by_level(dark, search), False: None}
    if bright is not None:
        lines[False] = _by_crest(bright, lower, search, convex=convex, alone=lines[True] is None)
    shown = {is_dark: line for is_dark, line in lines.items() if line is not None}
    if not shown:
        return None
    is_dark = True in shown and not (False in shown and (convex or shown[False].fit > shown[True].fit + PREFERENCE))
    line = shown[is_dark]
    around = closed.simple(line.points, search.shape)
    if around is None:
        return None
    outgrown = closed.longest(around) > search.diagonal
    if outgrown:
        around = search.in_box(around)
    points = around - np.array(dark_shift_px) if is_dark else around
    inside = closed.inside(points, search.shape)
    if not inside.any():
        return None
    clipped = search.clips(line.points)
    doubtful = line.doubtful or is_dark if convex else line.fit < FITS or clipped or outgrown
    return Outline(points, inside, is_dark, clipped, doubtful, line.weakest)


def _by_level(dark: Floats, search: Search) -> _Line | None:
    """Outline of what is lit in a dark field."""
    image = amplitude(dark, search)
    contour = search.contour(lit(image, search), DARK_THREAD_UM)
    if contour is None:
        return None
    even = closed.even(contour, EVENING_UM / search.pixel_um)
    points = search.within(to_level(image, even, search.pixel_um))
    return _Line(points, search.fit(points))


def _by_crest(bright: Floats, lower: Floats | None, search: Search, *, convex: bool, alone: bool) -> _Line | None:
    """Outline of what has an edge in a bright field."""
    gradient = Gradient(bright, search)
    line = _best_line(gradient, search, convex=convex, alone=alone)
    if line is None or not convex:
        return line
    sided = None
    if lower is not None and closed.longest(line.points) >= SLIM * closed.mean_width(line.points):
        sided = _best_line(Gradient(lower, search, darker=True), search, convex=True, alone=alone)
    if sided is not None:
        sided = sided._replace(sided=True)
        if not sided.doubtful:
            return sided
    line = line._replace(rivalled=_is_rivalled(line, gradient, search))
    return line if sided is None or (not line.doubtful and _are_alike(sided, line)) else sided


def _are_alike(one: _Line, other: _Line) -> bool:
    """Whether two lines are about as long and as wide."""
    sizes = ((size(one.points), size(other.points)) for size in (closed.longest, closed.mean_width))
    return all(abs(of_one - of_other) < ALIKE * of_other for of_one, of_other in sizes)


def _best_line(gradient: Gradient, search: Search, *, convex: bool, alone: bool) -> _Line | None:
    """Give a contour of all edges, or what is better of closed rims."""
    edges, best = gradient.edges(search), None
    for thread_um in VALVE_THREADS_UM if convex else BRIGHT_THREADS_UM:
        contour = search.contour(edges, thread_um)
        best = _better(best, None if contour is None else _on_crest(gradient, contour, search, convex=convex))
        if best is not None and best.worth >= GOOD_ENOUGH:
            return best
    if convex or (alone and best is None):
        for rim in rims(gradient, search)[:RIMS_TRIED]:
            best = _better(best, _on_crest(gradient, rim.points, search, convex=True))
    return best


def _is_rivalled(line: _Line, gradient: Gradient, search: Search) -> bool:
    """Whether another line beside one, outside, is seen all along and makes its body much wider."""
    out = BESIDE_UM / search.pixel_um * closed.outward(line.points, EVENING_UM / search.pixel_um)
    other = _on_crest(gradient, search.within(line.points + out), search, convex=True)
    if other is None or other.weakest < SEEN_TOO:
        return False
    return closed.mean_width(other.points) > WIDER * closed.mean_width(line.points)


def _better(one: _Line | None, other: _Line | None) -> _Line | None:
    return max((line for line in (one, other) if line is not None), key=lambda line: line.worth, default=None)


def _on_crest(gradient: Gradient, contour: Points, search: Search, *, convex: bool) -> _Line | None:
    """Move a contour to the crest of the gradient; None where that is no outline at all."""
    px = search.pixel_um
    points = search.within(to_crest(gradient, closed.even(contour, EVENING_UM / px), px, one_sided=convex))
    if closed.mean_width(points) < LEAST_WIDTH_UM / px:
        return None
    if not convex:
        return _Line(points, search.fit(points))
    seen = gradient.seen(points, closed.turned(points, 1) - closed.turned(points, -1))
    seen *= -math.copysign(1.0, closed.signed_area(points) if gradient.darker else -float(seen.mean()))
    strength = float(np.maximum(seen, 0).mean())
    if strength < LEAST_STRENGTH:
        return None
    weakest = float(closed.around(seen, WEAKEST_SHARE * len(seen)).min())
    solidity = closed.solidity(points)
    beyond = (1 / max(solidity, 1e-9) - 1) * abs(closed.signed_area(points))
    hollow = 1 - solidity > HOLLOW and beyond > BENT * closed.longest(points) ** 2
    return _Line(points, search.fit(points), strength, weakest, solidity, hollow)
