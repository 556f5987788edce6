"""Slim valves are outlined where their end is known to be dark, if it is known which way the planes lead."""

import cv2
import numpy as np
import pytest

from daemon.records.records import ObjectRow, SourceFile
from tests.support.one_valve import PIXEL_UM, measure_valve

SIDE, PLANES, LOWER, UPPER = 160, 9, 2, 6


def measured(sources: tuple[SourceFile, ...]) -> ObjectRow:
    """Measure a rod that is dark below its plane and bright above it, where it is shown best, in a halo."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    share, halo = (np.hypot((x - 80) / long, (y - 80) / short) for long, short in ((62, 11), (70, 19)))
    around = cv2.GaussianBlur(((share > 1) & (halo <= 1)) * 1.0, (0, 0), 1.4)
    light = np.full((PLANES, SIDE, SIDE), 20000.0)
    light[LOWER] *= 1 + 0.2 * around
    light[UPPER] *= 1 - 0.25 * around
    return measure_valve(light, (10, 61, 150, 99), 0.3, sources=sources)


@pytest.mark.parametrize(
    ("sources", "width_px"), [((), 22), ((SourceFile(name="a.tif", sha256="0" * 64),), 38)], ids=["camera", "archive"]
)
def test_the_halo_of_a_slim_valve_is_no_part_of_it_where_the_planes_lead_towards_the_sample(
    sources: tuple[SourceFile, ...], width_px: int
) -> None:
    row = measured(sources)
    assert row.display_plane == pytest.approx(UPPER, abs=0.5)
    assert row.width_um == pytest.approx(width_px * PIXEL_UM, rel=0.12)
