"""What is kept of a field beside its objects: a fused field in which the detector sees what it saw in the stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daemon.analysis.field_output import FUSED, focus_result, write_fused
from daemon.dataset.field_file import FieldProvenance, read_field_file
from daemon.records.names import field_file
from inference.analyser import Analyser
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from inference.views.channels import Planes, Scale
from tests.support import emulated_stacks

STATES = ("crossed", "parallel")
STEP_UM, FIRST_Z_UM = 0.3, -4.0


@pytest.mark.parametrize("cut_px", [(0, 0), (1, 3)])
@pytest.mark.parametrize("states", [STATES, ("parallel",)])
def test_a_fused_field_is_a_stack_of_one_plane_in_which_the_detector_sees_the_same(
    cut_px: tuple[int, int], states: tuple[str, ...], tmp_path: Path
) -> None:
    config = emulated_stacks.night(frame_px=256, planes=7)
    whole, _ = emulated_stacks.stack(config, 3, 0.0)
    stack = np.ascontiguousarray(whole[-len(states) :, :, : 256 - cut_px[0], : 256 - cut_px[1]])
    pixel_um = config.instrument.pixel_um
    settings = DetectorSettings(runtime="torch"), CropSettings(), FocusSettings()
    analysis = Analyser(*settings, pixel_um, states, detects=False).analyse(stack)
    focus = focus_result(analysis.focus, FIRST_Z_UM, STEP_UM)
    provenance = FieldProvenance(
        night="n", slide=2, field=7, sample="s", x_um=0.0, y_um=0.0, first_z_um=FIRST_Z_UM, step_um=STEP_UM,
        pixel_um=pixel_um, polarizations=states, exposures_ms=(1.0,) * len(states), shape_czyx=stack.shape,
        exposed_utc=0.0, focus=focus, instrument="none", configuration_sha256="", weights_sha256="", versions={},
    )  # fmt: skip
    path = tmp_path / "fused.ome.tif"
    entry = write_fused(path, provenance, stack, analysis)
    assert (entry.name, entry.size) == (field_file(2, 7, FUSED), path.stat().st_size)
    with read_field_file(path) as file:
        fused, told = file.stack(), file.provenance
    assert fused.shape == told.shape_czyx == (len(states), 1, *stack.shape[2:])
    assert told.first_z_um == focus.z_um is not None
    # Every pixel is one of the stack's, the same plane's in all states.
    assert (fused == stack).all(axis=0).any(axis=0).all()
    roots = Planes.of(fused, Scale.of(pixel_um, 0.1)).roots[:, 0]
    assert np.abs(np.rint(np.square(roots)) - analysis.fused).max() <= 1
