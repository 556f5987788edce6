"""Counting rules: units are chosen before counting, and hold for all below a taxon."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.config.counting import CountingRules, read_counting
from daemon.config.taxonomy import Taxon, Taxonomy
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.system.errors import Refused
from tests.support.places import CONFIGS

TAXONOMY = Taxonomy(
    (
        Taxon("diatom", "diatoms", "group"),
        Taxon("rhizosolenia", "Rhizosolenia", "genus", "diatom"),
        Taxon("sphere", "coccospheres", "group", synonyms=("coccosphere",)),
    )
)
HEADER = "taxon,unit,feature,smallest,units,sum,factor,factor_deviation,factor_source\n"
GOOD = HEADER + "diatom,valve,,more than half,valve=1|Frustule=2|chain=counted|girdle band=0,valves,,,\n"


def rules_of(folder: Path, content: str) -> CountingRules:
    path = folder / "counting.csv"
    path.write_text(content, encoding="utf-8")
    return read_counting(path, TAXONOMY)


def test_a_rule_holds_below_its_taxon_until_another_does(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, GOOD)
    rule = rules.of("rhizosolenia")
    assert rule is not None
    assert rule.taxon == "diatom"
    assert [rule.units_of(form) for form in ("", "valve", "FRUSTULE", "girdle band", "chain", "spore")] == [
        1, 1, 2, 0, None, None,
    ]  # fmt: skip
    own = rules_of(tmp_path, GOOD + "Rhizosolenia,valve,apex,an apex,apex=0.5,valves,,,\n").of("rhizosolenia")
    assert own is not None
    assert (own.feature, own.units_of()) == ("apex", 0.5)
    assert rules.of("sphere") is None
    assert rules.of("unsure") is rules.of("") is None
    with pytest.raises(Refused, match="knows no taxon 'nobody'"):
        rules.of("nobody")


def test_a_factor_is_added_up_only_with_error_and_source(tmp_path: Path) -> None:
    line = "coccosphere,sphere,,,sphere=1,spheres,23,4,Young 1992\n"
    rule = rules_of(tmp_path, HEADER + line).of("sphere")
    assert rule is not None
    assert (rule.factor, rule.factor_deviation, rule.factor_source) == (23, 4, "Young 1992")
    decimal = HEADER.replace(",", ";") + line.replace(",", ";").replace("23", "2,5")
    commas = rules_of(tmp_path, decimal).of("sphere")
    assert commas is not None
    assert commas.factor == 2.5
    with pytest.raises(Refused, match="only factor is given; give all or none"):
        rules_of(tmp_path, HEADER + "sphere,sphere,,,sphere=1,spheres,23,,\n")


def test_what_lies_outside_the_sums_says_so(tmp_path: Path) -> None:
    rule = rules_of(tmp_path, HEADER + "diatom,valve,,,valve=1,none,,,\n").of("diatom")
    assert rule is not None
    assert rule.total == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("diatm,valve,,,valve=1,valves,,,", "did you mean diatom?"),
        ("diatom,,,,valve=1,valves,,,", "unit is empty"),
        ("diatom,valve,,,valve=1,,,,", "sum is empty"),
        ("diatom,valve,,,,valves,,,", "units are ''"),
        ("diatom,valve,,,valve,valves,,,", "such as valve=1"),
        ("diatom,valve,,,valve=-1,valves,,,", "'valve=-1' is not"),
        ("diatom,valve,,,valve=inf,valves,,,", "is not a form and its number"),
        ("diatom,valve,,,valve=1|Valve=2,valves,,,", "'valve' 2 numbers"),
        ("diatom,valve,,,valve=1,valves,many,1,me", "factor is 'many'"),
        ("diatom,valve,,,valve=1,valves,1,nan,me", "factor_deviation is 'nan'"),
        ("rhizosolenia,v,,,v=1,v,,,\nRHIZOSOLENIA,v,,,v=1,v,,,", "has its rule in line 2 already"),
    ],
)
def test_a_fault_is_told_in_one_sentence(line: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        rules_of(tmp_path, f"{HEADER}{line}\n")
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_every_taxon_that_comes_with_lamelle_has_a_rule() -> None:
    taxonomy = read_taxonomy(CONFIGS / "taxonomy.csv")
    rules = read_counting(CONFIGS / "counting.csv", taxonomy)
    assert not rules.notes
    assert all(rules.of(taxon.identifier) for taxon in taxonomy.taxa)
