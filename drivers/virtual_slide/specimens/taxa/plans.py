"""Every taxon of the virtual slide that is drawn as a species."""

from __future__ import annotations

from drivers.virtual_slide.specimens.kinds import Kind
from drivers.virtual_slide.specimens.taxa import centrics, other_liths, pennates, placoliths, spores_and_skeletons
from drivers.virtual_slide.specimens.taxa.plan import Plan

PLANS: dict[str, Plan] = {
    plan.taxon: plan
    for group in (placoliths, other_liths, centrics, pennates, spores_and_skeletons)
    for plan in group.PLANS
}
"""By the taxon's identifier."""
KINDS: tuple[Kind, ...] = tuple(plan.kind() for plan in PLANS.values())
