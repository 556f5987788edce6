"""How a classifier is learnt, as far as a person decides it."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.classification.encoder_file import EncoderFile, Network
from inference.classification.sight import PICTURES, ClassifierSight


@dataclass(frozen=True)
class LearningSettings:
    """How to learn.

    Attributes
    ----------
    network
        `lite0`, which has learnt to see from ImageNet and is left as it is; or `small`, which learns from nothing.
    fewest
        taxa with fewer examples are kept in the card as not known, and never said.
    epochs
        of `small`: how often as many examples are seen as there are.
    batch
        examples a step of `small`.
    rate
        greatest learning rate of `small`, in a one-cycle schedule.
    balance
        of `small`: 0 draws examples as common as they are, 1 all taxa equally often.
    held_out
        of `small`: share of the groups by which it is judged while it learns.
    judgements
        of `small`: how often; the best weights are kept.
    patience
        after so many judgements without a better one learning stops.
    start
        of `small`: an encoder whose network has learnt to see already, in the same way; None to learn from nothing.
    """

    network: Network = "lite0"
    sight: ClassifierSight = PICTURES
    fewest: int = 10
    epochs: int = 30
    batch: int = 32
    rate: float = 2e-3
    balance: float = 0.5
    held_out: float = 0.15
    judgements: int = 15
    patience: int = 5
    seed: int = 1
    threads: int = 2
    start: EncoderFile | None = field(default=None, repr=False)
