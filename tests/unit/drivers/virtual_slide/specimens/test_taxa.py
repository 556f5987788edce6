"""Species have the sizes, the overlap and the faces that they are said to have, and break as real ones do."""

from __future__ import annotations

import csv
from statistics import mean

import numpy as np
import pytest

from drivers.virtual_slide.matter import CALCITE, OPAL
from drivers.virtual_slide.not_living import TAXA, taxon_of
from drivers.virtual_slide.profiles import PROFILES
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.specimen import collect, length_and_width_um, mass_pg, outline_um
from drivers.virtual_slide.specimens.taxa.plans import PLANS
from drivers.virtual_slide.specimens.wear import shatter
from tests.support.places import CONFIGS

LINES = (CONFIGS / "taxonomy.csv").read_text("utf-8").splitlines()
TAXONOMY = {row["identifier"]: row for row in csv.DictReader(LINES)}
SMALL = ("gephyrocapsa-oceanica", "umbilicosphaera-foliosa", "helicosphaera-carteri", "syracosphaera-pulchra")
ONE_OF_EACH = (*SMALL, "emiliania-huxleyi", "cyclotella-litoralis", "thalassionema-bacillare", "dictyocha-stapedia",
               "fragilariopsis-doliolus", "rhizosolenia-bergonii")  # fmt: skip


def angles(taxon: str, count: int = 1000) -> np.ndarray:
    random = np.random.default_rng(3)
    return np.array([PLANS[taxon].grow(random)["bridge_deg"] for _ in range(count)])


def test_there_are_species_enough_and_the_taxonomy_knows_all_that_is_emulated() -> None:
    assert len(PLANS) >= 24
    assert len({taxon.rpartition("-")[0].partition("-")[0] for taxon in PLANS}) >= 8
    emulated = {kind.taxon for kind in KINDS.values() if not kind.junk}
    assert "" not in emulated
    assert emulated <= set(TAXONOMY)
    for kind in KINDS.values():
        if not kind.junk:
            line = TAXONOMY[kind.taxon]
            while not line["detector_class"]:
                line = TAXONOMY[line["parent"]]
            assert line["detector_class"] == kind.class_name
    assert {kind.name for kind in KINDS.values() if kind.natural} <= set(PROFILES["species"])


def test_all_junk_has_a_taxon_that_is_not_living_and_fossils_keep_their_own() -> None:
    assert set(TAXA) == {kind.class_name for kind in KINDS.values() if kind.junk}
    for kind in KINDS.values():
        taxon = taxon_of(kind.taxon, kind.class_name)
        assert (TAXONOMY[taxon]["parent"] == "not-living") == kind.junk
        assert kind.junk or taxon == kind.taxon


def test_bridges_of_gephyrocapsa_overlap_as_measured_ones_do() -> None:
    oceanica, muellerae = angles("gephyrocapsa-oceanica"), angles("gephyrocapsa-muellerae")
    assert oceanica.mean() == pytest.approx(60, abs=2)
    assert muellerae.mean() == pytest.approx(30, abs=2)
    assert oceanica.std() == pytest.approx(12, abs=1.5)
    # Two normal distributions 30 degrees apart, each 12 wide: the best border names 1 in 9.5 wrong.
    wrong = (np.mean(oceanica < 45) + np.mean(muellerae > 45)) / 2
    assert wrong == pytest.approx(0.106, abs=0.03)


@pytest.mark.parametrize("taxon", ONE_OF_EACH)
def test_a_body_is_as_long_as_asked_for_and_of_its_own_matter(taxon: str) -> None:
    plan, random = PLANS[taxon], np.random.default_rng(8)
    asked = plan.sizes.quantile(0.3)
    body = plan.draw(asked, random)
    length, width = length_and_width_um(outline_um(body))
    # Spines and wings may stand out, and a lith that leans on another is seen a little shorter.
    assert 0.85 * asked < length < 1.25 * asked
    assert 0 < width <= length
    material = CALCITE if plan.class_name == "coccolith" else OPAL
    assert {layer.material for layer in body.slices} == {material}
    assert set(body.pose.traits) == set(plan.characters)


@pytest.mark.parametrize("taxon", SMALL)
def test_both_faces_occur_and_weigh_the_same(taxon: str) -> None:
    plan, random = PLANS[taxon], np.random.default_rng(2)
    masses: dict[str, list[float]] = {"outer": [], "inner": []}
    for _ in range(16):
        body = plan.draw(plan.sizes.median_um, random)
        masses[body.pose.face].append(mass_pg(body))
    assert min(len(found) for found in masses.values()) >= 3
    assert mean(masses["outer"]) == pytest.approx(mean(masses["inner"]), rel=0.25)


def test_a_lith_weighs_what_its_shape_factor_says() -> None:
    plan, random = PLANS["calcidiscus-leptoporus"], np.random.default_rng(4)
    masses = [mass_pg(plan.draw(6.0, random)) for _ in range(12)]
    # m = 2.71 ks L^3, ks 0.08 (Young and Ziveri 2000), which scatters by 12 % from lith to lith.
    assert float(np.exp(np.mean(np.log(masses)))) == pytest.approx(2.71 * 0.08 * 6.0**3, rel=0.12)


def test_species_of_a_genus_are_other_individuals() -> None:
    one, other = (collect(KINDS[f"gephyrocapsa-{name}"], 1, 0) for name in ("oceanica", "muellerae"))
    turns = [specimen.body.pose.traits["bridge_deg"] for specimen in (one, other)]
    # With the same chance they would lie at the same place in their own distributions.
    places = [(turn - mean_deg) / 12 for turn, mean_deg in zip(turns, (60, 30), strict=True)]
    assert abs(places[0] - places[1]) > 0.01


@pytest.mark.parametrize("taxon", ["actinocyclus-curvatulus", "thalassionema-nitzschioides"])
def test_pieces_are_parts_of_the_whole_and_of_every_size(taxon: str) -> None:
    plan, random = PLANS[taxon], np.random.default_rng(6)
    body = plan.draw(plan.sizes.low_um * 1.1, random)
    while body.pose.view != "face":
        body = plan.draw(plan.sizes.low_um * 1.1, random)
    left = []
    for _ in range(16):
        piece = shatter(body, random)
        assert not (piece.mask & ~body.mask).any()
        assert piece.pose == body.pose
        left.append(piece.mask.sum() / body.mask.sum())
    assert all(0 < share < 1 for share in left)
    assert min(left) < 0.4
    assert max(left) > 0.6


def test_fragments_tell_how_much_of_them_is_left() -> None:
    kind = KINDS["gephyrocapsa-oceanica"]
    specimens = [collect(kind, 1, variant) for variant in range(kind.variants)]
    broken = [specimen for specimen in specimens if specimen.fragment]
    assert len(broken) == round(kind.broken * kind.variants)
    assert all(0 < specimen.remaining < 1 for specimen in broken)
