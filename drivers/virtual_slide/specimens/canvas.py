"""A grid in um on which the bodies of the virtual slide are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from drivers.virtual_slide.matter import Body, Map, Pose, Slice

FINE_PIXEL_UM = 0.1
COARSE_PIXEL_UM = 0.15
"""Still below lambda / (2 NA), all that the amplitude behind the objective needs."""
COARSE_FROM_UM = 45.0
MARGIN_UM = 3.0
"""Defocused light further than this from the body is not followed."""
LYING = Pose()
FINENESS = 2.0**16
"""Steps a um, and a rad, to which matter is rounded."""
SEEN_UM = 0.01
SEEN_ABSORPTION = 0.02
"""From where a person would call it the body's: thickness, and absorption."""


class Canvas:
    """A grid in um around a body's centre.

    Attributes
    ----------
    x
        (H, W) in um, from the centre.
    y
        (H, W) in um, from the centre.
    """

    def __init__(self, length_um: float, width_um: float) -> None:
        self.pixel_um = COARSE_PIXEL_UM if max(length_um, width_um) >= COARSE_FROM_UM else FINE_PIXEL_UM

        def points(extent: float) -> int:
            return int(fft.next_fast_len(2 * int(np.ceil((extent / 2 + MARGIN_UM) / self.pixel_um))))

        columns, rows = points(length_um), points(width_um)
        x = (np.arange(columns) + 0.5 - columns / 2) * self.pixel_um
        y = (np.arange(rows) + 0.5 - rows / 2) * self.pixel_um
        self.x: Map
        self.y: Map
        self.x, self.y = (np.ascontiguousarray(a) for a in np.meshgrid(x, y))
        self.empty: Map = np.zeros_like(self.x)

    def inside(self, distance_um: NDArray[np.floating], softness_um: float | None = None) -> Map:
        """Coverage of each pixel, 0 to 1, where a signed distance is negative inside."""
        return np.asarray(np.clip(0.5 - distance_um / (softness_um or self.pixel_um), 0, 1))

    def ellipse(self, a_um: float, b_um: float) -> Map:
        """Distance from the centre as a share of the ellipse's radius."""
        return np.asarray(np.hypot(self.x / a_um, self.y / b_um))

    def band(self, rho: Map, inner: float, outer: float, radius_um: float) -> Map:
        """Coverage of the ring between two shares of a radius."""
        return self.inside((rho - outer) * radius_um) * self.inside((inner - rho) * radius_um)

    def rod(self, ends: tuple[float, float, float, float], width_um: float) -> Map:
        """Thickness of a round bar between x0, y0 and x1, y1."""
        x0, y0, x1, y1 = ends
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        distance = np.hypot(self.x - x0 - along * dx, self.y - y0 - along * dy)
        return np.asarray(2 * np.sqrt(np.maximum((width_um / 2) ** 2 - distance**2, 0)))

    def polygon(self, corners: NDArray[np.float64]) -> Map:
        """Signed distance to a convex polygon (N, 2), counted from x towards y, negative inside."""
        edges = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
        sides = [
            (self.x - cx) * nx + (self.y - cy) * ny
            for (cx, cy), (nx, ny) in zip(corners, normals, strict=True)
        ]  # fmt: skip
        return np.asarray(np.max(sides, axis=0))

    def body(self, slices: Sequence[Slice], mask: NDArray[np.bool_] | None = None, pose: Pose = LYING) -> Body:
        """Make a body of slices; its mask is what is seen of them, holes filled, unless given."""
        if mask is None:
            thickness = np.sum([np.abs(layer.thickness) for layer in slices], axis=0)
            absorption = [layer.absorption for layer in slices if layer.absorption is not None]
            mask = thickness > SEEN_UM
            if absorption:
                mask |= np.sum(absorption, axis=0) > SEEN_ABSORPTION
            contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            mask = cv2.drawContours(mask.astype(np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)
        return Body(self.pixel_um, tuple(_rounded(layer) for layer in slices), mask, pose)


def _rounded(layer: Slice) -> Slice:
    """Round all maps far beyond what is seen, but so that what machines differ in is gone."""

    def rounded(image: Map | None) -> Map | None:
        return None if image is None else np.asarray(np.rint(image * FINENESS) / FINENESS)

    return Slice(
        float(np.rint(layer.z_um * FINENESS) / FINENESS),
        layer.material,
        np.asarray(np.rint(layer.thickness * FINENESS) / FINENESS),
        rounded(layer.azimuth),
        rounded(layer.inclination),
        rounded(layer.absorption),
    )


def tilted(layers: Sequence[Slice], canvas: Canvas, tilt: float, step_um: float = 0.4) -> list[Slice]:
    """Tilt flat layers about the x axis, so that +y rises, in overlapping bands of nearly the same height.

    Lengths across the axis shrink by the cosine, the way of light through the layer grows by its inverse, and an
    optic axis across it is inclined.

    Parameters
    ----------
    tilt
        in rad.
    step_um
        greatest difference in height between two bands.
    """
    if abs(tilt) < 1e-6:
        return list(layers)
    cos, sin = np.cos(tilt), np.sin(tilt)
    count = canvas.y.shape[0]
    source = (np.arange(count) + 0.5 - count / 2) / cos + count / 2 - 0.5
    above = np.clip(np.floor(source).astype(int), -1, count)
    share_below = (source - above)[:, None]

    def squeeze(image: Map, nearest: bool = False) -> Map:
        framed = np.pad(image, ((1, 2), (0, 0)))
        if nearest:
            return np.asarray(framed[np.clip(np.rint(source).astype(int), -1, count) + 1])
        return np.asarray(framed[above + 1] * (1 - share_below) + framed[above + 2] * share_below)

    tilted_layers: list[Slice] = []
    for layer in layers:
        thickness = squeeze(layer.thickness) / cos
        absorption = None if layer.absorption is None else squeeze(layer.absorption)
        azimuth, inclination = layer.azimuth, layer.inclination
        if azimuth is not None:
            flat, rise = squeeze(azimuth, nearest=True), squeeze(canvas.empty if inclination is None else inclination)
            axis = np.stack([np.cos(rise) * np.cos(flat), np.cos(rise) * np.sin(flat), np.sin(rise)])
            y, z = axis[1] * cos - axis[2] * sin, axis[1] * sin + axis[2] * cos
            azimuth = np.arctan2(y, axis[0])
            inclination = np.arcsin(np.clip(z, -1, 1))
        height = canvas.y * (sin / cos)
        seen = thickness > 0 if absorption is None else (thickness > 0) | (absorption > 0)
        if not seen.any():
            continue
        low, high = float(height[seen].min()), float(height[seen].max())
        bands = 1 if high - low <= step_um else int(np.ceil((high - low) / step_um)) + 1
        middles = np.linspace(low, high, bands) if bands > 1 else np.array([(low + high) / 2])
        spacing = (high - low) / max(bands - 1, 1)
        for middle in middles:
            # shared between neighbours, as a sharp border would diffract light that a smooth layer does not
            share = np.clip(1 - np.abs(np.clip(height, low, high) - middle) / max(spacing, 1e-6), 0, 1)
            share = share if bands > 1 else np.ones_like(thickness)
            tilted_layers.append(
                Slice(
                    layer.z_um + float(middle),
                    layer.material,
                    thickness * share,
                    azimuth,
                    inclination,
                    None if absorption is None else absorption * share,
                )
            )
    return tilted_layers
