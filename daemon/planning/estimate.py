"""What a night will take before it begins: fields, frames, bytes, time; and how that is printed."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.analysis.kept_picture import MOST_BYTES
from daemon.config.model import Kept, NightConfig, Retention
from daemon.config.samples import SAMPLE
from daemon.records.fields import PlannedField
from daemon.system.ring import ring_bytes
from drivers.settings import MiniSlide, Timing

OBJECTS_PER_MM2 = 2700
"""About 40 objects on a frame of 121 um, as on the laboratory's mini-slides."""
OBJECT_UM = 8.0
"""Side of a usual object's box."""
TABLES_BYTES = 100_000
"""Provenance, fused crops' overhead and table rows of one field."""
GB = 1e9


@dataclass(frozen=True)
class SlideOutlook:
    """What one mini-slide will take. Bytes are uncompressed; `recorded_bytes` are crops, pictures and what is kept."""

    position: int
    sample: str
    fields: int
    frames: int
    raw_bytes: int
    recorded_bytes: int
    seconds: float


@dataclass(frozen=True)
class CheckReport:
    """What a whole night will take, and what a person should know of it before it begins.

    `retained_bytes` are of raw stacks, `fused_bytes` of fused fields, `every_fused_bytes` if all of them were kept.
    """

    slides: tuple[SlideOutlook, ...]
    ring_bytes: int
    retained_bytes: int
    fused_bytes: int
    every_fused_bytes: int
    notes: tuple[str, ...]

    @property
    def fields(self) -> int:
        """Fields of the night."""
        return sum(slide.fields for slide in self.slides)

    @property
    def frames(self) -> int:
        """Frames of the night, without searches and repetitions."""
        return sum(slide.frames for slide in self.slides)

    @property
    def raw_bytes(self) -> int:
        """Bytes that the camera will deliver."""
        return sum(slide.raw_bytes for slide in self.slides)

    @property
    def recorded_bytes(self) -> int:
        """Bytes that will be recorded, uncompressed, by the usual number of objects."""
        return sum(slide.recorded_bytes for slide in self.slides)

    @property
    def seconds(self) -> float:
        """Seconds of moves and exposures."""
        return sum(slide.seconds for slide in self.slides)


def shape_of(config: NightConfig) -> tuple[int, int, int, int]:
    """Shape of a stack, CZYX."""
    return len(config.scan.polarizations), config.scan.planes, *config.instrument.frame_px


def stack_bytes(config: NightConfig) -> int:
    """Bytes of one stack, uint16."""
    return ring_bytes(1, shape_of(config))


def crops_bytes(config: NightConfig) -> int:
    """Estimate the bytes of one field's crops and fused crops, uncompressed, and of its picture."""
    pixel_um = config.instrument.pixel_um
    area_mm2 = math.prod(config.instrument.frame_px) * pixel_um**2 / 1e6
    side_px = (OBJECT_UM + 2 * config.crops.margin_um) / pixel_um
    planes = len(config.scan.polarizations) * (config.scan.planes + 1)
    return TABLES_BYTES + MOST_BYTES + int(OBJECTS_PER_MM2 * area_mm2 * planes * 2 * side_px**2)


def fused_bytes(config: NightConfig) -> int:
    """Bytes of one fused field in full size, uint16."""
    return stack_bytes(config) // config.scan.planes


def most_field_bytes(config: NightConfig) -> int:
    """Estimate the bytes of a field of which all is kept that is kept of any."""
    raw = stack_bytes(config) if config.retention.raw != "none" else 0
    fused = fused_bytes(config) if config.retention.fused != "none" else 0
    return crops_bytes(config) + raw + fused


def undetected_field_bytes(config: NightConfig) -> int:
    """Most bytes of a field in which nothing is looked for: of raw stack, picture, and fused field if that is kept."""
    fused = fused_bytes(config) if config.retention.fused != "none" else 0
    return stack_bytes(config) + MOST_BYTES + fused


def kept_share(kept: Kept, retention: Retention) -> float:
    """Share of the fields of which something is kept."""
    return {"none": 0.0, "share": retention.share, "every": 1 / retention.every, "all": 1.0}[kept]


def timing_of(config: NightConfig) -> Timing:
    """How long moves take: as the emulated hardware is told, else as on a usual instrument."""
    return config.instrument.emulation.timing if config.instrument.emulation else Timing()


def field_seconds(config: NightConfig) -> float:
    """Seconds of one field's moves and exposures: a move, and a sweep for every polarization with the switches between.

    The order of polarizations turns round from field to field, so that a field begins with the state of the last one.
    Every sweep takes one more move of z, the approach from below. A replay takes neither moves nor exposures.
    """
    if config.instrument.backend == "replay":
        return 0.0
    timing, scan = timing_of(config), config.scan
    states = len(scan.polarizations)
    exposures_ms = scan.planes * sum(config.instrument.polarizations[state].exposure_ms for state in scan.polarizations)
    moves_ms = timing.xy_ms + (states - 1) * timing.polarizer_ms + states * (scan.planes + 1) * timing.z_ms
    return (moves_ms + exposures_ms) / 1e3


def search_seconds(config: NightConfig) -> float:
    """Seconds of one focus search of full range."""
    if config.instrument.backend == "replay":
        return 0.0
    coarse = 1 + 2 * config.focus.search_um / config.focus.search_step_um
    fine = 1 + 2 * config.focus.search_step_um / config.scan.step_um
    exposure_ms = config.instrument.polarizations[config.scan.polarizations[0]].exposure_ms
    return (coarse + fine) * (timing_of(config).z_ms + exposure_ms) / 1e3


def look_ahead(
    config: NightConfig,
    plan: Sequence[PlannedField],
    samples: Mapping[int, Mapping[str, str]],
    notes: Sequence[str] = (),
) -> CheckReport:
    """Estimate what the planned night will take."""
    stack, crops, retention = stack_bytes(config), crops_bytes(config), config.retention
    raw = kept_share(retention.raw, retention) * stack
    fused = kept_share(retention.fused, retention) * fused_bytes(config)

    def outlook(slide: MiniSlide) -> SlideOutlook:
        fields = sum(field.slide == slide.position for field in plan)
        return SlideOutlook(
            position=slide.position,
            sample=samples[slide.position][SAMPLE],
            fields=fields,
            frames=fields * len(config.scan.polarizations) * config.scan.planes,
            raw_bytes=fields * stack,
            recorded_bytes=int(fields * (crops + raw + fused)),
            seconds=fields * field_seconds(config) + search_seconds(config),
        )

    return CheckReport(
        slides=tuple(outlook(slide) for slide in config.scan.slides),
        ring_bytes=ring_bytes(config.ring_stacks, shape_of(config)),
        retained_bytes=int(len(plan) * raw),
        fused_bytes=int(len(plan) * fused),
        every_fused_bytes=len(plan) * fused_bytes(config),
        notes=tuple(notes),
    )


def render(report: CheckReport, width: int = 100) -> str:
    """Table of a report, as `lamelle check` prints it."""
    names = ("slide", "sample", "fields", "frames", "raw GB", "recorded GB", "h:mm:ss")
    table = Table(*names, title="Plan of the night", box=box.ASCII)
    for column in table.columns[2:]:
        column.justify = "right"
    for slide in report.slides:
        table.add_row(str(slide.position), Text(slide.sample), *_cells(slide))
    table.add_section()
    table.add_row("all", "", *_cells(report))
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.print(table)
    everything = report.raw_bytes / GB
    console.print(
        f"retention keeps {report.retained_bytes / GB:.1f} GB of raw stacks; all of them would be {everything:.1f} GB, "
        "which is the most that is kept when a GPU is lost in mid-night",
        f"retention keeps {report.fused_bytes / GB:.1f} GB of fused fields; all of them would be "
        f"{report.every_fused_bytes / GB:.1f} GB",
        f"ring in shared memory: {report.ring_bytes / GB:.2f} GB",
        "recorded bytes are before compression, for the usual number of objects; time is that of moves and exposures",
        *(f"note: {note}" for note in report.notes),
        sep="\n",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return out.getvalue()


def _cells(of: SlideOutlook | CheckReport) -> tuple[str, ...]:
    hours, rest = divmod(round(of.seconds), 3600)
    return (
        f"{of.fields}",
        f"{of.frames}",
        f"{of.raw_bytes / GB:.2f}",
        f"{of.recorded_bytes / GB:.2f}",
        f"{hours}:{rest // 60:02d}:{rest % 60:02d}",
    )
