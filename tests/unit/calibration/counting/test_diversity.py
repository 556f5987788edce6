"""Hill numbers and rarefaction, against every draw there is."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.counting.diversity import coverage, hill_number, rarefied_hill_number, specimens_for

COUNTS = (4, 2, 1, 1, 0)
BAG = [taxon for taxon, count in enumerate(COUNTS) for _ in range(count)]


def test_hill_numbers_by_hand() -> None:
    shares = np.array([4, 2, 1, 1]) / 8
    assert hill_number(COUNTS, 0) == pytest.approx(4)
    assert hill_number(COUNTS, 1) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert hill_number(COUNTS, 2) == pytest.approx(1 / (shares**2).sum())


@pytest.mark.parametrize("drawn", [1, 2, 3, 5, 8])
def test_taxa_among_fewer_specimens_are_the_mean_over_every_draw(drawn: int) -> None:
    taxa = [len(set(draw)) for draw in combinations(BAG, drawn)]
    assert rarefied_hill_number(COUNTS, 0, drawn) == pytest.approx(np.mean(taxa))


@pytest.mark.parametrize("drawn", [2, 4, 7])
def test_the_other_orders_are_those_of_the_mean_numbers_of_taxa_found_so_often(drawn: int) -> None:
    often: Counter[int] = Counter()
    draws = list(combinations(BAG, drawn))
    for draw in draws:
        often.update(Counter(draw).values())
    expected = {times: number / len(draws) for times, number in often.items()}
    entropy = -sum(n * k / drawn * math.log(k / drawn) for k, n in expected.items())
    simpson = sum(n * (k / drawn) ** 2 for k, n in expected.items())
    assert rarefied_hill_number(COUNTS, 1, drawn) == pytest.approx(math.exp(entropy))
    assert rarefied_hill_number(COUNTS, 2, drawn) == pytest.approx(1 / simpson)


def test_coverage_of_fewer_is_the_chance_that_the_next_one_is_of_a_taxon_that_was_found() -> None:
    seen = []
    for draw in combinations(range(len(BAG)), 3):
        rest = [BAG[at] for at in range(len(BAG)) if at not in draw]
        found = {BAG[at] for at in draw}
        seen.append(sum(taxon in found for taxon in rest) / len(rest))
    assert coverage(COUNTS, 3) == pytest.approx(np.mean(seen))


def test_coverage_of_all_by_hand() -> None:
    # Two found once, one found twice: 1 - 2 / 8 * 7 * 2 / (7 * 2 + 2 * 1).
    assert coverage(COUNTS) == pytest.approx(1 - 2 / 8 * 14 / 16)
    assert coverage([5, 5]) == 1.0
    assert coverage([]) == 0.0
    # Nothing found twice: 1 - 2 / 2 * 1 * 1 / (1 * 1 + 2).
    assert coverage([1, 1]) == pytest.approx(2 / 3)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda counts: sum(counts) > 1), st.data())
def test_rarefaction_grows_with_specimens_and_ends_at_what_was_counted(counts: list[int], data: st.DataObject) -> None:
    n = sum(counts)
    m = data.draw(st.integers(1, n - 1))
    orders: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    found = [rarefied_hill_number(counts, order, m) for order in orders]
    whole = [hill_number(counts, order) for order in orders]
    for less, all_of_it in zip(found, whole, strict=True):
        assert 1 - 1e-9 <= less <= all_of_it + 1e-6
    assert found[0] >= found[1] - 1e-6 >= found[2] - 2e-6
    wanted = coverage(counts, m)
    assert specimens_for(counts, wanted) <= m


def test_nothing_is_extrapolated_and_halves_are_no_specimens() -> None:
    with pytest.raises(ValueError, match="nothing is extrapolated"):
        rarefied_hill_number(COUNTS, 0, 9)
    with pytest.raises(ValueError, match="whole numbers"):
        hill_number([0.5], 0)
