"""The classifier that comes with lamelle is whole, small, and speaks of what the shipped taxonomy has."""

from __future__ import annotations

import hashlib
import json

from daemon.config.taxonomy_sheet import read_taxonomy
from drivers.virtual_slide.profiles import PROFILES
from drivers.virtual_slide.specimens.collection import KINDS
from inference.classification.encoder_file import require_for_stacks
from inference.classification.head import check_taxa, load_head
from inference.settings import ClassifierSettings
from tests.support.places import CONFIGS

SHIPPED = ClassifierSettings(weights="species").path


def test_it_is_small_and_its_card_tells_of_this_file() -> None:
    content = SHIPPED.read_bytes()
    assert len(content) < 10_000_000
    card = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["weights"] == SHIPPED.name
    assert card["sha256"] in SHIPPED.with_suffix(".md").read_text(encoding="utf-8")


def test_it_says_every_taxon_of_the_virtual_slides_species_and_what_is_not_living() -> None:
    head, taxonomy = load_head(SHIPPED), read_taxonomy(CONFIGS / "taxonomy.csv")
    require_for_stacks(SHIPPED)
    check_taxa(head, taxonomy.identifiers)
    fossils = {KINDS[kind].taxon for kind in PROFILES["species"] if not KINDS[kind].junk}
    assert fossils <= set(head.taxa)
    assert "not-living" in {above.identifier for taxon in head.taxa for above in taxonomy.lineage(taxon)}


def test_it_knows_far_objects_and_judges_no_mini_slide() -> None:
    """Its specimens are of all taxa alike; by them every natural mini-slide of few kinds would be told."""
    reference = load_head(SHIPPED).reference
    assert reference is not None
    assert 0 < reference.far < 1e6
    assert not reference.judges
