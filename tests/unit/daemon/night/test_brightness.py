"""What the background of a mini-slide's fields says of bubbles and of the immersion oil."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

from hypothesis import given
from hypothesis import strategies as st

from daemon.night.brightness import Dimming
from daemon.records.flags import FieldFlag

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


DIM, BLURRED, BLANK = FieldFlag.DIM, FieldFlag.BLURRED, FieldFlag.BLANK
LOST = (FieldFlag.DIM, FieldFlag.OIL_LOST)


Flags = tuple[FieldFlag, ...]


def flagged(fields: Iterable[tuple[float, Flags]], usual: float | None = None) -> list[Flags]:
    """Flags that each field has beside those before it, by its background and its own flags."""
    dimming = Dimming(usual)
    found: list[Flags] = []
    for background, own in fields:
        beside = dimming.flags((190.0, background), own)
        dimming.add((190.0, background), SHARP, own + beside)
        found.append(beside)
    return found


def test_only_what_is_dim_and_shows_nothing_sharp_has_lost_its_oil() -> None:
    dim = 0.4 * USUAL
    told = flagged([(USUAL, ()), (dim, ()), (dim, (BLURRED,)), (USUAL, (BLURRED,)), (dim, (BLURRED, FieldFlag.BUBBLE))])
    assert told == [(), (DIM,), LOST, (), (DIM,)]


def test_oil_does_not_come_back_by_itself_but_with_the_light() -> None:
    dim = 0.4 * USUAL
    told = flagged([(USUAL, ()), (dim, (BLANK,)), (dim, (BLURRED,)), (dim, (BLANK,)), (USUAL, ()), (dim, (BLANK,))])
    assert told == [(), (DIM,), LOST, LOST, (), (DIM,)]


def test_a_mini_slide_that_begins_without_oil_is_told_by_those_before() -> None:
    assert flagged([(0.4 * USUAL, (BLURRED,))] * 3) == [()] * 3
    assert flagged([(0.4 * USUAL, (BLURRED,))] * 3, usual=USUAL) == [LOST] * 3


@given(
    st.lists(st.tuples(st.floats(0.1, 1.2), st.sets(st.sampled_from([BLURRED, BLANK, FieldFlag.BUBBLE]))), max_size=30),
    st.integers(0, 30),
)
def test_a_night_that_goes_on_says_what_it_would_have_said(
    fields: list[tuple[float, set[FieldFlag]]], cut: int
) -> None:
    one = Dimming()
    recorded: list[Flags] = []
    for share, own in fields:
        flags = (*own, *one.flags((share * USUAL,), tuple(own)))
        one.add((share * USUAL,), SHARP, flags)
        recorded.append(flags)
    resumed, again = Dimming(), list(recorded[:cut])
    for (share, _), flags in zip(fields, recorded[:cut], strict=False):
        resumed.add((share * USUAL,), SHARP, flags)
    for share, own in fields[cut:]:
        flags = (*own, *resumed.flags((share * USUAL,), tuple(own)))
        resumed.add((share * USUAL,), SHARP, flags)
        again.append(flags)
    assert again == recorded
