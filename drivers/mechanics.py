"""Imperfect mechanics of the emulated microscope: functions of the commands and of a seed, never of the clock."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

from drivers.microscope import Exposure
from drivers.settings import Emulation

_NORMAL = NormalDist()


def chance(seed: int, *names: object) -> float:
    """Reproducible chance in (0, 1), uniform over whatever `names` name."""
    digest = hashlib.blake2b("/".join(map(str, (seed, *names))).encode(), digest_size=6).digest()
    return (int.from_bytes(digest) + 0.5) / 2**48


class Mechanics:
    """Where the focal plane truly is.

    The z drive has a play of `backlash_um`: going up it pushes the objective at once, going down only once the play
    is used up. Each field lies `drift_um_per_field` higher than the last, and no plane is hit better than `jitter_um`
    (standard deviation).
    """

    def __init__(self, emulation: Emulation, z_um: float) -> None:
        self._emulation = emulation
        self._objective_um = z_um

    def drive(self, z_um: float) -> None:
        """Take in that the stage has gone to `z_um`."""
        self._objective_um = min(max(self._objective_um, z_um), z_um + self._emulation.backlash_um)

    def focal_plane_um(self, exposure: Exposure, state: str, plane: int) -> float:
        """Tell the true z of the focal plane, in stage units."""
        emulation = self._emulation
        where = chance(emulation.seed, "jitter", exposure.slide, exposure.field, state, plane)
        jitter = emulation.jitter_um * _NORMAL.inv_cdf(where)
        return self._objective_um - emulation.drift_um_per_field * exposure.field + jitter
