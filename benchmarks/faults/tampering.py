"""What the emulated microscope has no fault for: calls of a core, and how they are answered while it lasts."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.faults.clock import TimeIsUp
from benchmarks.faults.world import Answering, Tampering

SERIAL = "no answer at the serial port"
UNPLUGGED = "the device is not connected"


def refusing(text: str, label: str | None = None, error: type[Exception] = RuntimeError) -> Answering:
    """Answer with an error, as a device's adapter does; of one device alone where `label` names it."""

    def refuse(real: Any, *call: Any) -> Any:
        if label is None or call[:1] == (label,):
            raise error(f'Error in device "{label}": {text}' if label else text)
        return real(*call)

    return refuse


def saying(value: Any, *of: Any) -> Answering:
    """Answer with another value; only calls that begin with the arguments `of`, where there are any."""
    return lambda real, *call: value if call[: len(of)] == of else real(*call)


def ignoring(_real: Any, *_call: Any) -> None:
    """Do nothing, and say nothing."""


def _moving(x_um: float, z_um: float) -> Answering:
    """Move the stages by so much before the frame is exposed."""

    def expose(real: Any) -> None:
        core = real.__self__
        if x_um:
            core.set_xy_position("XY", core.get_x_position("XY") + x_um, core.get_y_position("XY"))
        if z_um:
            core.set_position("Z", core.get_position("Z") + z_um)
        real()

    return expose


def _counting(real: Any) -> Any:
    """Deliver a frame of a sequence with the camera's own counter, which has left one out before the last."""
    taken = real()
    number = int(taken.tags["ImageNumber"])
    return taken._replace(tags={**taken.tags, "PVCAM-FrameNr": str(number + (number > 2))})


def _power(lit: str) -> Answering:
    """Answer another power of the lamp while it is lit."""

    def answer(real: Any, device: str, name: str) -> Any:
        value = real(device, name)
        return lit if (device, name) == ("Camera", "TestProperty1") and float(value) else value

    return answer


def _no_preset(deleted: str, text: str) -> Answering:
    """Answer with an error where a preset of one group is asked for."""

    def set_config(real: Any, group: str, preset: str) -> Any:
        if group == deleted:
            raise RuntimeError(text)
        return real(group, preset)

    return set_config


def _dying(_real: Any) -> None:
    raise TimeIsUp("the microscope process died (exit status 1)")


EVERYTHING = (
    "snap_image", "get_image", "set_position", "get_position", "set_xy_position", "get_x_position", "set_config",
    "set_shutter_open", "get_shutter_open", "get_property", "get_exposure", "set_exposure", "device_busy",
)  # fmt: skip

WAYS: dict[str, Tampering] = {
    "camera unplugged": dict.fromkeys(("snap_image", "get_image", "get_exposure"), refusing(UNPLUGGED)),
    "camera busy": {"snap_image": refusing("the camera is busy")},
    "camera without memory": {"snap_image": refusing("bad allocation", error=MemoryError)},
    "camera times out": {"snap_image": refusing("the operation timed out", error=TimeoutError)},
    "camera keeps its exposure": {"set_exposure": ignoring},
    "exposure not told": {"get_exposure": refusing("the property cannot be read")},
    "binning changed": {
        "get_image": lambda real: real()[::2, ::2],
        "get_image_height": lambda real: real() // 2,
        "get_image_width": lambda real: real() // 2,
    },
    "lamp mute": dict.fromkeys(("set_shutter_open", "get_shutter_open"), refusing(SERIAL, "Lamp")),
    "lamp out": {"get_shutter_open": saying(False, "Lamp")},
    "lamp weaker": {"get_property": _power("0.0300")},
    "lamp reads nearly": {"get_property": _power("0.0499999")},
    "light preset deleted": {"set_config": _no_preset("Light", "there is no such preset")},
    "shutter mute": dict.fromkeys(("set_shutter_open", "get_shutter_open"), refusing(SERIAL, "Shutter")),
    "polarizer mute": {"set_config": _no_preset("Polarization", SERIAL)},
    "polarizer says nothing": {"get_property": saying("", "Polarizer")},
    "stage drifts": {"snap_image": _moving(3.0, 0.0)},
    "stage creeps": {"snap_image": _moving(0.3, 0.0)},
    "stage refuses": {"set_xy_position": refusing("position out of range")},
    "stage says nan": {"get_x_position": saying(math.nan)},
    "z drifts": {"snap_image": _moving(0.0, -0.3)},
    "z refuses": {"set_position": refusing("drive error 5")},
    "z short": {"set_position": lambda real, label, z_um: real(label, z_um - 0.4)},
    "z in tenths": {"set_position": lambda real, label, z_um: real(label, round(z_um, 1))},
    "z says nan": {"get_position": saying(math.nan)},
    "focus hold mute": {"is_continuous_focus_enabled": refusing(SERIAL)},
    "bridge closed": {"snap_image": refusing("Bridge has been closed")},
    "connection reset": {"get_position": refusing("connection reset by peer", error=ConnectionResetError)},
    "all cables out": dict.fromkeys(EVERYTHING, refusing(UNPLUGGED)),
    "camera counts": {"pop_next_tagged_image": _counting},
    "process dies": {"snap_image": _dying},
    # From the start on.
    "device missing": {"get_device_name": refusing("no such label", "Z")},
    "direction -1": {"get_focus_direction": saying(-1)},
    "direction 0": {"get_focus_direction": saying(0)},
    "focus held": {"is_continuous_focus_enabled": saying(True), "enable_continuous_focus": ignoring},
    "live at the start": {"is_sequence_running": saying(True)},
    "two channels": {"get_number_of_camera_channels": saying(2)},
    "colour": {"get_bytes_per_pixel": saying(4)},
    "eight bits": {"get_bytes_per_pixel": saying(1)},
    "other frame": {"get_image_width": saying(512)},
    "buffer refused": {
        "get_circular_buffer_memory_footprint": saying(1),
        "set_circular_buffer_memory_footprint": refusing("out of memory"),
    },
}
"""What is wrong, by a word, and which calls are answered otherwise."""
