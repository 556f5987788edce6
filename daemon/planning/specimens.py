"""Makes the specimens of the virtual slide before they are looked at, once for all nights that show the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from daemon.system.progress import CountDisplay
from drivers.settings import Emulation, Instrument

if TYPE_CHECKING:
    from drivers.virtual_slide.specimens.cabinet import Cabinet

COSTLY_S = 10.0
"""The costly ones are made first, so that the time left is guessed far too long in the beginning."""


def make_specimens_of(instrument: Instrument, console: Console) -> None:
    """Make those that an emulated instrument shows; another shows what lies under it."""
    if instrument.backend == "emulated":
        # A night at a microscope does without the virtual slide: with scipy it takes a third of a second and 35 MB.
        from drivers.virtual_slide.profiles import kinds_shown
        from drivers.virtual_slide.slide import cabinet_of

        emulation = instrument.emulation or Emulation()
        make_specimens(cabinet_of(emulation), kinds_shown(emulation), console)


def make_specimens(cabinet: Cabinet, kinds: Sequence[str], console: Console) -> None:
    """Make what of some kinds is not yet on disk; minutes the first time, nothing afterwards."""
    missing = cabinet.missing(kinds)
    if not missing:
        return
    line = f"making {len(missing)} specimens of the virtual slide, once; they are kept in {cabinet.folder}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    with CountDisplay("specimens", console, patience_s=COSTLY_S) as counter:
        cabinet.fill(kinds, counter.show)
