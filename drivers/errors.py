"""What can go wrong between this program and the hardware.

The tree decides what the night does next: a `SettingRefused` setting is told before hardware is touched, a `FieldFault`
may be tried again (every command is absolute and repeatable), a `HardwareLost` ends the microscope child.

A `FieldFault` says what it is of. Of the *frame*: it is exposed again. Of the *place*: the field is skipped where it
stays, and the next one may be well. Of the *instrument*: no field would be better than this one, so the night waits
until it is in order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

FaultOf = Literal["frame", "place", "instrument"]
"""What a fault is of, and so what helps against it."""


class DriverError(Exception):
    """Base of every error raised by `drivers`; the message names the thing, its value and the remedy."""


class SettingRefused(DriverError):
    """A setting that does not fit the hardware, found before anything moved."""


class FieldFault(DriverError):
    """An exposure or a move that failed and may be commanded again.

    Attributes
    ----------
    fault_of
        what it is of; the instrument, unless a class says otherwise.
    """

    fault_of: ClassVar[FaultOf] = "instrument"


class DeviceFault(FieldFault):
    """A device, or Micro-Manager, said that it could not do as it was told."""


class DeviceTimeout(FieldFault):
    """A device was still busy at its deadline."""


class StageStuck(FieldFault):
    """A stage reports another position than the one commanded; the next one may be within its reach."""

    fault_of: ClassVar[FaultOf] = "place"


class StageMoved(FieldFault):
    """A stage had arrived, and stands elsewhere after the exposure: somebody, or something, moved it."""


class PresetNotReached(FieldFault):
    """A configuration preset does not read back as commanded."""


class LightFault(FieldFault):
    """Lamp or shutter read back otherwise than commanded."""


class NoLight(FieldFault):
    """Nearly all light has gone, and no device says so; a place that is covered all over looks the same."""

    fault_of: ClassVar[FaultOf] = "place"


class CameraFault(FieldFault):
    """The camera is not as the night set it up: its exposure, its region of interest, its mode."""


class InUse(FieldFault):
    """Somebody else uses the instrument, which is asked for and not fought over."""


class FrameFault(FieldFault):
    """A frame is missing, repeated, dark or saturated."""

    fault_of: ClassVar[FaultOf] = "frame"


class OutsideWindow(DriverError):
    """A commanded position lies outside the slide's z window or the stage's travel; never sent to the hardware."""


class HardwareLost(DriverError):
    """The core or the bridge no longer answers; only a new microscope child can help."""


class ImageRefused(DriverError):
    """An image of an archive that cannot be taken as a focus stack; the message is what is wrong with it."""


class NotSaid(ImageRefused):
    """An image that does not say how large its pixels are or how far apart its planes, when nobody else does either."""


def told_um(name: str, *where_um: float) -> None:
    """Refuse what is no place: it compares with nothing, so that no tolerance would find it off."""
    if not all(map(math.isfinite, where_um)):
        raise DeviceFault(
            f"{name} says that it stands at {', '.join(f'{at:g}' for at in where_um)} um; check the device"
        )


_JAVA_CLASS = re.compile(r"^(?:[\w$]+\.)+[\w$]*(?:Exception|Error): ")


def said_by(error: BaseException) -> str:
    """Write what an exception says on one line; one of Java names its class before, and where it was thrown after."""
    text = str(error).strip().partition("\n")[0].strip()
    return _JAVA_CLASS.sub("", text) or type(error).__name__


@contextmanager
def explaining(doing: str, fault: type[FieldFault] = DeviceFault) -> Iterator[None]:
    """Turn what a back-end raises, which may carry only a text, into a `DriverError` that says what was being done."""
    try:
        yield
    except DriverError:
        raise
    except Exception as error:
        text = said_by(error)
        if isinstance(error, TimeoutError) or "timed out" in text:
            raise DeviceTimeout(f"{doing}: {text}; check the device and its cable") from error
        if isinstance(error, ConnectionError) or "Bridge has been closed" in text:
            raise HardwareLost(f"{doing}: the hardware no longer answers ({text}); call the operator") from error
        raise fault(f"{doing}: {text}; check the device") from error
