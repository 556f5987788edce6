"""The first step of a routine: find a place with objects in focus, and refuse frames that say nothing.

Stage coordinates are in um, larger z brings the objective closer to the sample; intensities in DN.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.images.focus import FoundFocus, SearchBounds, contrast_of, peak, search_focus
from calibration.steps import NotUsable, Shot, ShotResult

XY = tuple[float, float]
Frame = NDArray[np.uint16]

BLUR_PX = 2.0
"""Finer than this is noise of the sensor."""
TILE_PX = 64
TILE_CONTRAST = 2.0
"""Least contrast of a tile, through focus, that holds an object."""
SATURATED_SHARE = 1e-3
LEAST_LIGHT = 0.02
"""Share of the camera's range below which a frame in parallel light is too dark."""
SPIRAL = ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))
"""Places to try, in frames: one with objects, and its neighbours."""


@dataclass(frozen=True)
class Area:
    """The part of a mini-slide that a routine may look at, and how it focuses there.

    Attributes
    ----------
    centre_um
        stage position of its middle.
    size_um
        its width along x and y, for middles of frames.
    frame_um
        width of a frame along x and y, as far as is known.
    search
        heights that may be searched, and how.
    """

    centre_um: XY
    size_um: XY
    frame_um: XY
    search: SearchBounds

    def __post_init__(self) -> None:
        if min(*self.size_um, *self.frame_um) <= 0:
            raise ValueError(f"{self} holds nothing; sizes must be greater than 0")

    def holds(self, x_um: float, y_um: float) -> bool:
        """Whether a frame may be taken there."""
        return all(
            abs(at - centre) <= size / 2 + 1e-6
            for at, centre, size in zip((x_um, y_um), self.centre_um, self.size_um, strict=True)
        )

    def around(self, at_um: XY) -> Iterator[XY]:
        """Yield a place and its neighbours, a frame apart, those inside only."""
        for column, row in SPIRAL:
            place = at_um[0] + column * self.frame_um[0], at_um[1] + row * self.frame_um[1]
            if self.holds(*place):
                yield place

    def near(self, z_um: float, reach_um: float) -> SearchBounds:
        """Heights that may be searched within reach of an expected one."""
        search = self.search
        low = min(max(z_um - reach_um, search.low_um), search.high_um)
        high = max(min(z_um + reach_um, search.high_um), search.low_um)
        return SearchBounds(low, high, search.coarse_um, search.fine_um, search.planes, search.blank_contrast)


def sharpness(frame: Frame) -> float:
    """Mean square of the Laplacian of a frame blurred by 2 px, over the square of its mean light."""
    image = frame.astype(np.float32)
    mean = float(image.mean())
    return float(np.mean(_detail(image))) / mean**2 if mean > 0 else 0.0


def heights_of_tiles(frames: Frame, heights_um: Sequence[float]) -> list[float]:
    """Find where the parts of a field that hold objects are sharpest, um: no single strong object speaks for all.

    Parameters
    ----------
    frames
        (Z, H, W), at `heights_um`, equidistant, ascending.
    """
    rows, columns = (max(1, n // TILE_PX) for n in frames.shape[1:])
    curves = np.stack(
        [cv2.resize(_detail(f.astype(np.float32)), (columns, rows), interpolation=cv2.INTER_AREA) for f in frames]
    )
    return [
        peak(heights_um, curve)
        for curve in curves.reshape(len(frames), -1).T.astype(np.float64)
        if contrast_of(curve) >= TILE_CONTRAST and 0 < int(np.argmax(curve)) < len(curve) - 1
    ]


def _detail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(image, (0, 0), BLUR_PX)
    return np.asarray(np.square(cv2.Laplacian(blurred, cv2.CV_32F)), np.float32)


def find_focus(at_um: XY, bounds: SearchBounds, state: str) -> Generator[Shot, ShotResult, FoundFocus | None]:
    """Search the focus of one place in one polarization; None where nothing lies there."""
    steps = search_focus(bounds)
    answer: Sequence[float] | None = None
    while True:
        try:
            sweep = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            found: FoundFocus | None = end.value
            return found
        shown = yield Shot(*at_um, sweep.first_z_um, sweep.step_um, sweep.planes, (state,))
        answer = [sharpness(frame) for frame in shown.stack[0]]


def find_objects(area: Area, at_um: XY, state: str) -> Generator[Shot, ShotResult, tuple[XY, float]]:
    """Find a place with something to focus on, and its height.

    Raises
    ------
    NotUsable
        Neither there nor a frame beside it is anything in focus, or focus may lie beyond what may be searched.
    """
    beyond: float | None = None
    for place in area.around(at_um):
        found = yield from find_focus(place, area.search, state)
        if found is not None and not found.at_edge:
            return place, found.z_um
        beyond = found.z_um if found is not None else beyond
    where = f"around x {at_um[0]:.0f}, y {at_um[1]:.0f} um"
    searched = f"between z {area.search.low_um:g} and {area.search.high_um:g} um"
    if beyond is not None:
        raise NotUsable(
            f"{where} the image is sharpest at z {beyond:.1f} um, the end of what may be searched {searched}, so focus "
            "may lie outside; correct z_um or z_window_um of the mini-slide"
        )
    raise NotUsable(
        f"nothing to focus on {where}, {searched}: the place is blank, the light is off, or focus lies outside; use a "
        "mini-slide with objects and check lamp, shutter and z_um"
    )


def refuse_bad_light(frames: Frame, full_dn: int, bright: bool, saturated: float = SATURATED_SHARE) -> None:
    """Refuse frames, of any shape, that are saturated, or too dark where they should be bright.

    Parameters
    ----------
    saturated
        share of the pixels that may be saturated.

    Raises
    ------
    NotUsable
        They are.
    """
    if (share := float(np.mean(frames >= full_dn))) > saturated:
        raise NotUsable(f"{share:.1%} of the pixels are saturated at {full_dn} DN; lower the exposure or the lamp")
    if bright and (median := float(np.median(frames))) < LEAST_LIGHT * full_dn:
        raise NotUsable(
            f"the image is too dark, {median:.0f} DN of {full_dn}; check lamp and shutter or raise the exposure"
        )
