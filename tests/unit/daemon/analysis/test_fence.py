"""Whatever a camera delivers and a calibration says: a field comes out of it, and every object stands in it."""

from __future__ import annotations

import dataclasses
import io
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import Corrections
from daemon.analysis.field_output import object_rows, secured_field
from daemon.analysis.kept_picture import MOST_BYTES, draw_picture, middle_planes
from daemon.analysis.measure import measure_all
from daemon.analysis.previews import draw_strips, draw_views
from daemon.calibration_store.corrections import pattern_of
from daemon.dataset.field_file import FieldProvenance, write_field_file
from daemon.records.faults import overexposed, unmeasured
from daemon.records.records import MEASURED, ObjectRow, decode, encode
from inference.analyser import Analyser
from inference.objects.objects import FoundObject, StackAnalysis
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from tests.support import emulated_stacks

Stack = NDArray[np.uint16]
BOTH = ("crossed", "parallel")


@cache
def eager() -> Analyser:
    """An analyser that takes everything for an object."""
    detector = DetectorSettings(runtime="torch", threshold=0.001, keep_above=0.0)
    return Analyser(detector, CropSettings(margin_um=0.6), FocusSettings(), 0.059, BOTH)


@cache
def coccoliths() -> Stack:
    return emulated_stacks.stack(emulated_stacks.night(frame_px=256, planes=9, seed=12), 3, 0.0)[0]


def provenance_of(stack: Stack, polarizations: tuple[str, ...], pixel_um: float = 0.059) -> FieldProvenance:
    return FieldProvenance(
        night="n", slide=1, field=1, sample="s", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=0.3, pixel_um=pixel_um,
        polarizations=polarizations, exposures_ms=(1.0,) * len(polarizations), shape_czyx=stack.shape, exposed_utc=0.0,
        focus=None, instrument="none", configuration_sha256="", weights_sha256="", versions={},
    )  # fmt: skip


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Stack, tuple[str, ...]]:
    """Stacks of any depth and size: even ones, noise, steps, and specimens cut off below, above or at the side."""
    polarizations = draw(st.sampled_from([BOTH, ("parallel",), ("crossed",)]))
    planes = draw(st.sampled_from([1, 2, 3, 9, 9, 130, 200]))
    most = 60 if planes > 9 else 200
    shape = len(polarizations), planes, draw(st.integers(16, most)), draw(st.integers(16, most))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    level = draw(st.sampled_from([0, 1, 255, 4095, 65535]))
    there = np.resize(coccoliths(), (2, planes, 256, 256))[: shape[0], :, : shape[2], : shape[3]].astype(np.int64)
    match draw(st.sampled_from(["even", "noise", "step", "below", "above", "eight", "beside"])):
        case "even":
            there[:] = level
        case "noise":
            there = random.integers(0, level + 1, shape)
        case "step":
            there[:] = level
            there[:, planes // 2 :, shape[2] // 3 :, shape[3] // 4 :] = random.integers(0, 65536)
        case "below":
            there -= level
        case "above":
            there = np.minimum(8 * there, max(level, 1))
        case "eight":
            there //= 256
        case "beside":
            there[..., : shape[3] * 2 // 3] = level
    return there.clip(0, 65535).astype(np.uint16), polarizations


@st.composite
def corrections(draw: st.DrawFn, shape: tuple[int, ...]) -> Corrections:
    """Corrections that were not calibrated, or whose arrays make no sense in every other row."""
    assumed = Corrections.assumed(shape[2:], (1.0,) * shape[0])  # type: ignore[arg-type]
    if draw(st.booleans()):
        return assumed
    nonsense = draw(st.sampled_from([0.0, math.nan, math.inf, -1e9, 1e9]))
    offset_dn, flat = assumed.offset_dn.copy(), assumed.flat.copy()
    (offset_dn if draw(st.booleans()) else flat)[..., ::2, :] = nonsense
    return dataclasses.replace(assumed, offset_dn=offset_dn, flat=flat, records=("nonsense",))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stacks(), st.sampled_from([0.03, 0.059, 0.118, 0.5, 2.0, 20.0]), st.data())
def test_every_stack_becomes_a_field(given_stack: tuple[Stack, tuple[str, ...]], um: float, data: Any) -> None:
    stack, polarizations = given_stack
    known = data.draw(corrections(stack.shape))
    provenance = provenance_of(stack, polarizations, um)
    analysis = eager().fitted(um, polarizations, pattern_of(known)).analyse(stack)
    assert np.isfinite(analysis.focus.sharpness).all()
    assert math.isfinite(analysis.focus.contrast)
    rows = object_rows(analysis.objects, provenance, known)
    assert len(rows) == len(analysis.objects)
    stream = io.BytesIO()
    write_field_file(
        stream, provenance, [(row, o.crop, o.fused) for row, o in zip(rows, analysis.objects, strict=True)]
    )
    record = secured_field(provenance, analysis, rows, (), {}, "cpu")
    assert decode(encode(record)).utc == record.utc
    assert len(draw_views(stack, analysis)) == 1 + len(polarizations)
    draw_strips(analysis.objects, rows, um)
    for states in (analysis.fused, middle_planes(stack, um)):
        assert len(draw_picture(states, polarizations)) <= MOST_BYTES


@cache
def analysed() -> StackAnalysis:
    return Analyser(DetectorSettings(runtime="torch"), CropSettings(), FocusSettings(), 0.059, BOTH).analyse(
        coccoliths()
    )


def test_an_object_that_cannot_be_measured_stands_beside_the_others() -> None:
    analysis, assumed = analysed(), Corrections.assumed((256, 256), (1.0, 1.0))
    provenance = provenance_of(coccoliths(), BOTH)
    usual = object_rows(analysis.objects, provenance, assumed)
    # One crop is of no pixels that can be.
    crops = [(row, one.crop, one.fused) for row, one in zip(usual, analysis.objects, strict=True)]
    crops[1] = (crops[1][0], crops[1][1][:1], crops[1][2])
    rows = measure_all(crops, provenance, assumed)
    assert len(rows) == len(usual) > 2
    assert [a == b for a, b in zip(rows, usual, strict=True)] == [n != 1 for n in range(len(rows))]
    assert rows[1].fault is not None
    assert rows[1].fault.startswith("IndexError: ")
    assert rows[1].counted == usual[1].counted
    assert all(getattr(rows[1], name) is None for name in MEASURED if name != "fault")
    assert unmeasured(rows) == f"object 1 ({rows[1].class_name}): {rows[1].fault}; it is kept, unmeasured"
    assert unmeasured(usual) == ""
    # It is measured when that is asked for again, from pixels that can be.
    again = [(replace(row, fault=None), one.crop, one.fused) for row, one in zip(rows, analysis.objects, strict=True)]
    assert measure_all(again, provenance, assumed) == usual


def test_an_object_that_could_not_be_looked_at_is_not_measured() -> None:
    provenance, assumed = provenance_of(coccoliths(), BOTH), Corrections.assumed((256, 256), (1.0, 1.0))
    blind: list[FoundObject] = [dataclasses.replace(one, fault="IndexError: no plane") for one in analysed().objects]
    rows = object_rows(blind, provenance, assumed)
    assert {row.fault for row in rows} == {"IndexError: no plane"}
    assert {row.length_um for row in rows} == {None}
    assert unmeasured(rows).startswith(f"{len(rows)} objects, the first one object 0 (")


def test_a_picture_that_cannot_be_drawn_is_grey_and_a_strip_is_left_out() -> None:
    analysis = analysed()
    rows = object_rows(analysis.objects, provenance_of(coccoliths(), BOTH), Corrections.assumed((256, 256), (1.0, 1.0)))
    broken = dataclasses.replace(analysis, overview=np.zeros((0, 0, 3), np.uint8))
    assert [view[:2] for view in draw_views(coccoliths(), broken)] == [b"\xff\xd8"] * 3
    objects = list(analysis.objects)
    objects[0] = dataclasses.replace(objects[0], crop=objects[0].crop[:, :0])
    everything, some = (draw_strips(each, rows, 0.059) for each in (analysis.objects, objects))
    assert [strip.specimen.number for strip in some] == [s.specimen.number for s in everything if s.specimen.number]


def test_masses_of_a_single_plane_are_given_and_nobody_says_how_far_from_focus_it_is() -> None:
    plane = round(analysed().focus.best_plane or 0)
    stack = np.ascontiguousarray(coccoliths()[:, plane : plane + 1])
    analysis = Analyser(DetectorSettings(runtime="torch"), CropSettings(), FocusSettings(), 0.059, BOTH).analyse(stack)
    rows = object_rows(analysis.objects, provenance_of(stack, BOTH), Corrections.assumed((256, 256), (1.0, 1.0)))
    weighed = [row for row in rows if row.class_name == "coccolith" and row.calcite_equivalent_pg is not None]
    assert weighed
    assert {row.best_plane_at_edge for row in rows} == {False}
    assert {row.defocused for row in weighed} == {None}
    assert all(row.mass_pg == row.calcite_equivalent_pg for row in weighed)


@pytest.mark.parametrize(
    ("full", "told"),
    [
        *((2**bits - 1, None) for bits in (8, 10, 12, 14, 16)),
        # Bits that lie above, bits that only the file or the camera tells, and bits that are told wrongly.
        *(((2**bits - 1) << (16 - bits), None) for bits in (8, 10, 12, 14)),
        (2**11 - 1, 11),
        (2**16 - 1, 12),
        (2**12 - 1, 16),
    ],
)
def test_a_camera_of_fewer_bits_than_its_frames_is_known_to_be_full(full: int, told: int | None) -> None:
    even = coccoliths() / coccoliths()[1].max() * full
    usual, bright = (rows_of(np.minimum(share * even, full).astype(np.uint16), told) for share in (0.9, 1.5))
    assert {row.saturated for row in bright} == {True}
    assert {row.saturated for row in usual} == {False}
    assert f"saturated at {len(bright)} of {len(bright)} objects" in overexposed(bright)
    assert overexposed(usual) == ""


def rows_of(stack: Stack, bits: int | None) -> tuple[ObjectRow, ...]:
    """Measure the objects that were found in the coccoliths, in a stack with other light."""
    provenance, assumed = replace(provenance_of(stack, BOTH), bits=bits), Corrections.assumed((256, 256), (1.0, 1.0))
    crops = []
    for row, found in zip(object_rows(analysed().objects, provenance, assumed), analysed().objects, strict=True):
        x0, y0, x1, y1 = row.crop_box
        crops.append((row, stack[:, :, y0:y1, x0:x1], found.fused))
    return measure_all(crops, provenance, assumed)
