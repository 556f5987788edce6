"""Settings of the instrument, as they stand in a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.earlier_replay import in_one_language
from drivers.profile_names import Profile

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(Settings):
    """A closed interval in um."""

    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    def holds(self, value: float) -> bool:
        """Whether the interval contains `value`."""
        return self.low <= value <= self.high


class Travel(Settings):
    """How far the stages may go."""

    x_um: Range
    y_um: Range
    z_um: Range


class Devices(Settings):
    """Labels, in the hardware file, of the devices that play a role."""

    camera: str = "Camera"
    xy_stage: str = "XY"
    focus: str = "Z"
    shutter: str | None = "Shutter"
    lamp: str | None = None


class PolarizationPreset(Settings):
    """A polarization state: for Micro-Manager a configuration preset of the hardware file, and how long to expose.

    Numbers of the preset, such as a retardance, may read back by the share `tolerance` off.
    """

    group: str = ""
    preset: str = ""
    exposure_ms: Positive
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.01


class Deadlines(Settings):
    """Seconds after which a wait is a fault."""

    move_s: Positive = 10.0
    focus_s: Positive = 3.0
    switch_s: Positive = 3.0
    frame_s: Positive = 2.0


class Motion(Settings):
    """How the stages are approached and how well they must arrive.

    With `z_sequence` the camera steps a stage that it can trigger, once that has been seen to be true: a night wants a
    calibration of `trigger` for it.
    """

    z_backlash_um: NotNegative = 2.0
    xy_tolerance_um: Positive = 1.0
    z_tolerance_um: Positive = 0.15
    z_sequence: bool = False
    withdrawn_z_um: Finite


FaultKind = Literal[
    # a frame, the sample, the program
    "dropped_frame", "repeated_frame", "dark_frame", "saturated_frame", "hang", "die", "oil_lost", "lamp_dim",
    "lamp_off", "bubble", "blank",
    # devices that do not do as they are told
    "stage_stuck", "stage_busy", "z_mute", "z_slips", "xy_stuck", "xy_busy", "xy_mute", "preset_missed",
    "polarizer_busy", "shutter_closed", "shutter_open", "shutter_busy", "exposure_clamped", "camera_off", "core_lost",
    # what an operator, or a setting of Micro-Manager, does meanwhile
    "joystick", "focus_knob", "preset_changed", "preset_deleted", "auto_shutter", "exposure_changed", "roi_changed",
    "pixel_type", "frame_turned", "live_on", "camera_switched", "focus_held",
]  # fmt: skip


class ChanceFault(Settings):
    """A fault of the emulated microscope: at named fields, or by chance; on the first attempts or on every one.

    One that lasts begins at the first exposure that it meets, and holds for `lasts_s` seconds or `lasts_exposures`
    exposures, whichever end comes first, whatever is exposed meanwhile; it does not come back.
    """

    kind: FaultKind
    slide: int | None = None
    fields: tuple[int, ...] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    attempts: Annotated[int, Field(ge=1)] | None = 1
    lasts_s: Positive | None = None
    lasts_exposures: Annotated[int, Field(ge=1)] | None = None

    @property
    def lasts(self) -> bool:
        """Whether it holds for a time, or for a number of exposures."""
        return self.lasts_s is not None or self.lasts_exposures is not None


class Lamp(Settings):
    """The light of the emulated microscope before it meets the sensor.

    `power` is a factor on all of its light, 0 for a lamp that has failed. `drift` is the greatest slow deviation of
    the lamp's power over a mini-slide, `flicker` the standard deviation from frame to frame, `vignette` the loss in the
    frame's corners, `fringes` the amplitude of interference fringes in parallel light, all as shares of the light;
    `dust` is a factor on the number of grains.
    """

    power: NotNegative = 1.0
    drift: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    flicker: Annotated[float, Field(ge=0, le=0.05)] = 0.003
    vignette: Annotated[float, Field(ge=0, le=0.9)] = 0.12
    dust: Annotated[float, Field(ge=0, le=10)] = 1.0
    fringes: Annotated[float, Field(ge=0, le=0.1)] = 0.007


class Sensor(Settings):
    """The camera of the emulated microscope.

    With 12 bits a frame holds 0 to 4095 and all of the light lies in that range. `gain_spread` is the standard
    deviation of the pixels' gain over its mean, `hot_pixels` the share of pixels whose offset grows with exposure.
    """

    bits: Literal[12, 16] = 16
    gain_spread: Annotated[float, Field(ge=0, le=0.1)] = 0.004
    hot_pixels: Annotated[float, Field(ge=0, le=0.01)] = 2e-5


class Timing(Settings):
    """How long the emulated hardware takes; all zero runs as fast as the computer allows."""

    xy_ms: NotNegative = 150.0
    z_ms: NotNegative = 15.0
    polarizer_ms: NotNegative = 120.0


class PolarizerErrors(Settings):
    """How far the polarizer and the analyser of the emulated microscope are from circular ones.

    Of the retarders, phase beyond a quarter wave and turn of the axis; `depolarised` is the share of either state that
    is seen in the other; `shift_px` is how far crossed lies from parallel on the camera, x and y.
    """

    polarizer_retarder_deg: Finite = 2.0
    polarizer_azimuth_deg: Finite = 0.4
    analyser_retarder_deg: Finite = -1.5
    analyser_azimuth_deg: Finite = 0.3
    depolarised: Annotated[float, Field(ge=0, lt=1)] = 0.002
    shift_px: tuple[Finite, Finite] = (1.2, -0.7)


class Misalignment(Settings):
    """How far the stages of the emulated microscope are from the camera's axes, and from where they say they stand.

    The camera turns by `rotation_deg` from columns towards rows to look along the stage's x axis, which is `mirrored`
    where it runs against the columns; the y axis is `shear_deg` short of a right angle to it. A um of the stage is
    `stage_scale` true ones along x and y, one of the z stage `z_scale`; a pixel is `pixel_scale` times as wide as
    `instrument.pixel_um` says. Each mini-slide turns about its `centre_um`, its sides and its tilt with the camera.

    Along x and y the stage lags behind by `xy_backlash_um` after moves towards smaller values; at every field it stands
    `xy_repeatability_um` (standard deviation, either axis) from where it says.
    """

    rotation_deg: Annotated[float, Field(ge=-180, le=180)] = 0.0
    shear_deg: Annotated[float, Field(gt=-45, lt=45)] = 0.0
    mirrored: bool = False
    stage_scale: tuple[Positive, Positive] = (1.0, 1.0)
    pixel_scale: Positive = 1.0
    z_scale: Positive = 1.0
    xy_backlash_um: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    xy_repeatability_um: NotNegative = 0.0


class Plate(Settings):
    """A uniform retarder that lies under the emulated objective instead of any specimen.

    `azimuth_deg` is the direction of its fast axis, from columns towards rows.
    """

    retardation_nm: Annotated[float, Field(gt=0, le=2000)]
    azimuth_deg: Finite = 0.0


class Micrometer(Settings):
    """A ruled slide that lies under the emulated objective instead of any specimen: opaque lines of chrome on glass.

    The middles of neighbouring lines, each `line_um` wide, are `pitch_um` apart; `angle_deg` is the direction across
    the lines, from columns towards rows.
    """

    pitch_um: Annotated[float, Field(ge=1, le=100)] = 10.0
    line_um: Annotated[float, Field(ge=0.2)] = 2.0
    angle_deg: Annotated[float, Field(ge=-180, le=180)] = 0.0

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.line_um > 0.9 * self.pitch_um:
            raise ValueError(
                f"lines of {self.line_um:g} um leave no room at a pitch_um of {self.pitch_um:g}; "
                "make line_um 0.9 of it at most"
            )
        return self


class Mounting(Settings):
    """What the objects of the virtual slide lie in and how they are lit.

    `medium_index` is the refractive index of the mounting medium, `condenser_na` the aperture of the illumination,
    `bandwidth_nm` the full width at half maximum of the lamp's band around `wavelength_nm`.
    """

    medium_index: Annotated[float, Field(ge=1.3, le=1.8)] = 1.56
    condenser_na: Annotated[float, Field(ge=0.1, le=1.2)] = 0.5
    wavelength_nm: Annotated[float, Field(ge=400, le=700)] = 546.0
    bandwidth_nm: Annotated[float, Field(ge=0, le=60)] = 20.0


Trigger = Literal["none", "true", "late", "dead"]
"""A cable from the emulated camera to the z stage: none, one that works, a plane late, or one that moves nothing."""


class Emulation(Settings):
    """The emulated microscope: its virtual slide, its pace, its faults."""

    seed: int = 1
    profile: Profile = "easy"
    density: Positive = 1.0
    settling: Literal["poisson", "clustered"] = "poisson"
    collection: Annotated[int, Field(ge=0)] = 1
    turned_over: bool = False
    mounting: Mounting = Mounting()
    polarizers: PolarizerErrors = PolarizerErrors()
    plate: Plate | None = None
    micrometer: Micrometer | None = None
    misalignment: Misalignment = Misalignment()
    timing: Timing = Timing()
    trigger: Trigger = "none"
    backlash_um: NotNegative = 0.6
    drift_um_per_field: Finite = 0.01
    jitter_um: NotNegative = 0.03
    tilt_um_per_mm: NotNegative = 3.0
    height_um: NotNegative = 8.0
    bend_um: NotNegative = 2.0
    lamp: Lamp = Lamp()
    sensor: Sensor = Sensor()
    faults: tuple[ChanceFault, ...] = ()

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.plate is not None and self.micrometer is not None:
            raise ValueError("plate and micrometer cannot both lie under the objective; leave one of them out")
        return self


class Replay(Settings):
    """Recorded stacks that take the camera's place.

    `planes` says how the files below `folder` are named, as `lamelle detect --planes` does: `{field}`, `{z}` and
    `{polarization}` stand for what differs, `{slide}` (1 to 8) gives each mini-slide fields of its own; without it all
    replay the same, and without `planes` every image there is a stack, or several. `polarizations` are the words that
    names have for the states, such as `crossed=LR`, where these are not the states themselves.
    """

    folder: Path
    planes: Annotated[str, Field(min_length=1)] | None = None
    polarizations: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, given: Any) -> Any:
        """Read the keys of version 0.2 as what they mean today."""
        return in_one_language(given) if isinstance(given, dict) else given


class MiniSlide(Settings):
    """One mini-slide of the holder: where it lies and how near the objective may come."""

    position: Annotated[int, Field(ge=1, le=8)]
    centre_um: tuple[Finite, Finite]
    size_um: tuple[Positive, Positive]
    z_um: Finite
    z_window_um: Range


class Instrument(Settings):
    """A microscope: which back-end drives it, its devices and its limits.

    `options` are those of a back-end that another package offers; it says which there are. `objective` is what papers
    should say of it.
    """

    name: str
    backend: str
    objective: str = ""
    options: dict[str, Any] = Field(default={})
    hardware: Path | None = None
    adapters: Path | None = None
    bridge_port: Annotated[int, Field(ge=1, le=65535)] = 4827
    devices: Devices = Devices()
    polarizations: dict[str, PolarizationPreset]
    light_on: tuple[str, str] | None = None
    light_off: tuple[str, str] | None = None
    frame_px: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]]
    pixel_um: Positive
    travel: Travel
    motion: Motion
    deadlines: Deadlines = Deadlines()
    buffer_mb: Annotated[int, Field(ge=16)] = 256
    emulation: Emulation | None = None
    replay: Replay | None = None
