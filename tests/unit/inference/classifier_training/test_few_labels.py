"""Figures with few labels: how many objects right, and how many of each taxon that can be judged."""

from __future__ import annotations

import numpy as np
import pytest

from inference.classifier_training.few_labels import with_few_labels


@pytest.mark.filterwarnings("error")
def test_where_no_taxon_has_enough_to_be_judged_the_mean_of_taxa_is_not_known() -> None:
    features = np.repeat(np.eye(2), 12, axis=0)
    taxa, days = ["a"] * 12 + ["b"] * 12, [str(n % 3) for n in range(24)]
    judging = np.eye(2)[[0, 0, 1]]
    true = ["a", "a", "b"]
    few = with_few_labels(features, taxa, days, judging, true, 5, fewest=3)
    assert (few.accuracy, few.balanced) == (1.0, None)
    assert with_few_labels(features, taxa, days, judging, ["a", "b", "b"], 5, fewest=2).balanced == pytest.approx(0.5)
