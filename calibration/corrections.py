"""What calibrations say of an instrument's pixels, in the form in which measuring uses it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Box = tuple[int, int, int, int]


def full_scale(bits: int) -> int:
    """DN beyond which a camera of so many bits has none."""
    return (1 << bits) - 1


@dataclass(frozen=True)
class Corrections:
    """From DN of the camera to light on the sample.

    Attributes
    ----------
    offset_dn
        what a pixel reads without light, (H, W).
    flat
        light of an empty field over its mean, (C, H, W).
    bad
        pixels that say nothing, (H, W).
    exposures_ms
        of the states along C.
    ratio
        light that the crossed state passes over that of the parallel one, at the same exposure, where the sample turns
        all of it.
    shift_px
        where crossed lies on the camera, relative to parallel, x and y.
    leakage
        share of parallel light in the crossed state.
    leakage_deviation
        its standard deviation over azimuths of a single crystal and over the field.
    dn_per_electron
        gain of the camera.
    read_noise_dn
        of the camera.
    full_dn
        DN at which it is saturated.
    records
        names of the calibration records behind this; none where it is assumed.
    wavelength_um
        of the light that measures thickness.
    pixel_um
        size of a pixel on the sample; None where only the configuration says it.
    """

    offset_dn: Image
    flat: Image
    bad: NDArray[np.bool_]
    exposures_ms: tuple[float, ...]
    ratio: float
    shift_px: tuple[float, float]
    leakage: float
    leakage_deviation: float
    dn_per_electron: float
    read_noise_dn: float
    full_dn: int
    records: tuple[str, ...] = ()
    wavelength_um: float = 0.546
    pixel_um: float | None = None

    @classmethod
    def assumed(cls, frame_px: tuple[int, int], exposures_ms: tuple[float, ...]) -> Corrections:
        """Assume, where nothing was calibrated, an even field, no offset, no shift, no leakage but what is seen.

        Parameters
        ----------
        frame_px
            height, width.
        """
        return cls(
            offset_dn=np.zeros(frame_px, np.float32),
            flat=np.ones((len(exposures_ms), *frame_px), np.float32),
            bad=np.zeros(frame_px, np.bool_),
            exposures_ms=exposures_ms,
            ratio=1.0,
            shift_px=(0.0, 0.0),
            leakage=0.0,
            leakage_deviation=0.0,
            dn_per_electron=1.0,
            read_noise_dn=0.0,
            full_dn=full_scale(16),
        )

    @cached_property
    def _per_dn(self) -> Image:
        """Light per ms of one DN, (C, H, W)."""
        exposures = np.array(self.exposures_ms, np.float32).reshape(-1, 1, 1)
        return np.asarray(1 / (self.flat * exposures), np.float32)

    def light(self, frames: NDArray[np.uint16], state: int, box: Box) -> Image:
        """Light per ms of frames (..., h, w) of a polarization, cut out at a box x0, y0, x1, y1; bad pixels stay."""
        x0, y0, x1, y1 = box
        here = slice(y0, y1), slice(x0, x1)
        return np.asarray((frames - self.offset_dn[here]) * self._per_dn[state, here[0], here[1]], np.float32)
