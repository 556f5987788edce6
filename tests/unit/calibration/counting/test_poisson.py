"""Intervals of counts: Garwood's, and those of sums in which objects stand for unlike amounts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from calibration.counting.poisson import interval, weighted_interval


@pytest.mark.parametrize("count", [0, 1, 3, 50, 100_000])
def test_a_count_has_garwoods_interval(count: int) -> None:
    low, high = interval(count)
    assert low == pytest.approx(chi2.ppf(0.025, 2 * count) / 2 if count else 0.0, rel=1e-9)
    assert high == pytest.approx(chi2.ppf(0.975, 2 * count + 2) / 2, rel=1e-9)


def test_nothing_seen_leaves_up_to_3_69() -> None:
    assert interval(0)[1] == pytest.approx(3.688879454, abs=1e-9)


@given(st.integers(0, 10_000), st.floats(1e-6, 1e6))
def test_where_all_stand_for_the_same_the_interval_is_that_many_times_garwoods(count: int, weight: float) -> None:
    low, high = weighted_interval(weight * count, weight**2 * count, weight)
    assert (float(low), float(high)) == pytest.approx(tuple(weight * limit for limit in interval(count)), rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0.01, 100)), min_size=1, max_size=8))
def test_limits_lie_about_the_sum_and_are_never_surer_than_of_one_count(parts: list[tuple[int, float]]) -> None:
    counts, weights = (np.array(column, np.float64) for column in zip(*parts, strict=True))
    value, variance = (weights * counts).sum(), (weights**2 * counts).sum()
    low, high = weighted_interval(value, variance, weights.max())
    assert 0 <= low <= value <= high
    low_one, high_one = interval(int(counts.sum()))
    total = counts.sum()
    if total:
        assert high / value >= high_one / total - 1e-9
        assert low / value <= low_one / total + 1e-9


def test_what_is_exactly_known_has_no_width() -> None:
    low, high = weighted_interval([0.0, 7.0], [0.0, 0.0], [0.0, 0.0])
    assert (low.tolist(), high.tolist()) == ([0.0, 7.0], [0.0, 7.0])
