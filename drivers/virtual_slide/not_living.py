"""What junk of the virtual slide is called in the taxonomy, so that it can be learnt as what it is."""

from __future__ import annotations

TAXA = {
    "quartz": "mineral-grain",
    "shard": "calcite-fragment",
    "aggregate": "aggregate",
    "bubble": "bubble",
    "fluff": "fluff",
}
"""Identifier of each kind of junk."""


def taxon_of(taxon: str, class_name: str) -> str:
    """Give the identifier of what lies there: its own, or as junk, which has none, that of its kind.

    Parameters
    ----------
    taxon
        identifier in the truth; empty for junk.
    class_name
        the detector's class, or the kind of junk; given back where no taxon is known for it.
    """
    return taxon or TAXA.get(class_name, class_name)
