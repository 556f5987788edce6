"""Between which heights focus is looked for."""

from __future__ import annotations

from calibration.images.focus import FocusSearch, SearchBounds, search_focus
from daemon.config.model import NightConfig
from drivers.settings import MiniSlide

CLEARANCE_UM = 0.01
"""Kept free at either end of a z window, so that no rounding leads out of it."""


def search_for(config: NightConfig, slide: MiniSlide, expected_z_um: float) -> FocusSearch:
    """Search the focus of a mini-slide: within `search_um` of `expected_z_um`, inside its z window."""
    return search_focus(bounds_about(config, slide, expected_z_um))


def bounds_about(config: NightConfig, slide: MiniSlide, expected_z_um: float) -> SearchBounds:
    """Heights within `search_um` of an expected one, inside the z window of a mini-slide."""
    low, high = slide.z_window_um.low + CLEARANCE_UM, slide.z_window_um.high - CLEARANCE_UM
    return SearchBounds(
        low_um=min(max(expected_z_um - config.focus.search_um, low), high),
        high_um=max(min(expected_z_um + config.focus.search_um, high), low),
        coarse_um=config.focus.search_step_um,
        fine_um=config.scan.step_um,
        planes=config.scan.planes,
        blank_contrast=config.focus.blank_contrast,
    )
