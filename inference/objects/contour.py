"""Closed contours: points x, y in px of an image, once around, evened out, sampled across and moved.

Pixel n reaches from n to n + 1. Nothing here raises, however few or odd the points are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

LEAST_POINTS = 8
MEDIAN_REACH = 2
"""Points on either side over which a single wrong shift is left out."""
LOOP_POINTS = 24
"""So many points a loop of a contour has at most that is cut off; what crosses itself farther on is drawn anew."""
ENDS = 1e-9
"""Share of a side at its ends where another one meets it rather than crosses it."""


def contours_of(image: Mask | NDArray[np.uint8]) -> list[Points]:
    """Outer contours (N, 2) of the parts of an image, through the centres of their outermost pixels."""
    found: Sequence[NDArray[np.int32]] = cv2.findContours(  # type: ignore[assignment]
        image.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )[0]
    return [one[:, 0].astype(np.float64) + 0.5 for one in found if len(one) >= LEAST_POINTS]


def even(contour: Points, deviation: float) -> Points:
    """Points about a pixel apart, without the staircase of pixels."""
    length = float(np.hypot(*(turned(contour, 1) - contour).T).sum())
    return np.asarray(around(evenly(contour, max(LEAST_POINTS, round(length))), deviation), np.float64)


def evenly(contour: Points, count: int) -> Points:
    """Take some points at even distances along a contour."""
    closed = np.vstack([contour, contour[:1]])
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.arange(count) * way[-1] / count
    return np.stack([np.interp(at, way, closed[:, axis]) for axis in (0, 1)], axis=1)


def turned(values: NDArray[np.floating], by: int) -> NDArray[np.floating]:
    """Begin a closed contour (N, ...) some points later; in a third of the time that numpy's roll takes."""
    return np.concatenate([values[by:], values[:by]])


def around(values: NDArray[np.floating], deviation: float) -> NDArray[np.floating]:
    """Gaussian mean along a closed contour, (N, ...)."""
    reach = min(math.ceil(3 * deviation), len(values))
    closed = np.concatenate([values[-reach:], values, values[:reach]])
    kernel = cv2.getGaussianKernel(2 * reach + 1, deviation)
    smooth = cv2.filter2D(closed.reshape(len(closed), -1), -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth[reach : reach + len(values)], values.dtype).reshape(values.shape)


def signed_area(contour: Points) -> float:
    """Area of a polygon, negative where it runs the other way round."""
    x, y = (contour - contour[0]).T
    return 0.5 * float(x @ turned(y, 1) - y @ turned(x, 1))


def mean_width(contour: Points) -> float:
    """Width of a straight body of the same area and perimeter."""
    length = float(np.hypot(*(turned(contour, 1) - contour).T).sum())
    return 2 * abs(signed_area(contour)) / max(length, 1e-9)


def longest(contour: Points) -> float:
    """Greatest distance of two points."""
    hull = cv2.convexHull(contour.astype(np.float32))[:, 0]
    return float(np.hypot(*(hull[:, None] - hull).transpose(2, 0, 1)).max())


def solidity(contour: Points) -> float:
    """Area of a polygon over that of its convex hull."""
    hull = cv2.contourArea(cv2.convexHull(contour.astype(np.float32)))
    return min(abs(signed_area(contour)) / hull, 1.0) if hull > 0 else 0.0


def outward(contour: Points, deviation: float) -> Points:
    """Give normals of unit length, (N, 2)."""
    tangent = around(turned(contour, 1) - turned(contour, -1), deviation)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) * math.copysign(1.0, signed_area(contour))
    return np.asarray(normal / np.maximum(np.hypot(*normal.T), 1e-9)[:, None], np.float64)


def sampled(image: Floats, points: NDArray[np.floating]) -> Floats:
    """Sample an image (h, w) or (h, w, C) at points (..., 2), between its pixels; beyond its border as at it."""
    at = points.astype(np.float32).reshape(len(points), -1, 2) - np.float32(0.5)
    seen = cv2.remap(image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(seen, np.float32).reshape(*points.shape[:-1], *image.shape[2:])


def across(contour: Points, normal: Points, away: NDArray[np.float64]) -> Floats:
    """Points across a contour, (N, S, 2), at distances `away` outward."""
    at, step, out = (one.astype(np.float32) for one in (contour, normal, away))
    return np.asarray(at[:, None] + out[:, None] * step[:, None])


def moved(contour: Points, normal: Points, shift: NDArray[np.float64], found: Mask, deviation: float) -> Points:
    """Move points along their normals; those that found nothing as most others."""
    if not found.any():
        return contour
    shift = np.where(found, shift, np.median(shift[found]))
    closed = np.concatenate([shift[-MEDIAN_REACH:], shift, shift[:MEDIAN_REACH]]).astype(np.float32)
    middle = cv2.medianBlur(closed[:, None], 2 * MEDIAN_REACH + 1)[MEDIAN_REACH : MEDIAN_REACH + len(shift)]
    return np.asarray(contour + around(np.asarray(middle, np.float64), deviation) * normal)


def inside(points: Points, shape: tuple[int, ...]) -> Mask:
    """Pixels whose centre lies inside a polygon: those with an odd number of crossings on their left."""
    x, y = (points - 0.5).T
    after_x, after_y = turned(x, 1), turned(y, 1)
    low, high = np.minimum(y, after_y), np.maximum(y, after_y)
    first = np.clip(np.ceil(low), 0, shape[0]).astype(np.intp)
    count = np.maximum(np.clip(np.ceil(high), 0, shape[0]).astype(np.intp) - first, 0)
    edge = np.repeat(np.arange(len(points)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    share = (row - y[edge]) / (after_y - y)[edge]
    column = np.clip(np.ceil(x[edge] + share * (after_x - x)[edge]), 0, shape[1]).astype(np.intp)
    crossings = np.bincount(row * (shape[1] + 1) + column, minlength=shape[0] * (shape[1] + 1))
    crossings = crossings.reshape(shape[0], shape[1] + 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


def simple(contour: Points, shape: tuple[int, ...]) -> Points | None:
    """Give a contour that does not cross itself: small loops cut off, else the greatest part it fills, drawn anew.

    None where it encloses nothing.
    """
    contour = _without_loops(contour)
    filled = inside(contour, shape)
    if not filled.any():
        return None
    if not crosses_itself(contour):
        return contour
    part = max(contours_of(filled), key=lambda one: abs(signed_area(one)), default=None)
    if part is None:
        return None
    drawn = even(part, 1.0)
    if crosses_itself(drawn):
        drawn = np.asarray(cv2.convexHull(part.astype(np.float32))[:, 0], np.float64)
    # A part that is a pixel thin encloses none once it is drawn through its pixels' centres.
    return drawn if len(drawn) > 2 and inside(drawn, shape).any() else None


def crosses_itself(contour: Points) -> bool:
    """Whether any two sides of a polygon cross: those are tried that overlap along its longer axis."""
    after = turned(contour, 1)
    axis = int(np.ptp(contour, axis=0).argmax())
    low, high = np.minimum(contour, after)[:, axis], np.maximum(contour, after)[:, axis]
    order = np.argsort(low)
    low, high, start = low[order], high[order], contour[order]
    way = (after - contour)[order]
    for apart in range(1, len(order)):
        near = np.flatnonzero(low[apart:] <= high[:-apart])
        if not near.size:
            return False
        one, other = way[near], way[near + apart]
        between = start[near + apart] - start[near]
        with np.errstate(divide="ignore", invalid="ignore"):
            cross = _cross(one, other)
            here, there = _cross(between, other) / cross, _cross(between, one) / cross
        if ((here > ENDS) & (here < 1 - ENDS) & (there > ENDS) & (there < 1 - ENDS)).any():
            return True
    return False


def _cross(one: Points, other: Points) -> NDArray[np.float64]:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _may_loop(way: Points) -> bool:
    """Whether a contour of some steps (N, 2) turns by half a circle or more within a loop's points anywhere."""
    after = turned(way, 1)
    turn = np.abs(np.arctan2(way[:, 0] * after[:, 1] - way[:, 1] * after[:, 0], (way * after).sum(axis=1)))
    total = np.cumsum(np.concatenate([turn, turn[:LOOP_POINTS]]))
    return bool((total[LOOP_POINTS:] - total[:-LOOP_POINTS]).max(initial=0.0) >= math.pi)


def _without_loops(contour: Points) -> Points:
    """Cut off loops of at most `LOOP_POINTS` points."""
    count = len(contour)
    start, way = contour, turned(contour, 1) - contour
    if not _may_loop(way):
        return contour
    kept = np.ones(count, np.bool_)
    for apart in range(2, min(LOOP_POINTS, count // 2)):
        other, other_way = turned(start, apart), turned(way, apart)
        between = other - start
        cross = way[:, 0] * other_way[:, 1] - way[:, 1] * other_way[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            here = (between[:, 0] * other_way[:, 1] - between[:, 1] * other_way[:, 0]) / cross
            there = (between[:, 0] * way[:, 1] - between[:, 1] * way[:, 0]) / cross
        crossed = (here >= 0) & (here <= 1) & (there >= 0) & (there <= 1)
        for first in np.flatnonzero(crossed):
            kept[(first + 1 + np.arange(apart)) % count] = False
    return contour[kept] if kept.sum() >= LEAST_POINTS else contour
