"""Nothing is believed that can be read back: light, exposure, frame, preset and place, before and after a sweep."""

from __future__ import annotations

from collections.abc import Callable

from drivers.equipment import Equipment
from drivers.errors import (
    CameraFault,
    DeviceTimeout,
    InUse,
    LightFault,
    PresetNotReached,
    StageMoved,
    explaining,
    told_um,
)
from drivers.microscope import Identity, StateReading
from drivers.settings import Instrument
from drivers.waiting import Clock

EXPOSURE_SHARE = 0.01
"""By this share a camera may expose otherwise than commanded: what it says is recorded. Beyond it, it is a fault."""


class Readings:
    """Reads equipment back, and raises where it is not as it was commanded.

    Parameters
    ----------
    instrument
        its tolerances and deadlines.
    equipment
        what is read back.
    identity
        what the instrument said of itself when it was opened.
    halted
        raises where waiting has to end.
    """

    def __init__(
        self, instrument: Instrument, equipment: Equipment, identity: Identity, clock: Clock, halted: Callable[[], None]
    ) -> None:
        self._motion = instrument.motion
        self._within_s = instrument.deadlines.switch_s
        self._equipment = equipment
        self._frame_px = identity.frame_height_px, identity.frame_width_px
        self._clock = clock
        self._halted = halted

    def refuse_hindrance(self) -> None:
        """Refuse to expose while somebody else uses the instrument."""
        with explaining("asking who uses the camera"):
            hindrance = self._equipment.hindrance()
        if hindrance is not None:
            raise InUse(hindrance)

    def await_preset(self, state: str) -> None:
        """Wait until a polarization has been switched to, and reads back so."""
        equipment = self._equipment

        def reached() -> bool:
            self._halted()
            return not equipment.switching() and equipment.polarization() in (None, state)

        with explaining(f"polarization {state}"):
            if self._clock.wait(reached, self._within_s):
                return
            if busy := equipment.switching():
                raise DeviceTimeout(
                    f"polarization {state}: {' or '.join(busy)} was still busy after {self._within_s:g} s; "
                    "check the device"
                )
            self.preset(state, f"after {self._within_s:g} s")

    def preset(self, state: str, when: str) -> None:
        """Read back a polarization."""
        with explaining(f"polarization {state}"):
            stands = self._equipment.polarization()
        if stands not in (None, state):
            raise PresetNotReached(f"polarization {state} reads back {stands} {when}; check the device")

    def exposure(self, commanded_ms: float) -> float:
        """Read back an exposure."""
        with explaining("reading back the exposure"):
            read_ms = self._equipment.exposure_ms()
        if read_ms is None:
            return commanded_ms
        if not abs(read_ms - commanded_ms) <= EXPOSURE_SHARE * commanded_ms:
            raise CameraFault(
                f"the camera exposes {read_ms:g} ms instead of the {commanded_ms:g} ms that it was told; "
                "give an exposure that it takes, or check its mode"
            )
        return read_ms

    def await_light(self, lit: bool) -> None:
        """Wait until lamp and shutter have switched, and read back so."""

        def reached() -> bool:
            if lit:
                self._halted()
            return not self._equipment.lighting() and all(on == lit for on in self._equipment.lights().values())

        with explaining("light"):
            if self._clock.wait(reached, self._within_s):
                return
            if busy := self._equipment.lighting():
                raise DeviceTimeout(
                    f"light: {' or '.join(busy)} was still busy after {self._within_s:g} s; check the device"
                )
        self.light(lit)

    def light(self, lit: bool) -> None:
        """Read back lamp and shutter: a frame does not tell a faint field from a shutter that did not open."""
        with explaining("reading back the light"):
            lights = self._equipment.lights()
        for name, is_open in lights.items():
            if is_open != lit:
                raise LightFault(
                    f"{name} reads back {'open' if is_open else 'closed'}, so frames would be "
                    f"{'lit' if is_open else 'dark'}; check lamp, shutter and their cable"
                )

    def after(
        self,
        state: str,
        exposure_ms: float,
        lit: bool,
        xy_um: tuple[float, float] | None,
        heights_um: tuple[float, ...],
    ) -> StateReading:
        """Read back everything once a polarization was exposed.

        Parameters
        ----------
        xy_um
            where the XY stage was sent; None where nobody knows.
        heights_um
            between the least and the greatest of these the focus drive has to stand.

        Raises
        ------
        FieldFault
            Something is not as it was commanded, so that the frames are not what they would be recorded as.
        """
        equipment, motion = self._equipment, self._motion
        self.light(lit)
        self.preset(state, "after its planes were exposed")
        read_ms = self.exposure(exposure_ms)
        with explaining("reading back the camera"):
            frame_px = equipment.frame_px()
        if frame_px is not None and frame_px != self._frame_px:
            raise CameraFault(
                f"the camera delivers {frame_px[0]} rows of {frame_px[1]} pixels instead of {self._frame_px[0]} of "
                f"{self._frame_px[1]}; its region of interest was changed: set it back"
            )
        with explaining("position"):
            (x_um, y_um), z_um = equipment.xy_um(), float(equipment.z_um())
        told_um(equipment.xy_name, x_um, y_um)
        told_um(equipment.z_name, z_um)
        if xy_um is not None and (off := max(abs(x_um - xy_um[0]), abs(y_um - xy_um[1]))) > motion.xy_tolerance_um:
            raise StageMoved(
                f"{equipment.xy_name} stands {off:.1f} um off the field after {state} was exposed; "
                "leave stage and joystick alone, and check the stage"
            )
        low, high = min(heights_um) - motion.z_tolerance_um, max(heights_um) + motion.z_tolerance_um
        if not low <= z_um <= high:
            raise StageMoved(
                f"{equipment.z_name} stands at {z_um:.2f} um after {state} was exposed, not at "
                f"{heights_um[-1]:.2f} um; leave the focus knob alone, and check the drive"
            )
        return StateReading(state, float(x_um), float(y_um), z_um, read_ms)
