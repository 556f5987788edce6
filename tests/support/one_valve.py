"""A drawn valve, measured as an object of a field is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daemon.analysis.measure import Measurer
from daemon.calibration_store.corrections import corrections_of_field
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import ObjectRow, SourceFile
from inference.objects.objects import Box

PIXEL_UM = 0.059
FRAME, CORNER = 1000, 400


def measure_valve(
    light: NDArray[np.float64],
    box: Box,
    step_um: float,
    *,
    sources: tuple[SourceFile, ...] = (),
    overlapping: bool = False,
) -> ObjectRow:
    """Measure the diatom in a box of drawn parallel light (Z, h, w), both in px of its crop, with photon noise."""
    planes, height, width = light.shape
    crop = np.random.default_rng(5).poisson(light)[None].astype(np.uint16)
    x0, y0, x1, y1 = (CORNER + at for at in box)
    provenance = FieldProvenance(
        night="n", slide=1, field=1, sample="s", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=step_um, pixel_um=PIXEL_UM,
        polarizations=("parallel",), exposures_ms=(1.0,), shape_czyx=(1, planes, FRAME, FRAME), exposed_utc=0.0,
        focus=None, instrument="none", configuration_sha256="", weights_sha256="", versions={}, sources=sources,
    )  # fmt: skip
    row = ObjectRow(
        number=0, series=0, class_name="diatom", score=0.9, below_threshold=False, box=(x0, y0, x1, y1),
        crop_box=(CORNER, CORNER, CORNER + width, CORNER + height), x_um=0.0, y_um=0.0, z_um=0.0, best_plane=1.0,
        best_plane_at_edge=False, touches_edge=False, in_exclusive_tile=True,
    )  # fmt: skip
    measurer = Measurer(provenance, corrections_of_field(provenance, None))
    return measurer.measure(row, crop, crop[:, planes // 2], overlapping=overlapping)
