"""Slim valves are outlined where their end is known to be dark, if it is known which way the planes lead."""

import cv2
import numpy as np
import pytest

from daemon.analysis.measure import Measurer
from daemon.calibration_store.corrections import corrections_of_field
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import ObjectRow, SourceFile

SIDE, FRAME, PLANES, LOWER, UPPER = 160, 1000, 9, 2, 6


def measured(sources: tuple[SourceFile, ...]) -> ObjectRow:
    """Measure a rod that is dark below its plane and bright above it, where it is shown best, in a halo."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    share, halo = (np.hypot((x - 80) / long, (y - 80) / short) for long, short in ((62, 11), (70, 19)))
    around = cv2.GaussianBlur(((share > 1) & (halo <= 1)) * 1.0, (0, 0), 1.4)
    light = np.full((PLANES, SIDE, SIDE), 20000.0)
    light[LOWER] *= 1 + 0.2 * around
    light[UPPER] *= 1 - 0.25 * around
    crop = np.random.default_rng(6).poisson(light)[None].astype(np.uint16)
    provenance = FieldProvenance(
        night="n", slide=1, field=1, sample="s", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=0.3, pixel_um=0.059,
        polarizations=("parallel",), exposures_ms=(1.0,), shape_czyx=(1, PLANES, FRAME, FRAME), exposed_utc=0.0,
        focus=None, instrument="none", configuration_sha256="", weights_sha256="", versions={}, sources=sources,
    )  # fmt: skip
    row = ObjectRow(
        number=0, series=0, class_name="diatom", score=0.9, below_threshold=False, box=(410, 461, 550, 499),
        crop_box=(400, 400, 400 + SIDE, 400 + SIDE), x_um=0.0, y_um=0.0, z_um=0.0, best_plane=1.0,
        best_plane_at_edge=False, touches_edge=False, in_exclusive_tile=True,
    )  # fmt: skip
    measurer = Measurer(provenance, corrections_of_field(provenance, None))
    return measurer.measure(row, crop, crop[:, UPPER], overlapping=False)


@pytest.mark.parametrize(
    ("sources", "width_px"), [((), 22), ((SourceFile(name="a.tif", sha256="0" * 64),), 38)], ids=["camera", "archive"]
)
def test_the_halo_of_a_slim_valve_is_no_part_of_it_where_the_planes_lead_towards_the_sample(
    sources: tuple[SourceFile, ...], width_px: int
) -> None:
    row = measured(sources)
    assert row.display_plane == pytest.approx(UPPER, abs=0.5)
    assert row.width_um == pytest.approx(width_px * 0.059, rel=0.12)
