"""Examples varied as objects and exposures vary: turned, mirrored, brighter, noisier, out of focus, planes missing.

The order of the planes is never turned over: what lies on its other face keeps its index of refraction, a stack upside
down would not.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from inference.classification.sight import ClassifierSight, Floats, SeenSpecimen, look, own_plane
from inference.classification.specimens import SpecimenStack

ONE_STATE_SHARE = 0.15
FEWER_PLANES_SHARE, MOST_CUT = 0.25, 0.4
"""Of the specimens, and of their planes at one end."""
EVERY_SECOND_SHARE = 0.15
FEWEST_PLANES = 3
MISFIT = 0.05
"""Share of its height or width by which a box may be too narrow on a side."""
CUT_OFF_SHARE, MOST_CUT_OFF = 0.1, 0.5
"""Of the specimens, and of such a one's height or width what the edge of a frame may take on a side."""
SMALLEST_PX = 8
"""Of a side that may be cut."""
FOCUS_ERROR_UM = 0.15
"""Standard deviation."""
ZOOM = 0.9, 1.1
CONTRAST, BRIGHTNESS = 0.15, 0.03
"""Standard deviations: of the logarithm, and in units of a view."""
GAMMA = 0.7, 1.4
NOISY_SHARE, MOST_NOISE = 0.4, 0.08
DEFOCUSED_SHARE, MOST_BLUR_PX = 0.2, 1.2
SIZE_ERROR = 0.08
"""Standard deviation of the binary logarithm of a length that is told."""


def varied(specimen: SpecimenStack, sight: ClassifierSight, random: np.random.Generator) -> SeenSpecimen:
    """Look at a specimen as it might as well have been.

    Raises
    ------
    SpecimenRefused
        As `look`.
    """
    error_um = float(random.normal(0, FOCUS_ERROR_UM)) if sight.kind == "stack" else 0.0
    whole, beside = look(_cut(_with_less(specimen, random), random), sight, error_um)
    shown = whole.reshape(len(whole), -1).any(axis=1)  # what is empty stays so
    zoom = float(random.uniform(*ZOOM))
    view = _turned(whole[shown], zoom, random)
    if sight.kind == "picture":
        view = view.clip(0, 1) ** np.float32(math.exp(random.uniform(*np.log(GAMMA))))
    if random.uniform() < DEFOCUSED_SHARE and len(view):
        blur_px = float(random.uniform(0.3, MOST_BLUR_PX))
        view = np.stack([cv2.GaussianBlur(channel, (0, 0), blur_px) for channel in view])
    states = 2 if sight.kind != "picture" else 1
    each, layers = sight.whole // states, sight.channels // sight.whole
    contrast = np.tile(np.exp(random.normal(0, CONTRAST, states)).repeat(each), layers).reshape(-1, 1, 1)
    brightness = np.tile(random.normal(0, BRIGHTNESS, states).repeat(each), layers).reshape(-1, 1, 1)
    view = (view * contrast[shown] + brightness[shown]).astype(np.float32)
    if random.uniform() < NOISY_SHARE:
        view += np.float32(random.uniform(0, MOST_NOISE)) * random.standard_normal(view.shape, np.float32)
    whole[shown] = view
    beside = beside.copy()
    if sight.sized:
        beside[:2] += math.log2(zoom) + random.normal(0, SIZE_ERROR, 2)
    return SeenSpecimen(whole, beside)


def _with_less(specimen: SpecimenStack, random: np.random.Generator) -> SpecimenStack:
    """Leave out a state, planes at an end, or every second plane of some specimens."""
    stack, states, focus = specimen.stack, specimen.states, own_plane(specimen)
    if len(states) == 2 and random.uniform() < ONE_STATE_SHARE:
        kept = int(random.integers(2))
        stack, states = stack[kept : kept + 1], (states[kept],)
    planes, step_um = stack.shape[1], specimen.step_um
    if planes > FEWEST_PLANES and random.uniform() < FEWER_PLANES_SHARE:
        cut = min(int(random.integers(1, max(2, round(MOST_CUT * planes) + 1))), planes - FEWEST_PLANES)
        first = cut if random.uniform() < 0.5 else 0
        stack, focus = stack[:, first : first + planes - cut], focus - first
    if stack.shape[1] >= 2 * FEWEST_PLANES and step_um is not None and random.uniform() < EVERY_SECOND_SHARE:
        first = int(random.integers(2))
        stack, focus, step_um = stack[:, first::2], (focus - first) / 2, 2 * step_um
    return replace(specimen, stack=stack, states=states, focus_plane=focus, step_um=step_um)


def _cut(specimen: SpecimenStack, random: np.random.Generator) -> SpecimenStack:
    """Take something off all sides, as boxes do that do not fit, and much off one now and then, as frames do."""
    lost = random.uniform(0, MISFIT, 4)
    cut_off = random.uniform() < CUT_OFF_SHARE
    if cut_off:
        lost[random.integers(4)] = random.uniform(MISFIT, MOST_CUT_OFF)
    height, width = specimen.stack.shape[2:]
    if min(height, width) < SMALLEST_PX:
        return specimen
    top, bottom, left, right = (
        int(share * side) for share, side in zip(lost, (height, height, width, width), strict=True)
    )
    stack = specimen.stack[:, :, top : height - bottom, left : width - right]
    misfit = replace(specimen, stack=stack)
    # Of what is cut off nobody knows how long it is.
    return replace(misfit, length_um=None, width_um=None) if cut_off else misfit


def _turned(view: Floats, zoom: float, random: np.random.Generator) -> Floats:
    """Turn by any angle, mirror and zoom; what comes in from outside is background."""
    side = view.shape[1]
    if not len(view):
        return view
    background = float(np.median(view[:, 0])) if len(view) == 1 else 0.0
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), float(random.uniform(0, 360)), zoom)
    if random.uniform() < 0.5:
        view = view[:, :, ::-1]
    turned = [
        cv2.warpAffine(np.ascontiguousarray(channel), matrix, (side, side), borderValue=background) for channel in view
    ]
    return np.asarray(np.stack(turned), np.float32)
