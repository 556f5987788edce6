"""Stacks of the virtual slide with what truly lies in them, for the tests of inference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.config.loading import load
from daemon.config.model import NightConfig
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import TrueObject, View
from tests.support.places import CONFIGS

CONFIG = CONFIGS / "emulated.yaml"


def night(frame_px: int = 1024, planes: int = 9, **emulation: object) -> NightConfig:
    """The emulated instrument's night with another frame, depth or slide; many coccoliths lie on it, none is named."""
    config = load(CONFIG)
    assert config.instrument.emulation is not None
    instrument = config.instrument.model_copy(
        update={
            "frame_px": (frame_px, frame_px),
            "emulation": config.instrument.emulation.model_copy(update={"profile": "coccolith", **emulation}),
        }
    )
    return config.model_copy(
        update={
            "instrument": instrument,
            "scan": config.scan.model_copy(update={"planes": planes}),
            "taxonomy": None,
            "classifier": None,
        }
    )


def stack(
    config: NightConfig, slide: int, shift_um: float
) -> tuple[NDArray[np.uint16], list[tuple[float, TrueObject]]]:
    """One stack (CZYX) with every true object and its fractional plane."""
    instrument, scan = config.instrument, config.scan
    assert instrument.emulation is not None
    virtual = VirtualSlide(instrument.emulation, scan.slides, instrument.frame_px, instrument.pixel_um)
    x, y = (centre + shift_um for centre in scan.slides[slide - 1].centre_um)
    first = virtual.surface_z_um(slide, x, y) + 0.5 - (scan.planes - 1) / 2 * scan.step_um
    pixels = np.empty((len(scan.polarizations), scan.planes, *instrument.frame_px), np.uint16)
    for c, state in enumerate(scan.polarizations):
        for z in range(scan.planes):
            virtual.render(View(slide, 1, z, state, x, y, first + z * scan.step_um), 20.0, pixels[c, z])
    return pixels, [((o.z_um - first) / scan.step_um, o) for o in virtual.truth(slide, x, y)]
