"""The Micro-Manager core: the subset that the Python core and a running Micro-Manager both speak, and how to get one.

Over the bridge a call that hangs cannot be ended from here: pyjavaz has no receive time-out. The process that made the
call can be killed, but Micro-Manager goes on doing what it did, so the operator must be called.

Names are snake_case on both ways. Arguments are plain `str`, `float`, `bool` and `int`; property values are `str`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from drivers.errors import SettingRefused, said_by
from drivers.micromanager.handshake import ANSWER_S, probe, refuse_unless_it_answers
from drivers.micromanager.hardware_text import loadable
from drivers.settings import Instrument

PACKAGES = ("mmpycorex", "pymmcore", "pyjavaz")


AWAY = (
    "instrument.devices.focus is {label!r}, whose larger z leads away from the sample (focus direction -1{where}), so "
    "that withdrawing would drive it into the slide; turn the drive's direction round at its controller, and set its "
    "focus direction to 1"
)


class Setting(NamedTuple):
    """A property of a device, by its label, and the value it is set to."""

    device: str
    name: str
    value: str


class TaggedImage(Protocol):
    """A frame out of the circular buffer: flat or 2-D pixels, and tags such as `ImageNumber`."""

    pix: Any
    tags: dict[str, Any]


class Core(Protocol):
    """The portable subset of the Micro-Manager core."""

    def device_busy(self, label: str) -> bool: ...  # noqa: D102
    def get_version_info(self) -> str: ...  # noqa: D102
    def get_device_library(self, label: str) -> str: ...  # noqa: D102
    def get_device_name(self, label: str) -> str: ...  # noqa: D102
    def get_property(self, label: str, name: str) -> str: ...  # noqa: D102
    def set_property(self, label: str, name: str, value: str) -> None: ...  # noqa: D102
    def is_config_defined(self, group: str, preset: str) -> bool: ...  # noqa: D102
    def get_config_data(self, group: str, preset: str) -> Any: ...  # noqa: D102
    def set_config(self, group: str, preset: str) -> None: ...  # noqa: D102
    def set_camera_device(self, label: str) -> None: ...  # noqa: D102
    def get_camera_device(self) -> str: ...  # noqa: D102
    def get_number_of_camera_channels(self) -> int: ...  # noqa: D102
    def set_exposure(self, milliseconds: float) -> None: ...  # noqa: D102
    def get_exposure(self) -> float: ...  # noqa: D102
    def snap_image(self) -> None: ...  # noqa: D102
    def get_image(self) -> Any: ...  # noqa: D102
    def get_image_width(self) -> int: ...  # noqa: D102
    def get_image_height(self) -> int: ...  # noqa: D102
    def get_image_bit_depth(self) -> int: ...  # noqa: D102
    def get_bytes_per_pixel(self) -> int: ...  # noqa: D102
    def set_xy_position(self, label: str, x_um: float, y_um: float) -> None: ...  # noqa: D102
    def get_x_position(self, label: str) -> float: ...  # noqa: D102
    def get_y_position(self, label: str) -> float: ...  # noqa: D102
    def set_position(self, label: str, z_um: float) -> None: ...  # noqa: D102
    def get_position(self, label: str) -> float: ...  # noqa: D102
    def stop(self, label: str) -> None: ...  # noqa: D102
    def set_auto_shutter(self, on: bool) -> None: ...  # noqa: D102
    def get_auto_shutter(self) -> bool: ...  # noqa: D102
    def get_focus_direction(self, label: str) -> int: ...  # noqa: D102
    def is_continuous_focus_drive(self, label: str) -> bool: ...  # noqa: D102
    def is_continuous_focus_enabled(self) -> bool: ...  # noqa: D102
    def enable_continuous_focus(self, on: bool) -> None: ...  # noqa: D102
    def set_shutter_open(self, label: str, is_open: bool) -> None: ...  # noqa: D102
    def get_shutter_open(self, label: str) -> bool: ...  # noqa: D102
    def is_stage_sequenceable(self, label: str) -> bool: ...  # noqa: D102
    def get_stage_sequence_max_length(self, label: str) -> int: ...  # noqa: D102
    def load_stage_sequence(self, label: str, z_um: Any) -> None: ...  # noqa: D102
    def start_stage_sequence(self, label: str) -> None: ...  # noqa: D102
    def stop_stage_sequence(self, label: str) -> None: ...  # noqa: D102
    def start_sequence_acquisition(self, frames: int, interval_ms: float, stop_on_overflow: bool) -> None: ...  # noqa: D102
    def stop_sequence_acquisition(self) -> None: ...  # noqa: D102
    def is_sequence_running(self) -> bool: ...  # noqa: D102
    def is_buffer_overflowed(self) -> bool: ...  # noqa: D102
    def get_remaining_image_count(self) -> int: ...  # noqa: D102
    def pop_next_tagged_image(self) -> TaggedImage: ...  # noqa: D102
    def pop_next_image(self) -> Any: ...  # noqa: D102
    def pop_next_image_md(self, metadata: Any) -> Any: ...  # noqa: D102
    def clear_circular_buffer(self) -> None: ...  # noqa: D102
    def set_circular_buffer_memory_footprint(self, megabytes: int) -> None: ...  # noqa: D102
    def get_circular_buffer_memory_footprint(self) -> int: ...  # noqa: D102


class Dialect(Protocol):
    """What the two ways to a core say differently."""

    def sequence(self, z_um: Sequence[float]) -> object:
        """Make the value that `load_stage_sequence` takes."""

    def take(self, core: Core, tagged: bool) -> tuple[Any, dict[str, str]]:
        """Take the oldest frame out of the circular buffer, with its tags where they are wanted or cost nothing."""


class HeadlessDialect:
    """Of the Python core of this process."""

    def sequence(self, z_um: Sequence[float]) -> object:
        """Make a stage sequence."""
        return [float(z) for z in z_um]

    def take(self, core: Core, tagged: bool) -> tuple[Any, dict[str, str]]:  # noqa: ARG002
        """Take a frame, with its tags."""
        image = core.pop_next_tagged_image()
        return image.pix, image.tags


class BridgeDialect:
    """Of the bridge at a port. A frame costs one round trip, its tags another one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._heights: tuple[float, ...] = ()
        self._vector: Any = None
        self._metadata: Any = None

    def sequence(self, z_um: Sequence[float]) -> object:
        """Make a stage sequence; the last one serves again where it is the same."""
        from pyjavaz import JavaObject

        if tuple(z_um) != self._heights:
            self._vector = JavaObject("mmcorej.DoubleVector", port=self._port)
            for z in z_um:
                self._vector.add(float(z))
            self._heights = tuple(z_um)
        vector: object = self._vector
        return vector

    def take(self, core: Core, tagged: bool) -> tuple[Any, dict[str, str]]:
        """Take a frame, with its tags where they are wanted."""
        from pyjavaz import JavaObject

        if not tagged:
            return core.pop_next_image(), {}
        if self._metadata is None:
            self._metadata = JavaObject("mmcorej.Metadata", port=self._port)
        return core.pop_next_image_md(self._metadata), tags_of(self._metadata.serialize())

    def close(self) -> None:
        """Let go of what lies in Micro-Manager."""
        for kept in (self._vector, self._metadata):
            if kept is not None:
                kept._close()


def tags_of(serialized: str) -> dict[str, str]:
    """Read the tags that Micro-Manager writes as lines: how many there are, then a kind and its parts for each."""
    lines = iter(serialized.split("\n"))
    tags: dict[str, str] = {}
    for _ in range(int(next(lines))):
        kind, name, device, _read_only = (next(lines) for _ in range(4))
        values = [next(lines) for _ in range(int(next(lines)) if kind == "a" else 1)]
        tags[name if device == "_" else f"{device}-{name}"] = values[0] if values else ""
    return tags


def headless_core(instrument: Instrument) -> Core:
    """Start the Python core of this process, of which there is one, and load the hardware file.

    Raises
    ------
    Refused
        The adapters or the hardware file are missing, or the hardware file does not load.
    """
    import mmpycorex

    if mmpycorex.is_pymmcore_active():
        raise SettingRefused("this process already drives a Micro-Manager core; close it before another is opened")
    if instrument.hardware is None or not instrument.hardware.is_file():
        raise SettingRefused(
            f"instrument.hardware is {str(instrument.hardware)!r}, which is not a file; "
            "name a Micro-Manager hardware file (.cfg)"
        )
    folder = instrument.adapters or _installed(instrument, mmpycorex.find_existing_mm_install)
    if not folder.is_dir():
        raise SettingRefused(
            f"instrument.adapters is {str(folder)!r}, which is not a folder; name the folder of the device adapters"
        )
    try:
        with loadable(instrument.hardware) as hardware:
            mmpycorex.create_core_instance(
                str(folder), str(hardware), python_backend=True, buffer_size_mb=instrument.buffer_mb
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingRefused(
            f"instrument.hardware {str(instrument.hardware)!r} does not load ({said_by(error)}); correct the file, "
            "or check that the devices are switched on and not in use by another program"
        ) from error
    return cast(Core, mmpycorex.Core())


def _installed(instrument: Instrument, find: Callable[[], str]) -> Path:
    if instrument.backend == "emulated":
        from mm_test_adapters import device_adapter_path

        return Path(device_adapter_path())
    try:
        folder = find()
    except (ValueError, OSError) as error:
        # Nowhere on Linux, and only in its usual places elsewhere.
        raise SettingRefused(
            "instrument.adapters is missing, and no Micro-Manager was found where it is usually installed; name the "
            "folder of its device adapters"
        ) from error
    return Path(folder)


def release_headless_core() -> None:
    """Unload all devices of this process's Python core; may be called again."""
    from mmpycorex import terminate_core_instances

    terminate_core_instances()


def bridge_core(instrument: Instrument, *, beside: bool = False) -> Core:
    """Connect to a running Micro-Manager whose ZMQ server is switched on (Tools > Options > Run server on port).

    Parameters
    ----------
    beside
        whether the connection gets a socket of its own, which answers while a call over the first one hangs.

    Raises
    ------
    SettingRefused
        Nothing answers at the port, or another program does.
    """
    import mmpycorex

    port = instrument.bridge_port
    if mmpycorex.is_pymmcore_active():
        raise SettingRefused("this process already drives a Micro-Manager core; close it before a bridge is opened")
    refuse_unless_it_answers(port, probe(port))
    try:
        return cast(Core, mmpycorex.Core(port=port, new_socket=beside, timeout=round(ANSWER_S * 1e3)))
    except Exception as error:
        raise SettingRefused(
            f"instrument.bridge_port is {port}, whose server answers but gives no core ({said_by(error)}); restart "
            "Micro-Manager"
        ) from error


def close_bridge_core(core: Core) -> None:
    """Let go of a bridge; Micro-Manager goes on. pyjavaz has no public way, and does it at garbage collection."""
    cast(Any, core)._close()


def preset_settings(core: Core, group: str, preset: str) -> tuple[Setting, ...]:
    """Return what a preset sets, in its order."""
    data = core.get_config_data(group, preset)
    # The core is renamed to snake_case on both ways, but the values it returns are so only over the bridge.
    if hasattr(data, "get_setting"):
        found = [data.get_setting(i) for i in range(data.size())]
        return tuple(
            Setting(str(one.get_device_label()), str(one.get_property_name()), str(one.get_property_value()))
            for one in found
        )
    found = [data.getSetting(i) for i in range(data.size())]
    return tuple(
        Setting(str(one.getDeviceLabel()), str(one.getPropertyName()), str(one.getPropertyValue())) for one in found
    )


def versions() -> dict[str, str]:
    """Versions of the packages between this program and the core."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
