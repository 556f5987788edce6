"""How a detector is trained, as far as a person decides it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inference.network.weights_file import PUBLISHED
from inference.settings import Architecture


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes
    ----------
    steps
        of the optimiser.
    batch
        crops a step.
    crop_px
        side of a crop, px of the views; no object larger than it is ever seen whole.
    around
        share of the crops that are laid around an object of a class drawn evenly, so that rare ones are learnt.
    mistaken
        share of the crops that are laid around what the weights to go on from wrongly took for an object; all others
        lie anywhere.
    rate
        greatest learning rate of a one-cycle schedule.
    depth_um
        an object is to be found in a plane this far from its own at most.
    held_out
        share of the sources (slides) that only serve to judge, where nobody says what does.
    judgements
        how often the weights are judged on what is held out, evenly spread; the best ones are kept.
    patience
        after so many judgements without a better one training stops.
    fit_anchors
        fit the boxes of reference to those annotated; weights to go on from keep their own.
    start
        weights to go on from, instead of fresh ones: a detector's safetensors, of which all but the last layer is kept
        where it is for other classes; or what torchvision publishes for COCO, as `coco` or as a .pth file.
    """

    architecture: Architecture = "slim"
    classes: tuple[str, ...] = ("coccolith", "diatom", "silicoflagellate", "radiolarian", "spicule")
    steps: int = 3000
    batch: int = 2
    crop_px: int = 448
    rate: float = 1e-3
    around: float = 0.5
    mistaken: float = 0.25
    depth_um: float = 0.8
    held_out: float = 0.15
    judgements: int = 10
    patience: int = 6
    seed: int = 1
    threads: int = 2
    fit_anchors: bool = False
    start: Path | Literal["coco"] | None = None

    def goes_on(self) -> Path | None:
        """Weights of a detector that this training begins with, if there are any."""
        return self.start if isinstance(self.start, Path) and self.start.suffix not in PUBLISHED else None

    def judged_at(self) -> frozenset[int]:
        """Return the steps after which the weights are judged; the last one is among them."""
        return frozenset(round(self.steps * (k + 1) / self.judgements) for k in range(self.judgements)) - {0}
