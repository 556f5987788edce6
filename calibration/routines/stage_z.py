"""`z`: backlash, repeatability, drift, direction and step of the focus drive.

One place is swept through focus upwards and downwards in turn. Each sweep's curve of sharpness is moved along z onto
the mean of those upwards:

    shift = drift t - backlash (downwards), by least squares.

How far single planes lie from where they should is seen on the flanks of the curve of sharpness, which is the same in
every sweep: a plane that is off by e is off by e times the slope there, whatever else is noise.

**Direction.** Transparent objects of lower index than their medium look brighter where the objective is too near; see
`calibration.images.direction`. `direction` is the share of spots that are brighter at larger z less that of those that
are darker: greater than 0 if larger z brings the objective nearer. It counts only beyond three of its uncertainties. A
drive that takes the objective away is not usable: withdrawing would drive it into the slide.

**Bounds.** A drive whose sweeps or planes lie farther off than a step of a stack is not usable, nor one that drifts
faster than focus can be followed, whatever the uncertainties.

**Step.** Images tell no true length along z. With a target of known height, two places of it, the stage's own height
between both foci is held against it: `scale` is true um in a um of the stage.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from calibration.images.direction import votes
from calibration.routines.place_finding import Area, find_focus, find_objects, refuse_bad_light, sharpness
from calibration.steps import Curve, NotUsable, Outcome, Quantity, Routine, Shot, ShotResult

Floats = NDArray[np.float64]
XY = tuple[float, float]

HALF_UM, STEP_UM = 3.0, 0.25
"""Of a sweep: it reaches so far about the focus."""
REACH_SHIFT_UM, TRIED_UM = 2.0, 0.1
"""How far curves of sharpness may lie from each other, and the steps in which that is tried first."""
LEAST_CONTRAST = 1.5
SIDE_PLANES, SIDE_STEP_UM = 7, 0.5
FEWEST_PLACES, FEWEST_SPOTS = 4, 10
ALIKE = 2.0
"""Root of how many spots count as one."""
REACH_UM = 4.0
ALTERNATIONS = 4
MOST_OFF_UM = 0.3
"""How far sweeps, or single planes, may lie from where they should (standard deviation): a step of a stack."""
MOST_DRIFT_UM = 5.0
"""In a minute."""
SURE = 3.0
"""Deviations beyond which a direction counts."""


@dataclass(frozen=True)
class KnownHeight:
    """A target of known height: two places whose surfaces differ by it, the second the higher z.

    `height_um` and its standard uncertainty are those of the certificate.
    """

    lower_um: XY
    upper_um: XY
    height_um: float
    deviation_um: float


@dataclass(frozen=True)
class _FocusCurve:
    """One sweep: heights (Z,), ascending, and sharpness over its mean, the time of its middle, whether downwards."""

    heights_um: Floats
    curve: Floats
    seconds: float
    down: bool


def stage_z(
    area: Area,
    states: tuple[str, str],
    sweeps: int = 8,
    places: int = 8,
    known: KnownHeight | None = None,
    full_dn: int = 65535,
) -> Routine:
    """Find what the focus drive does.

    Parameters
    ----------
    area
        about its middle the drive is swept; other places tell the direction.
    states
        names of crossed and parallel; focus is found in the first.
    sweeps
        upwards, and as many downwards; 3 or more.
    known
        a target of known height, for the length of a step.

    Raises
    ------
    NotUsable
        Nothing to focus on, too bright, or the image does not change with z.
    """
    state = states[0]
    place, z_um = yield from find_objects(area, area.centre_um, state)
    taken: list[_FocusCurve] = []
    for number in range(2 * sweeps):
        sweep = yield from _sweep(area, place, z_um, state, full_dn, down=bool(number % 2))
        taken.append(sweep)
    spots = yield from _bright_sides(area, place, z_um, states, places)
    scales = [] if known is None else (yield from _known_steps(area, known, z_um, state, full_dn))
    return _outcome(taken, spots, known, scales)


def _sweep(
    area: Area, place: XY, z_um: float, state: str, full_dn: int, down: bool
) -> Generator[Shot, ShotResult, _FocusCurve]:
    low, high = max(z_um - HALF_UM, area.search.low_um), min(z_um + HALF_UM, area.search.high_um)
    planes = 1 + math.floor((high - low) / STEP_UM + 1e-6)
    first, step = (low + (planes - 1) * STEP_UM, -STEP_UM) if down else (low, STEP_UM)
    shown = yield Shot(*place, first, step, planes, (state,))
    refuse_bad_light(shown.stack, full_dn, bright=False, saturated=0.05)
    curve = np.array([sharpness(frame) for frame in shown.stack[0]])
    if curve.max() < LEAST_CONTRAST * curve.min():
        raise NotUsable(
            f"the image hardly changes between z {low:.1f} and {high:.1f} um: the z stage is stuck, or the place shows "
            "too little; check the stage"
        )
    heights = low + STEP_UM * np.arange(planes, dtype=np.float64)
    curve = curve[::-1] if down else curve
    return _FocusCurve(heights, curve / curve.mean(), float(shown.monotonic_s.mean()), down)


def _bright_sides(
    area: Area, middle: XY, z_um: float, states: tuple[str, str], places: int
) -> Generator[Shot, ShotResult, list[int]]:
    """Votes of the spots of some places: 1 for brighter at larger z, -1 for darker."""
    stacks = []
    for number in range(places):
        place = middle[0] + 1.2 * (number - places // 2) * area.frame_um[0], middle[1] + 1.2 * area.frame_um[1]
        if not area.holds(*place):
            continue
        focus = yield from find_focus(place, area.near(z_um, REACH_UM), states[0])
        if focus is None or focus.at_edge:
            continue
        first = focus.z_um - (SIDE_PLANES - 1) / 2 * SIDE_STEP_UM
        shown = yield Shot(*place, first, SIDE_STEP_UM, SIDE_PLANES, states)
        stacks.append(shown.stack.copy())
    if len(stacks) < FEWEST_PLACES:
        return []
    means = np.stack([stack[1].mean(axis=0) for stack in stacks])
    flat = np.median(means / means.mean(axis=(1, 2), keepdims=True), axis=0).astype(np.float32)
    flat = np.maximum(flat, 0.05)
    return [vote for stack in stacks for vote in votes(stack[0], stack[1], flat)]


def _known_steps(
    area: Area, known: KnownHeight, z_um: float, state: str, full_dn: int
) -> Generator[Shot, ShotResult, list[float]]:
    """Stage heights from the lower to the upper place of a target, each between two visits of the lower one."""
    visits: list[_FocusCurve] = []
    expected = {False: z_um, True: z_um + known.height_um}
    for number in range(2 * ALTERNATIONS + 1):
        upper = bool(number % 2)
        place = known.upper_um if upper else known.lower_um
        bounds = area.search if number < 2 else area.near(expected[upper], REACH_UM)
        found = yield from find_focus(place, bounds, state)
        if found is None or found.at_edge:
            raise NotUsable(
                f"nothing in focus on the target at x {place[0]:.0f}, y {place[1]:.0f} um; check its places and z_um"
            )
        sweep = yield from _sweep(area, place, found.z_um, state, full_dn, down=False)
        visits.append(sweep)
        expected[upper] = found.z_um
    first = visits[0]
    curve = CubicSpline(first.heights_um, first.curve)
    z = [_shift_onto(curve, first.heights_um, sweep) for sweep in visits]
    return [z[number] - (z[number - 1] + z[number + 1]) / 2 for number in range(1, len(z) - 1, 2)]


def _shift_onto(curve: CubicSpline, heights: Floats, sweep: _FocusCurve) -> float:
    """How far a sweep's curve lies at larger z than another one, which is known over some heights, um."""

    def misfit(shift: float) -> float:
        back = sweep.heights_um - shift
        inside = (back >= heights[0]) & (back <= heights[-1])
        expected, seen = curve(back[inside]), sweep.curve[inside]
        scale = float(expected @ seen) / float(expected @ expected)
        return float(np.mean((seen - scale * expected) ** 2))

    # The whole curve is held against the other one: objects at two heights make two peaks of nearly one height.
    nearest = float(sweep.heights_um[0] - heights[0])
    tried = nearest + np.arange(-REACH_SHIFT_UM, REACH_SHIFT_UM + TRIED_UM / 2, TRIED_UM)
    best = float(tried[int(np.argmin([misfit(float(shift)) for shift in tried]))])
    return float(minimize_scalar(misfit, bounds=(best - TRIED_UM, best + TRIED_UM), method="bounded").x)


def _shifts(taken: Sequence[_FocusCurve]) -> Floats:
    """How far the curve of each sweep lies at larger z than the mean of those upwards, um."""
    upwards = [sweep for sweep in taken if not sweep.down]
    heights = upwards[0].heights_um
    mean = CubicSpline(heights, np.mean([sweep.curve for sweep in upwards], axis=0))
    return np.array([_shift_onto(mean, heights, sweep) for sweep in taken])


def _fit_sweeps(taken: Sequence[_FocusCurve]) -> tuple[Floats, Floats, Floats]:
    """Offset, drift (um a s) and backlash; their covariance; residuals (N,), of the shifts."""
    seconds = np.array([sweep.seconds for sweep in taken])
    down = np.array([sweep.down for sweep in taken])
    terms = np.stack([np.ones(len(taken)), seconds - seconds.mean(), -1.0 * down], axis=1)
    shifts = _shifts(taken)
    solution, *_ = np.linalg.lstsq(terms, shifts, rcond=None)
    rest = shifts - terms @ solution
    variance = float(rest @ rest) / max(len(taken) - 3, 1)
    return solution, variance * np.linalg.inv(terms.T @ terms), rest


def scatter_of_planes(curves: Floats, step_um: float) -> float:
    """Find the standard deviation of single planes' heights, um, from the flanks of curves that are otherwise the same.

    Parameters
    ----------
    curves
        (N, Z), sharpness of N sweeps at the same heights, `step_um` apart; 3 or more.
    """
    mean = curves.mean(axis=0)
    slopes = np.gradient(mean, step_um)
    # Each sweep may lie elsewhere as a whole, by drift, and be brighter as a whole, by the lamp.
    shared = np.stack([slopes, mean], axis=1)
    rest = curves - mean
    rest = rest - (shared @ np.linalg.lstsq(shared, rest.T, rcond=None)[0]).T
    freedom = (1 - 1 / len(curves)) * (1 - shared.shape[1] / curves.shape[1])
    squares = np.mean(rest**2, axis=0) / freedom
    # What is off is noise, the same everywhere, and scatter times the slope.
    flat = np.abs(slopes) < np.median(np.abs(slopes))
    noise = float(np.mean(squares[flat]))
    noise -= float(np.mean(slopes[flat] ** 2)) * float(np.mean(squares[~flat])) / float(np.mean(slopes[~flat] ** 2))
    variance = float(np.sum(squares - max(noise, 0.0))) / float(np.sum(slopes**2))
    return math.sqrt(max(variance, 0.0))


def _refuse_stray(sweeps_um: float, planes_um: float, drift_um: float) -> None:
    """Refuse a drive by how far sweeps and planes lie off, and by its drift in a minute."""
    for name, off_um in (("sweeps", sweeps_um), ("single planes", planes_um)):
        if not off_um <= MOST_OFF_UM:
            raise NotUsable(
                f"{name} lie {off_um:.2f} um (standard deviation) from where they should, more than {MOST_OFF_UM:g} "
                "um: the focus drive does not go where it says; check the drive, its load and its mode"
            )
    if not abs(drift_um) <= MOST_DRIFT_UM:
        raise NotUsable(
            f"focus drifts by {drift_um:.1f} um/min, more than {MOST_DRIFT_UM:g} um/min: the focus drive does not go "
            "where it says, or the stand is not at its temperature; wait, and check the drive"
        )


def _outcome(taken: Sequence[_FocusCurve], spots: list[int], known: KnownHeight | None, scales: list[float]) -> Outcome:
    solution, covariance, rest = _fit_sweeps(taken)
    deviations = np.sqrt(np.diagonal(covariance))
    upwards = np.array([sweep.curve for sweep in taken if not sweep.down])
    scatter = scatter_of_planes(upwards, STEP_UM)
    without = np.array([scatter_of_planes(np.delete(upwards, k, axis=0), STEP_UM) for k in range(len(upwards))])
    jackknife = math.sqrt((len(without) - 1) * float(np.mean((without - without.mean()) ** 2)))
    # On the flanks, half of the planes tell; so many values have a standard deviation of their own.
    scattered = math.hypot(jackknife, scatter / math.sqrt(upwards.size))
    values = {
        "backlash": Quantity(float(solution[2]), float(deviations[2]), "um"),
        "drift": Quantity(60 * float(solution[1]), 60 * float(deviations[1]), "um/min"),
        "repeatability": Quantity(scatter, scattered, "um"),
    }
    if len(spots) >= FEWEST_SPOTS:
        lean = float(np.mean(spots))
        # One more on either side keeps few spots from looking certain; parts of one object vote alike.
        share = (spots.count(1) + 1) / (len(spots) + 2)
        values["direction"] = Quantity(lean, 2 * ALIKE * math.sqrt(share * (1 - share) / len(spots)), "1")
        if lean < -SURE * values["direction"].uncertainty:
            raise NotUsable(
                f"larger z takes the objective away from the sample (direction {lean:.2f} +- "
                f"{values['direction'].uncertainty:.2f}), so that withdrawing would drive it into the slide; watch the "
                "objective move, and turn the drive's direction round if it is so; else use a mini-slide with diatoms"
            )
    _refuse_stray(float(np.std(rest)), scatter, 60 * float(solution[1]))
    residuals = {"sweeps": Quantity(float(np.std(rest)), float(np.std(rest)) / math.sqrt(2 * len(rest)), "um")}
    if known is not None:
        step = float(np.mean(scales))
        spread = float(np.std(scales, ddof=1))
        scale = known.height_um / step
        relative = math.hypot(known.deviation_um / known.height_um, spread / math.sqrt(len(scales)) / step)
        values["scale"] = Quantity(scale, abs(scale) * relative, "1")
        residuals["heights of the target"] = Quantity(spread, spread / math.sqrt(2 * len(scales)), "um")
    first, last = taken[0], taken[1]
    seconds = np.array([sweep.seconds for sweep in taken])
    order = np.argsort(seconds)
    pictures = [
        Curve(f"A sweep {name}", "z of the stage (um)", "sharpness over its mean", sweep.heights_um, sweep.curve)
        for name, sweep in (("upwards", first), ("downwards", last))
    ]
    pictures.append(
        Curve(
            "Where sweeps in turn found the focus, without backlash",
            "time (s)",
            "z from the mean upwards (um)",
            seconds[order] - seconds.min(),
            (rest + solution[0] + solution[1] * (seconds - seconds.mean()))[order],
            (solution[0] + solution[1] * (seconds - seconds.mean()))[order],
        )
    )
    return Outcome(values=values, pictures=tuple(pictures), residuals=residuals)
