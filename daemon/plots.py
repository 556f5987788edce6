"""`lamelle plot`: what a scientist looks at first, as PNG files. Each picture is one function of the objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray
from rich.console import Console

from daemon.dataset import Dataset
from daemon.durable import make_folder, replacing
from daemon.errors import Refused
from daemon.plot_table import Objects, load_objects
from daemon.progress import follow
from daemon.records import FieldSecured
from daemon.thickness_gallery import draw_thickness

STYLE: Any = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#7a7f87", "axes.labelcolor": "#33373d",
    "text.color": "#22252a", "xtick.color": "#55595f", "ytick.color": "#55595f", "axes.grid": True,
    "grid.color": "#e6e8eb", "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "figure.dpi": 110, "savefig.dpi": 150, "figure.facecolor": "white",
}  # fmt: skip
COLOURS = ("#2f6fb0", "#d9822b", "#3a9a5c", "#b5527e", "#8a6fc1", "#7a7f87")
COLUMNS = 2
BINS = 28
PLACOLITHS = {"ks 0.02": 0.02, "ks 0.05": 0.05, "ks 0.08": 0.08}
"""Shape factors to compare with, m = 2.71 ks L^3 (Young and Ziveri 2000, Deep-Sea Research II 47, 1679)."""
LEAST = 3
"""Of fewer objects no histogram is drawn."""

Fields = tuple[FieldSecured, ...]


def plot(folder: Path, into: Path | None, measured: int | None, console: Console) -> list[Path]:
    """Draw every picture of a dataset, or of the one in a run folder; returns what was written.

    Parameters
    ----------
    into : folder of the pictures; `plots` beside the catalog if None.
    measured : number of a table of `lamelle measure`, 0 for the night's own; the newest if None.
    console : where to tell how far it is.

    Raises
    ------
    Refused
        There is no dataset, no such table, or no object.
    DamagedFile
        A field's file is missing or damaged.
    """
    with Dataset.open(folder) as dataset:
        objects = load_objects(dataset, measured)
        if not len(objects):
            raise Refused(f"{dataset.folder} holds no objects to plot; plot a night that has found some")
        fields = tuple(field for field in dataset.fields() if isinstance(field, FieldSecured))
        pictures: dict[str, Callable[[Figure], None]] = {
            "lengths": lambda figure: _histograms(
                figure, objects, "length_um", "length (um)", objects.names("class_name")
            ),
            "masses": lambda figure: _histograms(figure, objects, "mass_pg", "mass (pg)", ["coccolith"]),
            "length-mass": lambda figure: _length_mass(figure, objects),
            "focus": lambda figure: _focus(figure, fields),
            "places": lambda figure: _places(figure, objects, fields),
            "scores": lambda figure: _scores(figure, objects),
            "thickness": lambda figure: draw_thickness(figure, dataset),
        }
        target = into or dataset.folder / "plots"
        make_folder(target)
        written = []
        for name, draw in follow(list(pictures.items()), len(pictures), "plots", console):
            with rc_context(STYLE):
                figure = Figure(layout="constrained")
                draw(figure)
                path = target / f"{name}.png"
                with replacing(path) as stream:
                    figure.savefig(stream, format="png", metadata={"Software": "lamelle"})
            written.append(path)
    return written


def _panels(figure: Figure, count: int, size: tuple[float, float], columns: int = COLUMNS) -> list[Axes]:
    """Panels side by side, as many as there are slides."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure.set_size_inches(size[0] * columns, size[1] * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    panels: list[Axes] = axes[:count]
    return panels


def _slides(objects: Objects) -> list[tuple[int, str, Objects]]:
    slides = []
    for slide in np.unique(objects["slide"]).tolist():
        own = objects.of(objects["slide"] == slide)
        slides.append((int(slide), str(own["sample"][0]), own))
    return slides


def _histograms(figure: Figure, objects: Objects, column: str, label: str, classes: Sequence[str]) -> None:
    """Sizes of whole objects a slide, weighted for those that were cut."""
    slides = _slides(objects)
    there = np.isfinite(objects[column]) & (objects[column] > 0) & (objects.weights > 0)
    there &= np.isin(objects["class_name"], classes)
    values = objects[column][there]
    edges = _log_edges(values)
    axes = _panels(figure, len(slides), (5.2, 2.9))
    for axis, (slide, sample, own) in zip(axes, slides, strict=True):
        bottom = np.zeros(len(edges) - 1)
        for name in classes:
            chosen = own.of((own["class_name"] == name) & (own[column] > 0) & (own.weights > 0))
            if not len(chosen):
                continue
            height, _ = np.histogram(chosen[column], edges, weights=chosen.weights)
            colour = COLOURS[classes.index(name) % len(COLOURS)]
            told = f"{name}, n = {len(chosen)}, median {_weighted_median(chosen[column], chosen.weights):.3g}"
            axis.bar(edges[:-1], height, np.diff(edges), bottom, align="edge", color=colour, edgecolor="white",
                     linewidth=0.4, label=told)  # fmt: skip
            bottom += height
        axis.set_title(f"slide {slide}  {sample}")
        axis.set_xscale("log")
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(0, max(float(bottom.max()) * 1.35, 1.0))
        _plain_ticks(axis)
        axis.set_xlabel(label)
        axis.set_ylabel("weighted number")
        if bottom.any():
            axis.legend(loc="upper right", fontsize=8, handlelength=1.0)
        else:
            _say(axis, "none measured")
    unit = "lengths" if column == "length_um" else "masses"
    figure.suptitle(f"{unit} of whole objects, weighted for those that are cut", x=0.01, ha="left", fontsize=12)


def _log_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.size < LEAST:
        return np.geomspace(1, 100, BINS + 1)
    low, high = np.percentile(values, (0.5, 99.5))
    return np.geomspace(max(low * 0.85, 1e-3), max(high * 1.15, low * 1.5), BINS + 1)


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, cumulated[-1] / 2)])


def _plain_ticks(axis: Axes) -> None:
    """Write on a logarithmic axis 1, 2 and 5 times powers of ten, in plain digits."""
    low, high = axis.get_xlim()
    ticks = [m * 10.0**e for e in range(-4, 6) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    axis.set_xticks(ticks)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", visible=False)


def _say(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="#8a8f96")


def _length_mass(figure: Figure, objects: Objects) -> None:
    """Mass over length, one colour a slide, with lines of constant shape."""
    figure.set_size_inches(8.6, 6.2)
    axis = figure.add_subplot()
    chosen = objects.of((objects["mass_pg"] > 0) & (objects["length_um"] > 0) & (objects.weights > 0))
    for place, (slide, sample, own) in enumerate(_slides(chosen) if len(chosen) else []):
        colour = COLOURS[place % len(COLOURS)]
        axis.errorbar(own["length_um"], own["mass_pg"], own["calcite_equivalent_deviation_pg"], fmt="none",
                      ecolor=colour, alpha=0.25, elinewidth=0.8)  # fmt: skip
        axis.scatter(own["length_um"], own["mass_pg"], s=14, color=colour, alpha=0.75, linewidths=0,
                     label=f"slide {slide}  {sample}, n = {len(own)}")  # fmt: skip
    axis.set_title("mass and length of coccoliths")
    axis.set_xlabel("length (um)")
    axis.set_ylabel("mass (pg)")
    if not len(chosen):
        _say(axis, "none measured")
        return
    axis.set_xscale("log")
    axis.set_yscale("log")
    low, high = chosen["length_um"].min() * 0.9, chosen["length_um"].max() * 1.1
    axis.set_xlim(low, high)
    axis.set_ylim(chosen["mass_pg"].min() * 0.6, chosen["mass_pg"].max() * 1.8)
    length = np.geomspace(low, high, 50)
    for name, factor in PLACOLITHS.items():
        axis.plot(length, 2.71 * factor * length**3, color="#9aa0a8", linewidth=0.9, linestyle="--", zorder=1)
        place = int(np.searchsorted(2.71 * factor * length**3, axis.get_ylim()[1] * 0.72))
        place = min(place, len(length) - 5)
        axis.annotate(name, (length[place], 2.71 * factor * length[place] ** 3), fontsize=8, color="#7a7f87",
                      xytext=(-4, 0), textcoords="offset points", ha="right")  # fmt: skip
    _plain_ticks(axis)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.legend(loc="upper left", fontsize=8)


def _focus(figure: Figure, fields: Fields) -> None:
    """Height of focus of each field, as a map a slide."""
    numbers = sorted({field.slide for field in fields})
    axes = _panels(figure, len(numbers), (4.6, 4.2))
    for axis, slide in zip(axes, numbers, strict=True):
        own = [field for field in fields if field.slide == slide]
        x, y = np.array([[field.x_um, field.y_um] for field in own]).T / 1000
        z = np.array([np.nan if field.focus.z_um is None else field.focus.z_um for field in own])
        seen = np.isfinite(z)
        drawn = axis.scatter(x[seen], y[seen], c=z[seen], s=_marker(len(own)), marker="s", cmap="viridis")
        axis.scatter(x[~seen], y[~seen], s=_marker(len(own)), marker="s", facecolors="none", edgecolors="#b0b4ba")
        figure.colorbar(drawn, ax=axis, shrink=0.85, label="focus (um)")
        spread = f", from {np.nanmin(z):.1f} to {np.nanmax(z):.1f} um" if seen.any() else ", blank"
        axis.set_title(f"slide {slide}  {own[0].sample}{spread}", fontsize=10)
        _map_axis(axis)
    figure.suptitle("height of focus", x=0.01, ha="left", fontsize=12)


def _marker(count: int) -> float:
    return float(np.clip(9000 / max(count, 1), 6, 900))


def _map_axis(axis: Axes) -> None:
    axis.set_aspect("equal", adjustable="datalim")
    axis.margins(0.15)
    axis.set_xlabel("stage x (mm)")
    axis.set_ylabel("stage y (mm)")
    axis.invert_yaxis()
    axis.ticklabel_format(useOffset=False)
    axis.tick_params(labelsize=8)


def _places(figure: Figure, objects: Objects, fields: Fields) -> None:
    """Where the objects lie on each mini-slide, and which fields were seen."""
    slides, classes = _slides(objects), objects.names("class_name")
    axes = _panels(figure, len(slides), (4.8, 4.6))
    for axis, (slide, sample, own) in zip(axes, slides, strict=True):
        for field in fields:
            if field.slide == slide:
                _outline_field(axis, field, own)
        for name in classes:
            chosen = own.of(own["class_name"] == name)
            colour = COLOURS[classes.index(name) % len(COLOURS)]
            axis.scatter(chosen["x_um"] / 1000, chosen["y_um"] / 1000, s=7, color=colour, linewidths=0,
                         label=f"{name} {len(chosen)}")  # fmt: skip
        axis.set_title(f"slide {slide}  {sample}", fontsize=10)
        _map_axis(axis)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, fontsize=8, handletextpad=0.1)
    figure.suptitle("objects on each mini-slide", x=0.01, ha="left", fontsize=12)


def _outline_field(axis: Axes, field: FieldSecured, objects: Objects) -> None:
    """Draw a field's frame, its pixel as an object in it tells it."""
    own = objects.of(objects["field"] == field.field)
    if not len(own):
        return
    height, width = field.shape_czyx[2:]
    middle = (own["box_x0"] + own["box_x1"]) / 2 - width / 2
    far = int(np.abs(middle).argmax())
    if not middle[far]:
        return
    pixel_um = float((own["x_um"][far] - field.x_um) / middle[far])
    corner = (field.x_um - width * pixel_um / 2) / 1000, (field.y_um - height * pixel_um / 2) / 1000
    size = width * pixel_um / 1000, height * pixel_um / 1000
    axis.add_patch(Rectangle(corner, *size, facecolor="#f6f7f8", edgecolor="#d3d6da", linewidth=0.7, zorder=0))


def _scores(figure: Figure, objects: Objects) -> None:
    """How sure the detector was, a class."""
    figure.set_size_inches(7.6, 4.2)
    axis = figure.add_subplot()
    classes = objects.names("class_name")
    edges = np.linspace(min(0.5, float(objects["score"].min())), 1, 26)
    values = [objects["score"][objects["class_name"] == name] for name in classes]
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(classes))]
    labels = [f"{name}, n = {len(of)}" for name, of in zip(classes, values, strict=True)]
    axis.hist(values, edges.tolist(), stacked=True, color=colours, label=labels, edgecolor="white", linewidth=0.4)
    axis.set_title("score of the detector")
    axis.set_xlabel("score")
    axis.set_ylabel("objects")
    axis.grid(axis="x", visible=False)
    axis.legend(loc="upper left", fontsize=8)
