"""The crops that a detector learns from: drawn from views, turned, mirrored and varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.annotations.stacks import NOT_JUDGED, Views
from inference.training.mistakes import Place
from inference.training.settings import TrainingSettings

FUSED_SHARE = 0.6
DEFOCUSED_SHARE, MOST_BLUR_PX = 0.2, 1.0
NOISY_SHARE, MOST_NOISE = 0.3, (0.15, 0.03, 0.06)
"""Standard deviation in units of each channel; two to three times what a good exposure has there."""
SLIVER_PX = 8
"""What a crop cuts to less than this has not to be found."""
NARROWEST_PX = 1


def batches(
    fields: Sequence[Views], mistakes: Sequence[Place], settings: TrainingSettings, done: int = 0
) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """Draw the crops of every step after those done: images, and boxes x0, y0, x1, y1 in px and labels in each.

    A step's crops do not depend on the steps before it.
    """
    of_class = [
        [(field, number) for field in fields for number in np.flatnonzero(field.labels[0] == label).tolist()]
        for label in range(1, len(settings.classes) + 1)
    ]
    known = [of_one for of_one in of_class if of_one]
    for step in range(done + 1, settings.steps + 1):
        random = np.random.default_rng([settings.seed, step])
        drawn = [_draw(fields, known, mistakes, settings, random) for _ in range(settings.batch)]
        yield [image for image, _ in drawn], [target for _, target in drawn]


def _draw(
    fields: Sequence[Views],
    of_class: Sequence[Sequence[tuple[Views, int]]],
    mistakes: Sequence[Place],
    settings: TrainingSettings,
    random: np.random.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw a random crop of a fused view or of a random plane, turned, mirrored, varied.

    What has not to be found keeps its box with a label of its own: neither a class nor background is learnt from it.
    """
    around: NDArray[np.float32] | None = None
    number: int | None = None
    kind = random.uniform()
    if kind < settings.around:
        one_class = of_class[int(random.integers(len(of_class)))]
        field, number = one_class[int(random.integers(len(one_class)))]
        around = field.boxes[number]
    elif mistakes and kind < settings.around + settings.mistaken:
        field, around = mistakes[int(random.integers(len(mistakes)))]
    else:
        field = fields[int(random.integers(len(fields)))]
    view = _draw_view(field, number, random)
    height, width = field.images.shape[2:]
    side = min(settings.crop_px, height, width)
    top, left = corner(around, (height, width), side, random)
    image = np.asarray(field.images[view, :, top : top + side, left : left + side], np.float32)
    boxes, labels = _clip(field.boxes, field.labels[view], left, top, side)
    if random.uniform() < 0.5:
        image, boxes = (
            image[:, :, ::-1],
            np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], 1),
        )
    if random.uniform() < 0.5:
        image, boxes = image[:, ::-1], np.stack([boxes[:, 0], side - boxes[:, 3], boxes[:, 2], side - boxes[:, 1]], 1)
    if random.uniform() < 0.5:
        image, boxes = image.transpose(0, 2, 1), boxes[:, [1, 0, 3, 2]]
    target = {"boxes": torch.from_numpy(np.ascontiguousarray(boxes)), "labels": torch.from_numpy(labels)}
    return torch.from_numpy(np.ascontiguousarray(_vary(image, random))), target


def _draw_view(field: Views, number: int | None, random: np.random.Generator) -> int:
    """Draw a fused view or a plane, of those that show an object if one is given."""
    shown = np.ones(len(field.images), bool) if number is None else field.labels[:, number] > 0
    shown[: field.fused] &= random.uniform() < FUSED_SHARE
    if shown[: field.fused].any():
        shown[field.fused :] = False
    return int(random.choice(np.flatnonzero(shown))) if shown.any() else 0


def _vary(image: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Change contrast and brightness of each channel, defocus some views a little, and add noise to some."""
    contrast = random.uniform(0.8, 1.25, (3, 1, 1)).astype(np.float32)
    brightness = random.normal(0, 0.03, (3, 1, 1)).astype(np.float32)
    image = image * contrast + brightness
    if random.uniform() < DEFOCUSED_SHARE:
        blur_px = random.uniform(0.3, MOST_BLUR_PX)
        image = np.stack([cv2.GaussianBlur(channel, (0, 0), blur_px) for channel in image])
    if random.uniform() < NOISY_SHARE:
        deviation = np.float32(random.uniform()) * np.array(MOST_NOISE, np.float32).reshape(3, 1, 1)
        image = image + deviation * random.standard_normal(image.shape, np.float32)
    return image


def corner(
    around: NDArray[np.float32] | None, size: tuple[int, int], side: int, random: np.random.Generator
) -> tuple[int, int]:
    """Draw the corner (top, left) of a crop: anywhere, or so that it holds as much of a box as can be."""
    if around is None:
        return int(random.integers(size[0] - side + 1)), int(random.integers(size[1] - side + 1))
    x0, y0, x1, y1 = around
    drawn = []
    for low, high, length in ((y0, y1, size[0]), (x0, x1, size[1])):
        first, last = sorted((int(np.ceil(high)) - side, int(low)))
        drawn.append(int(np.clip(random.integers(first, last + 1), 0, length - side)))
    return drawn[0], drawn[1]


def _clip(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], left: int, top: int, side: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clip boxes to a crop, in px of it, with their labels; slivers have not to be found."""
    clipped = np.clip(boxes - np.array([left, top, left, top], np.float32), 0, side)
    narrowest = (clipped[:, 2:] - clipped[:, :2]).min(axis=1, initial=np.inf)
    keep = (labels != 0) & (narrowest >= NARROWEST_PX)
    return clipped[keep], np.where(narrowest < SLIVER_PX, NOT_JUDGED, labels)[keep]
