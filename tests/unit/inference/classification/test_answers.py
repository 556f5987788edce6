"""What is said of an object: species, genus, group, or nothing that is sure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.classification.answers import UNSURE, Tree, lineage
from inference.errors import WeightsRefused

PARENTS = {
    "oceanica": "gephyrocapsa",
    "ericsonii": "gephyrocapsa",
    "gephyrocapsa": "coccoliths",
    "huxleyi": "coccoliths",
}
TAXA = "oceanica", "ericsonii", "huxleyi", "debris"


def say(probabilities: list[float], threshold: float) -> str:
    return Tree(TAXA, PARENTS).answers(np.array([probabilities], np.float32), threshold)[0].taxon


@pytest.mark.parametrize(
    ("probabilities", "threshold", "said"),
    [
        ([0.9, 0.05, 0.03, 0.02], 0.6, "oceanica"),
        ([0.5, 0.4, 0.05, 0.05], 0.6, "gephyrocapsa"),
        ([0.3, 0.25, 0.4, 0.05], 0.6, "coccoliths"),
        ([0.3, 0.1, 0.1, 0.5], 0.6, UNSURE),
        ([0.1, 0.1, 0.1, 0.7], 0.6, "debris"),
        ([0.3, 0.25, 0.4, 0.05], 0.0, "oceanica"),
    ],
)
def test_what_is_not_sure_falls_back_to_the_rank_that_is(
    probabilities: list[float], threshold: float, said: str
) -> None:
    assert say(probabilities, threshold) == said


def test_an_answer_tells_the_best_two_and_the_probability_of_what_is_said() -> None:
    (answer,) = Tree(TAXA, PARENTS).answers(np.array([[0.5, 0.4, 0.05, 0.05]], np.float32), 0.6)
    assert answer.probability == pytest.approx(0.9)
    assert (answer.best, answer.runner_up) == ("oceanica", "ericsonii")
    assert answer.runner_up_probability == pytest.approx(0.4)


def test_a_taxon_that_was_learnt_itself_is_not_left_for_a_less_probable_one_below() -> None:
    tree = Tree(("copepod", "calanus"), {"calanus": "copepod"})
    assert [one.taxon for one in tree.answers(np.array([[0.7, 0.3], [0.3, 0.7]], np.float32), 0.2)] == [
        "copepod",
        "calanus",
    ]


def test_taxa_above_themselves_are_refused() -> None:
    with pytest.raises(WeightsRefused, match="'a' stands above itself"):
        lineage("a", {"a": "b", "b": "a"})


@given(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), st.floats(0, 1))
def test_what_is_said_is_sure_enough_or_unsure(weights: list[float], threshold: float) -> None:
    probabilities = np.array([weights], np.float32) / np.float32(sum(weights))
    (answer,) = Tree(TAXA, PARENTS).answers(probabilities, threshold)
    below = [taxon for taxon in TAXA if answer.taxon in lineage(taxon, PARENTS)]
    summed = sum(float(probabilities[0, TAXA.index(taxon)]) for taxon in below)
    if answer.taxon == UNSURE:
        assert probabilities.max() < threshold
    else:
        assert summed == pytest.approx(answer.probability, abs=1e-5)
        assert answer.probability >= threshold
