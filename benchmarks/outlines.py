"""Draws the outlines of objects of several kinds on both of their states, for docs/measurement.md.

python -m benchmarks.outlines --into docs/images/outlines.png [--stacks DIR] [--fields N]

The fields are those of `benchmarks.measurement`: another collection than that on which the rule's figures were set. Of
each kind the first object is shown that is whole, if possible one that nothing disturbs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.measurement import COLLECTION, SEED, fields_of, is_clean, matched, perfect, provenance_of, world
from daemon.analysis.field_output import object_rows
from daemon.analysis.measure import Looked, Measurer
from daemon.records.records import ObjectRow
from inference.analyser import Analyser
from inference.objects.objects import FoundObject

KINDS = (
    "emiliania", "gephyrocapsa", "coccolithus", "florisphaera", "thalassiosira", "chaetoceros_spore", "thalassionema",
    "dictyocha",
)  # fmt: skip
SCALE_UM = 2.0


class Shown(NamedTuple):
    """An object to draw."""

    found: FoundObject
    row: ObjectRow
    looked: Looked


def shown(profile: str, stacks: Path, fields: int) -> Iterator[tuple[str, bool, Shown]]:
    """Give whole, unbroken objects of a profile: their kinds, whether nothing disturbs them, and how they look."""
    config = world(profile, 0.001, SEED + ("coccolith", "easy").index(profile), COLLECTION)
    pixel_um, states = config.instrument.pixel_um, config.scan.polarizations
    analyser = Analyser(config.detector, config.crops, config.focus, pixel_um, states)
    known = perfect(config)
    for stack, truth in fields_of(config, stacks / f"{profile}-{COLLECTION}-0.001", fields):
        objects = [found for found in analyser.analyse(stack).objects if not found.below_threshold]
        provenance = provenance_of(config, stack.shape, known.exposures_ms)
        measurer = Measurer(provenance, known)
        rows = object_rows(objects, provenance, known)
        for found, row, true in zip(objects, rows, matched(objects, truth), strict=True):
            if true is not None and true["whole"] and not true["fragment"] and not row.cut:
                yield true["kind"], is_clean(row), Shown(found, row, measurer.look(row, found.crop, found.fused))


def draw(chosen: dict[str, Shown], pixel_um: float) -> Figure:
    """Draw each object in its crossed and its parallel state, with its outline."""
    kinds = [kind for kind in KINDS if kind in chosen]
    figure = Figure(figsize=(1.75 * len(kinds), 4.1), layout="constrained", dpi=150)
    axes = figure.subplots(2, len(kinds), squeeze=False)
    for column, kind in enumerate(kinds):
        found, row, looked = chosen[kind]
        planes = [focus.display.plane for focus in (looked.dark, looked.bright) if focus is not None]
        for c, (axis, plane) in enumerate(zip(axes[:, column], planes, strict=True)):
            image = shade(found.crop[c, round(plane)], dark=c == 0)
            height, width = image.shape
            axis.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="nearest")
            reach = max(height, width) / 2
            axis.set_xlim(width / 2 - reach, width / 2 + reach)
            axis.set_ylim(height / 2 + reach, height / 2 - reach)
            axis.set(xticks=[], yticks=[], facecolor="black")
            if looked.outline is not None:
                points = np.vstack([looked.outline.points, looked.outline.points[:1]])
                by_it = row.outline_by == ("crossed", "parallel")[c]
                axis.plot(*points.T, color="#35d0ff" if by_it else "#ffb347", linewidth=0.9 if by_it else 0.6)
            x, y = width / 2 - 0.92 * reach, height / 2 + 0.9 * reach
            axis.plot([x, x + SCALE_UM / pixel_um], [y, y], color="white", linewidth=2, solid_capstyle="butt")
        axes[0, column].set_title(f"{kind.replace('_', ' ')}\n{row.length_um:.2f} um", fontsize=8)
    for axis, name in zip(axes[:, 0], ("crossed", "parallel"), strict=True):
        axis.set_ylabel(name, fontsize=9)
    return figure


def shade(pixels: NDArray[np.uint16], *, dark: bool) -> NDArray[np.float64]:
    """Bring a plane to 0 to 1; a dark field as its root."""
    light = np.sqrt(pixels.astype(float)) if dark else pixels.astype(float)
    low, high = np.percentile(light, (0.5, 99.7))
    return np.asarray(np.clip((light - low) / max(high - low, 1e-9), 0, 1))


def main() -> None:
    """Find one object of each kind, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--fields", type=int, default=6)
    given = parser.parse_args()
    clean: dict[str, Shown] = {}
    disturbed: dict[str, Shown] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for profile in ("coccolith", "easy"):
            for kind, is_alone, one in shown(profile, given.stacks or Path(scratch), given.fields):
                (clean if is_alone else disturbed).setdefault(kind, one)
    chosen = disturbed | clean
    draw(chosen, 0.059).savefig(given.into)
    print(f"{len(set(chosen) & set(KINDS))} kinds in {given.into}")


if __name__ == "__main__":
    main()
