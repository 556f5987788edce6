"""What the background of a mini-slide's fields says of bubbles and of the immersion oil."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

from hypothesis import given
from hypothesis import strategies as st

from daemon.night.brightness import Dimming

USUAL = 30_000.0


SHARP = 5.0


def told(backgrounds: Iterable[float], contrasts: Iterable[float] = repeat(SHARP)) -> list[str | None]:
    dimming = Dimming()
    said = (dimming.add((190.0, one), contrast) for one, contrast in zip(backgrounds, contrasts, strict=False))
    return [None if one is None else one[0] for one in said]


@given(st.lists(st.floats(0.9, 1.1), max_size=60))
def test_fields_that_differ_a_little_are_not_told(shares: list[float]) -> None:
    assert not any(told(USUAL * share for share in shares))


@given(st.integers(1, 40), st.integers(3, 40), st.floats(0.01, 0.5), st.sampled_from([1.0, 0.3]))
def test_fields_that_stay_dim_are_told_once(before: int, after: int, share: float, sharpness: float) -> None:
    contrasts = [SHARP] * before + [sharpness * SHARP] * after
    assert told([USUAL] * before + [share * USUAL] * after, contrasts) == [
        *[None] * before,
        "dim field",
        "dim field",
        "oil lost?" if sharpness < 0.5 else "lamp dim?",
        *[None] * (after - 3),
    ]


def test_one_field_that_lies_outside_its_stack_does_not_hide_lost_oil() -> None:
    # As in an emulated night: the first stack without oil ends in what looks sharp, the next ones show a veil.
    dim = [0.4 * USUAL] * 3
    assert told([USUAL] * 4 + dim, [5.3, 7.4, 5.2, 2.4, 7.2, 1.07, 1.37])[-1] == "oil lost?"
    assert told([USUAL] * 4 + dim, [5.3, 7.4, 5.2, 2.4, 6.8, 1.07, 6.9])[-1] == "lamp dim?"


def test_a_bubble_is_a_dim_field_between_others() -> None:
    assert told([USUAL, USUAL, 0.5 * USUAL, USUAL, USUAL]) == [None, None, "dim field", None, None]


def test_a_lamp_may_age() -> None:
    assert not any(told(USUAL * 0.99**field for field in range(200)))


def test_what_is_said_names_how_dark_it_is() -> None:
    dimming = Dimming()
    dimming.add((190.0, USUAL), SHARP)
    said = dimming.add((76.0, 0.4 * USUAL), SHARP)
    assert said is not None
    assert "40 %" in said[1]


def test_fields_without_a_background_say_nothing() -> None:
    dimming = Dimming()
    assert [dimming.add((), 1.0), dimming.add((), 1.0), dimming.add((USUAL,), SHARP)] == [None, None, None]
