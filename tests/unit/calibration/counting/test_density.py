"""Densities from counts by fields: even, clumped, stopped."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.counting.density import counted_density
from calibration.counting.dispersion import cautious, dispersion
from calibration.counting.poisson import interval

AREAS = np.full(4, 0.5)


def test_dispersion_by_hand() -> None:
    # Mean 4, squares (9 + 1 + 1 + 9) / 3 = 20 / 3, over 4.
    assert float(dispersion([1, 3, 5, 7], AREAS)) == pytest.approx(20 / 3 / 4, abs=1e-12)
    # Twice the area expects twice as many: 2, 4; nothing is left over.
    assert float(dispersion([2, 4], [1.0, 2.0])) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(dispersion([[0, 0]], [1.0, 1.0])).all()


def test_even_fields_have_garwoods_interval() -> None:
    density = counted_density([3, 4, 4, 3], AREAS)
    assert float(density.value) == 7
    assert tuple(map(float, density.counting)) == pytest.approx(tuple(n / 2 for n in interval(14)), rel=1e-9)


def test_clumped_fields_are_less_sure_and_few_of_them_even_less() -> None:
    even, clumped = counted_density([10] * 4, AREAS), counted_density([0, 0, 40, 0], AREAS)
    assert float(even.value) == float(clumped.value)
    width = [float(high - low) for low, high in (even.counting, clumped.counting)]
    assert width[1] > 5 * width[0]
    many = counted_density([0, 0, 40, 0] * 10, np.full(40, 0.5)).counting
    assert float(many[1] - many[0]) < width[1] / 3


def test_what_is_known_from_elsewhere_holds_where_the_fields_say_less() -> None:
    alone = counted_density([[1, 0, 1, 0]], AREAS)
    told = counted_density([[1, 0, 1, 0]], AREAS, least_phi=3.0)
    assert float(told.counting[1][0]) > 1.5 * float(alone.counting[1][0])
    assert told.value == alone.value


def test_after_stopping_at_a_number_the_last_field_is_not_taken_for_a_usual_one() -> None:
    assert float(counted_density([3, 4, 4, 3], AREAS, stopped=True).value) == (14 - 1) / 2
    assert float(counted_density([0, 0, 0, 0], AREAS, stopped=True).value) == 0


def test_several_taxa_at_once_are_as_each_alone() -> None:
    counts = np.array([[1, 3, 5, 7], [0, 0, 0, 0], [2, 2, 9, 2]])
    together = counted_density(counts, AREAS)
    for at, own in enumerate(counts):
        alone = counted_density(own, AREAS)
        assert float(together.value[at]) == float(alone.value)
        assert [float(limit[at]) for limit in together.total] == [float(limit) for limit in alone.total]


def test_a_single_field_is_taken_for_an_even_one() -> None:
    assert tuple(map(float, counted_density([9], [1.0]).counting)) == pytest.approx(interval(9), rel=1e-9)


def test_caution_grows_where_few_clumps_were_seen() -> None:
    assert float(cautious(0.7, 50, 30)) == 1.0
    assert float(cautious(10, 50, 10**6)) == pytest.approx(1 + 9 * 1.4, rel=1e-4)
    assert float(cautious(10, 5000, 10**6)) == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("areas", [[], [1.0, 0.0]])
def test_fields_without_area_are_refused(areas: list[float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        counted_density([1.0] * len(areas), areas)
