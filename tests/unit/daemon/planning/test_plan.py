from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.config.model import FieldPattern, NightConfig
from daemon.planning.plan import make_plan
from daemon.records.fields import PlannedField
from daemon.system.errors import Refused
from drivers.settings import MiniSlide, Range
from tests.support.configuration_files import night

SAMPLES = {position: {"sample": f"S{position}"} for position in range(1, 9)}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> NightConfig:
    return night(tmp_path_factory.mktemp("configuration"))


def planned(
    shipped: NightConfig, slide: MiniSlide, fields: int, pattern: FieldPattern, frame_px: tuple[int, int]
) -> Any:
    scan = shipped.scan.model_copy(update={"slides": (slide,), "fields": fields, "pattern": pattern})
    instrument = shipped.instrument.model_copy(update={"frame_px": frame_px})
    return make_plan(shipped.model_copy(update={"scan": scan, "instrument": instrument}), SAMPLES)


sides = st.floats(min_value=3000, max_value=5000)
slides = st.builds(
    MiniSlide,
    position=st.integers(1, 8),
    centre_um=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    size_um=st.tuples(sides, sides),
    z_um=st.just(0.0),
    z_window_um=st.just(Range(low=-60, high=60)),
)
patterns = st.builds(
    FieldPattern,
    kind=st.sampled_from(["grid", "random"]),
    overlap=st.floats(0, 0.3),
    margin_um=st.floats(0, 1000),
    seed=st.integers(0, 5),
)
frames = st.tuples(st.integers(1024, 2048), st.integers(1024, 2048))


@settings(max_examples=40, deadline=None)
@given(slide=slides, fields=st.integers(1, 40), pattern=patterns, frame_px=frames)
def test_fields_lie_on_the_slide_and_their_tiles_are_disjoint(
    shipped: NightConfig, slide: MiniSlide, fields: int, pattern: FieldPattern, frame_px: tuple[int, int]
) -> None:
    plan = planned(shipped, slide, fields, pattern, frame_px)
    assert [field.field for field in plan] == list(range(1, fields + 1))
    height, width = (pixels * shipped.instrument.pixel_um for pixels in frame_px)
    for field in plan:
        for at, centre, size, frame in (
            (field.x_um, slide.centre_um[0], slide.size_um[0], width),
            (field.y_um, slide.centre_um[1], slide.size_um[1], height),
        ):
            assert abs(at - centre) + frame / 2 <= size / 2 - pattern.margin_um + 0.01
        x0, y0, x1, y1 = field.tile_um
        assert x0 < field.x_um < x1
        assert y0 < field.y_um < y1
        # A tile is seen by its own frame to its very edge.
        assert max(field.x_um - x0, x1 - field.x_um) <= width / 2 + 1e-6
        assert max(field.y_um - y0, y1 - field.y_um) <= height / 2 + 1e-6
    for k, one in enumerate(plan):
        for other in plan[k + 1 :]:
            apart_x = one.tile_um[2] <= other.tile_um[0] or other.tile_um[2] <= one.tile_um[0]
            apart_y = one.tile_um[3] <= other.tile_um[1] or other.tile_um[3] <= one.tile_um[1]
            assert apart_x or apart_y
    assert plan == planned(shipped, slide, fields, pattern, frame_px)


@settings(max_examples=30, deadline=None)
@given(slide=slides, columns=st.integers(1, 7), overlap=st.floats(0, 0.5), points=st.integers(0, 2**32 - 1))
def test_tiles_of_a_full_grid_cover_it_and_every_place_belongs_to_one_field(
    shipped: NightConfig, slide: MiniSlide, columns: int, overlap: float, points: int
) -> None:
    pattern = FieldPattern(kind="grid", overlap=overlap, margin_um=0)
    plan = planned(shipped, slide, columns * columns, pattern, (1024, 1024))
    tiles = np.array([field.tile_um for field in plan])
    (left, low), (right, high) = tiles[:, :2].min(axis=0), tiles[:, 2:].max(axis=0)
    assert np.isclose((right - left) * (high - low), np.sum(np.prod(tiles[:, 2:] - tiles[:, :2], axis=1)))
    random = np.random.default_rng(points)
    places = np.column_stack([random.uniform(left, right, 200), random.uniform(low, high, 200)])
    # Corners shared by four tiles are where rounding would show.
    places = np.concatenate([places, tiles[:, :2]])
    for x, y in places:
        holders = (tiles[:, 0] <= x) & (x < tiles[:, 2]) & (tiles[:, 1] <= y) & (y < tiles[:, 3])
        assert holders.sum() == 1


def test_a_grid_is_taken_in_a_serpentine_about_the_centre(shipped: NightConfig) -> None:
    slide = shipped.scan.slides[0]
    plan = planned(shipped, slide, 12, FieldPattern(kind="grid", overlap=0.1), (1024, 1024))
    pitch = 1024 * 0.059 * 0.9
    steps = [(round((b.x_um - a.x_um) / pitch, 6), round((b.y_um - a.y_um) / pitch, 6)) for a, b in pairwise(plan)]
    assert steps == [(1, 0)] * 3 + [(0, -1)] + [(-1, 0)] * 3 + [(0, -1)] + [(1, 0)] * 3
    assert np.isclose(np.mean([field.x_um for field in plan]), slide.centre_um[0])
    assert np.isclose(np.mean([field.y_um for field in plan]), slide.centre_um[1])


def test_a_random_order_depends_on_seed_and_slide_and_spreads_over_the_slide(shipped: NightConfig) -> None:
    def places(seed: int, position: int) -> list[tuple[float, float]]:
        slide = shipped.scan.slides[0].model_copy(update={"position": position})
        pattern = FieldPattern(kind="random", seed=seed)
        return [(f.x_um, f.y_um) for f in planned(shipped, slide, 300, pattern, (1024, 1024))]

    first = places(1, 1)
    assert first == places(1, 1)
    assert first != places(2, 1)
    assert first != places(1, 2)
    centre = shipped.scan.slides[0].centre_um
    about = np.array(first) - centre
    assert np.all(np.abs(about.mean(axis=0)) < 500)
    # Uniform over 8 mm less a frame has a standard deviation of 2.29 mm.
    assert np.all(np.abs(about.std(axis=0) - 2290) < 250)
    assert len(set(first)) == 300


def test_a_random_order_is_that_of_sha256_which_no_library_changes(shipped: NightConfig) -> None:
    """8 mm inside the margin hold 132 cells of 60.416 um a side; row 0 has the greatest y."""
    cells = [(row, column) for row in range(132) for column in range(132)]
    cells.sort(key=lambda cell: hashlib.sha256(f"7 1 {cell[0]} {cell[1]}".encode()).digest())
    plan = planned(shipped, shipped.scan.slides[0], 3, FieldPattern(kind="random", overlap=0, seed=7), (1024, 1024))
    for field, (row, column) in zip(plan, cells, strict=False):
        assert np.isclose(field.x_um, 15000 + (column - 65.5) * 60.416)
        assert np.isclose(field.y_um, 20000 + (65.5 - row) * 60.416)


@pytest.mark.parametrize("kind", ["grid", "random"])
def test_fields_that_do_not_fit_are_refused(shipped: NightConfig, kind: str) -> None:
    slide = shipped.scan.slides[0].model_copy(update={"size_um": (2300.0, 2300.0)})
    pattern = FieldPattern.model_validate({"kind": kind, "overlap": 0.0, "margin_um": 1000})
    # 300 um hold 4 frames of 60.4 um, with some to spare.
    assert len(planned(shipped, slide, 16, pattern, (1024, 1024))) == 16
    with pytest.raises(Refused) as refused:
        planned(shipped, slide, 17, pattern, (1024, 1024))
    for part in ("scan.fields is 17", "slide 1", "2300", "only 16 fields", "fewer fields", "margin_um"):
        assert part in str(refused.value)
    with pytest.raises(Refused, match="holds only 0 fields"):
        planned(shipped, slide, 1, pattern, (8192, 8192))


def test_frames_that_fit_to_the_last_micrometre_fit(shipped: NightConfig) -> None:
    """5 frames of 102.4 um at a pitch of 81.92 um, exactly."""
    side = 2000 + 102.4 + 4 * 81.92
    slide = shipped.scan.slides[0].model_copy(update={"size_um": (side, side)})
    instrument = shipped.instrument.model_copy(update={"pixel_um": 0.1})
    config = shipped.model_copy(update={"instrument": instrument})
    assert len(planned(config, slide, 25, FieldPattern(overlap=0.2), (1024, 1024))) == 25


def test_a_narrow_slide_gets_a_narrow_grid(shipped: NightConfig) -> None:
    slide = shipped.scan.slides[0].model_copy(update={"size_um": (2150.0, 9000.0)})
    plan = planned(shipped, slide, 20, FieldPattern(kind="grid", overlap=0.0), (1024, 1024))
    assert len({round(f.x_um) for f in plan}) == 2
    assert len({round(f.y_um) for f in plan}) == 10


def test_slides_are_taken_as_listed_with_their_samples(shipped: NightConfig) -> None:
    scan = shipped.scan.model_copy(update={"slides": shipped.scan.slides[::-1], "fields": 2})
    plan: tuple[PlannedField, ...] = make_plan(shipped.model_copy(update={"scan": scan}), SAMPLES)
    assert [(f.slide, f.field, f.sample) for f in plan[:4]] == [(8, 1, "S8"), (8, 2, "S8"), (7, 1, "S7"), (7, 2, "S7")]


def test_a_wide_frame_makes_a_tall_grid_of_square_extent(shipped: NightConfig) -> None:
    plan = planned(shipped, shipped.scan.slides[0], 32, FieldPattern(kind="grid", overlap=0.0), (512, 1024))
    width = max(f.tile_um[2] for f in plan) - min(f.tile_um[0] for f in plan)
    height = max(f.tile_um[3] for f in plan) - min(f.tile_um[1] for f in plan)
    assert np.isclose(width, height)
