"""Single panels that plots and reports are made of: each draws on one pair of axes, and knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from daemon.counts.objects import Objects, weighted_median
from daemon.figures import palette
from inference.wording import short

INK, DIM, GRID, PAPER, FAINT = palette.TEXT.light, palette.DIM.light, palette.LINE.light, "white", "#8a8f96"
AXES, PALE, EMPTY, EDGE = "#7a7f87", "#c4c8cd", "#f6f7f8", "#c9cdd2"
STYLE: Any = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": AXES, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": DIM, "ytick.color": DIM, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "figure.dpi": 110, "savefig.dpi": 150, "figure.facecolor": PAPER, "text.parse_math": False,
}  # fmt: skip
"""Names of samples and classes are a person's: a dollar sign in them is no formula."""
COLOURS = tuple(one.light for one in palette.SERIES)
"""Of classes, mini-slides and polarizations."""
BINS = 28
DENSE = 5.0
"""Logarithmic axes that span less than twice this factor are numbered densely."""
LETTERS_SHOWN = 32
LEAST = 3
"""Of fewer objects no histogram is drawn."""


def slide_title(slide: int, sample: str) -> str:
    """Name a mini-slide above a panel; a name that is longer than the panel would leave no room for it."""
    return f"slide {slide}  {sample if len(sample) <= LETTERS_SHOWN else sample[: LETTERS_SHOWN - 3] + '...'}"


def histogram(
    axis: Axes, objects: Objects, column: str, label: str, classes: Sequence[str], edges: NDArray[np.float64]
) -> None:
    """Draw sizes of usable objects, weighted for those that were cut, the classes on top of each other.

    Parameters
    ----------
    column
        `length_um` or `mass_pg`.
    classes
        in the order of their colours.
    edges
        of the bins, ascending.
    """
    bottom = np.zeros(len(edges) - 1)
    for name in classes:
        chosen = objects.of((objects["class_name"] == name) & _of_use(objects, column))
        if not len(chosen):
            continue
        height, _ = np.histogram(chosen[column], edges, weights=chosen.weights)
        colour = COLOURS[classes.index(name) % len(COLOURS)]
        told = f"{name}, n = {len(chosen)}, median {short(weighted_median(chosen[column], chosen.weights))}"
        axis.bar(edges[:-1], height, np.diff(edges), bottom, align="edge", color=colour, edgecolor=PAPER,
                 linewidth=0.4, label=told)  # fmt: skip
        bottom += height
    axis.set_xscale("log")
    axis.set_xlim(edges[0], edges[-1])
    axis.set_ylim(0, max(float(bottom.max()) * 1.35, 1.0))
    plain_ticks(axis)
    axis.set_xlabel(label)
    axis.set_ylabel("weighted number")
    if bottom.any():
        axis.legend(loc="upper right", fontsize=8, handlelength=1.0)
    else:
        say(axis, "none measured")


def log_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of bins that suit some positive values."""
    if values.size < LEAST:
        return np.geomspace(1, 100, BINS + 1)
    low, high = np.percentile(values, (0.5, 99.5))
    return np.geomspace(max(low * 0.85, 1e-3), max(high * 1.15, low * 1.5), BINS + 1)


def sizes(objects: Objects, column: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Give the sizes, of some classes, that a histogram shows."""
    return np.asarray(objects[column][_of_use(objects, column) & np.isin(objects["class_name"], classes)])


def _of_use(objects: Objects, column: str) -> NDArray[np.bool_]:
    """Which objects are whole, and measured so that what a column says may be used."""
    return np.asarray((objects[column] > 0) & objects.usable("mass" if column == "mass_pg" else "size"))


def plain_ticks(axis: Axes) -> None:
    """Write plain digits on a logarithmic axis, the more of them the shorter it is."""
    low, high = axis.get_xlim()
    steps = (1, 2, 5) if high / low > 2 * DENSE else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axis.set_xticks([m * 10.0**e for e in range(-4, 6) for m in steps if low <= m * 10.0**e <= high])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", visible=False)


def say(axis: Axes, text: str) -> None:
    """Write in the middle of axes why nothing is there."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=FAINT)


def frames(
    axis: Axes,
    centres_um: NDArray[np.float64],
    size_um: tuple[float, float],
    values: NDArray[np.float64] | None = None,
    colours: str = "viridis",
    face: str = EMPTY,
    edge: str = EDGE,
) -> ScalarMappable:
    """Draw the frames of fields on a map in mm; returns what a colour bar needs.

    Parameters
    ----------
    centres_um
        (N, 2), x and y of the stage.
    size_um
        width and height.
    values
        (N,), what colours them; NaN is left white. Without them all are `face`.
    """
    half = np.array(size_um) / 2000
    corners = half * [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    places = PolyCollection(list(centres_um[:, None] / 1000 + corners), edgecolor=edge, linewidth=0.7, zorder=0.5)
    known = np.zeros(0) if values is None else values[np.isfinite(values)]
    scale = ScalarMappable(Normalize(*((known.min(), known.max()) if known.size else (0.0, 1.0))), colours)
    if values is None:
        places.set_facecolor(face)
    else:
        shown = scale.to_rgba(np.nan_to_num(values))
        shown[~np.isfinite(values)] = 1.0
        places.set_facecolor([(r, g, b) for r, g, b, _ in shown.tolist()])
    axis.add_collection(places)
    axis.plot(*centres_um.T / 1000, alpha=0)  # the collection alone does not widen the axes
    return scale


def map_axis(axis: Axes) -> None:
    """Make axes a map in mm of the stage."""
    axis.set_aspect("equal", adjustable="datalim")
    axis.autoscale_view()
    axis.margins(0.12)
    axis.set_xlabel("stage x (mm)")
    axis.set_ylabel("stage y (mm)")
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.ticklabel_format(useOffset=False)
    axis.tick_params(labelsize=8)
