"""Which outlines of valves are doubted: less where nothing lies over them."""

import cv2
import numpy as np
import pytest

from daemon.analysis.measure import Measurer
from daemon.calibration_store.corrections import corrections_of_field
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import ObjectRow

SIDE, FRAME = 160, 1000


def measured(faintest: float, *, overlapping: bool) -> ObjectRow:
    """Measure a valve of which a third of the rim is so faint, beside the rest of it."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    share, turn = np.hypot((x - 80) / 56, (y - 80) / 36), np.arctan2(y - 80, x - 80) / (2 * np.pi) % 1
    rim = ((share <= 1) & (share > 0.86)) * np.where(turn < 0.35, faintest, 1.0)
    light = 20000 * (1 - 0.2 * cv2.GaussianBlur(rim, (0, 0), 1.4))
    crop = np.random.default_rng(5).poisson(light, (1, 3, SIDE, SIDE)).astype(np.uint16)
    provenance = FieldProvenance(
        night="n", slide=1, field=1, sample="s", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=0.5, pixel_um=0.059,
        polarizations=("parallel",), exposures_ms=(1.0,), shape_czyx=(1, 3, FRAME, FRAME), exposed_utc=0.0,
        focus=None, instrument="none", configuration_sha256="", weights_sha256="", versions={},
    )  # fmt: skip
    row = ObjectRow(
        number=0, series=0, class_name="diatom", score=0.9, below_threshold=False, box=(424, 444, 536, 516),
        crop_box=(400, 400, 400 + SIDE, 400 + SIDE), x_um=0.0, y_um=0.0, z_um=0.0, best_plane=1.0,
        best_plane_at_edge=False, touches_edge=False, in_exclusive_tile=True,
    )  # fmt: skip
    measurer = Measurer(provenance, corrections_of_field(provenance, None))
    return measurer.measure(row, crop, crop[:, 1], overlapping=overlapping)


@pytest.mark.parametrize(
    ("faintest", "overlapping", "usable"),
    [(1.0, False, True), (1.0, True, True), (0.135, False, True), (0.135, True, False), (0.0, False, False)],
)
def test_a_faint_part_of_a_rim_is_doubted_where_others_lie_over_it(
    faintest: float, overlapping: bool, usable: bool
) -> None:
    row = measured(faintest, overlapping=overlapping)
    assert row.usable_for_size == usable
    if usable:
        assert row.length_um == pytest.approx(112 * 0.059, rel=0.03)
        assert row.width_um == pytest.approx(72 * 0.059, rel=0.04)
