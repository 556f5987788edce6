"""Imperfect mechanics of the emulated microscope: functions of the commands and of a seed, never of the clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from drivers.microscope import Exposure
from drivers.settings import Emulation, Instrument, MiniSlide, Misalignment
from drivers.virtual_slide.seeds import chance

_NORMAL = NormalDist()
ALIGNED = Misalignment()
Place = tuple[float, float]


def true_pixel_um(instrument: Instrument) -> float:
    """Width of a pixel on the sample of the emulated microscope, which its calibration should find."""
    return instrument.pixel_um * (instrument.emulation or Emulation()).misalignment.pixel_scale


def stage_matrix(misalignment: Misalignment) -> tuple[Place, Place]:
    """Rows of the matrix that turns a move of the stage into one of the frame's centre over the sample.

    Stage um in, true um out, along columns and rows of the camera.
    """
    turn, shear = math.radians(misalignment.rotation_deg), math.radians(misalignment.shear_deg)
    x_scale, y_scale = misalignment.stage_scale
    x_scale = -x_scale if misalignment.mirrored else x_scale
    # The y axis is a right angle less the shear from the x axis, towards it.
    return (
        (x_scale * math.cos(turn), -y_scale * math.sin(turn - shear)),
        (x_scale * math.sin(turn), y_scale * math.cos(turn - shear)),
    )


class Mechanics:
    """Where the focal plane truly is.

    The z drive has a play of `backlash_um`: going up it pushes the objective at once, going down only once the play
    is used up. Each field lies `drift_um_per_field` higher than the last, and no plane is hit better than `jitter_um`
    (standard deviation). The drives of x and y have a play of their own. No play is known when the program begins.

    Attributes
    ----------
    objective_um
        height at which the objective truly is.
    """

    def __init__(self, emulation: Emulation, slides: Sequence[MiniSlide], at_um: Place, z_um: float) -> None:
        self._emulation = emulation
        self._centres = {slide.position: slide.centre_um for slide in slides}
        self._table_um = at_um
        self._sent_um = at_um
        self._arrival: Exposure | None = None
        self.objective_um = z_um

    def drive(self, z_um: float) -> None:
        """Take in that the z stage has gone to `z_um`."""
        self.objective_um = _dragged(self.objective_um, z_um, self._emulation.backlash_um)

    def drive_xy(self, x_um: float, y_um: float) -> None:
        """Take in that the XY stage has gone to a position; it does not move when it is sent to where it was sent."""
        if (x_um, y_um) == self._sent_um:
            return
        self._sent_um, self._arrival = (x_um, y_um), None
        play_x, play_y = self._emulation.misalignment.xy_backlash_um
        self._table_um = _dragged(self._table_um[0], x_um, play_x), _dragged(self._table_um[1], y_um, play_y)

    def place_um(self, exposure: Exposure, x_um: float, y_um: float) -> Place:
        """Return what place of the mini-slide the frame's centre truly lies over, while the stage reads a position."""
        misalignment = self._emulation.misalignment
        if misalignment == ALIGNED:
            return x_um, y_um
        table_x, table_y = (
            at + misalignment.xy_repeatability_um * _NORMAL.inv_cdf(self._chance_of_arrival(exposure, axis))
            for axis, at in zip("xy", self._table_um, strict=True)
        )
        return sample_place(misalignment, self._centres[exposure.slide], (table_x, table_y))

    def focal_plane_um(self, exposure: Exposure, state: str, plane: int) -> float:
        """Return the true height of the focal plane, in um."""
        emulation = self._emulation
        where = chance(emulation.seed, "jitter", *exposure.names, state, plane)
        jitter = emulation.jitter_um * _NORMAL.inv_cdf(where)
        return (
            emulation.misalignment.z_scale * self.objective_um - emulation.drift_um_per_field * exposure.field + jitter
        )

    def _chance_of_arrival(self, exposure: Exposure, axis: str) -> float:
        """Chance of the move that brought the stage here, which is named for the first exposure after it."""
        self._arrival = self._arrival or exposure
        return chance(self._emulation.seed, "arrival", *self._arrival.names, axis)


def sample_place(misalignment: Misalignment, centre_um: Place, stage_um: Place) -> Place:
    """Place on a mini-slide under the frame's centre, where the stage stands exactly where it says."""
    if misalignment == ALIGNED:
        return stage_um
    x, y = stage_um[0] - centre_um[0], stage_um[1] - centre_um[1]
    (xx, xy), (yx, yy) = stage_matrix(misalignment)
    return centre_um[0] + xx * x + xy * y, centre_um[1] + yx * x + yy * y


def _dragged(before_um: float, to_um: float, play_um: float) -> float:
    """Where a drive with play is after a move: pushed at once upwards, downwards only once the play is used up."""
    return min(max(before_um, to_um), to_um + play_um)
