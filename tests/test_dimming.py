"""What the background of a mini-slide's fields says of bubbles and of the immersion oil."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from daemon.dimming import Dimming

USUAL = 30_000.0


def told(backgrounds: Iterable[float]) -> list[str | None]:
    dimming = Dimming()
    return [None if said is None else said[0] for said in map(dimming.add, ((190.0, one) for one in backgrounds))]


@given(st.lists(st.floats(0.9, 1.1), max_size=60))
def test_fields_that_differ_a_little_are_not_told(shares: list[float]) -> None:
    assert not any(told(USUAL * share for share in shares))


@given(st.integers(1, 40), st.integers(3, 40), st.floats(0.01, 0.5))
def test_fields_that_stay_dim_are_told_once(before: int, after: int, share: float) -> None:
    assert told([USUAL] * before + [share * USUAL] * after) == [
        *[None] * before,
        "dim field",
        "dim field",
        "oil lost?",
        *[None] * (after - 3),
    ]


def test_a_bubble_is_a_dim_field_between_others() -> None:
    assert told([USUAL, USUAL, 0.5 * USUAL, USUAL, USUAL]) == [None, None, "dim field", None, None]


def test_a_lamp_may_age() -> None:
    assert not any(told(USUAL * 0.99**field for field in range(200)))


def test_what_is_said_names_how_dark_it_is() -> None:
    dimming = Dimming()
    dimming.add((190.0, USUAL))
    said = dimming.add((76.0, 0.4 * USUAL))
    assert said is not None
    assert "40 %" in said[1]


def test_fields_without_a_background_say_nothing() -> None:
    dimming = Dimming()
    assert [dimming.add(()), dimming.add(()), dimming.add((USUAL,))] == [None, None, None]
