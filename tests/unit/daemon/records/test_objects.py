"""The name of an object is written and read in one way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.records.objects import ObjectName


def test_it_is_written_from_the_night_down() -> None:
    assert str(ObjectName("2026-11-21 A", 3, 17, 2, 4)) == "2026-11-21 A/slide-3/field-0017/attempt-2/004"


@settings(max_examples=50)
@given(st.text(min_size=1), st.integers(1, 9999), st.integers(0, 999_999), st.integers(1, 9999), st.integers(0, 10**8))
def test_what_is_written_is_read(night: str, slide: int, field: int, attempt: int, number: int) -> None:
    name = ObjectName(night, slide, field, attempt, number)
    assert ObjectName.parse(str(name)) == name


def test_a_night_may_be_called_like_an_object() -> None:
    inner = str(ObjectName("N", 1, 1, 1, 1))
    assert ObjectName.parse(f"{inner}/slide-2/field-0002/attempt-1/005") == ObjectName(inner, 2, 2, 1, 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "N",
        "N/slide-1/field-1/attempt-1/001",
        "/slide-1/field-0001/attempt-1/001",
        "N/slide-1/field-0001/001",
        "N/slide-1/field-0001/attempt-1/001\n",
        "N/slide-\u0663/field-0001/attempt-1/001",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it must look like 'NIGHT/slide-3/field-0017/attempt-1/004'"):
        ObjectName.parse(text)
