"""Shares by Wilson, checked shares by class, edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from calibration.counting.abundance import Abundance
from calibration.counting.edges import whole_weight
from calibration.counting.replicates import between_slides
from calibration.counting.shares import least_share_seen, share_interval
from calibration.counting.validated import corrected, validated_share


@pytest.mark.parametrize(("part", "whole"), [(0, 10), (1, 10), (9, 10), (10, 10), (250, 100_000)])
def test_shares_are_as_another_program_has_them(part: int, whole: int) -> None:
    judge = binomtest(part, whole).proportion_ci(method="wilson")
    low, high = share_interval(part, whole)
    assert (float(low), float(high)) == pytest.approx((judge.low, judge.high), abs=1e-12)


def test_of_nothing_nothing_is_known() -> None:
    assert tuple(map(float, share_interval(0, 0))) == (0.0, 1.0)
    assert float(least_share_seen(0)) == 1.0


def test_the_least_share_that_would_have_been_seen() -> None:
    assert float(least_share_seen(300)) == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-12)


def test_whole_objects_stand_for_those_that_the_edge_cut() -> None:
    assert float(whole_weight(60, 0, 240, 240)) == pytest.approx(240 / 180)
    assert np.isnan(whole_weight([81, 10], [10, 81], 240, 240)).all(), "too large to be counted whole"


def test_weights_restore_what_lies_there() -> None:
    random = np.random.default_rng(1)
    sizes = random.uniform(1, 30, 400_000)
    x, y = random.uniform(-30, 130, (2, sizes.size))  # the middles of objects on 160 x 160, a frame of 100 x 100 in it
    whole = np.all([(at - sizes / 2 >= 0) & (at + sizes / 2 <= 100) for at in (x, y)], axis=0)
    weights = whole_weight(sizes[whole], sizes[whole], 100, 100)
    expected = sizes.size * (100 / 160) ** 2
    assert weights.sum() == pytest.approx(expected, rel=0.01)
    assert np.average(sizes[whole], weights=weights) == pytest.approx(sizes.mean(), rel=0.01)
    assert sizes[whole].mean() < 0.95 * sizes.mean(), "counted without them large ones are missed"


def numbers(*counts: float) -> list[Abundance]:
    return [Abundance(np.asarray(n), np.asarray(n), np.asarray(1.0)) for n in map(np.float64, counts)]


def test_checks_correct_by_hand() -> None:
    # Of 50 checks of the first class 40 are right, 10 are of the second; all 60 of the second are right.
    share = validated_share([[40, 10], [0, 60]], [1000, 600])
    one, two = corrected(numbers(200, 100), share, "checks")
    assert (float(one.value), float(two.value)) == pytest.approx((160, 140), abs=1e-9)
    assert (float(one.variance), float(two.variance)) == pytest.approx((0.64 * 200, 0.04 * 200 + 100), abs=1e-9)
    low, high = (float(limit) for limit in one.total)
    assert 0 < low < 140 < 175 < high < 300


def test_what_was_checked_to_the_last_is_known() -> None:
    share = validated_share([[150, 50], [0, 100]], [200, 100])
    assert (share.lower == share.share).all()
    assert (share.upper == share.share).all()
    one, _ = corrected(numbers(200, 100), share, "checks")
    assert tuple(map(float, one.shared["checks"])) == pytest.approx((150, 150))


def test_few_checks_correct_nothing_and_say_how_little_is_known() -> None:
    share = validated_share([[20, 20], [0, 10]], [1000, 600])
    assert not share.corrects
    one, _ = corrected(numbers(200, 100), share, "checks")
    assert float(one.value) == 200
    assert float(one.total[0]) < 85
    assert float(one.total[1]) >= 200


def test_more_checks_than_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="5 checks of class 1, of which 4"):
        validated_share([[1, 0], [2, 3]], [10, 4])


def test_a_class_that_nobody_checked_stays_as_it_was_predicted() -> None:
    share = validated_share([[100, 0], [0, 0]], [1000, 50])
    assert [float(one.value) for one in corrected(numbers(200, 7), share, "checks")] == [200, 7]


def test_replicates_differ_by_what_counting_does_not_explain() -> None:
    random = np.random.default_rng(7)
    true = 500 * np.exp(random.normal(0, 0.1, (4000, 2)))
    counts = random.poisson(true)
    found = between_slides(counts, counts, otherwise=0.2)
    assert found.cv == pytest.approx(0.1, abs=0.005)
    assert not found.assumed
    alike = random.poisson(500, (4000, 2))
    assert between_slides(alike, alike, otherwise=0.2).cv < 0.02
    assert between_slides(alike[:9], alike[:9], otherwise=0.2)[::2] == (0.2, True)
    with pytest.raises(ValueError, match="leave the other pairs out"):
        between_slides([[0, 1]], [[0, 5]], otherwise=0.2)
