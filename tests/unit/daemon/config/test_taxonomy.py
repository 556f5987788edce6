"""The table of taxa: read as people and spreadsheets write it, checked in whole, with history kept."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.config.counting import read_counting
from daemon.config.taxonomy import NOT_NAMED, RANKS, Taxonomy, folded
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.system.errors import Refused
from tests.support.places import CONFIGS

HEADER = "identifier,name,rank,parent,aphia_id,synonyms,detector_class,calcite,lm_rank,evidence\n"
GOOD = HEADER + (
    "coccolith,coccoliths,group,,,,coccolith,yes,,\n"
    "noelaerhabdaceae,Noëlaerhabdaceae,family,coccolith,115101,,,,,\n"
    "gephyrocapsa,Gephyrocapsa,genus,noelaerhabdaceae,235911,Géphyrocapse,,,species,LM\n"
    "gephyrocapsa-oceanica,Gephyrocapsa oceanica,species,gephyrocapsa,235925,gephyrocapsa-kamptneri,,,,LM|SEM\n"
    "gephyrocapsa-oceanica-a,Gephyrocapsa oceanica A,form,gephyrocapsa-oceanica,,,,,,SEM\n"
    "mud,mud,group,,,,,no,,\n"
)


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "taxonomy.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def taxonomy_of(folder: Path, content: str | bytes = GOOD) -> Taxonomy:
    return read_taxonomy(table(folder, content), ("coccolith", "diatom"))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace(",", ";").encode("cp1252"),
        GOOD.replace(",", "\t").encode("utf-16"),
        ("sep=;\r\n" + GOOD.replace(",", ";").replace("\n", "\r\n")).encode(),
        unicodedata.normalize("NFD", GOOD).encode(),
        GOOD.replace("yes", "WAHR").replace(",no,", ",FALSCH,").replace("235911", "235911.0").encode(),
        GOOD.replace(",115101", ',"115 101"').replace("group", "Group").encode() + b",,,,,,,,,\n",
        ("\n".join([HEADER.strip(), *reversed(GOOD.splitlines()[1:])])).encode(),
    ],
    ids=["bom", "western Excel", "Excel's Unicode", "sep", "decomposed", "German truth", "thousands", "reversed"],
)
def test_a_table_says_the_same_however_it_was_saved(content: bytes, tmp_path: Path) -> None:
    saved = taxonomy_of(tmp_path, content)
    plain = taxonomy_of(tmp_path)
    assert saved.sha256 == plain.sha256
    assert {taxon.name for taxon in saved.taxa} == {taxon.name for taxon in plain.taxa}
    assert saved.taxa[0].calcite != saved.taxa[-1].calcite


def test_another_word_is_another_taxonomy(tmp_path: Path) -> None:
    assert taxonomy_of(tmp_path).sha256 != taxonomy_of(tmp_path, GOOD.replace("235911", "235912")).sha256


def test_what_a_line_does_not_say_is_as_in_its_parent(tmp_path: Path) -> None:
    taxon = taxonomy_of(tmp_path).resolve("gephyrocapsa-oceanica-a")
    assert (taxon.detector_class, taxon.calcite, taxon.lm_rank) == ("coccolith", True, "species")
    assert (taxon.aphia_id, taxon.evidence) == (None, ("SEM",))


def test_the_way_to_the_root(tmp_path: Path) -> None:
    taxonomy = taxonomy_of(tmp_path)
    assert [one.identifier for one in taxonomy.lineage("gephyrocapsa-oceanica")] == [
        "gephyrocapsa-oceanica",
        "gephyrocapsa",
        "noelaerhabdaceae",
        "coccolith",
    ]
    assert [one.identifier for one in taxonomy.children("gephyrocapsa")] == ["gephyrocapsa-oceanica"]
    assert [one.identifier for one in taxonomy.children(NOT_NAMED)] == ["coccolith", "mud"]
    genus = taxonomy.at_rank("gephyrocapsa-oceanica-a", "genus")
    assert genus is not None
    assert genus.name == "Gephyrocapsa"
    assert taxonomy.at_rank("mud", "genus") is None


def test_no_answer_goes_below_what_the_microscope_tells(tmp_path: Path) -> None:
    taxonomy = taxonomy_of(tmp_path)
    assert taxonomy.answer("gephyrocapsa-oceanica-a").identifier == "gephyrocapsa-oceanica"
    assert taxonomy.answer("gephyrocapsa-oceanica").identifier == "gephyrocapsa-oceanica"
    coarser = taxonomy_of(tmp_path, GOOD.replace(",species,LM\n", ",genus,LM\n"))
    assert coarser.answer("gephyrocapsa-oceanica-a").identifier == "gephyrocapsa"
    assert coarser.answer("mud").identifier == "mud"


@pytest.mark.parametrize(
    "text",
    [
        "gephyrocapsa-oceanica",
        "Gephyrocapsa oceanica",
        "  GEPHYROCAPSA  oceanica ",
        "Gephyrocapsa\u00a0oceanica",
        "GEPHYROCAPSA OCEAN\u0130CA",
        "gephyrocapsa ocean\u0131ca",
        "Gephyrocapsa-Kamptneri",
    ],
)
def test_a_taxon_is_found_as_people_write_it(text: str, tmp_path: Path) -> None:
    found = taxonomy_of(tmp_path).of(text)
    assert found is not None
    assert found.identifier == "gephyrocapsa-oceanica"


def test_accents_are_letters_however_they_are_composed(tmp_path: Path) -> None:
    taxonomy = taxonomy_of(tmp_path)
    assert taxonomy.of(unicodedata.normalize("NFD", "GÉPHYROCAPSE")) is taxonomy.of("gephyrocapsa")
    assert taxonomy.of("Gephyrocapse") is None
    assert taxonomy.of("") is None
    assert taxonomy.of("unsure") is None


@settings(max_examples=50)
@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_history_is_kept_when_taxa_are_renamed_merged_and_split(tmp_path: Path) -> None:
    before = taxonomy_of(tmp_path)
    renamed = taxonomy_of(tmp_path, GOOD.replace("Gephyrocapsa oceanica,", "Emiliania oceanica,"))
    assert renamed.resolve("gephyrocapsa-oceanica").name == "Emiliania oceanica"
    merged = taxonomy_of(tmp_path, GOOD.replace("mud,mud,group,,,,", "silt,silt,group,,,mud,"))
    assert merged.resolve("mud").identifier == "silt"
    assert merged.lost(before) == ()
    split = taxonomy_of(tmp_path, GOOD + "brown-mud,brown mud,group,mud,,,,,,\ngrey-mud,grey mud,group,mud,,,,,,\n")
    assert split.resolve("mud").name == "mud"
    assert [one.identifier for one in split.lineage("grey-mud")] == ["grey-mud", "mud"]
    gone = taxonomy_of(tmp_path, GOOD.replace("mud,mud,group,,,,,no,,\n", ""))
    assert gone.lost(before) == ("mud",)
    with pytest.raises(Refused, match="knows no taxon 'mud'; add its line, or write it as a synonym"):
        gone.resolve("mud")


FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "identifier twice": ("mud,loam,group,,,,,,,\n", ("line 8", "'mud'", "line 7")),
    "name of another": ("loam,MUD,group,,,,,,,\n", ("line 8", "'MUD'", "the identifier of 'mud' in line 7")),
    "synonym of two": ("loam,loam,group,,,Gephyrocapse|géphyrocapse,,,,\n", ("'géphyrocapse'", "line 4", "synonym")),
    "synonym is a name": ("loam,loam,group,,,gephyrocapsa OCEANICA,,,,\n", ("line 5", "leave it to one")),
    "Turkish capital": ("loam,GEPHYROCAPSA OCEAN\u0130CA,group,,,,,,,\n", ("line 8", "line 5")),
    "unknown parent": ("x,x,genus,coccolth,,,,,,\n", ("parent of 'x' is 'coccolth'", "did you mean coccolith?")),
    "parent by name": ("x,x,species,Gephyrocapsa,,,,,,\n", ("write its identifier 'gephyrocapsa'",)),
    "its own parent": ("x,x,genus,x,,,,,,\n", ("x is part of x", "circle")),
    "circle": ("x,x,genus,y,,,,,,\ny,y,genus,x,,,,,,\n", ("x is part of y is part of x",)),
    "rank above its parent": ("x,x,family,gephyrocapsa,,,,,,\n", ("rank of 'x' is family", "is a genus")),
    "the parent's rank": ("x,x,genus,gephyrocapsa,,,,,,\n", ("rank of 'x' is genus",)),
    "group in a genus": ("x,x,group,gephyrocapsa,,,,,,\n", ("give a group a parent above a genus",)),
    "unknown rank": ("x,x,sp.,gephyrocapsa,,,,,,\n", ("rank is 'sp.'", "choose one of group,")),
    "unknown lm_rank": ("x,x,species,gephyrocapsa,,,,,finest,\n", ("lm_rank is 'finest'",)),
    "unknown class": ("x,x,group,,,,fungus,,,\n", ("detector_class is 'fungus'", "choose one of coccolith, diatom")),
    "no AphiaID": ("x,x,group,,12x,,,,,\n", ("aphia_id is '12x'",)),
    "AphiaID of a spreadsheet": ("x,x,group,,2.36E+05,,,,,\n", ("aphia_id is '2.36E+05'",)),
    "no truth": ("x,x,group,,,,,perhaps,,\n", ("calcite is 'perhaps'", "yes or no")),
    "unknown evidence": ("x,x,group,,,,,,,TEM\n", ("evidence is 'TEM'",)),
    "reserved name": ("x,Unsure,group,,,,,,,\n", ("'Unsure' is a word that no taxon may have",)),
    "reserved synonym": ("x,x,group,,,UNSURE,,,,\n", ("'UNSURE'",)),
    "reserved by Windows": ("con,x,group,,,,,,,\n", ("'con' is a word",)),
    "no slug": ("X y,x,group,,,,,,,\n", ("identifier is 'X y'", "such as gephyrocapsa-oceanica")),
    "no ASCII": ("m\u00fcd,x,group,,,,,,,\n", ("identifier is", "letters from a to z")),
    "no identifier": (",x,group,,,,,,,\n", ("identifier is ''",)),
    "no name": ("x,,group,,,,,,,\n", ("name is empty",)),
    "line break": ('x,"a\nb",group,,,,,,,\n', ("line break",)),
    "semicolons": ("x,x,group,,,a;b,,,,\n", ("separate them by |",)),
}


@pytest.mark.parametrize(("lines", "told"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_in_one_sentence(lines: str, told: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        taxonomy_of(tmp_path, GOOD + lines)
    sentence = str(refused.value)
    assert len(sentence.splitlines()) == 1, sentence
    assert sentence.startswith(str(tmp_path / "taxonomy.csv"))
    for part in told:
        assert part in sentence


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        taxonomy_of(tmp_path, GOOD + "x,x,sp.,,12x,,,,,\nmud,y,group,,,,,,,\nz,z,genus,nobody,,,,,,\n")
    assert len(str(refused.value).splitlines()) == 4


def test_columns_that_are_not_read_and_guessed_letters_are_told(tmp_path: Path) -> None:
    lines = [f"{line},{'remark' if number == 0 else 'å'}" for number, line in enumerate(GOOD.splitlines())]
    notes = taxonomy_of(tmp_path, "\n".join(lines).encode("cp1252")).notes
    assert "Windows-1252" in notes[0]
    assert notes[1] == "taxonomy.csv: lamelle reads nothing from the columns remark"


def test_the_taxonomy_that_comes_with_lamelle_is_right() -> None:
    taxonomy = read_taxonomy(CONFIGS / "taxonomy.csv")
    assert not taxonomy.notes
    for taxon in taxonomy.taxa:
        assert taxon.rank in RANKS
        assert taxonomy.lineage(taxon.identifier)[-1].detector_class == taxon.detector_class


def test_numbers_that_come_with_lamelle_are_of_one_taxon_and_of_none_that_is_informal() -> None:
    taxa = read_taxonomy(CONFIGS / "taxonomy.csv").taxa
    numbers = [taxon.aphia_id for taxon in taxa if taxon.aphia_id is not None]
    assert numbers
    assert len(set(numbers)) == len(numbers)
    assert {taxon.rank for taxon in taxa if taxon.aphia_id is not None} <= {"genus", "species"}


def test_what_is_not_living_has_no_detector_class_and_lies_outside_all_sums() -> None:
    taxonomy = read_taxonomy(CONFIGS / "taxonomy.csv")
    rules = read_counting(CONFIGS / "counting.csv", taxonomy)
    below = taxonomy.children("not-living")
    assert below
    for taxon in (taxonomy.resolve("not-living"), *below):
        rule = rules.of(taxon.identifier)
        assert rule is not None
        assert (taxon.rank, taxon.detector_class, rule.total) == ("group", "", "")
    living = [taxon for taxon in taxonomy.taxa if taxonomy.lineage(taxon.identifier)[-1].identifier != "not-living"]
    assert all(rule.total for taxon in living if (rule := rules.of(taxon.identifier)) is not None)
