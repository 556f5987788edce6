"""Trains a small classifier of drawn shapes in a process to be killed: python -m tests.support.train_shapes INTO."""

from __future__ import annotations

import sys
from pathlib import Path

from daemon.training.names import train_names
from inference.classification.sight import ClassifierSight
from inference.classifier_training.settings import LearningSettings
from tests.support.drawn_specimens import drawn_picture, examples

SETTINGS = LearningSettings(
    "small", ClassifierSight("picture", 32, sized=False), epochs=8, batch=12, judgements=8, threads=1
)

if __name__ == "__main__":
    shapes = examples(drawn_picture, 24)
    train_names(shapes, [], Path(sys.argv[1]), SETTINGS, {}, "day", "drawings", "train", lambda _: None)
