"""What looks mislabelled is what heads that had not seen it call something else, surely."""

from __future__ import annotations

import numpy as np

from daemon.library.mislabelled import disagreements


def test_labels_that_are_spoken_against_are_found_the_surest_first() -> None:
    named = ["a"] * 4 + ["b"] * 4 + ["rare", "a"]
    held_out = np.array(
        [
            [0.90, 0.10], [0.80, 0.20], [0.70, 0.30],
            [0.02, 0.98],  # called a, surely b
            [0.10, 0.90], [0.20, 0.80], [0.05, 0.95],
            [0.90, 0.10],  # called b, surely a
            [np.nan, np.nan],  # too rare to be learnt
            [0.45, 0.55],  # rather b, but less than those called b usually are
        ]
    )  # fmt: skip
    found = disagreements(named, ("a", "b"), held_out)
    assert [(row, taxon) for row, taxon, _, _ in found] == [(3, "b"), (7, "a")]
    assert found[0][2:] == (0.98, 0.02)


def test_nothing_is_found_where_nothing_was_learnt() -> None:
    assert disagreements(["a", "b"], ("a", "b"), np.full((2, 2), np.nan)) == []
