"""What is kept of a specimen: its light, and a card that says what is true of it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import Body
from drivers.virtual_slide.optics.body_light import BodyLight, Mount, illuminate
from drivers.virtual_slide.specimens.specimen import (
    Specimen,
    length_and_width_um,
    mask_at,
    mass_pg,
    outline_um,
    visible_mass_pg,
)

LARGEST = 32767
DISPLAY_WITHIN_UM = 1.0


class SpecimenCard(msgspec.Struct, frozen=True):
    """What is true of a specimen, lying along x, lengths from its centre and its reference plane.

    Attributes
    ----------
    outline_um
        border in the slide's plane.
    display_outline_um
        of what is in focus at its display plane.
    length_um
        greatest Feret diameter of the outline.
    width_um
        least Feret diameter of the outline.
    depth_um
        lowest and highest z of its matter.
    display_um
        z at which it is shown best: where its light differs most, on the side where it is darker; of what turns
        polarized light the reference plane.
    thickness_um
        mean thickness where there is matter.
    mass_pg
        of its calcite.
    visible_mass_pg
        what bidirectional circular polarization sees of it at best.
    kept_contrast
        root mean square inside the outline, in the best plane, over the parallel light of an empty field; of the light
        that keeps its handedness.
    flipped_contrast
        the same of the light that changes it.
    remaining
        share of its outline's area that is left; 1 of what is not broken.
    view
        what it turns to the eye: `face`, `side` or `oblique`.
    face
        which face that is, `outer` or `inner`; empty where it has none.
    units
        valves, liths, skeletons that it consists of.
    traits
        what its form was drawn with.
    """

    fragment: bool
    pixel_um: float
    planes_um: tuple[float, ...]
    scale: tuple[float, ...]
    outline_um: tuple[tuple[float, float], ...]
    display_outline_um: tuple[tuple[float, float], ...]
    length_um: float
    width_um: float
    depth_um: tuple[float, float]
    display_um: float
    thickness_um: float
    mass_pg: float
    visible_mass_pg: float
    kept_contrast: float
    flipped_contrast: float
    remaining: float
    view: str
    face: str
    units: int
    traits: dict[str, float]


@dataclass(frozen=True)
class Drawer:
    """A specimen's card and its light.

    Attributes
    ----------
    light
        (Z, H, W, K) int16, times `card.scale`: |k|^2 - 1 and, if it is birefringent, |f|^2, Re and Im of f k*.
    """

    card: SpecimenCard
    light: NDArray[np.int16]


def make_drawer(specimen: Specimen, mount: Mount) -> Drawer:
    """Make the light of a specimen and write its card."""
    light = illuminate(specimen.body, mount)
    channels = [light.kept - 1]
    if light.flipped is not None and light.coherence is not None:
        channels += [light.flipped, light.coherence.real, light.coherence.imag]
    scale = [max(float(np.abs(channel).max()), 1e-9) / LARGEST for channel in channels]
    kept = np.empty((*channels[0].shape, len(channels)), np.int16)
    for number, (channel, step) in enumerate(zip(channels, scale, strict=True)):
        kept[..., number] = np.rint(channel / step)
    return Drawer(_describe(specimen, light, tuple(scale)), kept)


def _describe(specimen: Specimen, light: BodyLight, scale: tuple[float, ...]) -> SpecimenCard:
    body = specimen.body
    outline = outline_um(body)
    length, width = length_and_width_um(outline)
    kept = np.array([np.sqrt(np.mean((plane[body.mask] - 1) ** 2)) for plane in light.kept])
    display = _display_um(body, light, kept)
    thickness = np.sum([layer.thickness for layer in body.slices], axis=0)
    there = thickness > 0.01
    flipped = 0.0
    if light.flipped is not None:
        flipped = max(float(np.sqrt(np.mean(plane[body.mask] ** 2))) for plane in light.flipped)
    return SpecimenCard(
        fragment=specimen.fragment,
        pixel_um=body.pixel_um,
        planes_um=tuple(light.planes_um.tolist()),
        scale=scale,
        outline_um=_points(outline),
        display_outline_um=_points(outline_um(body, mask_at(body, display))),
        length_um=length,
        width_um=width,
        depth_um=body.depth_um,
        display_um=display,
        thickness_um=float(thickness[there].mean()) if there.any() else 0.0,
        mass_pg=mass_pg(body),
        visible_mass_pg=visible_mass_pg(body) if body.birefringent else 0.0,
        kept_contrast=float(kept.max()),
        flipped_contrast=flipped,
        remaining=specimen.remaining,
        view=body.pose.view,
        face=body.pose.face,
        units=body.pose.units,
        traits=dict(body.pose.traits),
    )


def _display_um(body: Body, light: BodyLight, contrast: NDArray[np.float64]) -> float:
    if body.birefringent:
        return 0.0
    low, high = body.depth_um
    near = (light.planes_um >= low - DISPLAY_WITHIN_UM) & (light.planes_um <= high + DISPLAY_WITHIN_UM)
    darker = np.array([float(plane[body.mask].mean()) <= 1 for plane in light.kept])
    allowed = near & darker if (near & darker).any() else near
    return float(light.planes_um[int(np.argmax(np.where(allowed, contrast, -1)))])


def _points(outline: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((round(x, 3), round(y, 3)) for x, y in outline.tolist())
