"""A page about how good a detector is: figures, curves, pictures of its worst mistakes; one HTML file, on its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from daemon.figures.html import polyline, write_html
from daemon.training.train import Judgement
from inference.analyser import Analyser
from inference.annotations.stacks import AnnotatedStack, read_stack
from inference.evaluation.breakdown import Breakdown, Mistake, PartFigures
from inference.network.weights_file import find_weights
from inference.settings import CropSettings, DetectorSettings, FocusSettings

MISTAKES = 12
"""Pictures of each sort."""
TILE_PX = 200
AROUND = 0.6
"""Of its box's longer side, shown around a mistake."""
SMALLEST_AROUND_PX = 20


@dataclass(frozen=True)
class MistakePicture:
    """A mistake to be shown: a PNG as a data URI, and what stands below it."""

    source: str
    text: str


def write_page(
    into: Path,
    judgement: Judgement,
    detector: DetectorSettings,
    focus: FocusSettings,
    problems: Sequence[str],
) -> None:
    """Write the page of an evaluation.

    Parameters
    ----------
    into
        the HTML file; whole or not at all.
    problems
        what in the annotations could not be taken as it stood.
    """
    items, evaluation = judgement.stacks, judgement.evaluation
    breakdown = Breakdown(*judgement)
    painter = _Painter(items, detector, focus)
    weights = find_weights(detector.weights)
    parts: dict[str, list[PartFigures]] = {
        "class": breakdown.by_class(tuple(evaluation.figures.ap50_of_class)),
        "size": breakdown.by_size(),
        "density": breakdown.by_density(),
    }
    write_html(
        into,
        "evaluation.html.j2",
        figures=evaluation.figures,
        weights=weights.path.name,
        sha256=weights.sha256,
        architecture=detector.architecture,
        sources=sorted({item.picture.source for item in items}),
        parts=parts,
        curve=polyline(np.linspace(0, 1, len(evaluation.figures.curve)).tolist(), evaluation.figures.curve),
        sureness=breakdown.sureness(),
        misses=[painter.paint(one) for one in breakdown.worst_misses(MISTAKES)],
        false_alarms=[painter.paint(one) for one in breakdown.worst_false_alarms(MISTAKES)],
        problems=problems,
    )


class _Painter:
    """Cuts mistakes out of their fields, as the detector sees them."""

    def __init__(self, items: Sequence[AnnotatedStack], detector: DetectorSettings, focus: FocusSettings) -> None:
        self._items, self._detector, self._focus = items, detector, focus
        self._analysers: dict[tuple[float, tuple[str, ...]], Analyser] = {}
        self._overviews: dict[int, NDArray[np.uint8]] = {}

    def paint(self, mistake: Mistake) -> MistakePicture:
        item = self._items[mistake.field]
        overview = self._overview(mistake.field)
        scale = overview.shape[1] / item.picture.width
        x0, y0, x1, y1 = (value * scale for value in mistake.box)
        around = max(AROUND * max(x1 - x0, y1 - y0), SMALLEST_AROUND_PX)
        side = max(x1 - x0, y1 - y0) + 2 * around
        left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
        tile = Image.fromarray(overview).transform(
            (TILE_PX, TILE_PX), Image.Transform.EXTENT, (left, top, left + side, top + side), Image.Resampling.BICUBIC
        )
        corners = [(v - edge) * TILE_PX / side for v, edge in zip((x0, y0, x1, y1), (left, top) * 2, strict=True)]
        ImageDraw.Draw(tile).rectangle(corners, outline=(255, 196, 84), width=1)
        stream = io.BytesIO()
        tile.save(stream, "PNG")
        score = "" if mistake.score is None else f", {mistake.score:.2f}"
        source = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        return MistakePicture(source, f"{mistake.class_name}{score}: {item.picture.file_name}")

    def _overview(self, field: int) -> NDArray[np.uint8]:
        if field not in self._overviews:
            item = self._items[field]
            key = item.pixel_um, item.polarizations
            if key not in self._analysers:
                self._analysers[key] = Analyser(self._detector, CropSettings(), self._focus, *key, detects=False)
            self._overviews[field] = self._analysers[key].analyse(read_stack(item)).overview
        return self._overviews[field]
