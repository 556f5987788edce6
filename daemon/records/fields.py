"""Which field is meant: one of a plan, or one of an archive."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from daemon.records.attempts import Purpose


@dataclass(frozen=True)
class PlannedField:
    """One field: mini-slide position (1..8), number on it (1..n), centre in stage um, and its exclusive tile.

    `tile_um` is x0, y0, x1, y1 in stage coordinates, half-open: an object belongs to the field whose tile holds its
    centre. Tiles of a mini-slide all have one size, the grid's pitch, and neighbours share their edge exactly.
    `attempt` says how often the field is taken, this time included, and `purpose` why.
    """

    slide: int
    field: int
    sample: str
    x_um: float
    y_um: float
    tile_um: tuple[float, float, float, float]
    attempt: int = 1
    purpose: Purpose = Purpose.PLAN


class ArchiveField(msgspec.Struct, frozen=True, kw_only=True):
    """One stack of an archive: a file and those that go on with it, or plane files with polarization as the outer loop.

    `names` are below the archive's root (posix), `stack` says which one is meant of a file that holds several. `states`
    are the polarizations of plane files along C, empty for a file that says itself what it holds. `fault` says why the
    stack cannot be read, where that is known already, `told` what a person should know of its files, a clause each.
    """

    slide: int
    field: int
    sample: str
    names: tuple[str, ...]
    states: tuple[str, ...] = ()
    fault: str = ""
    stack: str = ""
    told: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What people read: the name of its first file, and which stack of that is meant."""
        return f"{self.names[0]}: {self.stack}" if self.stack else self.names[0]
