"""From a specimen to what the encoder sees: planes at fixed heights about its focus, and its size beside. No torch.

The scale of objects is kept.

Brightness is told against the background around the object, as the detector's views are, so that lamp and camera are
left out; pictures are stretched so by the encoder itself. What was not exposed is empty: background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.classification.specimens import CROSSED, PARALLEL, PICTURE, SpecimenStack
from inference.errors import SpecimenRefused
from inference.views.channels import (
    BRIGHT_GAIN,
    CROSSED_GAIN,
    MOST_DEVIATION,
    Planes,
    Scale,
    gather,
    plane_index,
    sharpest_plane,
)

Floats = NDArray[np.float32]
Kind = Literal["stack", "fused", "picture"]
ORDER = (PARALLEL, CROSSED)
"""Of the states among the channels, whatever the specimen's own order."""
SIGMA_UM, SIGMA_PX = 0.12, 1.0
"""Of the Laplacian that tells where an object is sharp."""
SMALLEST_TO_FUSE_PX = 8
BESIDE = ("length", "width", "scale", "sized")
"""Numbers beside a view: binary logarithms of length, width and the size of a pixel of the view; 1 where lengths are
in um, 0 where they are in px."""
LEFT_OUT = 0.5
"""Per cent of the pixels that may be brighter than bright, or darker than dark."""
DETAIL = 4.0
"""Pixels of the detail of a view are so many times as large as its finest ones."""
BEYOND_UM = 0.2
"""So far outside the stack its first and last planes still stand for others."""


@dataclass(frozen=True)
class ClassifierSight:
    """How a classifier looks.

    Attributes
    ----------
    kind
        `stack`: planes of both states at `offsets_um`; `fused`: both states, each pixel from its sharpest plane;
        `picture`: one image, lit in whatever way.
    side_px
        of the square view.
    offsets_um
        heights above the object's own plane; below it where negative.
    finest_um
        a pixel of the view, on the sample, for whatever fits; what does not is shown smaller by steps of the root of 2.
        None: each object fills the view, and its size stands beside alone.
    darker
        pictures show objects darker than their background; they are turned, so that objects are always bright.
    sized
        the size of objects is told beside the view; not where other programs shall run the classifier.
    fine
        what shrinking hides is shown too, in as many channels twice: how much brightness varies within each pixel of
        the view, and, of what is shown smaller than that, the object's middle at `DETAIL` times `finest_um`.
    """

    kind: Kind
    side_px: int
    offsets_um: tuple[float, ...] = (0.0,)
    finest_um: float | None = None
    darker: bool = False
    sized: bool = True
    fine: bool = False

    @property
    def whole(self) -> int:
        """Channels that show the whole object; with `fine` as many follow for its texture, and for its detail."""
        return {"stack": len(ORDER) * len(self.offsets_um), "fused": len(ORDER), "picture": 1}[self.kind]

    @property
    def channels(self) -> int:
        """Of a view."""
        return self.whole * (3 if self.fine else 1)


STACK = ClassifierSight("stack", 64, (-1.6, -0.8, -0.4, 0.0, 0.4, 0.8, 1.6), 0.059, fine=True)
PICTURES = ClassifierSight("picture", 128)


class SeenSpecimen(NamedTuple):
    """What is seen of a specimen.

    Attributes
    ----------
    view
        float32 (channels, side, side): of a stack 0 where it is as bright as the background, of a picture grey over
        white.
    beside
        float32 (4,), as in `BESIDE`; all 0 where sizes are not told.
    """

    view: Floats
    beside: Floats


def look(specimen: SpecimenStack, sight: ClassifierSight, focus_error_um: float = 0.0) -> SeenSpecimen:
    """Look at a specimen.

    Parameters
    ----------
    focus_error_um
        look as if focus lay so much higher than it does.

    Raises
    ------
    SpecimenRefused
        It is a picture and the classifier is for stacks, or the reverse; nobody says how far apart its planes are.
    """
    is_picture = specimen.states == (PICTURE,)
    if is_picture != (sight.kind == "picture"):
        seen, wanted = ("a picture", "stacks") if is_picture else ("a stack", "pictures")
        raise SpecimenRefused(f"the specimen is {seen}, but the classifier looks at {wanted}; use one that is for it")
    scale = _scale(specimen, sight)
    view = np.zeros((sight.channels, sight.side_px, sight.side_px), np.float32)
    if is_picture:
        view[0] = _picture(specimen, sight.side_px)
    else:
        heights = [_Height(0, 0, 0.0)] if sight.kind == "fused" else _heights(specimen, sight, focus_error_um)
        frames = _fused(specimen)[:, None] if sight.kind == "fused" else specimen.stack
        backgrounds = {name: _background(specimen.stack[c]) for c, name in enumerate(specimen.states)}
        bright = backgrounds.get(PARALLEL) or math.sqrt(specimen.white_dn / 2)
        for c, name in enumerate(specimen.states if heights else ()):
            below = backgrounds[name] or 1.0
            gain = BRIGHT_GAIN / below if name == PARALLEL else CROSSED_GAIN / bright
            tone = _Tone(below, gain)
            first = ORDER.index(name) * (sight.whole // len(ORDER))
            rows = [first + one.row for one in heights]
            if sight.fine and scale.shrunk > 1:
                mean, square = _moments(frames[c], heights, scale, below**2)
                _centre(tone.told(np.maximum(mean + np.float32(below**2), 0)), view, rows)
                _centre(tone.spread(mean, square), view, [sight.whole + row for row in rows])
            else:
                _centre(tone.told(_shrunk(frames[c], heights, scale)), view, rows)
            if (
                sight.fine
                and sight.finest_um is not None
                and specimen.pixel_um is not None  # else the scale is in px
                and scale.pixel > sight.finest_um * DETAIL
            ):
                close = _Scaled(scale.shrunk * sight.finest_um * DETAIL / scale.pixel, sight.finest_um * DETAIL)
                middle = _middle(frames[c], math.ceil(sight.side_px * close.shrunk))
                detail = tone.told(_shrunk(middle, heights, close))
                _centre(detail, view, [2 * sight.whole + row for row in rows])
        if sight.fine:
            view[2 * sight.whole :] *= _disc(sight.side_px)
    return SeenSpecimen(view, _beside(specimen, scale) if sight.sized else np.zeros(len(BESIDE), np.float32))


class _Tone(NamedTuple):
    """How brightness is told: the root of the background, and the gain on what differs from it."""

    below: float
    gain: float

    def told(self, frames: Floats) -> Floats:
        """Give tones of frames (N, h, w)."""
        tones = (np.sqrt(frames) - np.float32(self.below)) * np.float32(self.gain)
        return np.asarray(np.clip(tones, -MOST_DEVIATION, MOST_DEVIATION))

    def spread(self, mean: Floats, square: Floats) -> Floats:
        """Give the standard deviation of the tones within pixels, of means and mean squares of what differs there."""
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))
        roots = 2 * np.sqrt(np.maximum(mean + np.float32(self.below**2), 1))
        return np.asarray(np.minimum(deviation / roots * np.float32(self.gain), MOST_DEVIATION), np.float32)


def own_plane(specimen: SpecimenStack) -> float:
    """Plane of a specimen's focus, within its stack; where nobody looked, the one with most fine detail."""
    last = specimen.planes - 1
    if specimen.focus_plane is not None:
        return min(max(specimen.focus_plane, 0.0), float(last))
    if last == 0:
        return 0.0
    roots = np.sqrt(specimen.stack.astype(np.float32))
    energies = [
        sum(
            float(np.square(cv2.Laplacian(cv2.GaussianBlur(state[z], (0, 0), SIGMA_PX), cv2.CV_32F)).mean())
            for state in roots
        )
        for z in range(last + 1)
    ]
    return float(np.argmax(energies))


class _Scaled(NamedTuple):
    """Pixels of the crop along one of the view, and what one of the view is long: um, or px where nobody knows."""

    shrunk: float
    pixel: float


def _scale(specimen: SpecimenStack, sight: ClassifierSight) -> _Scaled:
    longest = max(specimen.stack.shape[2:])
    pixel = specimen.pixel_um or 1.0
    if sight.finest_um is None or specimen.pixel_um is None:
        shrunk = longest / sight.side_px
        return _Scaled(shrunk, pixel * shrunk)
    steps = max(0, math.ceil(2 * math.log2(longest * pixel / (sight.finest_um * sight.side_px))))
    seen_um = sight.finest_um * 2 ** (steps / 2)
    return _Scaled(seen_um / pixel, seen_um)


class _Height(NamedTuple):
    """A height of the sight: its place among them, the plane below it, and the share of the plane above that."""

    row: int
    lower: int
    share: float


def _heights(specimen: SpecimenStack, sight: ClassifierSight, focus_error_um: float) -> list[_Height]:
    """Give the heights of a sight at which the specimen was exposed."""
    step_um = specimen.step_um
    if specimen.planes > 1 and step_um is None:
        raise SpecimenRefused(
            f"the specimen has {specimen.planes} planes, but nobody says how far apart they are; give step_um"
        )
    focus, last = own_plane(specimen), specimen.planes - 1
    # One plane stands for its own height alone.
    step_um = step_um or 2 * BEYOND_UM
    beyond = min(0.5, BEYOND_UM / step_um)
    seen = []
    for row, offset_um in enumerate(sight.offsets_um):
        at = focus + (offset_um + focus_error_um) / step_um
        if -beyond <= at <= last + beyond:
            at = min(max(at, 0.0), float(last))
            seen.append(_Height(row, int(at), at - int(at)))
    return seen


def _shrunk(frames: NDArray[np.uint16] | Floats, seen: Sequence[_Height], scale: _Scaled) -> Floats:
    """Frames (N, h, w) of a state (Z, H, W) at some heights, at the scale of the view."""
    height, width = (max(1, round(size / scale.shrunk)) for size in frames.shape[1:])
    how = cv2.INTER_AREA if scale.shrunk > 1 else cv2.INTER_LINEAR
    small: dict[int, Floats] = {}
    for z in {one.lower for one in seen} | {one.lower + 1 for one in seen if one.share}:
        small[z] = cv2.resize(frames[z], (width, height), interpolation=how).astype(np.float32)
    between = [
        (1 - one.share) * small[one.lower] + one.share * small[one.lower + 1] if one.share else small[one.lower]
        for one in seen
    ]
    return np.stack(between)


def _moments(
    frames: NDArray[np.uint16] | Floats, seen: Sequence[_Height], scale: _Scaled, background: float
) -> tuple[Floats, Floats]:
    """Mean and mean square (N, h, w) of what differs from the background within each pixel of the view."""
    needed = sorted({one.lower for one in seen} | {one.lower + 1 for one in seen if one.share})
    differing = np.empty((needed[-1] + 1, *frames.shape[1:]), np.float32)
    differing[needed] = frames[needed]
    differing[needed] -= np.float32(background)
    mean = _shrunk(differing, seen, scale)
    differing[needed] *= differing[needed]
    return mean, _shrunk(differing, seen, scale)


def _middle(frames: NDArray[np.uint16] | Floats, side: int) -> NDArray[np.uint16] | Floats:
    """Cut a square of so many pixels out of the middle of frames (Z, H, W), where they are as large."""
    top, left = (max(0, (size - side) // 2) for size in frames.shape[1:])
    return frames[:, top : top + side, left : left + side]


@cache
def _disc(side: int) -> Floats:
    """One within the largest disc of a square, (side, side), 0 outside: what turns looks the same at its border."""
    away = np.arange(side) - (side - 1) / 2
    return np.asarray(np.hypot(*np.meshgrid(away, away)) < side / 2, np.float32)


def _centre(frames: Floats, view: Floats, rows: Sequence[int]) -> None:
    """Lay frames (N, h, w) into the middle of some squares of a view; what does not fit is cut evenly."""
    side = view.shape[-1]
    height, width = frames.shape[1:]
    frames = frames[:, max(0, (height - side) // 2) :, max(0, (width - side) // 2) :][:, :side, :side]
    top, left = ((side - size) // 2 for size in frames.shape[1:])
    view[rows, top : top + frames.shape[1], left : left + frames.shape[2]] = frames


def _fused(specimen: SpecimenStack) -> Floats:
    """Each pixel (C, H, W) from its sharpest plane, the same one in both states, as overviews are fused."""
    height, width = specimen.stack.shape[2:]
    if min(height, width) < SMALLEST_TO_FUSE_PX or specimen.planes == 1:
        return specimen.stack[:, round(own_plane(specimen))].astype(np.float32)
    sharpness = Planes.of(specimen.stack, Scale(1, SIGMA_PX)).sharpness()
    index = plane_index(sharpest_plane(sharpness), height, width)
    return np.asarray(gather(specimen.stack, index), np.float32)


def _background(frames: NDArray[np.uint16]) -> float | None:
    """Root of the median along the crop's edge in all planes (Z, H, W) of a state; None where that is black."""
    return math.sqrt(float(np.median(_edge(frames)))) or None


def _edge(frames: NDArray[np.uint16] | Floats) -> NDArray[np.uint16] | Floats:
    """Outermost pixels of frames (Z, H, W)."""
    sides = frames[:, 0], frames[:, -1], frames[:, :, 0], frames[:, :, -1]
    return np.concatenate([side.ravel() for side in sides])


def _picture(specimen: SpecimenStack, side: int) -> Floats:
    """Grey values over white, in a square that the picture fills; what it lacks is the median of its edge.

    So does the laboratory's own program, with the same interpolation, as long as pictures are not shrunk to less than
    half: from there on pixels would be skipped.
    """
    frame = specimen.stack[0, round(own_plane(specimen))].astype(np.float32) / np.float32(specimen.white_dn)
    height, width = frame.shape
    longest = max(height, width)
    square = np.full((longest, longest), np.median(_edge(frame[None])), np.float32)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = frame
    how = cv2.INTER_AREA if longest > 2 * side else cv2.INTER_LINEAR
    # Rounding takes white a little beyond itself.
    return np.clip(np.asarray(cv2.resize(square, (side, side), interpolation=how), np.float32), 0, 1)


def is_darker(specimen: SpecimenStack) -> bool:
    """Whether a picture shows its object darker than the background."""
    frame = specimen.stack[0, round(own_plane(specimen))]
    background = float(np.median(_edge(frame[None])))
    low, high = np.percentile(frame, (LEFT_OUT, 100 - LEFT_OUT))
    return bool(background - low > high - background)


def _beside(specimen: SpecimenStack, scale: _Scaled) -> Floats:
    height, width = specimen.stack.shape[2:]
    pixel = specimen.pixel_um or 1.0
    sides = sorted((height * pixel, width * pixel))
    length, across = specimen.length_um or sides[1], specimen.width_um or sides[0]
    sized = float(specimen.pixel_um is not None)
    return np.array([math.log2(length), math.log2(across), math.log2(scale.pixel), sized], np.float32)
