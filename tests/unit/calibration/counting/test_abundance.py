"""Numbers with errors of their own and shared ones, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.counting.abundance import Abundance, divided_by_unsure, ratio, summed, times, times_unsure
from calibration.counting.poisson import interval


def counted(count: int) -> Abundance:
    n = np.float64(count)
    return Abundance(np.asarray(n), np.asarray(n), np.asarray(1.0))


def limits(one: Abundance) -> tuple[float, float]:
    low, high = one.total
    return float(low), float(high)


def test_a_recall_by_hand() -> None:
    found = divided_by_unsure(counted(50), 0.8, 0.7, 0.9, "recall")
    assert float(found.value) == pytest.approx(62.5, abs=1e-9)
    low, high = interval(50)
    below = math.hypot(math.log(low / 50), math.log(0.8 / 0.9))
    assert limits(found)[0] == pytest.approx(62.5 * math.exp(-below), rel=1e-9)
    assert limits(found)[1] > 62.5 * math.exp(math.hypot(math.log(high / 50), math.log(0.8 / 0.7)))


def test_cups_that_share_a_recall_are_together_no_surer_of_it() -> None:
    cups = [divided_by_unsure(counted(400), 0.8, 0.7, 0.9, "recall") for _ in range(26)]
    alone = [divided_by_unsure(counted(400), 0.8, 0.7, 0.9, f"recall {cup}") for cup in range(26)]
    low, high = limits(summed(cups))
    assert low < 26 * 500 * 0.8 / 0.9
    assert high > 26 * 500 * 0.8 / 0.7
    (low_alone, high_alone) = limits(summed(alone))
    assert (high_alone - low_alone) < (high - low) / 3


def test_a_mean_is_a_sum_of_shares() -> None:
    mean = summed([times(counted(n), 0.5) for n in (10, 30)])
    assert float(mean.value) == 20
    assert limits(mean) == pytest.approx(tuple(limit / 2 for limit in interval(40)), rel=1e-9)


def test_what_two_numbers_share_falls_out_of_their_ratio() -> None:
    one, other = (divided_by_unsure(counted(n), 0.5, 0.2, 0.9, "recall") for n in (400, 100))
    value, (low, high) = ratio(one, other)
    plain, (plain_low, plain_high) = ratio(counted(400), counted(100))
    assert (float(value), float(plain)) == (4.0, 4.0)
    assert (float(low), float(high)) == pytest.approx((float(plain_low), float(plain_high)), rel=0.02)
    _, (apart_low, apart_high) = ratio(one, divided_by_unsure(counted(100), 0.5, 0.2, 0.9, "another recall"))
    # Apart, one may be at the lower limit where the other is at its upper one: 0.5 / 0.9 and 0.2 / 0.5.
    down = math.sqrt(math.log(low / 4) ** 2 + math.log(0.5 / 0.9) ** 2 + math.log(0.2 / 0.5) ** 2)
    assert float(apart_low) == pytest.approx(4 * math.exp(-down), rel=0.02)
    up = math.sqrt(math.log(high / 4) ** 2 + math.log(0.5 / 0.2) ** 2 + math.log(0.9 / 0.5) ** 2)
    assert float(apart_high) == pytest.approx(4 * math.exp(up), rel=0.02)


def test_a_ratio_to_nothing_is_infinite_and_of_nothing_zero() -> None:
    assert (float(ratio(counted(5), counted(0))[0]), float(ratio(counted(0), counted(5))[0])) == (math.inf, 0.0)
    _, (low, high) = ratio(counted(0), counted(5))
    assert low == 0
    assert 0 < high < math.inf


def test_nothing_counted_leaves_room_for_what_one_object_would_have_stood_for() -> None:
    none = divided_by_unsure(times(counted(0), 10.0), 0.5, 0.4, 0.6, "recall")
    assert limits(none) == pytest.approx((0.0, 10 / 0.4 * interval(0)[1]), rel=1e-9)


@given(st.integers(0, 1000), st.floats(0.05, 1.0), st.floats(0.01, 0.9), st.floats(1.1, 20))
def test_limits_hold_the_value_and_widen_with_every_error(count: int, by: float, down: float, up: float) -> None:
    before = counted(count)
    after = times_unsure(before, by, by * down, by * up, "a factor")
    low, high = limits(after)
    assert 0 <= low <= float(after.value) <= high
    assert low <= limits(times(before, by))[0] * (1 + 1e-9)
    assert high >= limits(times(before, by))[1] * (1 - 1e-9)


@pytest.mark.parametrize(
    ("by", "lower", "upper", "named", "told"),
    [
        (0.5, 0.6, 0.7, "split", "split is 0.5"),
        (0.0, 0.0, 0.7, "split", "above 0"),
        (0.5, 0.4, 0.7, "recall", "recall has come in already"),
    ],
)
def test_what_cannot_be_is_refused(by: float, lower: float, upper: float, named: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        times_unsure(divided_by_unsure(counted(5), 0.8, 0.7, 0.9, "recall"), by, lower, upper, named)
    with pytest.raises(ValueError, match="must lie above 0"):
        divided_by_unsure(counted(5), 0.5, 0.0, 0.9, "recall")
