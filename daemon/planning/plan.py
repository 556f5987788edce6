"""The plan of a night: every field, in the order it is taken; and what stands for it in an archive."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from useq import GridRowsColumns

from daemon.config.model import FieldPattern, NightConfig
from daemon.config.samples import SAMPLE
from daemon.records.fields import PlannedField
from daemon.system.errors import Refused
from drivers.settings import MiniSlide


@dataclass(frozen=True)
class FrameSize:
    """Size of the camera's frame on the sample, and the pitch of a grid of frames that overlap, in um."""

    width_um: float
    height_um: float
    overlap: float

    @property
    def pitch_um(self) -> tuple[float, float]:
        """Distance between the centres of neighbouring columns and rows."""
        return self.width_um * (1 - self.overlap), self.height_um * (1 - self.overlap)


@dataclass(frozen=True)
class _Cell:
    """A cell of a grid: row (counted against y), column, and in um about the grid's centre its own centre and tile."""

    row: int
    column: int
    x_um: float
    y_um: float
    tile_um: tuple[float, float, float, float]


def frame_of(config: NightConfig) -> FrameSize:
    """Return the frame of a night's camera."""
    height_px, width_px = config.instrument.frame_px
    pixel_um = config.instrument.pixel_um
    return FrameSize(width_px * pixel_um, height_px * pixel_um, config.scan.pattern.overlap)


def make_plan(config: NightConfig, samples: Mapping[int, Mapping[str, str]]) -> tuple[PlannedField, ...]:
    """Every field of the night: mini-slides as listed, fields numbered from 1 in the order they are taken.

    Raises
    ------
    Refused
        The fields asked for do not fit on a mini-slide.
    """
    frame = frame_of(config)
    return tuple(
        field
        for slide in config.scan.slides
        for field in _plan_slide(slide, config.scan.fields, config.scan.pattern, frame, samples[slide.position][SAMPLE])
    )


def capacity(slide: MiniSlide, margin_um: float, frame: FrameSize) -> tuple[int, int]:
    """Columns and rows of whole frames that fit on a mini-slide inside the margin."""

    def fitting(size_um: float, frame_um: float, pitch_um: float) -> int:
        # A nanometre forgives the rounding of sizes that fit exactly.
        spare = size_um - 2 * margin_um - frame_um + 1e-3
        return 0 if spare < 0 else 1 + math.floor(spare / pitch_um)

    return (
        fitting(slide.size_um[0], frame.width_um, frame.pitch_um[0]),
        fitting(slide.size_um[1], frame.height_um, frame.pitch_um[1]),
    )


def _plan_slide(
    slide: MiniSlide, fields: int, pattern: FieldPattern, frame: FrameSize, sample: str
) -> list[PlannedField]:
    columns, rows = capacity(slide, pattern.margin_um, frame)
    if fields > columns * rows:
        raise Refused(
            f"scan.fields is {fields}, but slide {slide.position} ({slide.size_um[0]:g} x {slide.size_um[1]:g} um, "
            f"margin {pattern.margin_um:g} um) holds only {columns * rows} fields of {frame.width_um:.1f} x "
            f"{frame.height_um:.1f} um; ask for fewer fields, a smaller scan.pattern.margin_um or a larger overlap"
        )
    if pattern.kind == "grid":
        columns, rows = _compact(fields, columns, rows, frame.pitch_um)
        cells = _cells(columns, rows, frame)
    else:
        every = _cells(columns, rows, frame)
        cells = tuple(sorted(every, key=lambda cell: _lot(pattern.seed, slide.position, cell)))
    return [_place(slide, cell, number, sample) for number, cell in enumerate(cells[:fields], 1)]


def _compact(fields: int, columns: int, rows: int, pitch_um: tuple[float, float]) -> tuple[int, int]:
    """Columns and rows of a grid that just holds `fields`, as square as the room for `columns` and `rows` allows."""
    square = math.ceil(math.sqrt(fields * pitch_um[1] / pitch_um[0]) - 1e-9)
    fewest = math.ceil(fields / rows)
    width = min(max(square, fewest, 1), columns)
    return width, math.ceil(fields / width)


@lru_cache(maxsize=8)
def _cells(columns: int, rows: int, frame: FrameSize) -> tuple[_Cell, ...]:
    """All cells of a grid about the origin, in serpentine order; kept, since mini-slides are mostly of one size."""
    grid = GridRowsColumns(
        rows=rows,
        columns=columns,
        fov_width=frame.width_um,
        fov_height=frame.height_um,
        overlap=(100 * frame.overlap, 100 * frame.overlap),
    )
    pitch_x, pitch_y = frame.pitch_um
    cells = []
    for (row, column), position in zip(grid.mode.generate_indices(rows, columns), grid, strict=True):
        # Edges are whole pitches from one origin, so that neighbours get the very same float.
        left, right = ((column + k - columns / 2) * pitch_x for k in (0, 1))
        low, high = ((rows / 2 - row - k) * pitch_y for k in (1, 0))
        cells.append(_Cell(row, column, position.x, position.y, (left, low, right, high)))
    return tuple(cells)


def _lot(seed: int, position: int, cell: _Cell) -> bytes:
    """Sort key of a random order that no version of a library changes: a resumed night has the same plan."""
    return hashlib.sha256(f"{seed} {position} {cell.row} {cell.column}".encode()).digest()


def _place(slide: MiniSlide, cell: _Cell, number: int, sample: str) -> PlannedField:
    x, y = slide.centre_um
    x0, y0, x1, y1 = cell.tile_um
    return PlannedField(
        slide=slide.position,
        field=number,
        sample=sample,
        x_um=x + cell.x_um,
        y_um=y + cell.y_um,
        tile_um=(float(x + x0), float(y + y0), float(x + x1), float(y + y1)),
    )
