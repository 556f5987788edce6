"""Specimens that lie on their other face: the same individuals, turned over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drivers.virtual_slide.matter import Body, Map, Slice
from drivers.virtual_slide.specimens.specimen import Specimen

OTHER = {"outer": "inner", "inner": "outer"}


def turned_over(specimen: Specimen) -> Specimen:
    """Turn a specimen by half a turn about its length: what looked at the condenser looks at the cover slip."""
    return replace(specimen, body=_turned(specimen.body))


def _turned(body: Body) -> Body:
    face = OTHER.get(body.pose.face, body.pose.face)
    slices = tuple(_slice_turned(layer) for layer in body.slices)
    mask = np.ascontiguousarray(body.mask[::-1])
    return replace(body, slices=slices, mask=mask, pose=replace(body.pose, face=face))


def _slice_turned(layer: Slice) -> Slice:
    """Turn one layer; its optic axis turns with it, so that both of the axis's angles change their sign."""
    azimuth, inclination = _upside_down(layer.azimuth), _upside_down(layer.inclination)
    return replace(
        layer,
        z_um=-layer.z_um,
        thickness=np.ascontiguousarray(layer.thickness[::-1]),
        azimuth=None if azimuth is None else -azimuth,
        inclination=None if inclination is None else -inclination,
        absorption=_upside_down(layer.absorption),
    )


def _upside_down(values: Map | None) -> Map | None:
    return None if values is None else np.ascontiguousarray(values[::-1])
