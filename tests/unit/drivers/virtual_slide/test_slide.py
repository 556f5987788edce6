"""The virtual slide: what it shows is what it says, it depends on nothing but its arguments, and it obeys optics."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from shapely import Polygon

from drivers.errors import SettingRefused
from drivers.virtual_slide.optics.camera import DN_PER_ELECTRON, OFFSET_DN, READ_NOISE_DN
from drivers.virtual_slide.profiles import PROFILES
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.truth import TrueObject, View
from tests.support.deadlines import DEADLINE_S, NIGHT_S
from tests.support.virtual_views import (
    FRAME,
    MINI,
    PIXEL_UM,
    SHIFT_PX,
    SOME_VIEWS,
    X,
    Y,
    digests,
    frame_of,
    make,
)

STEADY: dict[str, Any] = {"lamp": {"flicker": 0, "drift": 0}}
"""A lamp that burns evenly."""


@pytest.fixture(scope="module")
def slide() -> VirtualSlide:
    return make()


@pytest.fixture(scope="module")
def sparse() -> VirtualSlide:
    """A slide on which objects lie alone."""
    return make(density=0.25)


def at(slide: VirtualSlide, x: float, y: float, polarization: str, above_um: float = 0.4, plane: int = 0) -> View:
    return View(1, 0, plane, polarization, x, y, slide.surface_z_um(1, x, y) + above_um)


def quiet(
    slide: VirtualSlide, x: float, y: float, polarization: str, z_um: float, planes: int = 12
) -> NDArray[np.float64]:
    """Mean of frames that differ in noise alone."""
    views = (View(1, 0, plane, polarization, x, y, z_um) for plane in range(planes))
    return np.asarray(np.mean([frame_of(slide, view) for view in views], axis=0) - OFFSET_DN)


def alone(objects: tuple[TrueObject, ...], class_name: str) -> Iterator[TrueObject]:
    """Whole objects of a class with nothing else near."""
    for one in objects:
        x0, y0, x1, y1 = one.box
        grown = (x0 - 25, y0 - 25, x1 + 25, y1 + 25)
        crowded = any(other is not one and overlap(grown, other.box) for other in objects)
        inside = grown[0] > 0 and grown[1] > 0 and grown[2] < FRAME[1] and grown[3] < FRAME[0]
        if one.class_name == class_name and inside and not crowded:
            yield one


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    w, h = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(w, 0) * max(h, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return shared / (sum(areas) - shared)


FIELDS = [(X + 70 * i, Y + 65 * j) for i in range(6) for j in range(5)]


# ---- a pure function of its arguments


def test_pixels_do_not_depend_on_order_or_instance() -> None:
    first = digests(make((256, 320)), SOME_VIEWS)
    prepared = make((256, 320))
    prepared.prepare()
    again = digests(prepared, SOME_VIEWS[::-1])
    assert first == again
    assert len(set(first.values())) == len(SOME_VIEWS)


def test_pixels_do_not_depend_on_the_process() -> None:
    code = "from tests.support.virtual_views import *\nprint(*digests(make((256, 320)), SOME_VIEWS[::-3]).values())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    assert done.stdout.split() == list(digests(make((256, 320)), SOME_VIEWS[::-3]).values())


@pytest.mark.long
def test_pixels_do_not_depend_on_what_the_processor_can(tmp_path: Path) -> None:
    """A processor with fewer instructions makes the same specimens and the same frames: another machine's pixels."""
    code = "from tests.support.virtual_views import *\nprint(*digests(make((256, 320)), SOME_VIEWS[:4]).values())"
    able = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    poor = {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3,AVX,SSE4.2", "OPENCV_IPP": "disabled"}
    poor |= {"NPY_DISABLE_CPU_FEATURES": " ".join(able)} if able else {}
    caches = {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=NIGHT_S, env={**os.environ, **poor, **caches})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(digests(make((256, 320)), SOME_VIEWS[:4]).values())


def test_another_seed_is_another_slide_and_another_noise() -> None:
    one, other = make((256, 320)), make((256, 320), seed=12)
    assert one.truth(1, X, Y) != other.truth(1, X, Y)
    assert digests(one, SOME_VIEWS[:1]) != digests(other, SOME_VIEWS[:1])
    blanks = [make((256, 320), profile="blank", seed=seed) for seed in (11, 12)]
    assert digests(blanks[0], SOME_VIEWS[:1]) != digests(blanks[1], SOME_VIEWS[:1])


def test_a_frame_is_written_in_place_into_a_stack(slide: VirtualSlide) -> None:
    stack = np.zeros((2, 3, *FRAME), np.uint16)
    slide.render(at(slide, X, Y, "parallel"), 20, stack[1, 2])
    assert stack[1, 2].min() > 0
    stack[1, 2] = 0
    assert not stack.any()


# ---- truth against pixels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("class_name", "polarization"), [("coccolith", "crossed"), ("shard", "crossed"), ("diatom", "parallel")]
)
def test_boxes_hold_what_is_seen_and_no_more(sparse: VirtualSlide, class_name: str, polarization: str) -> None:
    """Hardly any light changes outside the box, and something does along each of its four sides."""
    background = quiet(make(profile="blank"), X, Y, polarization, 0.0)
    shift = np.array(SHIFT_PX if polarization == "crossed" else (0.0, 0.0))
    checked = 0
    for x, y in FIELDS:
        for one in list(alone(sparse.truth(1, x, y), class_name))[:1]:
            seen = quiet(sparse, x, y, polarization, one.display_z_um, planes=6)
            x0, y0 = np.rint(np.array(one.box[:2]) + shift).astype(int)
            x1, y1 = np.rint(np.array(one.box[2:]) + shift).astype(int)
            part = np.s_[y0 - 24 : y1 + 24, x0 - 24 : x1 + 24]
            change = cv2.GaussianBlur(np.abs(seen[part] - background[part]), (0, 0), 1.0)
            change -= np.quantile(change[:8], 0.5)
            inside = np.zeros(change.shape, bool)
            inside[16:-16, 16:-16] = True
            assert (change[inside] ** 2).sum() / (change**2).sum() > 0.93, one.kind
            within = change[24:-24, 24:-24]
            strips = [max(8, round(0.12 * side)) for side in within.shape]
            noise = change[~inside].std()
            sides = within[: strips[0]], within[-strips[0] :], within[:, : strips[1]], within[:, -strips[1] :]
            assert min(float(side.max()) for side in sides) > 4 * noise, one.kind
            checked += 1
    assert checked >= 3


@pytest.mark.slow
def test_crossed_lies_beside_parallel_by_the_shift_between_the_states() -> None:
    """A grain that is dark in parallel and bright in crossed shows where each state puts it."""
    moved = []
    for shift in ((0.0, 0.0), (3.0, -2.0)):
        slide = make(profile="coccolith", polarizers={"shift_px": shift})
        z = slide.surface_z_um(1, X, Y) + 0.3
        moved.append(quiet(slide, X, Y, "crossed", z) - quiet(make(profile="blank"), X, Y, "crossed", z))
    window = cv2.createHanningWindow(FRAME, cv2.CV_64F)
    found, _ = cv2.phaseCorrelate(moved[0].astype(np.float64), moved[1].astype(np.float64), window)
    assert found == pytest.approx((3, -2), abs=0.15)


def test_pixels_and_boxes_move_with_the_stage(slide: VirtualSlide) -> None:
    columns, rows = 40, -26
    here, there = (X, Y), (X + columns * PIXEL_UM, Y + rows * PIXEL_UM)
    z = slide.surface_z_um(1, *here) + 0.4
    still = quiet(make(profile="blank"), *here, "crossed", z, planes=8)
    before, after = (quiet(slide, x, y, "crossed", z, planes=8) - still for x, y in (here, there))
    shift, _ = cv2.phaseCorrelate(
        before.astype(np.float64), after.astype(np.float64), cv2.createHanningWindow(FRAME, cv2.CV_64F)
    )
    assert shift == pytest.approx((-columns, -rows), abs=0.2)
    second = {one.identifier: one for one in slide.truth(1, *there)}
    both = [(one, second[one.identifier]) for one in slide.truth(1, *here) if one.identifier in second]
    assert len(both) > 10
    for one, other in both:
        assert (one.x_um, one.y_um, one.z_um) == (other.x_um, other.y_um, other.z_um)
        if one.whole and other.whole:
            assert np.subtract(other.box, one.box) == pytest.approx([-columns, -rows, -columns, -rows], abs=1e-6)


@pytest.mark.slow
def test_a_fraction_of_a_pixel_moves_each_object_by_that_fraction(sparse: VirtualSlide) -> None:
    still = quiet(make(profile="blank"), X, Y, "crossed", 0.0)
    moved = []
    for x, y in FIELDS[::2]:
        for one in list(alone(sparse.truth(1, x, y), "coccolith"))[:1]:
            x0, y0, x1, y1 = (round(edge) for edge in one.box)
            part = np.s_[y0 - 15 : y1 + 15, x0 - 15 : x1 + 15]
            places = []
            for moving in (0.0, 0.4 * PIXEL_UM):
                seen = (quiet(sparse, x + moving, y, "crossed", one.z_um) - still)[part]
                places.append((seen * np.arange(seen.shape[1])).sum() / seen.sum())
            moved.append(places[1] - places[0])
    assert len(moved) >= 3
    assert np.array(moved) == pytest.approx(-0.4, abs=0.1)


def test_overlapping_fields_agree_on_what_both_hold() -> None:
    slide = make(density=3.0)
    step = FRAME[1] * PIXEL_UM * 0.9
    left, right = slide.truth(1, X, Y), slide.truth(1, X + step, Y)
    low, high = X + step - FRAME[1] * PIXEL_UM / 2, X + FRAME[1] * PIXEL_UM / 2
    shared = [{o.identifier for o in objects if low < o.x_um < high} for objects in (left, right)]
    assert shared[0] == shared[1]
    assert shared[0]


@pytest.mark.slow
@pytest.mark.parametrize(("class_name", "polarization"), [("coccolith", "crossed"), ("diatom", "parallel")])
def test_contrast_to_noise_is_what_the_pixels_show(sparse: VirtualSlide, class_name: str, polarization: str) -> None:
    """Root mean square of what an object changes inside its outline, over the noise of a pixel, best of all planes."""
    blank = quiet(make(profile="blank"), X, Y, polarization, 0.0)
    ratios = []
    for x, y in FIELDS[::3]:
        for one in list(alone(sparse.truth(1, x, y), class_name))[:1]:
            inside = np.zeros(FRAME, np.uint8)
            cv2.fillPoly(inside, [np.rint(one.outline).astype(np.int32)], 1)
            changes = [
                quiet(sparse, x, y, polarization, one.z_um + above, planes=4)[inside > 0] - blank[inside > 0]
                for above in (-1.3, -0.8, -0.45, 0.0, 0.45, 0.8)
            ]
            strongest = max(float(np.sqrt(np.mean(change**2))) for change in changes)
            signal = blank[inside > 0].mean() + (strongest if polarization == "crossed" else 0)
            fixed = 0.004 * signal
            noise = np.sqrt(DN_PER_ELECTRON * signal + READ_NOISE_DN**2 + fixed**2)
            ratios.append(strongest / noise / one.contrast_to_noise)
    assert len(ratios) >= 3
    assert np.array(ratios) == pytest.approx(1, abs=0.3)


def test_a_diatom_is_shown_best_at_its_display_plane(sparse: VirtualSlide) -> None:
    blank = quiet(make(profile="blank"), X, Y, "parallel", 0.0)
    better = []
    for x, y in FIELDS:
        for one in (o for o in alone(sparse.truth(1, x, y), "diatom") if o.kind == "thalassiosira"):
            x0, y0, x1, y1 = (round(edge) for edge in one.box)
            contrast = [
                float((quiet(sparse, x, y, "parallel", z, planes=3) / blank - 1)[y0:y1, x0:x1].std())
                for z in (one.z_um, one.display_z_um)
            ]
            better.append(contrast[1] / contrast[0])
            assert 0 < abs(one.display_z_um - one.z_um) <= 2.5
    assert len(better) >= 2
    assert min(better) > 1


def test_a_coccolith_is_sharpest_at_its_own_height(sparse: VirtualSlide) -> None:
    step, found = 0.25, []
    for x, y in FIELDS[:12]:
        for one in list(alone(sparse.truth(1, x, y), "coccolith"))[:1]:
            x0, y0, x1, y1 = (round(edge) for edge in one.box)
            heights = one.z_um + 0.1 + step * np.arange(-6, 7)
            energy = []
            for plane, z in enumerate(heights):
                seen = frame_of(sparse, View(1, 0, plane, "crossed", x, y, float(z)))[y0:y1, x0:x1].astype(np.float64)
                energy.append(np.sum(cv2.Laplacian(cv2.GaussianBlur(seen, (0, 0), 2), cv2.CV_64F) ** 2))
            found.append(abs(heights[int(np.argmax(energy))] - one.z_um))
    assert len(found) >= 4
    assert max(found) <= step


# ---- what lies on it


@pytest.mark.slow
def test_profiles_show_what_they_name() -> None:
    for profile, numbers in PROFILES.items():
        slide = make(profile=profile, density=0.5)
        seen = {one.kind: one for field in FIELDS[::4] for one in slide.truth(1, *field)}
        assert set(seen) <= set(numbers)
        assert all(KINDS[kind].class_name == one.class_name for kind, one in seen.items())
        assert all(KINDS[kind].junk == one.junk for kind, one in seen.items())


def test_a_slide_of_calcite_and_diatoms_is_easy(slide: VirtualSlide) -> None:
    objects = [one for field in FIELDS for one in slide.truth(1, *field)]
    assert 8 <= sum(not one.junk for one in objects) / len(FIELDS) <= 30
    assert 0.05 < sum(one.junk for one in objects) / len(objects) < 0.3
    sound = [one for one in objects if not one.fragment]
    assert all(2.3 <= one.length_um <= 4.3 for one in sound if one.kind == "emiliania")
    weights = [one.mass_pg for one in sound if one.kind == "emiliania"]
    assert 1.2 < np.mean(weights) < 3


def test_touching_is_told_of_objects_whose_outlines_overlap(slide: VirtualSlide) -> None:
    told = 0
    for x, y in FIELDS[::3]:
        objects = [one for one in slide.truth(1, x, y) if one.kind != "fluff"]
        for one in (o for o in objects if o.whole):
            hull, others = Polygon(one.outline).convex_hull, [o for o in objects if o is not one]
            shared = max((hull.intersection(Polygon(o.outline).convex_hull).area for o in others), default=0)
            # what lies outside the frame touches too
            assert one.touching or shared < 1
            assert not one.touching or shared > 0 or min(*one.box[:2], *np.subtract(1024, one.box[2:])) < 300
            told += one.touching
    assert told > 20


def test_density_scales_and_blank_is_empty(slide: VirtualSlide) -> None:
    ones, doubles = (
        np.mean([len(s.truth(1, *field)) for field in FIELDS]) for s in (slide, make(density=2.0))
    )  # fmt: skip
    assert doubles / ones == pytest.approx(2, rel=0.15)
    blank = make(profile="blank")
    assert blank.truth(1, X, Y) == ()
    a, b = (frame_of(blank, View(1, 0, 0, "parallel", x, Y, 0.0)) for x in (X, X + 500))
    assert np.array_equal(a, b)


def test_each_mini_slide_has_its_own_height_and_tilt() -> None:
    slide = make(height_um=5.0, tilt_um_per_mm=2.0, bend_um=0)
    centres = [slide.surface_z_um(mini.position, *mini.centre_um) for mini in MINI]
    assert len(set(centres)) == len(MINI)
    assert all(abs(z - mini.z_um) <= 5.0 for z, mini in zip(centres, MINI, strict=True))
    for mini in MINI:
        x, y = mini.centre_um
        slope = [slide.surface_z_um(mini.position, x + dx, y + dy) for dx, dy in ((1000, 0), (0, 1000))]
        tilt = np.hypot(*np.subtract(slope, slide.surface_z_um(mini.position, x, y)))
        assert 0.1 < tilt <= 2.0
        away = slide.surface_z_um(mini.position, x + 3000, y - 2000)
        centre = slide.surface_z_um(mini.position, x, y)
        assert away - centre == pytest.approx(3 * (slope[0] - centre) - 2 * (slope[1] - centre))
    flat = make(height_um=0, tilt_um_per_mm=0, bend_um=0)
    assert flat.surface_z_um(1, X + 900, Y) == MINI[0].z_um


# ---- the sensor


def test_signal_is_linear_in_exposure_and_saturates() -> None:
    slide = make(**STEADY)
    view = at(slide, X, Y, "parallel")
    short, long = (frame_of(slide, view, ms).astype(np.float64).mean() - OFFSET_DN for ms in (5, 20))
    assert long / short == pytest.approx(4, rel=0.002)
    assert 24000 < long < 32000
    dark = frame_of(slide, view, 0.0)
    assert dark.mean() == pytest.approx(OFFSET_DN, abs=0.2)
    assert dark.std() == pytest.approx(READ_NOISE_DN, rel=0.1)
    assert frame_of(slide, view, 100).max() == 65535
    crossed = frame_of(slide, at(slide, X, Y, "crossed"))
    assert np.median(crossed) - OFFSET_DN < 0.01 * long


# ---- refusals


def test_what_the_slide_cannot_show_is_refused(slide: VirtualSlide) -> None:
    good = np.zeros(FRAME, np.uint16)
    with pytest.raises(SettingRefused, match="'bright'"):
        slide.render(View(1, 0, 0, "bright", X, Y, 0), 20, good)
    with pytest.raises(SettingRefused, match="not 7"):
        slide.render(View(7, 0, 0, "crossed", X, Y, 0), 20, good)
    wide = np.zeros((1024, 2048), np.uint16)
    unfit: tuple[NDArray[Any], ...] = (np.zeros((8, 8), np.uint16), np.zeros(FRAME, np.float32), wide[:, ::2])
    for bad in unfit:
        with pytest.raises(SettingRefused, match="cannot be written"):
            slide.render(View(1, 0, 0, "crossed", X, Y, 0), 20, bad)
