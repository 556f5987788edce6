"""Where a stack, and each object in it, is sharpest: by Laplacian-of-Gaussian energy, never by variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.objects.objects import StackFocus

MOST_CONTRAST = 1e6


def best_plane(curve: NDArray[np.float32]) -> tuple[float, bool]:
    """Plane of greatest sharpness, fractional, and whether it is the first or the last one of several.

    The vertex of the parabola through the best plane and its two neighbours; a maximum at the edge is not interpolated.
    A single plane does not say that focus lies beyond it.
    """
    peak = int(curve.argmax())
    if len(curve) == 1:
        return 0.0, False
    if peak in (0, len(curve) - 1):
        return float(peak), True
    below, top, above = (float(curve[peak + k]) for k in (-1, 0, 1))
    curvature = below - 2 * top + above
    return (peak + 0.5 * (below - above) / curvature if curvature < 0 else float(peak)), False


def contrast_of(curve: NDArray[np.float32]) -> float:
    """Sharpness of the best plane over that of the median plane, at most `MOST_CONTRAST`: most may hold nothing."""
    best, median = float(curve.max()), float(np.median(curve))
    return best / max(median, best / MOST_CONTRAST) if best > 0 else 1.0


def stack_focus(sharpness: NDArray[np.float32], blank_contrast: float) -> StackFocus:
    """Focus of a whole stack from its sharpness (Z, h, w); blank where the best plane is no sharper than most."""
    curve = sharpness.mean(axis=(1, 2))
    contrast = contrast_of(curve)
    if contrast < blank_contrast:
        return StackFocus(best_plane=None, at_edge=False, contrast=contrast, sharpness=curve)
    plane, at_edge = best_plane(curve)
    return StackFocus(best_plane=plane, at_edge=at_edge, contrast=contrast, sharpness=curve)


def box_sharpness(sharpness: NDArray[np.float32], box: tuple[int, int, int, int], scale: int) -> NDArray[np.float32]:
    """Mean sharpness (Z,) inside a box of the frame, from a map (Z, h, w) with pixels `scale` frame pixels wide."""
    height, width = sharpness.shape[1:]
    x0, y0 = min(box[0] // scale, width - 1), min(box[1] // scale, height - 1)
    x1, y1 = max(-(-box[2] // scale), x0 + 1), max(-(-box[3] // scale), y0 + 1)
    return np.asarray(sharpness[:, y0:y1, x0:x1].mean(axis=(1, 2), dtype=np.float32))
