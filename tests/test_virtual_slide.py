"""The virtual slide: what it shows is what it says, it depends on nothing but its arguments, and it obeys optics."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.errors import Refused
from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide import optics, population
from drivers.virtual_slide.camera import DN_PER_ELECTRON, OFFSET_DN, READ_NOISE_DN
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.specimens import specimen
from drivers.virtual_slide.truth import TrueObject, View

PIXEL_UM = 0.059
FRAME = (1024, 1024)
X, Y = 15000.0, 20000.0
WINDOW = Range(low=-60, high=60)
MINI = [
    MiniSlide(position=n, centre_um=(X + 25000 * (n - 1), Y), size_um=(10000, 10000), z_um=2, z_window_um=WINDOW)
    for n in (1, 2, 3)
]
DETECTABLE = {"coccolith", "diatom", "silicoflagellate"}


def make(frame: tuple[int, int] = FRAME, **emulation: object) -> VirtualSlide:
    return VirtualSlide(Emulation.model_validate({"seed": 11} | emulation), MINI, frame, PIXEL_UM)


@pytest.fixture(scope="module")
def slide() -> VirtualSlide:
    return make()


def frame_of(slide: VirtualSlide, view: View, exposure_ms: float = 20, shape: tuple[int, int] = FRAME) -> NDArray:
    out = np.zeros(shape, np.uint16)
    slide.render(view, exposure_ms, out)
    return out


def at(slide: VirtualSlide, x: float, y: float, polarization: str, above_um: float = 0.4, plane: int = 0) -> View:
    return View(1, 0, plane, polarization, x, y, slide.surface_z_um(1, x, y) + above_um)


def quiet(slide: VirtualSlide, x: float, y: float, polarization: str, z_um: float, planes: int = 12) -> NDArray:
    """Mean of frames that differ in noise alone."""
    views = (View(1, 0, plane, polarization, x, y, z_um) for plane in range(planes))
    return np.mean([frame_of(slide, view) for view in views], axis=0) - OFFSET_DN


def alone(objects: tuple[TrueObject, ...], class_name: str) -> Iterator[TrueObject]:
    """Whole objects of a class with nothing else near."""
    for one in objects:
        x0, y0, x1, y1 = one.box
        grown = (x0 - 25, y0 - 25, x1 + 25, y1 + 25)
        crowded = any(other is not one and population.overlap(grown, other.box) for other in objects)
        inside = grown[0] > 0 and grown[1] > 0 and grown[2] < FRAME[1] and grown[3] < FRAME[0]
        if one.class_name == class_name and inside and not crowded:
            yield one


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    w, h = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(w, 0) * max(h, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return shared / (sum(areas) - shared)


FIELDS = [(X + 70 * i, Y + 45 * j) for i in range(6) for j in range(5)]


# ---- a pure function of its arguments


SOME_VIEWS = [
    View(s, f, k, p, X + 40 * f, Y, z)
    for s, f, k, p, z in product((1, 2), (0, 1), (0, 3), ("crossed", "parallel"), (3.0,))
]


def digests(slide: VirtualSlide, views: list[View]) -> dict[View, str]:
    return {v: hashlib.sha256(frame_of(slide, v, shape=(256, 320)).tobytes()).hexdigest() for v in views}


def test_pixels_do_not_depend_on_order_or_instance() -> None:
    first = digests(make((256, 320)), SOME_VIEWS)
    prepared = make((256, 320))
    prepared.prepare()
    again = digests(prepared, SOME_VIEWS[::-1])
    assert first == again
    assert len(set(first.values())) == len(SOME_VIEWS)


def test_pixels_do_not_depend_on_the_process() -> None:
    code = "from tests.test_virtual_slide import *\nprint(*digests(make((256, 320)), SOME_VIEWS[::-3]).values())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == list(digests(make((256, 320)), SOME_VIEWS[::-3]).values())


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


@pytest.mark.parametrize(
    ("class_name", "polarization", "above_um", "share"),
    [
        ("coccolith", "crossed", 0.0, 0.03),
        ("shard", "crossed", 0.0, 0.1),
        ("diatom", "parallel", 0.0, 0.3),
        ("silicoflagellate", "parallel", -0.5, 0.3),
    ],
)
def test_boxes_hold_exactly_what_is_seen(
    slide: VirtualSlide, class_name: str, polarization: str, above_um: float, share: float
) -> None:
    background = quiet(make(profile="blank"), X, Y, polarization, 0.0)
    checked = 0
    for x, y in FIELDS:
        for one in list(alone(slide.truth(1, x, y), class_name))[:1]:
            seen = quiet(slide, x, y, polarization, one.z_um + above_um, planes=6)
            x0, y0, x1, y1 = (round(edge) for edge in one.box)
            part = np.s_[y0 - 20 : y1 + 20, x0 - 20 : x1 + 20]
            change = (seen[part] - background[part]) * (1 if polarization == "crossed" else -1)
            change = cv2.GaussianBlur(np.maximum(change, 0), (0, 0), 1.0)
            rows, columns = np.nonzero(change > share * change.max())
            found = (columns.min() + x0 - 20, rows.min() + y0 - 20, columns.max() + x0 - 19, rows.max() + y0 - 19)
            assert np.subtract(found, one.box) == pytest.approx(0, abs=6.5), (one, found)
            centre = np.subtract(np.add(found[:2], found[2:]), np.add(one.box[:2], one.box[2:])) / 2
            assert centre == pytest.approx(0, abs=2.5), (one, found)
            checked += 1
    assert checked >= 2


def test_pixels_and_boxes_move_with_the_stage(slide: VirtualSlide) -> None:
    columns, rows = 40, -26
    here, there = (X, Y), (X + columns * PIXEL_UM, Y + rows * PIXEL_UM)
    z = slide.surface_z_um(1, *here) + 0.4
    before, after = (quiet(slide, x, y, "crossed", z, planes=8) for x, y in (here, there))
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


def test_a_fraction_of_a_pixel_moves_each_object_by_that_fraction(slide: VirtualSlide) -> None:
    z = slide.surface_z_um(1, X, Y) + 0.4
    before, after = (quiet(slide, x, Y, "crossed", z) for x in (X, X + 0.4 * PIXEL_UM))
    moved = []
    for one in alone(slide.truth(1, X, Y), "coccolith"):
        x0, y0, x1, y1 = (round(edge) for edge in one.box)
        part = np.s_[y0 - 15 : y1 + 15, x0 - 15 : x1 + 15]
        columns = [
            (seen[part] * np.arange(x1 - x0 + 30)).sum() / seen[part].sum()
            for seen in (before - np.median(before), after - np.median(after))
        ]
        moved.append(columns[1] - columns[0])
    assert len(moved) >= 3
    assert np.array(moved) == pytest.approx(-0.4, abs=0.1)


def test_overlapping_fields_agree_on_what_both_hold(slide: VirtualSlide) -> None:
    step = FRAME[1] * PIXEL_UM * 0.9
    left, right = slide.truth(1, X, Y), slide.truth(1, X + step, Y)
    low, high = X + step - FRAME[1] * PIXEL_UM / 2, X + FRAME[1] * PIXEL_UM / 2
    shared = [{o.identifier for o in objects if low < o.x_um < high} for objects in (left, right)]
    assert shared[0] == shared[1]
    assert shared[0]


def test_every_detectable_object_can_be_seen(slide: VirtualSlide) -> None:
    background = {p: quiet(make(profile="blank"), X, Y, p, 0.0) for p in ("crossed", "parallel")}
    for x, y in FIELDS[3:20:8]:
        for one in (o for o in slide.truth(1, x, y) if o.whole and not o.junk):
            x0, y0, x1, y1 = (round(edge) for edge in one.box)
            strongest = 0.0
            for polarization, above in product(background, (-0.25, 0.0, 0.25)):
                seen = frame_of(slide, View(1, 0, 0, polarization, x, y, one.z_um + above)) - OFFSET_DN
                part, empty = seen[y0:y1, x0:x1], background[polarization][y0:y1, x0:x1]
                noise = np.sqrt(DN_PER_ELECTRON * empty.mean() + READ_NOISE_DN**2)
                strongest = max(strongest, float(np.quantile(np.abs(part - empty), 0.9) / noise))
            assert strongest > 8, one


def test_a_coccolith_is_sharpest_at_its_own_height(slide: VirtualSlide) -> None:
    step, found = 0.25, []
    for x, y in FIELDS[:12]:
        for one in list(alone(slide.truth(1, x, y), "coccolith"))[:1]:
            x0, y0, x1, y1 = (round(edge) for edge in one.box)
            heights = one.z_um + 0.1 + step * np.arange(-6, 7)
            energy = []
            for plane, z in enumerate(heights):
                seen = frame_of(slide, View(1, 0, plane, "crossed", x, y, float(z)))[y0:y1, x0:x1].astype(np.float64)
                energy.append(np.sum(cv2.Laplacian(cv2.GaussianBlur(seen, (0, 0), 2), cv2.CV_64F) ** 2))
            found.append(abs(heights[int(np.argmax(energy))] - one.z_um))
    assert len(found) >= 4
    assert max(found) <= step


# ---- what lies on it


def test_a_field_holds_enough_objects_junk_and_contacts(slide: VirtualSlide) -> None:
    objects = [o for field in FIELDS for o in slide.truth(1, *field)]
    wanted = [sum(not o.junk for o in slide.truth(1, *field)) for field in FIELDS]
    assert 18 <= np.mean(wanted) <= 30
    assert sum(n >= 12 for n in wanted) / len(wanted) > 0.9
    assert sum(o.junk for o in objects) / len(objects) >= 0.2
    assert {o.class_name for o in objects if not o.junk} == DETECTABLE
    assert {o.class_name for o in objects if o.junk} == {"quartz", "shard", "aggregate", "fluff"}
    assert all(o.size_um < 25 for o in objects)
    sizes = [o.size_um for o in objects if o.class_name == "coccolith"]
    assert min(sizes) >= 2.5
    assert max(sizes) <= 10.5


def test_touching_is_told_of_objects_whose_boxes_overlap(slide: VirtualSlide) -> None:
    told, counted = [], []
    for x, y in FIELDS:
        objects = slide.truth(1, x, y)
        for one in (o for o in objects if o.whole):
            touches = any(iou(one.box, other.box) > 0 for other in objects if other is not one)
            assert one.touching or not touches
            told.append(one.touching)
            counted.append(touches)
    assert sum(counted) / len(counted) >= 0.2
    assert sum(counted) / sum(told) > 0.9


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
    slide = make(height_um=5.0, tilt_um_per_mm=2.0)
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
    flat = make(height_um=0, tilt_um_per_mm=0)
    assert flat.surface_z_um(1, X + 900, Y) == MINI[0].z_um


# ---- the sensor


def test_signal_is_linear_in_exposure_and_saturates(slide: VirtualSlide) -> None:
    view = at(slide, X, Y, "parallel")
    short, long = (frame_of(slide, view, ms).astype(np.float64).mean() - OFFSET_DN for ms in (5, 20))
    assert long / short == pytest.approx(4, rel=0.002)
    assert 24000 < long < 32000
    dark = frame_of(slide, view, 0.0)
    assert dark.mean() == pytest.approx(OFFSET_DN, abs=0.1)
    assert dark.std() == pytest.approx(READ_NOISE_DN, rel=0.05)
    assert frame_of(slide, view, 100).max() == 65535
    crossed = frame_of(slide, at(slide, X, Y, "crossed"))
    assert np.median(crossed) - OFFSET_DN < 0.01 * long


def test_noise_grows_like_counted_electrons() -> None:
    blank = make((256, 256), profile="blank")
    means, variances = [], []
    for exposure in (1, 5, 10, 20, 30):
        frames = np.stack(
            [frame_of(blank, View(1, 0, k, "parallel", X, Y, 0.0), exposure, (256, 256)) for k in range(40)]
        ).astype(np.float64)
        means.append(frames.mean() - OFFSET_DN)
        variances.append(frames.var(axis=0, ddof=1).mean())
    slope, _ = np.polyfit(means, variances, 1)
    assert slope == pytest.approx(DN_PER_ELECTRON, rel=0.03)


def test_planes_and_fields_have_noise_of_their_own() -> None:
    blank = make((256, 256), profile="blank")
    views = [View(1, f, k, p, X, Y, 0.0) for f, k, p in product((0, 1), range(4), ("crossed", "parallel"))]
    frames = [frame_of(blank, view, shape=(256, 256)).astype(np.float64) for view in views]
    related = np.corrcoef([cv2.Laplacian(frame, cv2.CV_64F).ravel() for frame in frames])
    assert np.abs(related - np.eye(len(views))).max() < 0.05


def test_corners_are_darker_than_the_centre() -> None:
    blank = quiet(make(profile="blank"), X, Y, "parallel", 0.0)
    corners = [blank[rows, columns].mean() for rows, columns in product((np.s_[:64], np.s_[-64:]), repeat=2)]
    assert 0.8 < np.mean(corners) / blank[480:544, 480:544].mean() < 0.95


# ---- refusals


def test_what_the_slide_cannot_show_is_refused(slide: VirtualSlide) -> None:
    good = np.zeros(FRAME, np.uint16)
    with pytest.raises(Refused, match="'bright'"):
        slide.render(View(1, 0, 0, "bright", X, Y, 0), 20, good)
    with pytest.raises(Refused, match="not 7"):
        slide.render(View(7, 0, 0, "crossed", X, Y, 0), 20, good)
    for bad in (np.zeros((8, 8), np.uint16), np.zeros(FRAME, np.float32), np.zeros((1024, 2048), np.uint16)[:, ::2]):
        with pytest.raises(Refused, match="cannot be written"):
            slide.render(View(1, 0, 0, "crossed", X, Y, 0), 20, bad)
