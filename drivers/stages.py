"""Moves the stages of a back-end's equipment, and waits until they read back where they were sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from drivers.equipment import Equipment
from drivers.errors import DeviceTimeout, StageStuck, explaining, told_um
from drivers.limits import Limits
from drivers.microscope import Sweep
from drivers.safety import attempt
from drivers.settings import Instrument
from drivers.waiting import Clock


class Send(Protocol):
    """Sends a command, saying what it is for, unless the microscope is halted."""

    def __call__(self, doing: str, command: Callable[[], None], /) -> None:
        """Send it."""


@dataclass(frozen=True)
class _Stage:
    """A stage that is waited for."""

    name: str
    busy: Callable[[], bool]
    tolerance_um: float
    deadline_s: float


class Stages:
    """The XY stage and the focus drive.

    Parameters
    ----------
    instrument
        its deadlines and tolerances.
    equipment
        what is moved.
    limits
        from where a height is approached; what lies outside is refused by whoever commands.
    clock
        where time comes from.
    send
        sends a command.
    refuse_halted
        raises where the microscope was made safe meanwhile.
    """

    def __init__(
        self,
        instrument: Instrument,
        equipment: Equipment,
        limits: Limits,
        clock: Clock,
        send: Send,
        refuse_halted: Callable[[], None],
    ) -> None:
        self._deadlines = instrument.deadlines
        self._motion = instrument.motion
        self._equipment = equipment
        self._limits = limits
        self._clock = clock
        self._send = send
        self._refuse_halted = refuse_halted

    def move(self, x_um: float, y_um: float) -> None:
        """Move the sample, and wait until it is there."""
        equipment, target = self._equipment, f"{x_um:.1f}, {y_um:.1f} um"
        self._send(f"{equipment.xy_name} to {target}", lambda: equipment.move_xy(x_um, y_um))

        def off_by() -> float:
            at_x, at_y = equipment.xy_um()
            told_um(equipment.xy_name, at_x, at_y)
            return max(abs(at_x - x_um), abs(at_y - y_um))

        stage = _Stage(equipment.xy_name, equipment.xy_busy, self._motion.xy_tolerance_um, self._deadlines.move_s)
        self._arrive(stage, target, off_by)

    def approach(self, z_um: float) -> None:
        """Arrive at a height from below."""
        below = self._limits.below_z(z_um)
        if self._z_um() > below:
            self.go_to(below)
        self.go_to(z_um)

    def approach_sweep(self, sweep: Sweep) -> None:
        """Arrive at the first plane in the direction in which the sweep goes on."""
        if sweep.step_um >= 0:
            self.approach(sweep.first_z_um)
            return
        above = self._limits.approach_z(sweep)
        if self._z_um() < above:
            self.go_to(above)
        self.go_to(sweep.first_z_um)

    def go_to(self, z_um: float) -> None:
        """Go to a height by the shortest way, and wait until the drive is there."""
        self.send_z(z_um)
        self.arrive_at_z(z_um)

    def send_z(self, z_um: float) -> None:
        """Send the focus drive to a height, and do not wait."""
        self._send(f"{self._equipment.z_name} to {z_um:.2f} um", lambda: self._equipment.move_z(z_um))

    def arrive_at_z(self, z_um: float) -> None:
        """Wait until the focus drive is where it was sent."""

        def off_by() -> float:
            return abs(self._z_um() - z_um)

        equipment = self._equipment
        stage = _Stage(equipment.z_name, equipment.z_busy, self._motion.z_tolerance_um, self._deadlines.focus_s)
        self._arrive(stage, f"{z_um:.2f} um", off_by)

    def is_withdrawn(self) -> bool:
        """Whether the objective is at its withdrawn height or below."""
        return self._z_um() <= self._motion.withdrawn_z_um + self._motion.z_tolerance_um

    def _arrive(self, stage: _Stage, target: str, off_by: Callable[[], float]) -> None:
        """Wait until a stage is idle and reads back where it was sent: some say they are idle before they set off."""

        def arrived() -> bool:
            self._refuse_halted()
            return not stage.busy() and off_by() <= stage.tolerance_um

        with explaining(f"{stage.name} to {target}"):
            if self._clock.wait(arrived, stage.deadline_s):
                return
            busy = stage.busy()
            attempt(self._equipment.stop_stages)
            if busy:
                raise DeviceTimeout(
                    f"{stage.name} was still busy {stage.deadline_s:g} s after it was sent to {target}; check it"
                )
            raise StageStuck(f"{stage.name} stands {off_by():.2f} um off the {target} it was sent to; check the stage")

    def _z_um(self) -> float:
        with explaining(f"position of {self._equipment.z_name}"):
            z_um = float(self._equipment.z_um())
        told_um(self._equipment.z_name, z_um)
        return z_um
