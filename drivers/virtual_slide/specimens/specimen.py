"""One individual of a collection: drawn, perhaps broken, and described as a person with a perfect ruler would."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import CALCITE, REFERENCE_WAVELENGTH_UM, Body, Image
from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.specimens.kinds import Kind
from drivers.virtual_slide.specimens.wear import crack, shatter

OUTLINE_TOLERANCE_UM = 0.06
IN_FOCUS_UM = 0.6
"""Slices this far from a plane at most are in focus there."""
_COLLECTION = 1802


@dataclass(frozen=True)
class Specimen:
    """A body and which of its kind it is.

    Attributes
    ----------
    remaining
        share of its outline's area that is left; below 1 of a fragment.
    """

    kind: Kind
    variant: int
    body: Body
    remaining: float = 1.0

    @property
    def fragment(self) -> bool:
        """Whether it is broken."""
        return self.remaining < 1


def collect(kind: Kind, collection: int, variant: int) -> Specimen:
    """Draw one of the variants of a kind.

    The variants' lengths are spread evenly over the shares of the size distribution, so that a collection has it too.
    """
    name = _number(kind)
    fragments = round(kind.broken * kind.variants)
    fragment = bool(generator(_COLLECTION, collection, name).permutation(kind.variants)[variant] < fragments)
    random = generator(_COLLECTION, collection, name, variant)
    length = kind.sizes.quantile((variant + float(random.uniform(0.2, 0.8))) / kind.variants)
    body = kind.draw(length, random)
    if not fragment:
        return Specimen(kind, variant, body)
    piece = shatter(body, random) if kind.natural else crack(body, random)
    return Specimen(kind, variant, piece, float(piece.mask.sum() / body.mask.sum()))


def _number(kind: Kind) -> int:
    """Tell kinds apart: earlier ones by the first letters of their names, which species have in common."""
    name = kind.name.encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest() if kind.natural else name[:12])


def outline_um(body: Body, mask: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Border of the body's largest part, (N, 2) x, y in um from the centre of the grid."""
    mask = body.mask if mask is None else mask
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, OUTLINE_TOLERANCE_UM / body.pixel_um, closed=True)[:, 0]
    # Contours run through the centres of the outermost pixels; the body ends half a pixel further out.
    centre = (np.array(mask.shape[::-1]) - 1) / 2
    points = simple - centre
    away = points - points.mean(axis=0)
    points = points + 0.5 * away / np.maximum(np.hypot(*away.T), 1e-9)[:, None]
    return np.asarray(points * body.pixel_um, np.float64)


def length_and_width_um(outline: NDArray[np.float64]) -> tuple[float, float]:
    """Greatest and least distance of two parallel tangents (Feret diameters) of an outline, (N, 2)."""
    angle = np.linspace(0, np.pi, 181)[:-1]
    along = outline @ np.stack([np.cos(angle), np.sin(angle)])
    extents = along.max(axis=0) - along.min(axis=0)
    return float(extents.max()), float(extents.min())


def mass_pg(body: Body) -> float:
    """Mass of all its calcite."""
    return float(CALCITE.density_pg_um3 * body.pixel_um**2 * body.thickness_um(CALCITE).sum(dtype=np.float64))


def visible_thickness_um(body: Body) -> Image:
    """Thickness of calcite, axis flat, that turns as much light as the whole body does, (H, W).

    The slices' Jones matrices are multiplied without diffraction. A vertical axis hides thickness, crossed axes
    cancel, and what is thicker than lambda / (2 dn) is folded below it.
    """
    keep = np.ones(body.mask.shape, np.complex128)
    flip = np.zeros_like(keep)
    for layer in sorted(body.slices, key=lambda one: -one.z_um):
        if layer.azimuth is None:
            continue
        half = np.pi * layer.retardation_um() / REFERENCE_WAVELENGTH_UM
        turn = np.exp(2j * layer.azimuth.astype(np.float64))
        c, s = np.cos(half), 1j * np.sin(half)
        keep, flip = c * keep + s / turn * flip, s * turn * keep + c * flip
    angle = np.arctan2(np.abs(flip), np.abs(keep))
    return np.asarray(angle * REFERENCE_WAVELENGTH_UM / (np.pi * abs(CALCITE.birefringence)), np.float32)


def visible_mass_pg(body: Body) -> float:
    """Mass that bidirectional circular polarization sees at best."""
    area = body.pixel_um**2
    return float(CALCITE.density_pg_um3 * area * visible_thickness_um(body).sum(dtype=np.float64))


def mask_at(body: Body, z_um: float) -> NDArray[np.bool_]:
    """Part of the mask whose matter is in focus at a plane; all of it where nothing is."""
    low, high = body.depth_um
    z_um = min(max(z_um, low), high)
    near = [layer for layer in body.slices if abs(layer.z_um - z_um) <= IN_FOCUS_UM]
    seen = np.any([(layer.thickness > 0.01) for layer in near] or [body.mask], axis=0)
    part = np.asarray(seen & body.mask)
    return part if part.any() else body.mask
