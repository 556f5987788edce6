"""A grid in um on which the bodies of the virtual slide are drawn."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.optics import MARGIN_UM, TEMPLATE_PIXEL_UM, Image, Slice


class Canvas:
    """A grid in um around an object's centre, on which thickness is drawn."""

    def __init__(self, length_um: float, width_um: float) -> None:
        def points(extent: float) -> int:
            return int(cv2.getOptimalDFTSize(2 * int(np.ceil((extent / 2 + MARGIN_UM) / TEMPLATE_PIXEL_UM))))

        columns, rows = points(length_um), points(width_um)
        self.x: Image = ((np.arange(columns) + 0.5 - columns / 2) * TEMPLATE_PIXEL_UM).astype(np.float32)[None, :]
        self.y: Image = ((np.arange(rows) + 0.5 - rows / 2) * TEMPLATE_PIXEL_UM).astype(np.float32)[:, None]
        self.x, self.y = (np.ascontiguousarray(a) for a in np.broadcast_arrays(self.x, self.y))
        self.empty: Image = np.zeros_like(self.x)

    @staticmethod
    def inside(distance_um: NDArray[np.floating], softness_um: float = TEMPLATE_PIXEL_UM) -> Image:
        """Coverage of each pixel, where a signed distance is negative inside."""
        return np.asarray(np.clip(0.5 - distance_um / softness_um, 0, 1), np.float32)

    def ellipse(self, a_um: float, b_um: float) -> Image:
        """Distance from the centre as a share of the ellipse's radius."""
        return np.asarray(np.hypot(self.x / a_um, self.y / b_um), np.float32)

    def band(self, rho: Image, inner: float, outer: float, radius_um: float) -> Image:
        """Coverage of the ring between two shares of a radius."""
        return self.inside((rho - outer) * radius_um) * self.inside((inner - rho) * radius_um)

    def rod(self, ends: tuple[float, float, float, float], width_um: float) -> Image:
        """Thickness of a round bar between x0, y0 and x1, y1."""
        x0, y0, x1, y1 = ends
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        distance = np.hypot(self.x - x0 - along * dx, self.y - y0 - along * dy)
        return (2 * np.sqrt(np.maximum((width_um / 2) ** 2 - distance**2, 0))).astype(np.float32)

    def polygon(self, corners: NDArray[np.float64]) -> Image:
        """Signed distance to a convex polygon, negative inside."""
        edges = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
        sides = [
            (self.x - cx) * nx + (self.y - cy) * ny
            for (cx, cy), (nx, ny) in zip(corners, normals, strict=True)
        ]  # fmt: skip
        return np.asarray(np.max(sides, axis=0), np.float32)

    def layer(
        self,
        z_um: float = 0.0,
        *,
        phase_rad: Image | None = None,
        absorption: Image | None = None,
        retardance_rad: Image | None = None,
        azimuth: Image | float = 0.0,
    ) -> Slice:
        """Make a slice; what is not given is empty."""
        return Slice(
            z_um,
            self.empty if phase_rad is None else phase_rad,
            self.empty if absorption is None else absorption,
            self.empty if retardance_rad is None else retardance_rad,
            np.full_like(self.empty, azimuth) if isinstance(azimuth, float) else azimuth,
        )
