"""How a stage stands to the camera, fitted to where it was sent and to shifts between the frames it stopped at.

The shifts, adjusted together by least squares, give each frame's place on the sample in px, and these, fitted to where
the stage was sent,

    place = A u + b + s_x w_x + s_y w_y,

give the affine A (px per um of the stage), and by s = 1 after moves towards smaller values, 0 after others, what the
backlash w of either axis does. The fit weighs (generalised least squares) both kinds of error: that of the
registration, which adds up along an arm, and the scatter of the stage's arrivals, which is estimated with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from calibration.images.registration import Shift
from calibration.steps import NotUsable, Quantity

Floats = NDArray[np.float64]
XY = tuple[float, float]
Pair = tuple[int, int, Shift]
"""Numbers of two frames, and where what the second shows lies relative to the first."""

HUBER = 3.0
HANG_TOGETHER = 0.75


@dataclass(frozen=True)
class Alignment:
    """How the stage stands to the camera.

    Attributes
    ----------
    matrix
        (2, 2), px along columns and rows that the frame's middle moves over the sample, per um of stage x and y.
    covariance
        (2, 2), of either row of it, (px per um)^2.
    backlash_um
        of x and y.
    backlash_deviation_um
        their standard uncertainties.
    repeatability_um
        standard deviation of arrivals along an axis.
    repeatability_deviation_um
        its uncertainty.
    residuals_um
        (N, 2), of the frames' places, along stage x and y.
    """

    matrix: Floats
    covariance: Floats
    backlash_um: XY
    backlash_deviation_um: XY
    repeatability_um: float
    repeatability_deviation_um: float
    residuals_um: Floats

    def described(self) -> dict[str, float]:
        """Turn the matrix into `pixel`, `pixel_x`, `pixel_y` (um), `rotation`, `shear` (deg), `mirrored` (1 or 0)."""
        return describe(self.matrix)

    def quantities(self) -> dict[str, Quantity]:
        """Give the same and the rest with uncertainties, those of the matrix carried over by its derivatives."""
        units = {"pixel": "um", "pixel_x": "um", "pixel_y": "um", "rotation": "deg", "shear": "deg", "mirrored": "1"}
        values = self.described()
        variances = dict.fromkeys(values, 0.0)
        root = np.linalg.cholesky(self.covariance)
        for row in range(2):
            for column in range(2):
                moved = self.matrix.copy()
                moved[row] += root[:, column]
                for name, value in describe(moved).items():
                    variances[name] += (value - values[name]) ** 2
        variances["mirrored"] = 0.0
        found = {name: Quantity(value, math.sqrt(variances[name]), units[name]) for name, value in values.items()}
        for axis, value, deviation in zip("xy", self.backlash_um, self.backlash_deviation_um, strict=True):
            found[f"backlash_{axis}"] = Quantity(value, deviation, "um")
        found["repeatability"] = Quantity(self.repeatability_um, self.repeatability_deviation_um, "um")
        return found


def describe(matrix: Floats) -> dict[str, float]:
    """Turn a stage-to-camera matrix (px per um) into pixel sizes, angles and handedness.

    Rotation is that of the stage's x axis from columns towards rows, of its opposite where it is mirrored; shear is how
    much the angle to the y axis falls short of a right one.
    """
    x_axis, y_axis = matrix.T
    mirrored = float(np.linalg.det(matrix)) < 0
    along = -x_axis if mirrored else x_axis
    rotation = math.atan2(along[1], along[0])
    shear = rotation + math.pi / 2 - math.atan2(y_axis[1], y_axis[0])
    pixel_x, pixel_y = 1 / math.hypot(*x_axis), 1 / math.hypot(*y_axis)
    return {
        "pixel": math.sqrt(pixel_x * pixel_y),
        "pixel_x": pixel_x,
        "pixel_y": pixel_y,
        "rotation": math.degrees(rotation),
        "shear": math.degrees(math.remainder(shear, 2 * math.pi)),
        "mirrored": float(mirrored),
    }


def together(count: int, shifts: Sequence[Pair]) -> NDArray[np.bool_]:
    """Which of the frames belong to the largest part that hangs together, (N,); blank ones between may part them.

    Raises
    ------
    NotUsable
        It is less than three quarters of them.
    """
    pairs = np.array([(i, j) for i, j, _ in shifts]).reshape(-1, 2).T
    graph = coo_array((np.ones(len(shifts)), pairs), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    largest = np.bincount(part).argmax()
    kept = np.asarray(part == largest)
    if kept.sum() < HANG_TOGETHER * count:
        raise NotUsable(
            f"only {kept.sum()} of {count} frames hang together by what they show; use a place with more objects"
        )
    return kept


def align(sent: Floats, above: NDArray[np.bool_], shifts: Sequence[Pair]) -> Alignment:
    """Fit the stage to shifts between frames.

    Parameters
    ----------
    sent
        (N, 2), where the stage was sent, um.
    above
        (N, 2), whether it came there from larger values.
    shifts
        between frames that all hang together.

    Raises
    ------
    NotUsable
        The stage did not go both ways along both axes.
    """
    places, covariance = _places(len(sent), shifts)
    origin = sent.mean(axis=0)
    terms = np.column_stack([sent - origin, np.ones(len(sent)), above])
    if np.linalg.matrix_rank(terms / np.maximum(np.abs(terms).max(axis=0), 1e-9)) < terms.shape[1]:
        raise NotUsable("the stage was not moved both ways along both axes; move it so")
    scatter, freedom = _scatter(places, covariance, terms)
    solution, information = _weighted(places, covariance, scatter, terms)
    every: Floats = np.asarray(np.linalg.inv(information), np.float64)
    matrix = solution[:2].T
    inverse = np.linalg.inv(matrix)
    pixel_um = math.sqrt(abs(float(np.linalg.det(inverse))))
    backlash, deviation = [], []
    for axis in (0, 1):
        unit = matrix[:, axis] / float(matrix[:, axis] @ matrix[:, axis])
        backlash.append(float(solution[3 + axis] @ unit))
        deviation.append(float(np.sqrt(every[3 + axis, 3 + axis]) * np.linalg.norm(unit)))
    residuals = (places - terms @ solution) @ inverse.T
    return Alignment(
        matrix=matrix,
        covariance=every[:2, :2],
        backlash_um=(backlash[0], backlash[1]),
        backlash_deviation_um=(deviation[0], deviation[1]),
        repeatability_um=math.sqrt(scatter) * pixel_um,
        repeatability_deviation_um=math.sqrt(max(scatter, float(np.diagonal(covariance)[1:].mean())) / (2 * freedom))
        * pixel_um,
        residuals_um=residuals,
    )


def _places(count: int, shifts: Sequence[Pair]) -> tuple[Floats, Floats]:
    """Places (N, 2) of the frames' middles on the sample, px from the first, and covariance (N, N) along an axis."""
    rows = np.zeros((len(shifts), count))
    for number, (i, j, _) in enumerate(shifts):
        rows[number, i], rows[number, j] = -1, 1
    # Where the sample's image moves one way the frame's middle moved the other.
    moved = -np.array([(shift.x_px, shift.y_px) for _, _, shift in shifts])
    weights = np.array([1 / (shift.deviation_px**2 + 1e-6) for _, _, shift in shifts])
    rows = rows[:, 1:]
    robust = np.ones(len(shifts))
    for _ in range(6):
        information = rows.T @ (rows * (weights * robust)[:, None])
        places = np.linalg.solve(information, rows.T @ (moved * (weights * robust)[:, None]))
        errors = np.linalg.norm(moved - rows @ places, axis=1) * np.sqrt(weights)
        spread = max(float(np.median(errors)) / 1.177, 1e-9)
        robust = np.minimum(1, HUBER * spread / np.maximum(errors, 1e-9))
    covariance = np.zeros((count, count))
    covariance[1:, 1:] = np.linalg.inv(information) * max(spread, 1.0) ** 2
    return np.concatenate([np.zeros((1, 2)), places]), covariance


def _weighted(places: Floats, covariance: Floats, scatter: float, terms: Floats) -> tuple[Floats, Floats]:
    weights = np.linalg.inv(covariance + (scatter + 1e-8) * np.eye(len(places)))
    information = terms.T @ weights @ terms
    solution = np.linalg.solve(information, terms.T @ weights @ places)
    return np.asarray(solution, np.float64), np.asarray(information, np.float64)


def _scatter(places: Floats, covariance: Floats, terms: Floats) -> tuple[float, int]:
    """Variance (px^2) of arrivals at which the residuals are as large as they should be, and degrees of freedom."""
    freedom: int = 2 * (len(places) - terms.shape[1])

    def excess(scatter: float) -> float:
        solution, _ = _weighted(places, covariance, scatter, terms)
        rest = places - terms @ solution
        weighted = np.linalg.solve(covariance + (scatter + 1e-8) * np.eye(len(places)), rest)
        return float(np.sum(rest * weighted)) - freedom

    if excess(0.0) <= 0:
        return 0.0, freedom
    low, high = 0.0, 1.0
    while excess(high) > 0:
        high *= 4
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return float(high), freedom
