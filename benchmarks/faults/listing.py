"""The list of faults: what is wrong, with which part of the instrument, and how it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults.night import FIELDS, SLIDES
from benchmarks.faults.world import Place, Trouble
from drivers.settings import FaultKind
from drivers.virtual_slide.seeds import chance


@dataclass(frozen=True)
class Fault:
    """A fault of the list.

    Attributes
    ----------
    name
        in words.
    part
        of the instrument.
    kind
        of the emulated microscope, or
    way
        how calls of the core are answered.
    rows
        findings at real instruments that it stands for.
    lasts
        whether it has a length; without one it is so from the start on.
    wired
        whether it is tried over the bridge's wire too.
    unseen
        why nobody can see it in what the instrument says of itself; empty where somebody can.
    parts
        of the configuration that are otherwise.
    """

    name: str
    part: str
    kind: FaultKind | None = None
    way: str | None = None
    rows: tuple[str, ...] = ()
    lasts: bool = True
    wired: bool = True
    unseen: str = ""
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def ends_process(self) -> bool:
        """Whether the process that drives the instrument ends, and forgets what an operator had set."""
        return self.kind == "hang" or self.way == "process dies"

    def trouble(self, lasts_s: float | None, seed: int) -> Trouble:
        """Make it, from a field on that a seed chooses."""
        slide = 1 + int(SLIDES * chance(seed, "slide", self.name))
        # Not the first one, where focus is searched, nor the last: what lasts is to meet others.
        place = Place(slide, 2 + int((FIELDS - 2) * chance(seed, "field", self.name)))
        return Trouble(place, lasts_s, self.kind, self.way, always=not self.lasts)


OF_LIGHT = "its fields are recorded as they are, dark or blurred; that is told, but the night does not wait"
FAULTS = (
    Fault("a shutter is closed by hand", "shutter", "shutter_closed", rows=("F1", "F2")),
    Fault("a shutter jams open", "shutter", "shutter_open", rows=("F16",)),
    Fault("a shutter stays busy", "shutter", "shutter_busy", rows=("F16",)),
    Fault("the shutter does not answer", "shutter", way="shutter mute"),
    Fault("the automatic shutter is ticked", "shutter", "auto_shutter", rows=("F1", "F2")),
    Fault("the lamp goes off, and does not say so", "lamp", "lamp_off"),
    Fault("the lamp is dim", "lamp", "lamp_dim", unseen=OF_LIGHT),
    Fault("the lamp goes out, and says so", "lamp", way="lamp out"),
    Fault("the lamp does not answer", "lamp", way="lamp mute"),
    Fault("the lamp's power is changed", "lamp", way="lamp weaker", rows=("F16",)),
    Fault("the lamp's power reads back 0.0499999 for 0.05", "lamp", way="lamp reads nearly", rows=("F10",)),
    Fault("the preset of the light is deleted", "lamp", way="light preset deleted", rows=("F16",)),
    Fault("a preset does not arrive", "preset", "preset_missed"),
    Fault("another preset is chosen by hand", "preset", "preset_changed", rows=("F3",)),
    Fault("a preset is deleted", "preset", "preset_deleted", rows=("F1",)),
    Fault("the polarizer stays busy", "preset", "polarizer_busy"),
    Fault("the polarizer does not answer", "preset", way="polarizer mute"),
    Fault("the polarizer does not say where it stands", "preset", way="polarizer says nothing", rows=("F10",)),
    Fault("a frame is lost", "camera", "dropped_frame"),
    Fault("a frame comes twice", "camera", "repeated_frame"),
    Fault("a frame is all dark", "camera", "dark_frame"),
    Fault("a frame is saturated all over", "camera", "saturated_frame"),
    Fault("the camera is off", "camera", "camera_off"),
    Fault("the camera is unplugged", "camera", way="camera unplugged"),
    Fault("the camera is busy", "camera", way="camera busy"),
    Fault("the camera has no memory left", "camera", way="camera without memory"),
    Fault("the camera times out", "camera", way="camera times out"),
    Fault("a call to the camera hangs", "camera", "hang", rows=("F7",), wired=False),
    Fault("frames of 8 bits", "camera", "pixel_type", rows=("F16",)),
    Fault("frames are turned", "camera", "frame_turned", rows=("F16",)),
    Fault("another camera is chosen", "camera", "camera_switched", rows=("F14",)),
    Fault("the region of interest is changed", "ROI", "roi_changed", rows=("F1",)),
    Fault("the binning is changed", "ROI", way="binning changed"),
    Fault("an exposure is clamped", "exposure", "exposure_clamped", rows=("F4",)),
    Fault("an exposure is refused in silence", "exposure", way="camera keeps its exposure", rows=("F4",)),
    Fault("the exposure is changed by hand", "exposure", "exposure_changed", rows=("F3",)),
    Fault("the exposure cannot be read back", "exposure", way="exposure not told"),
    Fault("the live window is opened", "live window", "live_on", rows=("F14",)),
    Fault("the joystick is touched", "joystick", "joystick", rows=("F3",)),
    Fault("the focus knob is turned", "joystick", "focus_knob", rows=("F3",)),
    Fault("the stage is stuck", "stage", "xy_stuck"),
    Fault("the stage stays busy", "stage", "xy_busy", rows=("F16",)),
    Fault("the stage does not answer", "stage", "xy_mute"),
    Fault("the stage refuses to move", "stage", way="stage refuses"),
    Fault("the stage drifts by 3 um a frame", "stage", way="stage drifts", rows=("F3",)),
    Fault("the stage creeps by 0.3 um a frame", "stage", way="stage creeps", rows=("F3",)),
    Fault("the stage says that it stands nowhere", "stage", way="stage says nan"),
    Fault("the focus drive is stuck", "focus drive", "stage_stuck"),
    Fault("the focus drive stays busy", "focus drive", "stage_busy", rows=("F16",)),
    Fault("the focus drive does not answer", "focus drive", "z_mute"),
    Fault("the focus drive refuses to move", "focus drive", way="z refuses"),
    Fault("the focus drive stops 0.4 um short", "focus drive", way="z short"),
    Fault("the focus drive drifts by 0.3 um a frame", "focus drive", way="z drifts"),
    Fault("the focus drive says that it stands nowhere", "focus drive", way="z says nan"),
    Fault("the focus drive goes in steps of 0.1 um", "focus drive", way="z in tenths", rows=("F18",)),
    Fault(
        "the objective slips, and its drive does not",
        "focus drive",
        "z_slips",
        unseen="the drive says that it stands where it was sent; only the picture is blurred",
    ),
    Fault("continuous focus comes on", "focus drive", "focus_held", rows=("F12",)),
    Fault("whether continuous focus is on is not told", "focus drive", way="focus hold mute", rows=("F12",)),
    Fault("Micro-Manager's core is gone", "server", "core_lost", rows=("F5", "F13")),
    Fault("the bridge is closed", "server", way="bridge closed", rows=("F5", "F13")),
    Fault("lamelle's microscope process dies", "server", way="process dies", rows=("F13",), wired=False),
    Fault("the connection is reset", "cable", way="connection reset"),
    Fault("all cables are pulled", "cable", way="all cables out"),
    Fault("the oil is lost", "sample", "oil_lost", unseen=OF_LIGHT),
    Fault("a bubble lies in the oil", "sample", "bubble", unseen=OF_LIGHT),
    Fault(
        "nothing lies on the mini-slide",
        "sample",
        "blank",
        unseen="nothing to be in focus is no fault; after ten such fields the rest of a mini-slide is left",
    ),
    Fault("larger z leads away from the sample", "focus drive", way="direction -1", rows=("F11",), lasts=False),
    Fault("z's direction is not known", "focus drive", way="direction 0", rows=("F11",), lasts=False),
    Fault("continuous focus cannot be switched off", "focus drive", way="focus held", rows=("F12",), lasts=False),
    Fault("the drive cannot be withdrawn", "focus drive", way="z refuses", rows=("F20",), lasts=False),
    Fault("the live window is open at the start", "live window", way="live at the start", rows=("F14",), lasts=False),
    Fault("the camera has two channels", "camera", way="two channels", rows=("F16",), lasts=False),
    Fault("the camera is a colour camera", "camera", way="colour", rows=("F16",), lasts=False),
    Fault("the camera delivers 8 bits", "camera", way="eight bits", rows=("F16",), lasts=False),
    Fault("frame_px is not the camera's", "camera", way="other frame", rows=("F20",), lasts=False),
    Fault(
        "the exposure is none of the camera's", "exposure", way="camera keeps its exposure", rows=("F4",), lasts=False
    ),
    Fault("the buffer cannot be reserved", "server", way="buffer refused", rows=("F6",), lasts=False),
    Fault(
        "a trigger cable that moves nothing",
        "cable",
        rows=("F9",),
        lasts=False,
        parts={"instrument": {"emulation": {"trigger": "dead"}, "motion": {"z_sequence": True}}},
    ),
    Fault(
        "a trigger that comes a plane late",
        "cable",
        rows=("F9",),
        lasts=False,
        parts={"instrument": {"emulation": {"trigger": "late"}, "motion": {"z_sequence": True}}},
    ),
    Fault("a device is not there", "server", way="device missing", rows=("F15",), lasts=False),
    Fault(
        "a preset is not there",
        "preset",
        rows=("F15",),
        lasts=False,
        parts={"instrument": {"light_on": ["Light", "Bright"]}},
    ),
)
