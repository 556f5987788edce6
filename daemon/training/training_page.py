"""A page that shows how a training goes, written again after each judgement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.figures.html import polyline, write_html
from inference.training.checkpoint import History


def training_page(weights: Path) -> Path:
    """Where the page of some weights' training lies."""
    return weights.with_suffix(".training.html")


@dataclass(frozen=True)
class TrainingCurve:
    """What a training is, as its page says it.

    Attributes
    ----------
    network
        in a word.
    trained
        what learns, in words: 90 pictures.
    held_out
        what judges: 12 others.
    measure
        what judgements are.
    """

    network: str
    seed: int
    steps: int
    trained: str
    held_out: str
    measure: str


def write_training_page(weights: Path, history: History, curve: TrainingCurve, *, going_on: bool) -> None:
    """Write the page of a training, whole or not at all.

    Parameters
    ----------
    going_on
        the page loads itself again.
    """
    most = max((loss for _, loss in history.losses), default=1.0)
    write_html(
        training_page(weights),
        "training.html.j2",
        weights=weights.name,
        curve=curve,
        step=history.step,
        going_on=going_on,
        most=most,
        losses=polyline(
            [step / curve.steps for step, _ in history.losses], [loss / most for _, loss in history.losses]
        ),
        judgements=polyline([step / curve.steps for step, _ in history.judged], [value for _, value in history.judged]),
        judged=history.judged,
        best=max((value for _, value in history.judged), default=None),
    )
