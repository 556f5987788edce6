"""`lamelle plot`: what a scientist looks at first, as PNG files. Each picture is one function of the objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from rich.console import Console

from daemon.counts.objects import Objects, load_objects
from daemon.dataset.reader import Dataset
from daemon.figures.palette import MARKS
from daemon.figures.panels import (
    COLOURS,
    DIM,
    FAINT,
    PALE,
    STYLE,
    frames,
    histogram,
    log_edges,
    map_axis,
    plain_ticks,
    say,
    sizes,
    slide_title,
)
from daemon.figures.thickness import draw_thickness
from daemon.records.records import FieldSecured
from daemon.system.durable_files import make_folder, refusing, replacing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from inference.wording import MICROMETRE, fixed

COLUMNS = 2
SMALL_UM = 0.06
PLACOLITHS = {"ks 0.02": 0.02, "ks 0.05": 0.05, "ks 0.08": 0.08}
"""Shape factors to compare with, m = 2.71 ks L^3 (Young and Ziveri 2000, Deep-Sea Research II 47, 1679)."""

Fields = tuple[FieldSecured, ...]


def plot(folder: Path, into: Path | None, measured: int | None, console: Console) -> list[Path]:
    """Draw every picture of a dataset, or of the one in a run folder; returns what was written.

    Parameters
    ----------
    into
        folder of the pictures; `plots` beside the catalog if None.
    measured
        number of a table of `lamelle measure`, 0 for the night's own; the newest if None.
    console
        where to tell how far it is.

    Raises
    ------
    Refused
        There is no dataset, no such table, or no object, or the pictures cannot be written.
    DamagedFile
        A field's file is missing or damaged.
    """
    with Dataset.open(folder) as dataset:
        objects = load_objects(dataset, measured)
        if not len(objects):
            raise Refused(f"{dataset.folder} holds no objects to plot; plot a night that has found some")
        for gap in objects.origins.gaps:
            console.print(gap, style="yellow", markup=False, highlight=False, soft_wrap=True)
        fields = tuple(field for field in dataset.fields() if isinstance(field, FieldSecured))
        pictures: dict[str, Callable[[Figure], None]] = {
            "lengths": lambda figure: _histograms(
                figure, objects, "length_um", "length (\u00b5m)", objects.names("class_name")
            ),
            "masses": lambda figure: _histograms(figure, objects, "mass_pg", "mass (pg)", ["coccolith"]),
            "length-mass": lambda figure: _length_mass(figure, objects),
            "focus": lambda figure: _focus(figure, fields, objects.pixel_um),
            "places": lambda figure: _places(figure, objects, fields),
            "scores": lambda figure: _scores(figure, objects),
            "thickness": lambda figure: draw_thickness(figure, dataset),
        }
        target = into or dataset.folder / "plots"
        with refusing(target):
            make_folder(target)
        written = []
        for name, draw in follow(list(pictures.items()), len(pictures), "plots", console):
            with rc_context(STYLE):
                figure = Figure(layout="constrained")
                draw(figure)
                path = target / f"{name}.png"
                with refusing(path), replacing(path) as stream:
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
    """Sizes of usable objects a slide, weighted for those that were cut."""
    slides = _slides(objects)
    edges = log_edges(sizes(objects, column, classes))
    axes = _panels(figure, len(slides), (5.2, 2.9))
    for axis, (slide, sample, own) in zip(axes, slides, strict=True):
        histogram(axis, own, column, label, classes, edges)
        axis.set_title(slide_title(slide, sample))
    unit = "lengths" if column == "length_um" else "masses"
    figure.suptitle(f"{unit} of usable objects, weighted for those that are cut", x=0.01, ha="left", fontsize=12)


def _length_mass(figure: Figure, objects: Objects) -> None:
    """Mass over length of what nothing disturbs, one colour a slide, with lines of constant shape."""
    figure.set_size_inches(8.6, 6.2)
    axis = figure.add_subplot()
    measured = (objects["mass_pg"] > 0) & (objects["length_um"] > 0) & (objects.weights > 0)
    chosen, others = (objects.of(measured & there) for there in (objects.usable("mass"), ~objects.usable("mass")))
    axis.set_title("mass and length of coccoliths")
    axis.set_xlabel("length (\u00b5m)")
    axis.set_ylabel("mass (pg)")
    if not len(chosen):
        say(axis, "none was measured undisturbed")
        return
    axis.set_xscale("log")
    axis.set_yscale("log")
    low, high = chosen["length_um"].min() * 0.9, chosen["length_um"].max() * 1.15
    axis.set_xlim(low, high)
    axis.set_ylim(chosen["mass_pg"].min() * 0.6, chosen["mass_pg"].max() * 1.8)
    for name, factor in PLACOLITHS.items():
        ends = np.array([low, high])
        axis.plot(ends, 2.71 * factor * ends**3, color=FAINT, linewidth=0.9, linestyle="--", zorder=1)
        axis.annotate(name, (low * 1.02, 2.71 * factor * (low * 1.02) ** 3), fontsize=8, color=DIM, va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
    axis.scatter(others["length_um"], others["mass_pg"], s=9, color=PALE, linewidths=0,
                 label=f"not usable for mass: {len(others)}")  # fmt: skip
    for place, (slide, sample, own) in enumerate(_slides(chosen)):
        colour = COLOURS[place % len(COLOURS)]
        axis.errorbar(own["length_um"], own["mass_pg"], own["calcite_equivalent_deviation_pg"], fmt="none",
                      ecolor=colour, alpha=0.35, elinewidth=0.8)  # fmt: skip
        axis.scatter(own["length_um"], own["mass_pg"], s=15, color=colour, marker=MARKS[place % len(MARKS)],
                     alpha=0.8, linewidths=0, label=f"{slide_title(slide, sample)}: {len(own)}")  # fmt: skip
    plain_ticks(axis)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.legend(loc="lower right", fontsize=8)


def _focus(figure: Figure, fields: Fields, pixel_um: float | None) -> None:
    """Height of focus of each field, as a map a slide."""
    numbers = sorted({field.slide for field in fields})
    axes = _panels(figure, len(numbers), (4.8, 4.2))
    for axis, slide in zip(axes, numbers, strict=True):
        own = [field for field in fields if field.slide == slide]
        heights = [field.focus.z_um for field in own if field.focus.z_um is not None]
        values = np.array([np.nan if field.focus.z_um is None else field.focus.z_um for field in own])
        colours = _frames(axis, own, pixel_um, values)
        figure.colorbar(colours, ax=axis, shrink=0.85, label="focus (\u00b5m)")
        spread = f", {fixed(min(heights), 1)} to {fixed(max(heights), 1)} {MICROMETRE}" if heights else ", blank"
        axis.set_title(f"{slide_title(slide, own[0].sample)}{spread}", fontsize=10)
        map_axis(axis)
    figure.suptitle("height of focus", x=0.01, ha="left", fontsize=12)


def _frames(
    axis: Axes, fields: Sequence[FieldSecured], pixel_um: float | None, values: NDArray[np.float64] | None = None
) -> ScalarMappable:
    """Draw the frames of fields; small ones where nothing tells how large they are."""
    height, width = fields[0].shape_czyx[2:]
    scale = pixel_um or SMALL_UM
    centres = np.array([(field.x_um, field.y_um) for field in fields])
    return frames(axis, centres, (width * scale, height * scale), values)


def _places(figure: Figure, objects: Objects, fields: Fields) -> None:
    """Where the objects lie on each mini-slide, and which fields were seen."""
    slides, classes = _slides(objects), objects.names("class_name")
    axes = _panels(figure, len(slides), (4.8, 4.6))
    for axis, (slide, sample, own) in zip(axes, slides, strict=True):
        _frames(axis, [field for field in fields if field.slide == slide], objects.pixel_um)
        for name in classes:
            chosen = own.of(own["class_name"] == name)
            colour = COLOURS[classes.index(name) % len(COLOURS)]
            axis.scatter(chosen["x_um"] / 1000, chosen["y_um"] / 1000, s=7, color=colour, linewidths=0,
                         label=f"{name} {len(chosen)}")  # fmt: skip
        axis.set_title(slide_title(slide, sample), fontsize=10)
        map_axis(axis)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, fontsize=8, handletextpad=0.1)
    figure.suptitle("objects on each mini-slide", x=0.01, ha="left", fontsize=12)


def _scores(figure: Figure, objects: Objects) -> None:
    """How sure the detector was, a class."""
    figure.set_size_inches(7.6, 4.2)
    axis = figure.add_subplot()
    classes = objects.names("class_name")
    edges = np.linspace(min(0.5, float(objects["score"].min())), 1, 26)
    for name, colour in zip(classes, COLOURS * (1 + len(classes) // len(COLOURS)), strict=False):
        values = objects["score"][objects["class_name"] == name]
        axis.hist(values, edges.tolist(), histtype="stepfilled", facecolor=colour, alpha=0.25)
        axis.hist(
            values, edges.tolist(), histtype="step", color=colour, linewidth=1.8, label=f"{name}, n = {len(values)}"
        )
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.7)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_title("score of the detector")
    axis.set_xlabel("score")
    axis.set_ylabel("objects")
    axis.grid(axis="x", visible=False)
    axis.legend(loc="upper left", fontsize=8)
