from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.images.focus import Expected, fit_plane
from daemon.config.model import NightConfig
from daemon.night.focus_following import FocusFollower, Known
from daemon.planning.plan import make_plan
from daemon.records.fields import PlannedField
from daemon.records.records import FocusResult
from tests.support.configuration_files import night

EXPECTED = Expected(tilt_um_per_mm=3, drift_um_per_field=0.05, noise_um=0.15)
LAG = 2


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> NightConfig:
    return night(tmp_path_factory.mktemp("configuration"))


def follower(config: NightConfig) -> FocusFollower:
    return FocusFollower.of(config, config.scan.slides[0])


def at(number: int, x_um: float = 0.0, y_um: float = 0.0) -> PlannedField:
    return PlannedField(1, number, "S", x_um, y_um, (x_um - 30, y_um - 30, x_um + 30, y_um + 30))


def result(z_um: float | None, at_edge: bool = False) -> FocusResult:
    return FocusResult(z_um=z_um, at_edge=at_edge, contrast=2.0)


@dataclass
class Specimen:
    """A mini-slide: a tilted plane that drifts with every field, jumps at some, and holds nothing on others."""

    seed: int
    tilt_um_per_mm: float = 3.0
    drift_um: float = 0.0
    jump_um: float = 0.0
    blank: float = 0.0
    jitter_um: float = 0.05
    jump_every: int = 40
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.azimuth = self.random.uniform(0, 2 * np.pi)
        self.height_um = self.random.uniform(-8, 8)
        self.signs = np.cumsum(self.random.choice([-1, 1], 1000))

    def height(self, where: PlannedField) -> float:
        slope = self.tilt_um_per_mm / 1e3
        x, y = where.x_um - 15_000, where.y_um - 20_000
        tilt = slope * (x * math.cos(self.azimuth) + y * math.sin(self.azimuth))
        jumps = (where.field - 1) // self.jump_every
        jumped = self.jump_um * self.signs[jumps - 1] if jumps else 0.0
        return float(self.height_um + tilt + self.drift_um * where.field + jumped)


def scan(config: NightConfig, specimen: Specimen, kind: str, fields: int = 200) -> tuple[list[float], int]:
    """Take a mini-slide as the night does, with its lag; focus errors of every field, and the number of searches."""
    pattern = config.scan.pattern.model_copy(update={"kind": kind, "seed": specimen.seed})
    one = config.scan.model_copy(update={"fields": fields, "pattern": pattern, "slides": config.scan.slides[:1]})
    plan = make_plan(config.model_copy(update={"scan": one}), {1: {"sample": "S"}})
    following = follower(config)
    step, half = config.scan.step_um, following.half_stack_um
    searched: list[Known] = []
    results: list[Known] = []
    errors: list[float] = []
    start_z = 0.0
    for taken, place in enumerate(plan):
        true = specimen.height(place)
        known = sorted([*searched, *results[: max(0, taken - LAG + 1)]], key=lambda item: item[0].field)
        if following.needs_search(place, known):
            start_z = true + specimen.random.normal(0, specimen.jitter_um)
            searched.append((place, result(start_z)))
            known = sorted([*known, searched[-1]], key=lambda item: item[0].field)
        z = following.z_for(place, known, start_z)
        errors.append(abs(true - z))
        seen = min(max(true + specimen.random.normal(0, specimen.jitter_um) - z, -half), half)
        # The best plane is known to a fraction of the step.
        measured = z + round(seen / (step / 10)) * step / 10
        blank = specimen.random.uniform() < specimen.blank
        results.append((place, result(None if blank else measured, at_edge=abs(seen) >= half and not blank)))
    return errors, len(searched)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grid", "random"])
@pytest.mark.parametrize(
    "specimen",
    [
        Specimen(seed=1),
        Specimen(seed=2, drift_um=0.01, blank=0.1),
        Specimen(seed=3, drift_um=0.05, blank=0.2),
        Specimen(seed=4, drift_um=-0.05, jitter_um=0.1),
    ],
    ids=["tilt", "drift and blank fields", "strong drift", "falling drift and jitter"],
)
def test_focus_follows_a_slide_that_tilts_and_drifts(config: NightConfig, specimen: Specimen, kind: str) -> None:
    errors, searches = scan(config, specimen, kind)
    assert max(errors) < follower(config).half_stack_um / 2
    assert np.percentile(errors, 95) < config.scan.step_um / 2
    assert searches <= (1 if kind == "grid" else 5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grid", "random"])
@pytest.mark.parametrize("seed", [1, 2])
def test_focus_stays_inside_the_stack_when_the_slide_jumps(config: NightConfig, seed: int, kind: str) -> None:
    specimen = Specimen(seed, drift_um=0.02, jump_um=1.5, blank=0.1)
    errors, searches = scan(config, specimen, kind)
    assert max(errors) < follower(config).half_stack_um
    assert np.median(errors) < 0.15
    assert searches <= (1 if kind == "grid" else 5)
    # A few fields after each jump it is forgotten, but for what it left in the tilt.
    settled = [error for k, error in enumerate(errors) if k % 40 > 8]
    assert max(settled) < follower(config).half_stack_um / 2


@pytest.mark.parametrize("jump_um", [2.5, 3.5, 6.0, 9.0])
def test_focus_recovers_from_a_jump_out_of_the_stack(config: NightConfig, jump_um: float) -> None:
    errors, searches = scan(config, Specimen(5, tilt_um_per_mm=1, jump_um=jump_um, jump_every=30), "grid", fields=58)
    lost = [k for k, error in enumerate(errors) if error > follower(config).half_stack_um]
    assert lost
    assert min(lost) == 30
    assert max(lost) < 30 + 9
    assert max(errors[45:]) < 0.5
    assert searches <= 3


def test_a_result_at_the_edge_moves_focus_beyond_that_edge(config: NightConfig) -> None:
    following = follower(config)
    known = [(at(n, 60.0 * n), result(5.0)) for n in range(1, 9)]
    edge = (at(9, 540.0), result(7.0, at_edge=True))
    plain = following.z_for(at(11, 660.0), [*known, (at(9, 540.0), result(7.0))], 0.0)
    assert following.z_for(at(11, 660.0), [*known, edge], 0.0) > plain
    twice = following.z_for(at(12, 720.0), [*known, edge, (at(10, 600.0), result(7.0, at_edge=True))], 0.0)
    # Half of the half-range beyond the edge; an edge, which only bounds focus, bends no plane.
    assert abs(twice - 8) < 0.05
    rising = [(at(9, 540.0), result(6.2, at_edge=True)), (at(10, 600.0), result(7.0, at_edge=True))]
    assert abs(following.z_for(at(12, 720.0), [*known, *rising], 0.0) - 8) < 0.05
    below = [*known, (at(9, 540.0), result(3.0, at_edge=True)), (at(10, 600.0), result(3.0, at_edge=True))]
    assert abs(following.z_for(at(12, 720.0), below, 0.0) - 2) < 0.05


def test_an_edge_is_forgotten_once_focus_is_inside_again(config: NightConfig) -> None:
    following = follower(config)
    known = [(at(n, 60.0 * n), result(5.0)) for n in range(1, 9)]
    edges = [(at(n), result(7.0, at_edge=True)) for n in (9, 10)]
    inside = [(at(n, 60.0 * n), result(5.1)) for n in (11, 12)]
    assert abs(following.z_for(at(14, 840.0), [*known, *edges, *inside], 0.0) - 5.1) < 0.2


def test_one_result_alone_moves_a_prediction_by_the_greatest_step_at_most(config: NightConfig) -> None:
    following = follower(config)
    known = [(at(n, 60.0 * n), result(5.0)) for n in range(1, 30)]
    before = following.z_for(at(32, 1920.0), known, 0.0)
    for wrong in (-40.0, 5.0 + 9.0, 50.0):
        after = following.z_for(at(32, 1920.0), [*known, (at(30, 1800.0), result(wrong))], 0.0)
        assert abs(after - before) <= config.focus.max_step_um + 1e-9


def test_blank_fields_and_results_outside_the_window_change_nothing(config: NightConfig) -> None:
    following = follower(config)
    known = [(at(n, 60.0 * n), result(5.0 + 0.1 * n)) for n in range(1, 9)]
    noise = [(at(9, 540.0), result(None)), (at(10, 600.0), result(60.5)), (at(11, 660.0), result(-61.0))]
    assert following.z_for(at(13, 780.0), [*known, *noise], 0.0) == following.z_for(at(13, 780.0), known, 0.0)


def test_without_results_focus_is_where_the_search_found_it(config: NightConfig) -> None:
    following = follower(config)
    assert following.z_for(at(1), [], 4.5) == 4.5
    assert following.z_for(at(2, 60.0), [(at(1), result(None))], 4.5) == 4.5
    assert following.needs_search(at(1), [])
    assert not following.needs_search(at(2, 60.0), [(at(1), result(4.5))])


def test_a_place_far_from_every_result_is_searched_until_the_tilt_is_known(config: NightConfig) -> None:
    following = follower(config)
    corners = [(-3000.0, -3000.0), (3000.0, -3000.0), (0.0, 3000.0)]
    known: list[Known] = []
    for number, (x, y) in enumerate(corners, 1):
        assert following.needs_search(at(number, x, y), known)
        known.append((at(number, x, y), result(0.001 * x + 0.002 * y)))
    assert not following.needs_search(at(4, 1000.0, 0.0), known)
    assert abs(following.z_for(at(4, 1000.0, 0.0), known, 0.0) - 1.0) < 0.3


def test_a_slide_that_stays_at_the_edge_is_searched_again(config: NightConfig) -> None:
    following = follower(config)
    known = [(at(n, 60.0 * n), result(5.0)) for n in range(1, 9)]
    edges = [(at(n, 60.0 * n), result(7.0, at_edge=True)) for n in (9, 10, 11)]
    assert not following.needs_search(at(12, 720.0), [*known, *edges[:2]])
    assert following.needs_search(at(13, 780.0), [*known, *edges])


@settings(deadline=None, max_examples=50)
@given(
    heights=st.lists(st.one_of(st.none(), st.floats(-200, 200)), max_size=12),
    edges=st.lists(st.booleans(), min_size=12, max_size=12),
    start=st.floats(-200, 200),
)
def test_no_results_ever_send_the_stack_out_of_the_window(
    config: NightConfig, heights: Sequence[float | None], edges: Sequence[bool], start: float
) -> None:
    following = follower(config)
    known = [(at(n, 60.0 * n), result(z, edge)) for n, (z, edge) in enumerate(zip(heights, edges, strict=False), 1)]
    z = following.z_for(at(14, 840.0), known, start)
    assert z - following.half_stack_um >= -60
    assert z + following.half_stack_um <= 60
    assert z == following.z_for(at(14, 840.0), known, start)


def test_a_slide_is_left_after_so_many_blank_fields_in_a_row(config: NightConfig) -> None:
    following = follower(config)
    blank = [(at(n), result(None)) for n in range(1, 11)]
    assert not following.leaves_slide([])
    assert not following.leaves_slide(blank[:9])
    assert following.leaves_slide(blank)
    assert following.leaves_slide([(at(0), result(1.0)), *blank])
    assert following.leaves_slide([*blank[:5], *([(at(k), result(1.0, at_edge=True)) for k in range(6, 11)])])
    assert not following.leaves_slide([*blank[:5], (at(6), result(1.0)), *blank[5:]])


@settings(deadline=None, max_examples=50)
@given(
    places=st.lists(st.tuples(st.floats(-4000, 4000), st.floats(-4000, 4000)), min_size=30, max_size=40, unique=True),
    slopes=st.tuples(st.floats(-0.003, 0.003), st.floats(-0.003, 0.003)),
)
def test_a_plane_is_found_through_its_points_although_some_are_wrong(
    places: list[tuple[float, float]], slopes: tuple[float, float]
) -> None:
    points = np.array([(x, y, 12 + slopes[0] * x + slopes[1] * y, n) for n, (x, y) in enumerate(places)])
    clean = fit_plane(points, EXPECTED)
    for x, y, z, n in points:
        assert abs(clean.predict(x, y, n) - z) < 0.1
    points[[5, 17], 2] += 8.0
    wrong = fit_plane(points, EXPECTED)
    for x, y, n in points[:, [0, 1, 3]]:
        truth = 12 + slopes[0] * x + slopes[1] * y
        assert abs(wrong.predict(x, y, n) - truth) < 0.6


def test_one_point_and_collinear_points_do_not_explode() -> None:
    one = fit_plane(np.array([[100.0, 200.0, 7.0, 1.0]]), EXPECTED)
    assert abs(one.predict(160, 260, 2) - 7) < 1e-6
    row = np.array([(60.0 * n, 0.0, 7 + 0.1 * n, n) for n in range(10)])
    plane = fit_plane(row, EXPECTED)
    # Along the row as measured, across it level.
    assert abs(plane.predict(540, 0, 9) - 7.9) < 0.1
    assert abs(plane.predict(540, 1000, 9) - plane.predict(540, 0, 9)) < 1e-6
    assert plane.uncertainty(540, 1000, 9) > 2
    assert plane.uncertainty(540, 0, 9) < 0.15
