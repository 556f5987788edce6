"""What lies on a virtual mini-slide: as many as intended, scattered as intended, the same from wherever it is seen."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drivers.virtual_slide.population import CELL_UM, World, around, cell
from drivers.virtual_slide.profiles import FIELD_UM2, PROFILES, abundance, kinds_of, mean_number
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.specimen import collect

EASY = World(7, "easy", 1.0, "poisson")
SIDE = 121.0


def settled(world: World, slide: int, kind: str, cells: int) -> np.ndarray:
    """Numbers of what settled in a square of cells, chains and what is buried left out."""
    return np.array(
        [
            sum(placed.identifier.count("/") == 3 and "." not in placed.identifier for placed in found)
            for found in (cell(world, slide, kind, c, r) for c in range(cells) for r in range(cells))
        ]
    )


@pytest.mark.parametrize("kind", ["emiliania", "thalassiosira", "shard"])
def test_numbers_are_poisson_around_what_the_profile_intends(kind: str) -> None:
    counts = settled(EASY, 2, kind, 40)
    intended = mean_number("easy", kind, EASY.seed, 2, 1.0, CELL_UM**2)
    assert counts.mean() == pytest.approx(intended, abs=4 * np.sqrt(intended / counts.size))
    dispersion = counts.var(ddof=1) / counts.mean()
    assert dispersion == pytest.approx(1, abs=4 * np.sqrt(2 / counts.size))


def test_clusters_keep_the_mean_and_spread_the_numbers() -> None:
    clustered = EASY._replace(settling="clustered")
    counts = settled(clustered, 2, "emiliania", 60)
    intended = mean_number("easy", "emiliania", EASY.seed, 2, 1.0, CELL_UM**2)
    assert counts.mean() == pytest.approx(intended, rel=0.25)
    assert counts.var(ddof=1) / counts.mean() > 3


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    x=st.floats(-1e5, 1e5),
    y=st.floats(-1e5, 1e5),
    settling=st.sampled_from(["poisson", "clustered"]),
)
def test_a_region_shows_whatever_a_larger_one_shows_there(seed: int, x: float, y: float, settling: str) -> None:
    world = World(seed, "trap", 1.0, settling)
    small, large = (x, y, x + 60, y + 60), (x - 150, y - 90, x + 200, y + 160)
    found = {placed.identifier for placed in around(world, 3, small, 3.0)}
    assert len(found) == len(around(world, 3, small, 3.0))
    inside = [p for p in around(world, 3, large, 3.0) if x <= p.x_um < x + 60 and y <= p.y_um < y + 60]
    assume(inside)  # a gap between clusters says nothing
    assert {placed.identifier for placed in inside} <= found


def test_seed_slide_and_profile_are_worlds_of_their_own() -> None:
    box = (0.0, 0.0, SIDE, SIDE)
    worlds = [(EASY, 1), (EASY, 2), (EASY._replace(seed=8), 1), (EASY._replace(profile="coccolith"), 1)]
    places = [tuple((p.x_um, p.y_um) for p in around(world, slide, box, 0.0)) for world, slide in worlds]
    assert len(set(places)) == len(worlds)
    assert around(EASY._replace(profile="blank"), 1, box, 0.0) == ()


def test_density_multiplies_the_numbers() -> None:
    one, three = (len(around(EASY._replace(density=d), 1, (0, 0, 900, 900), 0.0)) for d in (1.0, 3.0))
    assert three / one == pytest.approx(3, rel=0.12)


def test_junk_outnumbers_fossils_fifty_to_one_in_the_trap() -> None:
    often = defaultdict[bool, float](float)
    for kind, number in PROFILES["trap"].items():
        often[KINDS[kind].junk] += number
    assert 40 < often[True] / often[False] < 60


def test_the_slides_of_a_night_are_a_series_around_the_same_mean() -> None:
    for class_name in ("coccolith", "diatom", "shard"):
        series = [abundance(5, slide, class_name) for slide in range(1, 9)]
        assert np.mean(series) == pytest.approx(1)
        assert max(series) / min(series) > 1.5
    assert abundance(5, 1, "diatom") != abundance(6, 1, "diatom")


def test_some_diatoms_lie_in_chains_of_like_cells_that_touch() -> None:
    chained = 0
    for column in range(60):
        found = cell(EASY._replace(density=5.0), 1, "chaetoceros_spore", column, 0)
        by_name = {placed.identifier: placed for placed in found}
        for placed in found:
            name, dot, number = placed.identifier.rpartition(".")
            if not dot:
                continue
            before = by_name[name if number == "1" else f"{name}.{int(number) - 1}"]
            assert (placed.kind, placed.variant) == (before.kind, before.variant)
            assert np.hypot(placed.x_um - before.x_um, placed.y_um - before.y_um) < KINDS[placed.kind].sizes.high_um
            chained += 1
    assert chained > 5


def test_aggregates_hold_fossils_inside_them() -> None:
    buried, aggregates = [], 0
    for column in range(120):
        found = cell(EASY._replace(density=8.0), 1, "aggregate", column, 0)
        aggregates += sum(not placed.buried for placed in found)
        for placed in (p for p in found if p.buried):
            host = next(p for p in found if p.identifier == placed.identifier.rpartition(".")[0])
            assert not KINDS[placed.kind].junk
            assert placed.above_um <= max(host.above_um, 0.5)
            buried.append(np.hypot(placed.x_um - host.x_um, placed.y_um - host.y_um))
    assert len(buried) > aggregates
    assert np.median(buried) < 10


@pytest.mark.parametrize("kind", ["gephyrocapsa", "florisphaera", "shard"])
def test_a_collection_has_the_sizes_that_are_intended(kind: str) -> None:
    """Kolmogorov's distance between the variants' lengths and the distribution they are drawn from."""
    known = KINDS[kind]
    whole = [one for one in (collect(known, 1, v) for v in range(known.variants)) if not one.fragment]
    spread = sorted(known.sizes.share_below(_length(one.body)) for one in whole)
    assert max(abs(share - (k + 0.5) / len(spread)) for k, share in enumerate(spread)) < 0.2


def test_another_collection_has_other_individuals() -> None:
    one, other, same = (collect(KINDS["gephyrocapsa"], c, 3).body.slices[0].thickness for c in (1, 2, 1))
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_every_profile_names_known_kinds() -> None:
    for profile in PROFILES:
        assert set(kinds_of(profile)) <= set(KINDS)
    assert pytest.approx(SIDE**2, rel=0.01) == FIELD_UM2


def _length(body: object) -> float:
    from drivers.virtual_slide.matter import Body
    from drivers.virtual_slide.specimens.specimen import length_and_width_um, outline_um

    assert isinstance(body, Body)
    return length_and_width_um(outline_um(body))[0]
