"""What one field of a virtual slide shows, and the light of it at a focal plane, before it meets camera and dust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import Image
from drivers.virtual_slide.optics.body_light import FARTHEST_UM
from drivers.virtual_slide.optics.polarizers import CROSSED, PolarizedLight, Region, turned
from drivers.virtual_slide.places import Places, look_up, places
from drivers.virtual_slide.specimens.drawer import Drawer
from drivers.virtual_slide.truth import Box

FAINTEST = 0.03
"""Share of its light at its last plane below which a defocused object is left out."""
REACH_UM = 1.2
"""So far from its box a body's light still acts on the polarized light of another."""
FEATHER_UM = 0.6
"""Over which the light of an overlap passes into that of bodies alone."""


@dataclass(frozen=True)
class FramePlace:
    """Where a frame lies on the slide: its middle in um, its size (height, width) in px, and the size of a pixel."""

    x_um: float
    y_um: float
    size_px: tuple[int, int]
    pixel_um: float

    def points(
        self, points_um: Sequence[tuple[float, float]], x_um: float, y_um: float, angle: float
    ) -> NDArray[np.float64]:
        """Place points of a body, (N, 2) from its centre, in the frame, in px."""
        height, width = self.size_px
        cos, sin = np.cos(angle), np.sin(angle)
        points = np.asarray(points_um) @ np.array([[cos, sin], [-sin, cos]])
        return np.asarray(
            (points + np.array([x_um - self.x_um, y_um - self.y_um])) / self.pixel_um + (width / 2, height / 2)
        )


@dataclass(frozen=True)
class SeenObject:
    """An object as one field sees it.

    Attributes
    ----------
    z_um
        of its reference plane, stage units.
    region
        where its light falls in the frame.
    box
        around its body, in px, not clipped.
    window
        part of its drawer's grid that falls there.
    to_window
        affine map (2, 3) from the region to the window.
    channels
        (4, 4) or (1, 1), turns what the drawer holds into |k|^2 - 1, |f|^2, Re and Im of f k*.
    """

    z_um: float
    drawer: Drawer
    region: Region
    box: Box
    window: Region
    to_window: NDArray[np.float64]
    channels: NDArray[np.float64]

    @property
    def turns(self) -> bool:
        """Whether it turns polarized light."""
        return len(self.channels) > 1

    def within(self, region: Region) -> SeenObject | None:
        """Narrow it to the part of its region that lies in another one."""
        part = _shared(self.region, region)
        if part is None:
            return None
        corner = np.array([part[1].start - self.region[1].start, part[0].start - self.region[0].start])
        shift = self.to_window[:, 2] + self.to_window[:, :2] @ corner
        size = (self.window[0].stop - self.window[0].start, self.window[1].stop - self.window[1].start)
        window, low = _window(self.to_window[:, :2], shift, part, size)
        rows, columns = (
            slice(own.start + new.start, own.start + new.stop) for own, new in zip(self.window, window, strict=True)
        )
        to_window = np.column_stack([self.to_window[:, :2], shift - low])
        return replace(self, region=part, window=(rows, columns), to_window=to_window)

    def light(self, z_um: float, mixing: NDArray[np.float64]) -> Image | None:
        """Give its light over its region, as its channels are mixed: (h, w) or (h, w, channels).

        None where too little is left of it.
        """
        planes = self.drawer.card.planes_um
        lower, upper, weight, strength = between(planes, z_um - self.z_um)
        if strength < FAINTEST:
            return None
        kept = self.drawer.light
        mixed = kept[lower][self.window] * np.float32((1 - weight) * strength)
        mixed += kept[upper][self.window] * np.float32(weight * strength)
        return look_up(_mixed(mixed, mixing), self._places)

    @cached_property
    def _places(self) -> Places:
        """Where in the window each pixel lies."""
        rows, columns = (np.arange(side.stop - side.start) for side in self.region)
        x, y = (a * columns[None, :] + b * rows[:, None] + c for a, b, c in self.to_window.tolist())
        return places(x, y)


def look(frame: FramePlace, drawer: Drawer, x_um: float, y_um: float, angle: float, z_um: float) -> SeenObject | None:
    """See a specimen that lies at a place, turned by an angle (rad); None where its light misses the frame."""
    height, width = frame.size_px
    card, (rows, columns) = drawer.card, drawer.light.shape[1:3]
    half_x, half_y = columns * card.pixel_um / 2, rows * card.pixel_um / 2
    corners = [(-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)]
    left, top, right, bottom = box_of(frame.points(corners, x_um, y_um, angle))
    x0, y0 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
    x1, y1 = min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)
    if x0 >= x1 or y0 >= y1:
        return None
    step = frame.pixel_um / card.pixel_um
    cos, sin = np.cos(angle) * step, np.sin(angle) * step
    turn = np.array([[cos, sin], [-sin, cos]])
    dx = x0 + 0.5 - width / 2 + (frame.x_um - x_um) / frame.pixel_um
    dy = y0 + 0.5 - height / 2 + (frame.y_um - y_um) / frame.pixel_um
    shift = turn @ (dx, dy) + ((columns - 1) / 2, (rows - 1) / 2)
    window, low = _window(turn, shift, (slice(y0, y1), slice(x0, x1)), (rows, columns))
    scale = np.array(card.scale)
    return SeenObject(
        z_um=z_um,
        drawer=drawer,
        region=(slice(y0, y1), slice(x0, x1)),
        box=box_of(frame.points(card.outline_um, x_um, y_um, angle)),
        window=window,
        to_window=np.column_stack([turn, shift - low]),
        channels=turned(scale, angle) if len(scale) > 1 else scale[:, None],
    )


@dataclass(frozen=True)
class _Overlap:
    """Where bodies that turn polarized light lie over each other.

    Attributes
    ----------
    members
        the bodies, narrowed to it, the one nearest to the condenser first.
    share
        (h, w), how far the light is that of the overlap: one inside, falling to zero at the border.
    """

    region: Region
    members: tuple[SeenObject, ...]
    share: Image


class Scene:
    """All that one field shows.

    A body changes the light of its region as if it were alone; where bodies that turn polarized light lie over each
    other, or nearly, the light is made anew through all of them, the one nearest to the condenser first.

    Parameters
    ----------
    seen
        the objects, in any order.
    """

    def __init__(self, seen: Sequence[SeenObject], frame: FramePlace) -> None:
        ordered = sorted(seen, key=lambda one: -one.z_um)
        self._turning = [one for one in ordered if one.turns]
        self._others = [one for one in ordered if not one.turns]
        self._overlaps = _overlaps(self._turning, frame)

    def draw(self, light: Image, state: str, z_um: float, polarized: PolarizedLight) -> None:
        """Write the light of a focal plane, over parallel light that meets no body, into (H, W) float32."""
        empty, alone = polarized.empty(state), polarized.alone(state)
        light.fill(empty)
        for seen in self._turning:
            change = seen.light(z_um, alone @ seen.channels)
            if change is not None:
                _change(light[seen.region], change, state, empty)
        for overlap in self._overlaps:
            region = overlap.region
            apart = np.full(overlap.share.shape, empty, np.float32)
            polarized.enter(region)
            for seen in overlap.members:
                patch = seen.light(z_um, seen.channels)
                if patch is not None:
                    polarized.pass_body(seen.region, patch)
                    _change(apart[_within(seen.region, region)], _mixed(patch, alone), state, empty)
            light[region] += overlap.share * (polarized.analysed(region, state) - apart)
            np.maximum(light[region], 0, out=light[region])
        for seen in self._others:
            change = seen.light(z_um, seen.channels)
            if change is not None:
                change += 1
                light[seen.region] *= change


def _mixed(channels: Image, mixing: NDArray[np.float64]) -> Image:
    """Mix channels (h, w, n) by a matrix (m, n), m being n or 1, into (h, w, m), or (h, w)."""
    count, size = mixing.shape
    square = np.zeros((size, size), np.float32)
    square[:count] = mixing
    # OpenCV rounds sums of four products alike on all CPUs where it makes four of them, and is faster at it.
    mixed = cv2.transform(channels, square)
    return np.asarray(mixed if count == size else cv2.extractChannel(mixed, 0), np.float32)


def _change(light: Image, change: Image, state: str, empty: float) -> None:
    """Change light as a body alone does, in place: what is flipped adds up, what is kept multiplies."""
    if state == CROSSED:
        light += change
    else:
        light *= 1 + change / np.float32(empty)


def _window(
    turn: NDArray[np.float64], shift: NDArray[np.float64], region: Region, size: tuple[int, int]
) -> tuple[Region, NDArray[np.intp]]:
    """Part of a grid of some size (rows, columns) that a region is drawn from, and its corner (column, row)."""
    height, width = (side.stop - side.start for side in region)
    ends = shift[:, None] + turn @ np.array([[0, width, 0, width], [0, 0, height, height]])
    limits = np.array(size[::-1])
    low = np.clip(np.floor(ends.min(axis=1)).astype(np.intp) - 1, 0, limits - 1)
    high = np.clip(np.ceil(ends.max(axis=1)).astype(np.intp) + 2, 1, limits)
    return (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))), low


def _overlaps(turning: Sequence[SeenObject], frame: FramePlace) -> tuple[_Overlap, ...]:
    reach, feather = REACH_UM / frame.pixel_um, FEATHER_UM / frame.pixel_um
    grown = np.array([-reach, -reach, reach, reach])
    boxes = [(np.array(one.box) + grown).tolist() for one in turning]
    meetings = [_meeting(one, other) for one, other in combinations(boxes, 2)]
    whole = (slice(0, frame.size_px[0]), slice(0, frame.size_px[1]))
    overlaps = []
    for wide in _apart([meeting for meeting in meetings if meeting is not None]):
        region = _shared(wide, whole)
        if region is None:
            continue
        rows, columns = (
            np.clip(np.minimum(np.arange(side.stop - side.start) + 0.5, np.arange(side.stop - side.start)[::-1] + 0.5)
            / feather, 0, 1)
            for side in wide
        )  # fmt: skip
        share = np.outer(rows, columns)[_within(region, wide)].astype(np.float32)
        near = [one for one, box in zip(turning, boxes, strict=True) if _meeting(box, _as_box(region)) is not None]
        members = [part for one in near if (part := one.within(region)) is not None]
        overlaps.append(_Overlap(region, tuple(members), share))
    return tuple(overlaps)


def between(planes_um: Sequence[float], defocus_um: float) -> tuple[int, int, float, float]:
    """Which two planes make the image at a defocus.

    Returns
    -------
    lower, upper : indices of planes.
    weight : of the upper one.
    strength : below 1 beyond the last plane, where light spreads with the square of the distance.
    """
    first, last = planes_um[0], planes_um[-1]
    if defocus_um <= first:
        return 0, 0, 0.0, (FARTHEST_UM / (FARTHEST_UM + first - defocus_um)) ** 2
    if defocus_um >= last:
        end = len(planes_um) - 1
        return end, end, 0.0, (FARTHEST_UM / (FARTHEST_UM + defocus_um - last)) ** 2
    upper = int(np.searchsorted(planes_um, defocus_um, side="right"))
    weight = (defocus_um - planes_um[upper - 1]) / (planes_um[upper] - planes_um[upper - 1])
    return upper - 1, upper, float(weight), 1.0


def box_of(outline: NDArray[np.float64]) -> Box:
    """Box around points (N, 2)."""
    x0, y0 = outline.min(axis=0).tolist()
    x1, y1 = outline.max(axis=0).tolist()
    return x0, y0, x1, y1


def _meeting(one: Sequence[float], other: Sequence[float]) -> Region | None:
    """Pixels that two boxes share; those outside the frame have negative numbers."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    if left >= right or top >= bottom:
        return None
    return slice(int(np.floor(top)), int(np.ceil(bottom))), slice(int(np.floor(left)), int(np.ceil(right)))


def _as_box(region: Region) -> Box:
    return region[1].start, region[0].start, region[1].stop, region[0].stop


def _within(part: Region, region: Region) -> Region:
    """Give a part of a region in rows and columns of the region."""
    rows, columns = (slice(p.start - r.start, p.stop - r.start) for p, r in zip(part, region, strict=True))
    return rows, columns


def _shared(one: Region, other: Region) -> Region | None:
    top, bottom = max(one[0].start, other[0].start), min(one[0].stop, other[0].stop)
    left, right = max(one[1].start, other[1].start), min(one[1].stop, other[1].stop)
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def _apart(regions: list[Region]) -> tuple[Region, ...]:
    """Join regions that share pixels until none do."""
    apart: list[Region] = []
    for region in regions:
        joined = region
        while touching := [other for other in apart if _shared(other, joined)]:
            apart = [other for other in apart if not _shared(other, joined)]
            rows, columns = zip(joined, *touching, strict=True)
            joined = (
                slice(min(r.start for r in rows), max(r.stop for r in rows)),
                slice(min(c.start for c in columns), max(c.stop for c in columns)),
            )
        apart.append(joined)
    return tuple(apart)
