"""The charts of a report: each drawn once, kept as SVG in the colours of a page and as PNG for paper."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from daemon.counts.objects import Objects
from daemon.figures.palette import MARKS, TONES
from daemon.figures.panels import (
    AXES,
    COLOURS,
    DIM,
    FAINT,
    GRID,
    INK,
    PALE,
    PAPER,
    STYLE,
    frames,
    histogram,
    log_edges,
    map_axis,
    say,
    sizes,
)
from daemon.report.numbers import FieldNumbers, NightNumbers, SlideNumbers

SIZE, MAP_SIZE = (5.2, 3.0), (4.4, 3.2)
"""Inches; on a phone a chart is as wide as the screen, and its letters can still be read."""
PAPER_DPI = 170
OF_THE_PAGE = {
    INK: "var(--ink)",
    DIM: "var(--dim)",
    FAINT: "var(--dim)",
    GRID: "var(--grid)",
    to_hex(PAPER): "var(--paper)",
    AXES: "var(--dim)",
    PALE: "var(--dim)",
    **{colour: f"var(--series-{at})" for at, colour in enumerate(COLOURS, start=1)},
    **{tone.light: f"var(--{name})" for name, tone in TONES.items() if name != "running"},
}
"""Colours of charts, which become those of the page, light or dark."""
BY_RULE, BY_PERSON = "not counted, by the rule", "not counted, by a person"
MARKED = (
    ("skipped", "skipped", TONES["bad"].light, "xxxx"),
    (BY_RULE, BY_RULE, TONES["warning"].light, "////"),
    (BY_PERSON, BY_PERSON, TONES["warning"].light, "\\\\\\\\"),
    ("not analysed", "not analysed", DIM, "...."),
    ("open", "not done", PALE, ""),
)
"""States of fields that maps mark: state, word, colour, hatching."""
MASSES_OF = ("coccolith",)
TICKS_S, MOST_TICKS = (5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 864000), 5
"""Distances of ticks over time, in s, and how many there are at most."""
SLIDES = 24
DOTS = 3_000
"""Of more fields the dots of charts over time are drawn as pixels, so that a page does not grow without bound."""
_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_NAMED = re.compile(r'(\bid="|url\(#|href="#)')
_SIZED = re.compile(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"(?=[^>]*viewBox)')


@dataclass(frozen=True)
class Chart:
    """A chart: what it shows in words, its SVG (text, to stand inside a page) and its PNG."""

    name: str
    about: str
    svg: str
    png: bytes


@dataclass(frozen=True)
class SlideCharts:
    """The charts of one mini-slide; no maps where nothing tells where its fields lie."""

    slide: int
    charts: tuple[Chart, ...]


def draw_slides(numbers: NightNumbers, objects: Objects) -> Iterator[SlideCharts]:
    """Draw the maps and the lengths of each mini-slide that anything was seen of, of `SLIDES` at most."""
    edges = log_edges(sizes(objects, "length_um", numbers.classes))
    seen = [slide for slide in numbers.slides if slide.recorded or slide.skipped]
    for slide in seen[:SLIDES]:
        own = objects.of(objects["slide"] == slide.slide)
        charts = []
        places = {(field.x_um, field.y_um) for field in slide.fields if np.isfinite(field.x_um)}
        if len(places) > 1:
            found = _column(slide.fields, _objects_of)
            heights = _column(slide.fields, lambda field: field.focus_z_um)
            charts.append(_map(numbers, slide, "objects", "objects per field", found, "viridis"))
            charts.append(_map(numbers, slide, "focus", "focus (\u00b5m)", heights, "cividis"))
        if len(own):
            about = f"lengths of usable objects on mini-slide {slide.slide}"
            classes = own.names("class_name")
            ordered = [name for name in numbers.classes if name in classes]
            draw = partial(
                histogram, objects=own, column="length_um", label="length (\u00b5m)", classes=ordered, edges=edges
            )
            charts.append(_chart(f"lengths-{slide.slide}", about, draw))
        yield SlideCharts(slide.slide, tuple(charts))


def draw_night(numbers: NightNumbers, objects: Objects) -> Iterator[Chart]:
    """Draw what concerns the whole night: sizes by class, and what changed while it went on."""
    if len(objects):
        classes = [name for name in numbers.classes if name in objects.names("class_name")]
        lengths = log_edges(sizes(objects, "length_um", classes))
        about = "lengths of usable objects, all mini-slides, weighted for those that are cut"
        label = "length (\u00b5m)"
        yield _chart("lengths", about, lambda axis: histogram(axis, objects, "length_um", label, classes, lengths))
    if (masses := sizes(objects, "mass_pg", MASSES_OF)).size:
        edges = log_edges(masses)
        about = "masses of usable coccoliths, all mini-slides"
        yield _chart("masses", about, lambda axis: histogram(axis, objects, "mass_pg", "mass (pg)", MASSES_OF, edges))
    fields = [field for field in numbers.fields if field.exposed_utc is not None]
    if not fields:
        return
    clocked = all(field.expose_s is not None for field in fields)
    ordered = sorted(fields, key=lambda field: field.exposed_utc or 0.0) if clocked else fields
    over = _Over(ordered, clocked)
    yield _chart("objects", "objects per field over the night", lambda axis: _objects_over(axis, over))
    if any(field.focus_z_um is not None for field in ordered):
        yield _chart("focus", "height of focus over the night", lambda axis: _focus_over(axis, over))
    if any(field.backgrounds_dn for field in ordered):
        about = "background over the night: lamp, immersion, bubbles"
        yield _chart("background", about, lambda axis: _background_over(axis, over, numbers.polarizations))


class _Over:
    """Fields along time, or in their order where no clock tells."""

    def __init__(self, fields: Sequence[FieldNumbers], clocked: bool) -> None:
        self.fields = fields
        self.clocked = clocked
        times = [field.exposed_utc or 0.0 for field in fields]
        self.x = np.array(times if clocked else range(1, len(fields) + 1), np.float64)

    def dots(self, axis: Axes, values: NDArray[np.float64], kind: int, label: str | None = None) -> None:
        """Draw a dot each; of several kinds, which have a label, each has a colour and a mark of its own."""
        size, colour = 14 if len(values) < 300 else 5, COLOURS[kind % len(COLOURS)]
        mark = MARKS[0 if label is None else kind % len(MARKS)]
        axis.scatter(self.x, values, s=size, color=colour, marker=mark, alpha=0.8, linewidths=0, label=label,
                     rasterized=len(values) > DOTS)  # fmt: skip

    def slides(self, axis: Axes) -> None:
        """Shade every other mini-slide, and write its number."""
        numbers = np.array([field.slide for field in self.fields])
        changes = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(numbers)]
        if len(changes) > 40:
            return
        for at, (begin, end) in enumerate(pairwise(changes)):
            left, right = self.x[begin], self.x[end] if end < len(self.x) else self.x[-1]
            if at % 2:
                axis.axvspan(left, right, color=FAINT, alpha=0.12, linewidth=0)
            axis.text((left + right) / 2, 1.02, str(numbers[begin]), transform=axis.get_xaxis_transform(),
                      ha="center", fontsize=8, color=DIM)  # fmt: skip

    def label(self, axis: Axes) -> None:
        axis.grid(axis="x", visible=False)
        if not self.clocked:
            axis.set_xlabel("field, in order")
            return
        first, last = float(self.x[0]), float(self.x[-1])
        step = next((step for step in TICKS_S if (last - first) / step <= MOST_TICKS), TICKS_S[-1])
        offset = datetime.fromtimestamp(first).astimezone().utcoffset() or timedelta()
        begin = math.ceil((first + offset.total_seconds()) / step) * step - offset.total_seconds()
        form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
        axis.set_xticks(np.arange(begin, last + 1e-6, step).tolist())
        axis.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: datetime.fromtimestamp(x).astimezone().strftime(form))
        )
        axis.set_xlabel("time; mini-slides above")


def _objects_over(axis: Axes, over: _Over) -> None:
    found = _column(over.fields, _objects_of)
    over.slides(axis)
    over.dots(axis, found, 0)
    axis.set_ylim(0, max(1.0, axis.get_ylim()[1]))
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_ylabel("objects per field")
    over.label(axis)


def _focus_over(axis: Axes, over: _Over) -> None:
    over.slides(axis)
    over.dots(axis, _column(over.fields, lambda field: field.focus_z_um), 4)
    axis.set_ylabel("focus (\u00b5m)")
    over.label(axis)


def _background_over(axis: Axes, over: _Over, states: Sequence[str]) -> None:
    """Each polarization against its own median of the night, so that dark and bright field can be compared."""
    over.slides(axis)
    for channel, state in enumerate(states):
        told = [field.backgrounds_dn[channel : channel + 1] or (np.nan,) for field in over.fields]
        values = np.array(told, np.float64)[:, 0]
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
        if middle > 0:
            over.dots(axis, 100 * values / middle, channel, state)
    if axis.has_data():
        axis.legend(loc="best", fontsize=8, handletextpad=0.1)
    else:
        say(axis, "not known")
    axis.set_ylabel("background (% of its median)")
    over.label(axis)


def _map(
    numbers: NightNumbers, slide: SlideNumbers, what: str, label: str, values: NDArray[np.float64], colours: str
) -> Chart:
    """Draw where the fields of a mini-slide lie, coloured by something; skipped ones and those still to do marked."""

    def draw(axis: Axes) -> None:
        centres = np.array([(field.x_um, field.y_um) for field in slide.fields])
        states = np.array([_state(field) for field in slide.fields], object)
        placed = np.isfinite(centres[:, 0])
        there = placed & np.array([one in ("recorded", "not analysed", BY_RULE, BY_PERSON) for one in states], np.bool_)
        many = len(states) > 100
        if there.any():
            scale = frames(axis, centres[there], numbers.frame_um, values[there], colours)
            ticks = MaxNLocator(5, integer=what == "objects")
            axis.figure.colorbar(scale, ax=axis, shrink=0.85, label=label, ticks=ticks)
        for state, _, colour, hatch in MARKED:
            if (some := placed & (states == state)).any():
                frames(axis, centres[some], numbers.frame_um, face="none", edge=colour)
                _drawn(axis)[-1].set_hatch(hatch)
        for drawn in _drawn(axis):
            drawn.set_rasterized(many)
        marks = [
            Patch(facecolor="none", edgecolor=colour, hatch=hatch, label=f"{n} {word}")
            for state, word, colour, hatch in MARKED
            if (n := int((states == state).sum()))
        ]
        if marks:
            axis.legend(handles=marks, loc="upper left", bbox_to_anchor=(0, 1.1), ncols=2, fontsize=8)
        map_axis(axis)

    return _chart(f"{what}-{slide.slide}", f"mini-slide {slide.slide}: {label}", draw, MAP_SIZE)


def _state(field: FieldNumbers) -> str:
    """Say what a map marks of a field: that it is not counted, and by whose word, before all else."""
    if field.counted:
        return field.state
    return BY_PERSON if field.by_person else BY_RULE


def _objects_of(field: FieldNumbers) -> int | None:
    """Give how many objects of a field count; of one that is not counted nothing is drawn, which is not 0."""
    return field.objects if field.state == "recorded" and field.counted else None


def _drawn(axis: Axes) -> list[PolyCollection]:
    return [one for one in axis.collections if isinstance(one, PolyCollection)]


def _column(fields: Sequence[FieldNumbers], value: Callable[[FieldNumbers], float | None]) -> NDArray[np.float64]:
    """Values of fields, NaN for None."""
    return np.array([np.nan if (one := value(field)) is None else one for field in fields], np.float64)


def _chart(name: str, about: str, draw: Callable[[Axes], None], size: tuple[float, float] = SIZE) -> Chart:
    with rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # A page has other fonts for letters that this one lacks; on paper a box stands for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # arranged once, for both files
        svg, png = io.StringIO(), io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=nothing, transparent=True, dpi=PAPER_DPI)
        figure.savefig(png, format="png", metadata={"Software": "lamelle"}, dpi=PAPER_DPI)
    return Chart(name, about, _for_page(svg.getvalue(), name), png.getvalue())


def _for_page(svg: str, name: str) -> str:
    """Make an SVG a part of a page: its names its own, its size and its neutral colours the page's."""
    svg = _HEAD.sub("", svg, count=1)
    svg = _STYLE.sub("", svg)  # it would count for the whole page
    svg = _SIZED.sub(lambda match: match[1] or "", svg, count=2)
    svg = _NAMED.sub(rf"\g<1>{name}-", svg)
    for colour, variable in OF_THE_PAGE.items():
        svg = svg.replace(colour, variable)
    return svg
