"""Boxes around outlines, against outlines that are drawn and looked at."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask

from inference.annotations.outlines import around_ellipse, around_runs, unpack_runs

masks = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1))


@given(masks)
def test_runs_and_their_box_are_those_of_the_mask(drawn: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    packed = mask.encode(np.asfortranarray(drawn))["counts"].decode()
    runs = unpack_runs(packed)
    assert np.repeat(np.arange(len(runs)) % 2, runs).tolist() == drawn.ravel(order="F").tolist()
    ys, xs = np.nonzero(drawn)
    expected = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] if len(xs) else None
    found = around_runs(runs, drawn.shape[0], drawn.shape[1])
    # Down the columns, as COCO's masks run, x and y change places.
    assert (None if found is None else [found[1], found[0], found[3], found[2]]) == expected


@given(st.floats(0.5, 9), st.floats(0.5, 9), st.floats(-400, 400))
def test_the_box_around_an_ellipse_touches_it(rx: float, ry: float, degrees: float) -> None:
    t, turn = np.linspace(0, 2 * math.pi, 20_001), math.radians(degrees)
    x = 5 + rx * np.cos(t) * math.cos(turn) - ry * np.sin(t) * math.sin(turn)
    y = 7 + rx * np.cos(t) * math.sin(turn) + ry * np.sin(t) * math.cos(turn)
    assert around_ellipse((5, 7), rx, ry, degrees) == pytest.approx((x.min(), y.min(), np.ptp(x), np.ptp(y)), abs=1e-5)


@pytest.mark.parametrize(("runs", "row", "rows"), [([1, 9], 2, 2), ([1, 2], 2, 2), ([-1, 5], 2, 2), ([1, 1], 0, 2)])
def test_runs_of_another_size_are_refused(runs: list[int], row: int, rows: int) -> None:
    with pytest.raises(ValueError, match="runs of"):
        around_runs(runs, row, rows)


@pytest.mark.parametrize("text", ["p", "5p", "/", "5\u00e4", "o", "o" * 12 + "0"])
def test_what_is_not_written_as_runs_is_no_mask(text: str) -> None:
    with pytest.raises(ValueError, match="mask"):
        unpack_runs(text)
