"""Every taxon of the virtual slide that is drawn as a species."""

from __future__ import annotations

from drivers.virtual_slide.specimens.kinds import Kind
from drivers.virtual_slide.specimens.taxa import centrics, other_liths, pennates, placoliths, plan, spores_and_skeletons
from drivers.virtual_slide.specimens.taxa.plan import Plan

_GROUPS = (placoliths, other_liths, centrics, pennates, spores_and_skeletons)
MODULES = (plan, *_GROUPS)
"""What decides how species look, but for this."""
PLANS: dict[str, Plan] = {drawn.taxon: drawn for group in _GROUPS for drawn in group.PLANS}
"""By the taxon's identifier."""
KINDS: tuple[Kind, ...] = tuple(drawn.kind() for drawn in PLANS.values())
