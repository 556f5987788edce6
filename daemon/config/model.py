"""The configuration of a night: one frozen value, read from YAML, that refuses what it does not know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from daemon.records.flags import FieldFlag
from drivers.settings import Instrument, MiniSlide, Positive, Settings
from inference.settings import ClassifierSettings, CropSettings, DetectorSettings, FocusSettings


class FieldPattern(Settings):
    """Where the fields of a mini-slide lie: a grid in serpentine order, or its cells in a seeded random order."""

    kind: Literal["grid", "random"] = "grid"
    overlap: Annotated[float, Field(ge=0, lt=0.9)] = 0.05
    margin_um: Annotated[float, Field(ge=0)] = 1000.0
    seed: int = 1


class Scan(Settings):
    """What is exposed: mini-slides, fields, planes, polarizations in the order they are stored along C."""

    slides: Annotated[tuple[MiniSlide, ...], Field(min_length=1, max_length=8)]
    fields: Annotated[int, Field(ge=1)]
    pattern: FieldPattern = FieldPattern()
    planes: Annotated[int, Field(ge=3)]
    step_um: Positive
    polarizations: Annotated[tuple[str, ...], Field(min_length=1)]
    samples: Path


class Focus(FocusSettings):
    """How focus follows the slide.

    The first field of a slide is searched within `search_um` of the slide's z; afterwards a plane is fitted to the
    results of the last `memory` fields, and one new result may move a prediction by `max_step_um` at most. Where such
    tilts, drifts and errors as are expected leave a prediction too unsure, focus is searched again.
    """

    search_um: Positive = 20.0
    search_step_um: Positive = 1.0
    memory: Annotated[int, Field(ge=3)] = 25
    max_step_um: Positive = 1.5
    tilt_um_per_mm: Positive = 3.0
    drift_um_per_field: Positive = 0.05
    noise_um: Positive = 0.15
    blank_fields_leave_slide: Annotated[int, Field(ge=1)] = 10


class Retry(Settings):
    """How often and how long a fault is tried again before the next thing is given up."""

    attempts: Annotated[int, Field(ge=1)] = 3
    field_patience_s: Annotated[float, Field(ge=0)] = 35
    longest_pause_s: Annotated[float, Field(gt=0, le=600)] = 60
    instrument_patience_h: Annotated[float, Field(gt=0, le=72)] = 8
    light_cycles: Annotated[int, Field(ge=1)] = 500
    skipped_fields_leave_slide: Annotated[int, Field(ge=1)] = 5
    skipped_slides_stop_night: Annotated[int, Field(ge=1)] = 2


class CurveKeys(Settings):
    """CURVE key files (Z85, one line), needed by any endpoint beyond loopback.

    A computer that connects names the `server`'s public key; one that listens may name a file with the public keys of
    its `clients`, one a line, and then lets no other connect.
    """

    public: Path
    secret: Path
    server: Path | None = None
    clients: Path | None = None


class Recorder(Settings):
    """Where fields are delivered, and how much may wait on the way. Without an endpoint the night starts its own."""

    endpoint: str | None = None
    keys: CurveKeys | None = None
    spool_mb: Annotated[int, Field(ge=16)] = 20_000
    chunk_kb: Annotated[int, Field(ge=16, le=16_384)] = 1024
    credit_mb: Annotated[int, Field(ge=1)] = 16


Kept = Literal["none", "share", "every", "all"]


class Retention(Settings):
    """Of which fields raw stacks and fused fields are kept beside the crops; `share` and `every` mean the same ones."""

    raw: Kept = "none"
    fused: Kept = "none"
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    every: Annotated[int, Field(ge=1)] = 1
    seed: int = 1

    def keeps(self, what: Literal["raw", "fused"], slide: int, field: int) -> bool:
        """Whether that of a field is kept: these settings and the field's name alone decide."""
        match self.raw if what == "raw" else self.fused:
            case "all":
                return True
            case "every":
                return field % self.every == 0
            case "share":
                drawn = hashlib.sha256(f"{self.seed}/{slide}/{field}".encode()).digest()[:8]
                return int.from_bytes(drawn) / 2**64 < self.share
            case "none":
                return False


class Counting(Settings):
    """Which fields are not counted: those with one of these flags, until a person says otherwise (`lamelle include`).

    What is chosen must not depend on what was found.
    """

    not_counted: tuple[FieldFlag, ...] = (FieldFlag.OIL_LOST, FieldFlag.DARK, FieldFlag.OPERATOR)

    def excludes(self, flags: Iterable[FieldFlag]) -> tuple[FieldFlag, ...]:
        """Give those of a field's flags for which it is not counted."""
        return tuple(flag for flag in flags if flag in self.not_counted)


class Watch(Settings):
    """Endpoints for those who watch: a lossy PUB stream and a ROUTER that answers with a snapshot."""

    publish: str = "tcp://127.0.0.1:*"
    snapshot: str = "tcp://127.0.0.1:*"
    keys: CurveKeys | None = None


class ReportSettings(Settings):
    """Whether a night that is complete is reported by itself, and how long that may take."""

    make: Literal["always", "never"] = "always"
    within_s: Positive = 900.0


AlertKind = Literal[
    "crashed",
    "hung",
    "stopped",
    "interrupted",
    "not safe",
    "paused",
    "fault",
    "disk",
    "spool",
    "oil lost",
    "lamp dim",
    "focus lost",
    "nothing found",
    "goes on",
    "slide finished",
    "finished",
    "finished with skips",
]
"""What may be told of a night; docs/alerts.md says when each is."""


class Alerts(Settings):
    """Who is told from outside the night, of what, and from when on (docs/alerts.md). Nobody unless set here.

    Addresses are secrets: they stand in files of their own, so that neither `run.yaml` nor any record holds them.
    `command` is a program and its arguments, to which the message is added.
    """

    urls: Path | None = None
    command: tuple[str, ...] = ()
    dead_man: Path | None = None
    dead_man_s: Positive = 300.0
    tell: tuple[AlertKind, ...] = tuple(kind for kind in get_args(AlertKind) if kind != "slide finished")
    hung_s: Positive = 60.0
    paused_s: Annotated[float, Field(ge=0)] = 600.0
    disk_gb: Annotated[float, Field(ge=0)] = 5.0
    disk_hours: Annotated[float, Field(ge=0)] = 1.0
    spool_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    empty_fields: Annotated[int, Field(ge=1)] = 30
    unfocused_fields: Annotated[int, Field(ge=1)] = 10

    @property
    def wanted(self) -> bool:
        """Whether anybody is told anything."""
        return self.urls is not None or self.dead_man is not None or bool(self.command)


class Control(Settings):
    """Where orders are taken from those who may steer the night (docs/control.md); nowhere unless set."""

    endpoint: str | None = None
    keys: CurveKeys | None = None


class Targets(Settings):
    """What certificates say of targets that routines are held against: distance of lines, retardation of a plate."""

    micrometer_um: Positive | None = None
    micrometer_deviation_um: Annotated[float, Field(ge=0)] = 0.0
    retarder_nm: Positive | None = None
    retarder_deviation_nm: Annotated[float, Field(ge=0)] = 0.0


RoutineName = Literal[
    "dark",
    "flat",
    "camera",
    "illumination",
    "pixel-size",
    "micrometer",
    "z",
    "trigger",
    "focus",
    "polarization",
    "retarder",
]
"""The calibration routines, as `lamelle calibrate` takes them."""


class Calibration(Settings):
    """Which calibration records a night wants, where they lie, and what becomes of it without them.

    With `warn` a night goes on with assumed values where a record is `missing`, was made for another instrument
    (`foreign`) or does not hold what was written (`damaged`, the next older one is taken), and with the record itself
    where that is `expired`. `wavelength_nm` is that of the light that measures thickness.
    """

    folder: Path = Path("calibrations")
    wanted: tuple[str, ...] = ("dark", "flat", "camera", "polarization", "pixel-size")
    missing: Literal["refuse", "warn"] = "warn"
    expired: Literal["refuse", "warn"] = "warn"
    foreign: Literal["refuse", "warn"] = "warn"
    damaged: Literal["refuse", "warn"] = "refuse"
    valid_days: dict[str, Positive] = Field(default={})
    wavelength_nm: Positive = 546.0
    wavelength_deviation_nm: Annotated[float, Field(ge=0)] = 2.0
    targets: Targets = Targets()


class NightConfig(Settings):
    """A whole night. Relative paths are relative to the configuration file."""

    instrument: Instrument
    scan: Scan
    focus: Focus = Focus()
    detector: DetectorSettings = DetectorSettings()
    classifier: ClassifierSettings | None = None
    crops: CropSettings = CropSettings()
    recorder: Recorder = Recorder()
    retention: Retention = Retention()
    counting: Counting = Counting()
    retry: Retry = Retry()
    watch: Watch = Watch()
    report: ReportSettings = ReportSettings()
    alerts: Alerts = Alerts()
    control: Control = Control()
    calibration: Calibration = Calibration()
    taxonomy: Path | None = None
    counting_rules: Path | None = None
    ring_stacks: Annotated[int, Field(ge=3)] = 3
