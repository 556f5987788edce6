"""A gallery of thickness maps: measured objects side by side, at one scale, with their outlines and masses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from msgspec.structs import replace
from numpy.typing import NDArray

from daemon.analysis.measure import Measurer
from daemon.calibration_store.corrections import corrections_of_field, folder_of
from daemon.calibration_store.shelf import require
from daemon.counts.objects import DISTURBED
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import LoadedObject, Selection, choose, load, spread
from daemon.figures.panels import FAINT
from daemon.records.records import ObjectRow
from daemon.system.errors import Refused
from inference import wording
from inference.wording import MICROMETRE

OBJECTS, COLUMNS = 24, 6
LEAST_UM = 0.03
"""Thinner on average nothing is shown: it does not turn light."""
COLOURS = "magma"
GAMMA = 0.7
BARS_UM = (0.5, 1, 2, 5, 10, 20)


@dataclass(frozen=True, eq=False)
class _ThicknessMap:
    """An object's thickness in um, (h, w), its outline in px, and what is written above it."""

    thickness: NDArray[np.float32]
    points: NDArray[np.float64]
    pixel_um: float
    title: str


def draw_thickness(figure: Figure, dataset: Dataset) -> None:
    """Draw the thickness maps of whole objects that turn light, spread over slides and classes."""
    rows = choose(dataset, Selection())
    turning = [one for one in rows if (one.row.thickness_mean_um or 0) > LEAST_UM and not _is_disturbed(one.row)]
    shelf, lacking = _shelf(dataset)
    shown = load(spread(turning, OBJECTS))
    maps = [found for one in shown if (found := _map_of(one, shelf, lacking)) is not None]
    columns = min(COLUMNS, max(len(maps), 1))
    lines = max(1, -(-len(maps) // columns))
    figure.set_size_inches(1.8 * columns + 0.9, 2.2 * lines + 0.5)
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[], facecolor="black")
        axis.set_visible(not maps)
    but = ", without the night's calibrations, which are not at hand" if lacking else ""
    figure.suptitle(f"thickness of calcite in the object's own plane{but}", x=0.01, ha="left", fontsize=12)
    if not maps:
        axes[0, 0].text(0.5, 0.5, "none measured", ha="center", va="center", color=FAINT)
        return
    greatest = float(np.percentile(np.concatenate([one.thickness.ravel() for one in maps]), 99.8))
    norm = PowerNorm(GAMMA, 0, max(greatest, LEAST_UM))
    for axis, one in zip(axes.ravel(), maps, strict=False):
        axis.set_visible(True)
        height, width = (n * one.pixel_um for n in one.thickness.shape)
        axis.imshow(
            one.thickness.clip(0), cmap=COLOURS, norm=norm, extent=(0, width, height, 0), interpolation="bicubic"
        )
        closed = np.vstack([one.points, one.points[:1]]) * one.pixel_um
        axis.plot(*closed.T, color="white", linewidth=0.7, alpha=0.8)
        reach = max(width, height) / 2
        axis.set_xlim(width / 2 - reach, width / 2 + reach)
        axis.set_ylim(height / 2 + reach, height / 2 - reach)
        axis.set_title(one.title, fontsize=7.5, fontweight="normal", loc="center", pad=3)
        _scale_bar(axis, width / 2 - reach, height / 2 + reach, reach)
    figure.colorbar(
        ScalarMappable(norm, COLOURS),
        ax=axes.ravel().tolist(),
        label="thickness (\u00b5m)",
        shrink=0.6,
        aspect=28,
        pad=0.02,
    )


def _scale_bar(axis: Axes, left: float, bottom: float, reach: float) -> None:
    """Draw a bar in the lower left corner of a panel that reaches so far to all sides of its middle."""
    length = max((step for step in BARS_UM if step <= 0.8 * reach), default=reach)
    x, y = left + 0.08 * reach, bottom - 0.1 * reach
    axis.plot([x, x + length], [y, y], color="white", linewidth=2, solid_capstyle="butt")
    axis.text(x, y - 0.06 * reach, f"{length:g} {MICROMETRE}", fontsize=6.5, color="white", ha="left", va="bottom")


def _is_disturbed(row: ObjectRow) -> bool:
    if row.usable_for_mass is not None:
        return not row.usable_for_mass
    return row.touches_edge or any(getattr(row, name) for name in DISTURBED)


def _shelf(dataset: Dataset) -> tuple[Path | None, bool]:
    """Folder of the records that the night names, and whether it cannot be had: a dataset may be far from its home."""
    started = dataset.night()
    if started is None or not started.calibrations:
        return None, False
    try:
        folder = folder_of(started)
        if folder is not None:
            require(folder, started.calibrations)
    except Refused:
        return None, True
    return folder, False


def _map_of(one: LoadedObject, shelf: Path | None, lacking: bool) -> _ThicknessMap | None:
    row = one.chosen.row
    provenance = replace(one.provenance, calibrations=()) if lacking else one.provenance
    seen = Measurer(provenance, corrections_of_field(provenance, shelf)).look(row, one.crop, one.fused)
    if seen.outline is None or seen.weighed is None:
        return None
    mass, deviation = seen.weighed.equivalent_pg, seen.weighed.deviation_pg
    weighed = wording.mass(mass, deviation)
    title = f"{row.class_name}\n{wording.length(seen.shape.length_um)}   {weighed}" if seen.shape else ""
    return _ThicknessMap(seen.weighed.thickness, seen.outline.points, one.provenance.pixel_um, title)
