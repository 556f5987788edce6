"""What may lie under the objective instead of specimens: a plate of known retardation, or a stage micrometer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from drivers.settings import Emulation, Plate
from drivers.virtual_slide.matter import Image
from drivers.virtual_slide.micrometer import RuledSlide
from drivers.virtual_slide.optics.body_light import Mount
from drivers.virtual_slide.optics.polarizers import PolarizedLight
from drivers.virtual_slide.scene import FramePlace


class Sight(Protocol):
    """What one field shows, whatever the focal plane."""

    def draw(self, light: Image, state: str, z_um: float, polarized: PolarizedLight) -> None:
        """Write the light of a focal plane, over parallel light that meets no body, into (H, W) float32."""


class Target(Protocol):
    """Something that lies under the whole cover slip."""

    def look(self, frame: FramePlace, height: Callable[[float, float], float]) -> Sight:
        """See it in a frame, where its surface lies at a height (um) over a place (x, y in um)."""


class RetarderPlate:
    """A uniform retarder, which looks the same everywhere and at every height."""

    def __init__(self, plate: Plate, wavelength_nm: float) -> None:
        half = np.pi * plate.retardation_nm / wavelength_nm
        turn = 2 * np.deg2rad(plate.azimuth_deg)
        both = np.sin(half) * np.cos(half)
        change = [np.cos(half) ** 2 - 1, np.sin(half) ** 2, -both * np.sin(turn), both * np.cos(turn)]
        self._patch = np.array(change, np.float32).reshape(1, 1, 4)

    def look(self, _frame: FramePlace, _height: Callable[[float, float], float]) -> RetarderPlate:
        """See it in a frame."""
        return self

    def draw(self, light: Image, state: str, _z_um: float, polarized: PolarizedLight) -> None:
        """Write its light into (H, W) float32."""
        pixel: tuple[slice, slice] = (slice(0, 1), slice(0, 1))
        polarized.enter(pixel)
        polarized.pass_body(pixel, self._patch)
        light.fill(polarized.analysed(pixel, state)[0, 0])


def target_of(emulation: Emulation, mount: Mount) -> Target | None:
    """Lay the target of an emulation under the objective; None where specimens lie there."""
    if emulation.plate is not None:
        return RetarderPlate(emulation.plate, emulation.mounting.wavelength_nm)
    if emulation.micrometer is not None:
        return RuledSlide(emulation.micrometer, mount)
    return None
