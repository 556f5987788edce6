"""`focus`: height, tilt and bending of a mini-slide, from focus searches at many places.

The places lie on a grid and are visited in a random order, so that drift is not taken for tilt. Each is searched near
where the places before it let the surface be expected (`calibration.images.focus.fit_plane`); a blank one is replaced
by a neighbour a frame away. About the height that was found a stack is exposed, and the median height of its tiles
counts, so that no single object speaks for all. A surface

    z = height + tilt_x x + tilt_y y + bend_x u^2 + bend_y v^2 + drift n

is fitted to what was found, x and y in mm from the middle, u and v the same over half the width, n the number of the
shot, by least squares with Huber's weights (Huber 1964). Objects lie at heights of their own, so that residuals
of some tenths of a um are those of the objects.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.images.focus import Expected, FoundFocus, fit_plane
from calibration.routines.place_finding import Area, find_focus, find_objects, heights_of_tiles
from calibration.steps import Curve, Map, NotUsable, Outcome, Quantity, Routine, Shot, ShotResult

Floats = NDArray[np.float64]
XY = tuple[float, float]
Result = TypeVar("Result")

EXPECTED = Expected(tilt_um_per_mm=3.0, drift_um_per_field=0.02, noise_um=0.5)
BENT_UM = 2.0
"""How far the surface may lie from the plane that is expected of it, beyond that plane's own uncertainty."""
NEIGHBOURS = 3
"""Places that are tried before one counts as blank."""
LEAST_SHARE = 0.5
"""Of the places that must show something."""
STACK_PLANES, STACK_STEP_UM = 9, 0.5
FEWEST_TILES = 2
HUBER = 1.5
ITERATIONS = 30
MAP_POINTS = 64
SEED = 1
MOST_NOISE_UM = 2.0
"""How far heights may lie from the surface through them: beyond it no stack of a night would hold the focus."""
TERMS = ("height", "tilt_x", "tilt_y", "bend_x", "bend_y", "drift")


@dataclass(frozen=True)
class Surface:
    """A mini-slide's surface.

    Attributes
    ----------
    coefficients
        of `TERMS`, in um, um per mm, um from the middle to the border, um a shot.
    covariance
        of these coefficients.
    residuals_um
        (N,), of the places.
    noise_um
        their standard deviation, without the few that lie off.
    """

    coefficients: Floats
    covariance: Floats
    residuals_um: Floats
    noise_um: float


def focus_map(area: Area, state: str, side: int = 6) -> Routine:
    """Find the height, tilt and bending of a mini-slide.

    Parameters
    ----------
    area
        its `search` bounds the first search; later ones are narrower.
    state
        polarization that focus is found in.
    side
        places along either side of the grid, at least 3.

    Raises
    ------
    NotUsable
        Nothing in focus about the middle, or at more than half of the places.
    """
    places = _grid(area, side)
    counter = _ShotClock()
    middle, z_um = yield from counter.counting(find_objects(area, area.centre_um, state))
    settled = yield from counter.counting(_settle(area, middle, z_um, state))
    z_um = z_um if settled is None else settled
    points = [(*middle, z_um, float(counter.shots))]
    blank = 0
    for place in places:
        found = yield from counter.counting(_find_near(area, place, state, points))
        if found is None:
            blank += 1
        else:
            points.append((*found, float(counter.shots)))
    if len(points) < max(LEAST_SHARE * len(places), len(TERMS) + 3):
        raise NotUsable(
            f"{blank} of {len(places)} places and their neighbours show nothing in focus; use a mini-slide with more "
            "objects, or scan fewer places of a larger frame"
        )
    return _outcome(area, np.array(points), blank)


class _ShotClock:
    """Counts the shots that go by: the clock of drift."""

    def __init__(self) -> None:
        self.shots = 0

    def counting(self, steps: Generator[Shot, ShotResult, Result]) -> Generator[Shot, ShotResult, Result]:
        try:
            shot = next(steps)
            while True:
                self.shots += 1
                shot = steps.send((yield shot))
        except StopIteration as end:
            result: Result = end.value
            return result


def _grid(area: Area, side: int) -> list[XY]:
    """Places of a grid that fills the area, in random order."""
    if side < 3:
        raise ValueError(f"side is {side}; a bent surface needs a grid of 3 or more")
    spots = np.linspace(-0.5, 0.5, side)
    places = [
        (area.centre_um[0] + x * area.size_um[0], area.centre_um[1] + y * area.size_um[1]) for y in spots for x in spots
    ]
    order = np.random.default_rng(SEED).permutation(len(places))
    return [places[number] for number in order.tolist()]


def _find_near(
    area: Area, at_um: XY, state: str, points: Sequence[tuple[float, float, float, float]]
) -> Generator[Shot, ShotResult, tuple[float, float, float] | None]:
    """Find focus at a place or beside it; None where all is blank."""
    plane = fit_plane(np.array(points), EXPECTED)
    now = points[-1][3] + 1
    tries = [place for number, place in enumerate(area.around(at_um)) if number < NEIGHBOURS]
    for place in tries:
        expected = plane.predict(*place, now)
        reach = BENT_UM + 2 * plane.uncertainty(*place, now)
        found = yield from _find_widening(area, place, state, expected, reach)
        if found is not None:
            z_um = yield from _settle(area, place, found.z_um, state)
            if z_um is not None:
                return *place, z_um
    return None


def _settle(area: Area, place: XY, z_um: float, state: str) -> Generator[Shot, ShotResult, float | None]:
    """Take the median height of the tiles of a field; None where too few hold anything."""
    search = area.search
    half = (STACK_PLANES - 1) / 2 * STACK_STEP_UM
    first = min(max(z_um - half, search.low_um), max(search.high_um - 2 * half, search.low_um))
    shown = yield Shot(*place, first, STACK_STEP_UM, STACK_PLANES, (state,))
    heights = heights_of_tiles(shown.stack[0], [first + k * STACK_STEP_UM for k in range(STACK_PLANES)])
    return float(np.median(heights)) if len(heights) >= FEWEST_TILES else None


def _find_widening(
    area: Area, place: XY, state: str, expected_um: float, reach_um: float
) -> Generator[Shot, ShotResult, FoundFocus | None]:
    """Search near what is expected, and everywhere if focus lies beyond."""
    bounds = area.near(expected_um, reach_um)
    found = yield from find_focus(place, bounds, state)
    if found is not None and found.at_edge and bounds != area.search:
        found = yield from find_focus(place, area.search, state)
    return found if found is not None and not found.at_edge else None


def fit_surface(points: Floats, centre_um: XY, size_um: XY) -> Surface:
    """Fit a bent surface that drifts to points (N, 4): x, y, z in um, number of the shot; N more than six."""
    terms = _terms(points[:, 0], points[:, 1], centre_um, size_um, points[:, 3])
    # Drift counts from the middle of the time, so that the height is that of then.
    terms[:, -1] -= terms[:, -1].mean()
    heights = points[:, 2]
    weights = np.ones(len(points))
    freedom = len(points) - terms.shape[1]
    for _ in range(ITERATIONS):
        weighted = terms * weights[:, None]
        information = terms.T @ weighted
        coefficients = np.linalg.solve(information, weighted.T @ heights)
        residuals = heights - terms @ coefficients
        spread = max(1.4826 * float(np.median(np.abs(residuals))) * math.sqrt(len(points) / freedom), 1e-9)
        weights = np.minimum(1, HUBER * spread / np.maximum(np.abs(residuals), 1e-12))
    # Huber's proposal for the variance: bounded errors over the share of those that are not bounded.
    bounded = np.clip(residuals, -HUBER * spread, HUBER * spread)
    free = max(float(np.mean(weights >= 1)), 0.1)
    variance = float(np.sum(bounded**2)) / freedom / free**2
    covariance = variance * np.linalg.inv(terms.T @ terms)
    return Surface(
        np.asarray(coefficients, np.float64),
        np.asarray(covariance, np.float64),
        residuals,
        math.sqrt(float(np.sum(weights * residuals**2)) / max(float(np.sum(weights)) - terms.shape[1], 1.0)),
    )


def _terms(x_um: Floats, y_um: Floats, centre_um: XY, size_um: XY, number: Floats) -> Floats:
    x, y = x_um - centre_um[0], y_um - centre_um[1]
    u, v = 2 * x / size_um[0], 2 * y / size_um[1]
    return np.stack([np.ones_like(x), x / 1e3, y / 1e3, u * u, v * v, number], axis=-1)


def _outcome(area: Area, points: Floats, blank: int) -> Outcome:
    surface = fit_surface(points, area.centre_um, area.size_um)
    units = {"height": "um", "tilt_x": "um/mm", "tilt_y": "um/mm", "bend_x": "um", "bend_y": "um", "drift": "um/shot"}
    deviations = np.sqrt(np.diagonal(surface.covariance))
    values = {
        name: Quantity(float(value), float(deviation), units[name])
        for name, value, deviation in zip(TERMS, surface.coefficients, deviations, strict=True)
    }
    places = float(len(points))
    values["places"] = Quantity(places, 0.0, "1")
    values["blank"] = Quantity(float(blank), 0.0, "1")
    x = np.linspace(-0.5, 0.5, MAP_POINTS) * area.size_um[0] + area.centre_um[0]
    y = np.linspace(-0.5, 0.5, MAP_POINTS) * area.size_um[1] + area.centre_um[1]
    across, down = np.meshgrid(x, y)
    fitted = _terms(across, down, area.centre_um, area.size_um, np.zeros_like(across)) @ surface.coefficients
    if not surface.noise_um <= MOST_NOISE_UM:
        raise NotUsable(
            f"heights lie {surface.noise_um:.2f} um (standard deviation) from a bent plane, more than "
            f"{MOST_NOISE_UM:g} um: the focus drive, or the mini-slide, moves; fix both"
        )
    number = np.arange(1, len(points) + 1, dtype=np.float64)
    return Outcome(
        values=values,
        arrays={"points": points.astype(np.float32), "residuals": surface.residuals_um.astype(np.float32)},
        pictures=(
            Map("Height of the mini-slide (stage x to the right, y down)", "um", fitted),
            Map("What the fit leaves at the nearest place", "um", _nearest(points, surface.residuals_um, across, down)),
            Curve(
                "What the fit leaves, in the order of the places",
                "place",
                "residual (um)",
                number,
                surface.residuals_um,
            ),
        ),
        residuals={"heights": Quantity(surface.noise_um, surface.noise_um / math.sqrt(2 * places), "um")},
    )


def _nearest(points: Floats, values: Floats, across: Floats, down: Floats) -> Floats:
    """Value of the point nearest to each spot of a grid."""
    away = (across[..., None] - points[:, 0]) ** 2 + (down[..., None] - points[:, 1]) ** 2
    return np.asarray(values[np.argmin(away, axis=-1)])
