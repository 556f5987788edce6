"""Makes the specimens of an emulated microscope before its night, once for all nights that show the same."""

from __future__ import annotations

from rich.console import Console

from daemon.progress import Counter
from drivers.settings import Emulation
from drivers.virtual_slide.profiles import kinds_of
from drivers.virtual_slide.slide import cabinet_of


def make_specimens(emulation: Emulation, console: Console) -> None:
    """Make what the emulation's profile shows and is not yet on disk; minutes the first time, nothing afterwards."""
    cabinet, kinds = cabinet_of(emulation), kinds_of(emulation.profile)
    missing = cabinet.missing(kinds)
    if not missing:
        return
    line = f"making {len(missing)} specimens of the virtual slide, once; they are kept in {cabinet.folder}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    with Counter("specimens", console) as counter:
        cabinet.fill(kinds, counter.show)
