"""Every kind of object of the virtual slide."""

from __future__ import annotations

from drivers.virtual_slide.specimens import coccoliths, crystals, debris, diatoms, siliceous
from drivers.virtual_slide.specimens.kinds import Kind
from drivers.virtual_slide.specimens.taxa import plans

KINDS: dict[str, Kind] = {
    kind.name: kind
    for group in (coccoliths.KINDS, diatoms.KINDS, siliceous.KINDS, crystals.KINDS, debris.KINDS, plans.KINDS)
    for kind in group
}
