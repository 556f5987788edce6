"""Faster R-CNN as one graph of fixed shapes, for runtimes that know no data-dependent ones; the same detections.

What torchvision does with lists of varying length is done here with fixed numbers of candidates and masks. Greedy
suppression becomes a fixed number of matrix products: a box is kept if no kept box of a greater score overlaps it,
asked of all boxes at once, again and again. Once the answer no longer changes it is that of the greedy rule; whether
that was reached is an output, and for chains of overlaps longer than the number of rounds it is not.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList

from inference.network.detected import Detected, Precision
from inference.network.folding import folded
from inference.network.winograd import with_winograd

PROPOSAL_ROUNDS = 24
DETECTION_ROUNDS = 16
MOST_ROIS_AT_ONCE, FEWEST_PARTS = 300, 6
"""Candidates are pooled in parts that a processor keeps in its cache; of many parts TensorRT takes minutes to build."""
_NOTHING = -1.0
"""Score of what is no candidate; real ones are not negative."""


class StaticDetector(nn.Module):
    """A Faster R-CNN of `inference.network.network` for views of one size.

    Parameters
    ----------
    network
        in evaluation mode, on the CPU; its parameters are shared or copied, never changed.
    size
        height, width of the views, px.
    batch
        number of views.
    precision
        of convolutions, products and the features between them. Views, coordinates, scores and decisions are fp32 in
        any case: half a pixel is the last bit of an fp16 coordinate beyond 512, and views that come as fp32 are made
        fp16 where they arrive, which costs a graphics card less than it costs the processor.
    winograd
        for a processor: large convolutions by `inference.network.winograd`, in fp32 only.
    """

    def __init__(
        self,
        network: FasterRCNN,
        size: tuple[int, int],
        batch: int,
        precision: Precision = "fp32",
        *,
        winograd: bool = False,
    ) -> None:
        super().__init__()
        bins = network.roi_heads.box_roi_pool.output_size[0]
        head = channels_last(network.roi_heads.box_head, bins)
        parts = network.backbone, network.rpn.head, head, network.roi_heads.box_predictor
        if precision == "fp16":
            parts = tuple(folded(part).half() for part in parts)
        elif winograd:
            parts = tuple(with_winograd(part) for part in parts)
        self.backbone, self.rpn_head, self.box_head, self.box_predictor = parts
        self._dtype = torch.float32 if precision == "fp32" else torch.float16
        self._size, self._batch = size, batch
        self._padding = tuple(-n % network.transform.size_divisible for n in size)
        self._rpn, self._heads = network.rpn, network.roi_heads
        with torch.no_grad():
            padded = torch.zeros(1, 3, *(n + more for n, more in zip(size, self._padding, strict=True)))
            # The network's own parts: a processor takes minutes for convolutions in fp16.
            named = network.backbone(padded)
            pyramid = list(named.values())
            anchors = network.rpn.anchor_generator(ImageList(padded, [size]), pyramid)[0]
            objectness, _ = network.rpn.head(pyramid)
        counts = [level[0].numel() for level in objectness]
        for k, level in enumerate(anchors.split(counts)):
            self.register_buffer(f"anchors{k}", level.clone(), persistent=False)
        self._pooled = [list(named).index(name) for name in network.roi_heads.box_roi_pool.featmap_names]
        shapes = [tuple(pyramid[k].shape[2:]) for k in self._pooled]
        self._align = PyramidAlign(shapes, size, batch, bins)

    def forward(self, views: Tensor) -> Detected:
        """Objects in views (B, 3, H, W), float32."""
        bottom, right = self._padding
        pyramid = list(self.backbone(functional.pad(views.to(self._dtype), (0, right, 0, bottom))).values())
        objectness, deltas = self.rpn_head(pyramid)
        proposals, real, proposals_converged = self._propose(objectness, deltas)
        pooled = self._align([pyramid[k] for k in self._pooled], proposals)
        logits, regression = self.box_predictor(self.box_head(pooled))
        rows = self._batch, proposals.shape[1]
        found = self._decide(logits.reshape(*rows, -1), regression.reshape(*rows, -1, 4), proposals, real)
        return found._replace(converged=found.converged & proposals_converged)

    def _propose(self, objectness: list[Tensor], deltas: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Candidates (B, R, 4), which of them are real (B, R), and whether suppression converged (B,)."""
        boxes, logits = [], []
        for k, (level, moves) in enumerate(zip(objectness, deltas, strict=True)):
            anchors = self.get_buffer(f"anchors{k}")
            flat = level.float().permute(0, 2, 3, 1).reshape(self._batch, -1)
            moves = (
                moves.float()
                .reshape(self._batch, -1, 4, *moves.shape[2:])
                .permute(0, 3, 4, 1, 2)
                .reshape(self._batch, -1, 4)
            )
            best, index = flat.topk(min(self._rpn.pre_nms_top_n(), flat.shape[1]), dim=1)
            moved = decode(anchors[index], take(moves, index), self._rpn.box_coder.weights, self._rpn.box_coder)
            boxes.append(clip(moved, self._size))
            logits.append(best)
        # All levels at once, those of fewer candidates filled up with empty boxes, which are none.
        most = max(best.shape[1] for best in logits)
        padded = torch.cat([functional.pad(some, (0, 0, 0, most - some.shape[1])) for some in boxes], 1)
        best = torch.cat([functional.pad(some, (0, most - some.shape[1])) for some in logits], 1)
        levels = padded.reshape(-1, most, 4)
        keep, converged = suppress(levels, large(levels, self._rpn.min_size), self._rpn.nms_thresh, PROPOSAL_ROUNDS)
        every = torch.where(keep.reshape(best.shape), best.sigmoid(), _NOTHING)
        best, index = every.topk(min(self._rpn.post_nms_top_n(), every.shape[1]), dim=1)
        return take(padded, index), best > _NOTHING, converged.reshape(self._batch, -1).all(dim=1)

    def _decide(self, logits: Tensor, regression: Tensor, proposals: Tensor, real: Tensor) -> Detected:
        """Decide on classes and boxes: logits (B, R, 1 + classes), moves (B, R, 1 + classes, 4) of candidates."""
        heads = self._heads
        around = proposals.unsqueeze(2).expand_as(regression)
        boxes = clip(decode(around, regression.float(), heads.box_coder.weights, heads.box_coder), self._size)
        boxes = boxes[:, :, 1:].transpose(1, 2)
        scores = logits.float().softmax(-1)[:, :, 1:].transpose(1, 2)
        valid = (scores > heads.score_thresh) & large(boxes, 1e-2) & real.unsqueeze(1)
        classes, candidates = scores.shape[1:]
        ordered, index = torch.where(valid, scores, _NOTHING).flatten(0, 1).topk(candidates, dim=1)
        boxes = take(boxes.flatten(0, 1), index)
        keep, converged = suppress(boxes, ordered > _NOTHING, heads.nms_thresh, DETECTION_ROUNDS)
        scores = torch.where(keep, ordered, _NOTHING).reshape(self._batch, -1)
        best, index = scores.topk(min(heads.detections_per_img, classes * candidates), dim=1)
        found = best > _NOTHING
        return Detected(
            take(boxes.reshape(self._batch, -1, 4), index),
            best.clamp(min=0),
            index // candidates + 1,
            found.sum(1),
            converged.reshape(self._batch, classes).all(dim=1),
        )


class PyramidAlign(nn.Module):
    """RoIAlign over the levels of a pyramid, each candidate on the level of its size (Lin 2017, eq. 1).

    Bilinear samples are taken from all levels laid end to end, so that a candidate's level is a mere offset.

    Parameters
    ----------
    shapes
        height, width of each level.
    size
        height, width of the views.
    bins
        along each side of the result.
    """

    scales: Tensor
    sides: Tensor
    starts: Tensor
    positions: Tensor
    own: Tensor

    SAMPLES = 2
    CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4

    def __init__(self, shapes: list[tuple[int, ...]], size: tuple[int, int], batch: int, bins: int) -> None:
        super().__init__()
        self._bins, self._batch = bins, batch
        scales = [2.0 ** round(float(torch.tensor(shape[0] / size[0]).log2())) for shape in shapes]
        areas = [height * width for height, width in shapes]
        self._lowest = -round(float(torch.tensor(scales[0]).log2()))
        self._area = sum(areas)
        self.register_buffer("scales", torch.tensor(scales), persistent=False)
        self.register_buffer("sides", torch.tensor(shapes, dtype=torch.float32), persistent=False)
        starts = torch.tensor([sum(areas[:k]) for k in range(len(areas))])
        self.register_buffer("starts", starts, persistent=False)
        positions = (torch.arange(bins * self.SAMPLES) + 0.5) / self.SAMPLES
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("own", torch.eye(bins), persistent=False)

    def forward(self, pyramid: list[Tensor], boxes: Tensor) -> Tensor:
        """Features (B * R, bins, bins, C) of candidates (B, R, 4), from levels (B, C, h, w) and of their dtype."""
        values = torch.cat([level.flatten(2).transpose(1, 2) for level in pyramid], 1).flatten(0, 1)
        image = torch.arange(self._batch, device=boxes.device).repeat_interleave(boxes.shape[1]) * self._area
        index, row_weights, column_weights = self._place(boxes.flatten(0, 1), image)
        down = row_weights.to(values.dtype).unsqueeze(2)
        # Each bin's own pixels, as a matrix that passes over those of the others.
        across = (column_weights.unsqueeze(1) * self.own.unsqueeze(2)).flatten(2).to(values.dtype).unsqueeze(1)
        # Slices of fixed numbers rather than `split`, which would become a sequence in the exported graph.
        size = min(MOST_ROIS_AT_ONCE, math.ceil(len(index) / FEWEST_PARTS))
        parts = [slice(first, first + size) for first in range(0, len(index), size)]
        return torch.cat([self._pool(values, index[part], down[part], across[part]) for part in parts])

    def _pool(self, values: Tensor, index: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """Features (K, bins, bins, C) of values (N, C): at index (K, P, P), weighed down each column, then across."""
        count, points = index.shape[:2]
        there = values.index_select(0, index.flatten()).reshape(count, self._bins, -1, points * values.shape[1])
        return across @ (down @ there).reshape(count, self._bins, points, -1)

    def _place(self, boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Index of the pixels of boxes (R, P, P), and what rows and columns weigh, bin by bin, (R, bins, 4) each."""
        size = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = torch.floor(self.CANONICAL_LEVEL + torch.log2(size / self.CANONICAL_SIZE) + 1e-6)
        level = level.clamp(self._lowest, self._lowest + len(self.scales) - 1).long() - self._lowest
        boxes = boxes * self.scales[level].unsqueeze(1)
        sides = self.sides[level]
        rows, row_weights = self._samples(boxes[:, 1], boxes[:, 3], sides[:, 0])
        columns, column_weights = self._samples(boxes[:, 0], boxes[:, 2], sides[:, 1])
        start = (self.starts[level] + image).unsqueeze(1) + rows * sides[:, 1:].long()
        return start.unsqueeze(2) + columns.unsqueeze(1), row_weights, column_weights

    def _samples(self, low: Tensor, high: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels below and above the samples along an axis (R, 2 S), bin by bin, and what they weigh (R, bins, 4)."""
        step = (high - low).clamp(min=1.0) / self._bins
        at = low.unsqueeze(1) + step.unsqueeze(1) * self.positions
        last = side.unsqueeze(1) - 1
        inside = ((at >= -1) & (at <= last + 1)).float()
        at = at.clamp(min=0).minimum(last)
        below = at.floor().minimum(last)
        part = at - below
        above = (below + 1).minimum(last)
        pixels = torch.stack([below, above], 2).long()
        weights = torch.stack([1 - part, part], 2) * (inside / self.SAMPLES).unsqueeze(2)
        return pixels.flatten(1), weights.reshape(len(low), self._bins, 2 * self.SAMPLES)


def channels_last(head: TwoMLPHead, bins: int) -> TwoMLPHead:
    """Give a copy of a head that takes features as (N, bins, bins, C), as `PyramidAlign` pools them."""
    copied = copy.deepcopy(head)
    weight = copied.fc6.weight.detach().unflatten(1, (-1, bins, bins))
    copied.fc6.weight = nn.Parameter(weight.permute(0, 2, 3, 1).flatten(1), requires_grad=False)
    return copied


def suppress(boxes: Tensor, valid: Tensor, overlap: float, rounds: int) -> tuple[Tensor, Tensor]:
    """Which boxes (K, N, 4), by falling score, greedy suppression keeps (K, N), and whether it converged (K,)."""
    earlier = torch.ones(boxes.shape[1], boxes.shape[1], device=boxes.device).triu(1)
    kills = (overlaps(boxes) > largest_single(overlap)).float() * earlier
    possible = valid.float().unsqueeze(1)
    keep, before = possible, possible
    for _ in range(rounds):
        before, keep = keep, (possible - keep @ kills).relu()
    return keep.squeeze(1) > 0.5, (keep == before).all(dim=2).squeeze(1)


def largest_single(bound: float) -> float:
    """Largest float32 that is not above a bound: another exceeds it where it exceeds the bound itself."""
    single = np.float32(bound)
    return float(single if float(single) <= bound else np.nextafter(single, np.float32(-np.inf)))


def overlaps(boxes: Tensor) -> Tensor:
    """Intersection over union of all boxes (K, N, 4) with each other, (K, N, N); not a number where both are empty."""
    x0, y0, x1, y1 = boxes.unsqueeze(3).unbind(2)
    area = (x1 - x0) * (y1 - y0)
    width = x1.minimum(x1.transpose(1, 2)) - x0.maximum(x0.transpose(1, 2))
    height = y1.minimum(y1.transpose(1, 2)) - y0.maximum(y0.transpose(1, 2))
    common = width.relu() * height.relu()
    return common / (area + area.transpose(1, 2) - common)


def decode(anchors: Tensor, moves: Tensor, weights: tuple[float, ...], coder: object) -> Tensor:
    """Boxes from anchors and what the network says of them, both (..., 4), as torchvision's coder does it."""
    relative = moves / moves.new_tensor(weights)
    side = anchors[..., 2:] - anchors[..., :2]
    centre = relative[..., :2] * side + anchors[..., :2] + 0.5 * side
    half = 0.5 * relative[..., 2:].clamp(max=float(coder.bbox_xform_clip)).exp() * side  # type: ignore[attr-defined]
    return torch.cat([centre - half, centre + half], -1)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut at the edges of a view."""
    height, width = size
    return boxes.relu().minimum(boxes.new_tensor([width, height, width, height]))


def large(boxes: Tensor, side: float) -> Tensor:
    """Whether boxes (..., 4) are at least so wide and high."""
    return (boxes[..., 2:] - boxes[..., :2] >= side).all(-1)


def take(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (K, N, C) at index (K, M), as (K, M, C)."""
    first = torch.arange(rows.shape[0], device=rows.device).unsqueeze(1) * rows.shape[1]
    return rows.flatten(0, 1).index_select(0, (index + first).flatten()).reshape(*index.shape, rows.shape[2])
