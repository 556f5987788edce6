"""Figures of names against sums done by hand and values from tables."""

from __future__ import annotations

import numpy as np
import pytest

from inference.classification.answers import UNSURE
from inference.classification.figures import (
    JudgedNames,
    at_prevalence,
    bray_curtis,
    bray_curtis_of,
    calibration_error,
    figures,
    wilson,
)


def test_figures_are_those_of_a_table_done_by_hand() -> None:
    true = ["a"] * 6 + ["b"] * 3 + ["c"]
    named = ["a", "a", "a", "a", "b", UNSURE, "b", "b", "a", "a"]
    sure = np.array([0.9] * 10)
    made = figures(JudgedNames(true, named, sure, ["d1"] * 5 + ["d2"] * 5, ["s"] * 10), "by hand", fewest=3)
    of = {one.taxon: one for one in made.taxa}
    assert made.accuracy == pytest.approx(0.6)
    assert made.balanced == pytest.approx((4 / 6 + 2 / 3) / 2)
    assert of["a"].precision == pytest.approx(4 / 6)
    assert of["a"].recall == pytest.approx(4 / 6)
    assert of["b"].f1 == pytest.approx(2 * 2 / (3 + 3))
    assert of["c"].precision is None
    assert of["c"].recall == 0
    assert made.unsure == pytest.approx(0.1)
    assert made.calibration_error == pytest.approx(0.3)
    assert made.accuracy_interval is None  # two groups say nothing of others
    assert made.confusion[made.names.index("a")][made.names.index("b")] == 1


def test_wilsons_interval_is_the_tabulated_one() -> None:
    # Newcombe 1998, Statist. Med. 17, 857, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson(0, 0) is None


def test_groups_that_differ_widen_the_interval() -> None:
    true = ["a", "b"] * 100
    alike = [name if k % 10 else "b" for k, name in enumerate(true)]
    by_day = [str(k // 20) for k in range(200)]
    some_days = [name if k // 20 < 8 else "b" for k, name in enumerate(true)]
    widths = []
    for named in (alike, some_days):
        low, high = figures(JudgedNames(true, named, np.ones(200), by_day, by_day), "").accuracy_interval or (0, 0)
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_communities_that_share_half_differ_by_half() -> None:
    assert bray_curtis({"a": 5, "b": 5}, {"a": 10, "c": 10}) == pytest.approx(0.5)
    assert bray_curtis_of(["a", "b"], ["a", UNSURE], ["s", "s"]) == pytest.approx(0.5)
    assert bray_curtis_of(["a"], [UNSURE], ["s"]) == 1


def test_calibration_is_perfect_where_probabilities_come_true() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.2, 1, 200_000)
    assert calibration_error(sure, random.uniform(size=len(sure)) < sure) < 0.005
    assert calibration_error(np.full(1000, 0.9), random.uniform(size=1000) < 0.6) == pytest.approx(0.3, abs=0.05)


def test_at_a_quarter_of_a_per_cent_few_of_what_is_named_is_right() -> None:
    confusion = np.array([[95, 5], [2, 998]])
    precision, recall = at_prevalence(confusion, np.array([0.0025, 0.9975]))
    assert recall[0] == pytest.approx(0.95)
    assert precision[0] == pytest.approx(0.0025 * 0.95 / (0.0025 * 0.95 + 0.9975 * 0.002))


def test_nothing_to_judge_by_is_told() -> None:
    with pytest.raises(ValueError, match="no object to judge by"):
        figures(JudgedNames([], [], np.zeros(0), [], []), "")
