"""A page that shows how a training goes, written again after each judgement."""

from __future__ import annotations

from pathlib import Path

from daemon.figures.html import polyline, write_html
from inference.annotations.splits import Split
from inference.training.checkpoint import History
from inference.training.settings import TrainingSettings


def training_page(weights: Path) -> Path:
    """Where the page of some weights' training lies."""
    return weights.with_suffix(".training.html")


def write_training_page(
    weights: Path, history: History, settings: TrainingSettings, split: Split, *, going_on: bool
) -> None:
    """Write the page of a training, whole or not at all.

    Parameters
    ----------
    going_on
        the page loads itself again.
    """
    steps = settings.steps
    most = max((loss for _, loss in history.losses), default=1.0)
    write_html(
        training_page(weights),
        "training.html.j2",
        weights=weights.name,
        architecture=settings.architecture,
        seed=settings.seed,
        step=history.step,
        steps=steps,
        going_on=going_on,
        trained=len(split.trained),
        held_out=len(split.held_out),
        most=most,
        losses=polyline([step / steps for step, _ in history.losses], [loss / most for _, loss in history.losses]),
        judgements=polyline([step / steps for step, _ in history.judged], [ap for _, ap in history.judged]),
        judged=history.judged,
        best=max((ap for _, ap in history.judged), default=None),
    )
