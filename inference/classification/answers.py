"""What is said of an object: the taxon that is sure, or the genus or group above it that is, or `unsure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.errors import WeightsRefused

UNSURE = "unsure"
"""Named, but of no taxon or group sure enough; counted as such."""
Parents = Mapping[str, str | None]
"""Of each taxon the one above it, by identifier; None, or none at all, for what stands at the top."""


class TaxonAnswer(NamedTuple):
    """What a classifier says of one object.

    Attributes
    ----------
    taxon
        the lowest that is sure enough, or `unsure`.
    probability
        that the object is of it, or of one below it; that of the best taxon where it is unsure.
    best
        the most probable of those learnt, whether sure or not.
    runner_up
        the next; the same where only one was learnt.
    runner_up_probability
        of the second.
    """

    taxon: str
    probability: float
    best: str
    runner_up: str
    runner_up_probability: float


def lineage(taxon: str, parents: Parents) -> tuple[str, ...]:
    """Give a taxon and all above it, itself first.

    Raises
    ------
    WeightsRefused
        It stands above itself.
    """
    line = [taxon]
    while (above := parents.get(line[-1])) is not None and above != "":
        if above in line:
            raise WeightsRefused(f"taxon {above!r} stands above itself; mend the parents in the taxonomy")
        line.append(above)
    return tuple(line)


class Tree:
    """The taxa that were learnt and all above them.

    Parameters
    ----------
    taxa
        in the order of the columns of probabilities.
    """

    def __init__(self, taxa: Sequence[str], parents: Parents) -> None:
        self.taxa = tuple(taxa)
        self._lineages = [lineage(taxon, parents) for taxon in taxa]
        self.nodes = tuple(dict.fromkeys(node for line in self._lineages for node in line))
        above = {
            node: line[k + 1] if k + 1 < len(line) else None for line in self._lineages for k, node in enumerate(line)
        }
        self._children: dict[str | None, list[int]] = {}
        for number, node in enumerate(self.nodes):
            self._children.setdefault(above[node], []).append(number)

    @cached_property
    def _members(self) -> NDArray[np.float32]:
        """1 where a taxon (row) is a node (column) or lies below it."""
        return np.array([[node in line for node in self.nodes] for line in self._lineages], np.float32)

    def answers(self, probabilities: NDArray[np.float32], threshold: float) -> list[TaxonAnswer]:
        """Say of each row of probabilities (N, K) what is sure.

        From the top down, always to what is most probable, as long as that is at least as probable as the threshold and
        as being none of those below.
        """
        of_nodes = probabilities @ self._members
        return [self._answer(own, nodes, threshold) for own, nodes in zip(probabilities, of_nodes, strict=True)]

    def _answer(self, own: NDArray[np.float32], nodes: NDArray[np.float32], threshold: float) -> TaxonAnswer:
        order = np.argsort(own, kind="stable")[::-1]
        best, second = self.taxa[order[0]], self.taxa[order[min(1, len(order) - 1)]]
        sure: str | None = None
        while below := self._children.get(sure):
            number = max(below, key=lambda child: nodes[child])
            itself = own[self.taxa.index(sure)] if sure in self.taxa else 0.0
            if nodes[number] < threshold or nodes[number] <= itself:
                break
            sure = self.nodes[number]
        probability = own[order[0]] if sure is None else nodes[self.nodes.index(sure)]
        return TaxonAnswer(sure or UNSURE, float(probability), best, second, float(own[order[min(1, len(order) - 1)]]))
