"""Draws what a calibration found: the curves and maps of its outcome, and its numbers, as one PNG."""

from __future__ import annotations

import io
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibration.steps import Curve, Map, Outcome
from daemon.calibration_store.quantities import numbers_of

PANEL_INCH = (5.2, 3.9)
LINE_INCH, TITLE_INCH = 0.16, 0.5
DPI = 110
MAP_PX = 700
"""Maps are averaged down to about this size; single pixels would not be seen."""
INK, POINTS, LINE, GRID = "#222222", "#2f6f8f", "#d1603d", "#dddddd"


def draw(title: str, outcome: Outcome) -> bytes:
    """PNG of an outcome: its pictures in two columns, its numbers below."""
    pictures = outcome.pictures
    columns = min(2, max(1, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    table = numbers_of(outcome.values, outcome.residuals)
    table_inch = LINE_INCH * math.ceil(len(table) / columns)
    size = PANEL_INCH[0] * columns, PANEL_INCH[1] * rows + table_inch + TITLE_INCH
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.12, hspace=0.03)
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=13, fontweight="bold")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[PANEL_INCH[1]] * rows, table_inch])
    for number, picture in enumerate(pictures):
        axes = figure.add_subplot(grid[divmod(number, columns)])
        axes.set_title(picture.title, color=INK, fontsize=10)
        if isinstance(picture, Map):
            _draw_map(figure, axes, picture)
        else:
            _draw_curve(axes, picture)
    below = figure.add_subplot(grid[rows, :])
    below.axis("off")
    each = math.ceil(len(table) / columns)
    for column in range(columns):
        text = "\n".join(table[column * each : (column + 1) * each])
        below.text(
            column / columns, 1.0, text, transform=below.transAxes, va="top", family="monospace", fontsize=8, color=INK
        )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _draw_curve(axes: Axes, curve: Curve) -> None:
    order = np.argsort(curve.x, kind="stable")
    x, y = np.asarray(curve.x)[order], np.asarray(curve.y)[order]
    small = 2.5 if len(x) > 60 else 4.5
    axes.plot(x, y, "o", ms=small, mec="none", mfc=POINTS, alpha=0.9 if len(x) <= 400 else 0.5)
    if curve.fit is not None:
        axes.plot(x, np.asarray(curve.fit)[order], "-", lw=1.4, color=LINE)
    axes.set_xlabel(curve.x_label, fontsize=9, color=INK)
    axes.set_ylabel(curve.y_label, fontsize=9, color=INK)
    axes.grid(visible=True, color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_map(figure: Figure, axes: Axes, picture: Map) -> None:
    values = _reduced(np.asarray(picture.values, np.float64))
    low, high = np.nanpercentile(values, (0.5, 99.5))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    image = axes.imshow(values, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02, extend="both")
    bar.set_label(picture.unit, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)


def _reduced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average blocks of pixels, so that a large map is drawn as it is and not as a few of its pixels."""
    block = max(1, math.ceil(max(values.shape) / MAP_PX))
    if block == 1:
        return values
    height, width = (n // block * block for n in values.shape)
    blocks = values[:height, :width].reshape(height // block, block, width // block, block)
    return np.asarray(blocks.mean(axis=(1, 3)))
