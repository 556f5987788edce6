"""What a report shows and says of a night beside its numbers: fields, the finest of every taxon, masses, methods."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image
from rich.console import Console

from daemon.config.taxonomy import Taxon, Taxonomy
from daemon.counts.excluding import FieldsMeant, say_of_fields
from daemon.dataset.catalog import Catalog
from daemon.dataset.later_tables import TableOrigins
from daemon.dataset.reader import Dataset
from daemon.labels.transfer import import_labels
from daemon.records.flags import FieldFlag
from daemon.records.names import picture_file
from daemon.records.records import AnyRecord, FieldSecured, NightClosed, SlideClosed, encode
from daemon.report import words
from daemon.report.charts import BY_PERSON, BY_RULE, MARKED, draw_slides
from daemon.report.fields_shown import DENSEST, ORDINARY, SHOWN, choose_fields, show_fields
from daemon.report.gather import gather
from daemon.report.numbers import NightNumbers
from daemon.report.objects import OF_A_TAXON, as_called_now, finest
from daemon.report.sources import CalibrationUsed, Sources
from daemon.report.trust import about_masses
from tests.support.labelled_night import write_table
from tests.support.pictured_night import KEPT, TAXA, make_pictured_night, picture
from tests.support.small_night import entry, object_row, secured, skipped, started

FIELDS = 7
LOST, BLURRED, BY_HAND, WAITS, SKIPPED = (2, 3), 4, 5, 6, 7
NOTHING = Sources((), (), (), ())


def field(slide: int, number: int, objects: int) -> FieldSecured:
    """A field with a picture, that stands in a row of them."""
    name, body = picture_file(slide, number), picture()
    made = secured(slide, number, (entry(name, body),), objects)
    return replace(made, x_um=1000.0 * slide + 50 * number, backgrounds_dn=(150.0, 28_000.0))


def make(folder: Path) -> Path:
    """Write a night: mini-slide 1 has fields of all sorts, mini-slide 2 blank ones; one picture is gone."""
    records: list[AnyRecord] = [started(slides=2, fields=FIELDS)]
    for number in range(1, FIELDS):
        one = field(1, number, objects=3 * number)
        if number in LOST:
            one = replace(one, flags=(FieldFlag.DIM, FieldFlag.OIL_LOST), excluded_by=(FieldFlag.OIL_LOST,))
        if number == BLURRED:
            one = replace(one, flags=(FieldFlag.BLURRED,))
        records.append(replace(one, analysed=False, objects=()) if number == WAITS else one)
    records.append(skipped(1, SKIPPED))
    records += [replace(field(2, number, 0), flags=(FieldFlag.BLANK,)) for number in range(1, FIELDS + 1)]
    records += [SlideClosed(utc=2.0, slide=slide, sample="", recorded=FIELDS - 1, skipped=1) for slide in (1, 2)]
    folder.mkdir()
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate([*records, NightClosed(utc=3.0, recorded=2 * FIELDS - 1, skipped=1)], 1):
            catalog.commit(seq, encode(record))
    for slide in (1, 2):
        for number in range(1, FIELDS + 1):
            path = folder / picture_file(slide, number)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture())
    (folder / picture_file(1, BLURRED)).unlink()
    say_of_fields(folder, FieldsMeant(1, str(BY_HAND), excluded=True, reason="a hair", who="AB"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("shown") / "dataset")


@pytest.fixture(scope="module")
def numbers(folder: Path) -> NightNumbers:
    with Dataset.open(folder) as dataset:
        return gather(dataset)[0]


def test_fields_that_a_report_speaks_of_are_shown_and_why(numbers: NightNumbers) -> None:
    chosen = {(one.slide, one.field): whys for one, whys in choose_fields(numbers)}
    assert chosen == {
        (1, 1): (ORDINARY,),
        (1, 2): ("not counted by the rule: oil lost; so are fields 2-3",),
        (1, BLURRED): ("counted although blurred", DENSEST),
        (1, BY_HAND): ("not counted by a person (AB): a hair",),
        (1, WAITS): ("not analysed yet",),
        **{(2, number): ("what was seen where nothing was found",) for number in (1, 4, 7)},
    }
    assert next(iter(chosen)) == (1, 1)


def test_their_pictures_are_small_and_one_that_is_gone_is_told(folder: Path, numbers: NightNumbers) -> None:
    with Dataset.open(folder) as dataset:
        shown = show_fields(dataset, numbers)
    assert [bool(one.picture) for one in shown] == [one.field.field != BLURRED or one.field.slide == 2 for one in shown]
    (gone,) = (one for one in shown if not one.picture)
    assert "cannot be read" in gone.without
    with Image.open(io.BytesIO(shown[0].picture)) as drawn:
        left, right = (drawn.convert("L").resize((2, 1)).getpixel((at, 0)) for at in (0, 1))
    assert isinstance(left, int)
    assert isinstance(right, int)
    assert left < 40 < 180 < right
    title, why, known = words.field_caption(shown[1])
    assert (title, why) == ("slide 1 core-1, field 2", "not counted by the rule: oil lost; so are fields 2-3")
    assert known == "dim, oil lost \u00b7 stage 1.10, 0.05 mm \u00b7 crossed | parallel"


def test_however_many_there_are_a_page_shows_so_many_and_those_that_something_is_said_of_first(tmp_path: Path) -> None:
    records: list[AnyRecord] = [started(slides=8, fields=6)]
    for slide in range(1, 9):
        for number, flag in enumerate((FieldFlag.DIM, FieldFlag.BUBBLE, FieldFlag.BLURRED, FieldFlag.EDGE), 1):
            records.append(replace(secured(slide, number, (), 1), flags=(flag,)))
        records += [secured(slide, number, (), 2) for number in (5, 6)]
    (tmp_path / "many").mkdir()
    with closing(Catalog(tmp_path / "many")) as catalog:
        for seq, record in enumerate(records, 1):
            catalog.commit(seq, encode(record))
    with Dataset.open(tmp_path / "many") as dataset:
        chosen = choose_fields(gather(dataset)[0])
    assert len(chosen) == SHOWN
    assert all(one.flags for one, _ in chosen)


def test_maps_tell_who_left_fields_out(folder: Path, numbers: NightNumbers) -> None:
    with Dataset.open(folder) as dataset:
        _, objects = gather(dataset)
    (charts, _) = draw_slides(numbers, objects)
    legend = charts.charts[0].svg
    for told in (f"2 {BY_RULE}", f"1 {BY_PERSON}", "1 not analysed"):
        assert told in legend
    assert len({hatch for _, _, _, hatch in MARKED}) == len(MARKED)


def test_every_taxon_has_a_row_in_the_order_of_the_taxonomy_and_a_persons_word_stands(tmp_path: Path) -> None:
    folder = make_pictured_night(tmp_path / "night", slides=1, fields=2)
    said = {"night": "N", "slide": "1", "field": "2", "utc": "2026-11-22T00:00:00Z", "status": "validated", "who": "AB"}
    labels = [said | {"number": "0", "taxon": "gephyrocapsa"}, said | {"number": "2", "status": "discarded"}]
    import_labels(folder, [write_table(tmp_path / "l.csv", labels)], Console(file=io.StringIO()))
    with Dataset.open(folder) as dataset:
        numbers, objects = gather(dataset)
        rows = finest(as_called_now(dataset, objects), numbers.taxonomy)
    assert [name for name, _ in rows] == ["Emiliania huxleyi", "Gephyrocapsa", "not named"]
    columns = ("field", "number", "said_by")
    places = [list(zip(*(row[name].tolist() for name in columns), strict=True)) for _, row in rows]
    # Those that the frame cuts are not shown where there is a whole one.
    assert places == [[(1, 0, None)], [(2, 0, "AB")], [(1, 2, None)]]


def test_many_taxa_are_all_shown_but_with_fewer_pictures_each(tmp_path: Path) -> None:
    taxa = tuple(Taxon(f"taxon-{at:02d}", f"Taxon {at}", "species") for at in range(60))
    rows = tuple(replace(object_row(at), taxon=f"taxon-{at % 60:02d}") for at in range(240))
    first = replace(started(slides=1, fields=1), taxonomy=Taxonomy(taxa).to_json(), named_by="ab" * 32)
    (tmp_path / "many").mkdir()
    with closing(Catalog(tmp_path / "many")) as catalog:
        catalog.commit(1, encode(first))
        catalog.commit(2, encode(replace(secured(1, 1, (), 0), objects=rows)))
    with Dataset.open(tmp_path / "many") as dataset:
        numbers, objects = gather(dataset)
    shown = finest(objects, numbers.taxonomy)
    assert [name for name, _ in shown] == [taxon.name for taxon in taxa]
    assert {len(row) for _, row in shown} == {1}
    few = objects.of(objects["taxon"] < "taxon-04")
    assert {len(row) for _, row in finest(few, numbers.taxonomy)} == {OF_A_TAXON}


def record(routine: str, *, expired: bool) -> CalibrationUsed:
    return CalibrationUsed(routine, routine, (), 1.0, "2026-02-01", "", "2026-01-02", expired)


def test_masses_without_a_calibration_say_so_first_and_how_to_get_one(folder: Path, tmp_path: Path) -> None:
    with Dataset.open(make_pictured_night(tmp_path / "night", slides=1, fields=1)) as dataset:
        weighed, _ = gather(dataset)
    assert about_masses(weighed, NOTHING) == ()
    assert about_masses(weighed, Sources((record("flat", expired=False),), (), (), ())) == ()
    lacking = about_masses(weighed, Sources((record("flat", expired=True),), ("dark", "polarization"), (), ()))
    assert lacking[0] == "No calibration of dark and polarization was used: masses rest on assumed values there."
    assert [line.partition(":")[0] for line in lacking[1:4]] == ["dark", "polarization", "flat"]
    assert "its record of 2026-01-02 counted until 2026-02-01 only" in lacking[3]
    assert lacking[4].startswith("`lamelle calibrate dark CONFIG` makes one, and likewise polarization and flat; ")
    with Dataset.open(folder) as dataset:
        no_masses, _ = gather(dataset)
    assert about_masses(no_masses, Sources((), ("dark",), (), ())) == ()


def test_a_kept_picture_is_found_by_its_record(tmp_path: Path) -> None:
    with Dataset.open(make_pictured_night(tmp_path / "night")) as dataset:
        numbers, _ = gather(dataset)
        shown = show_fields(dataset, numbers)
    there = {(one.field.slide, one.field.field): one for one in shown}
    assert there[KEPT].picture
    assert {one.without for place, one in there.items() if place != KEPT} == {"no picture of this field was kept"}
    assert numbers.taxonomy.taxa == TAXA
    assert TableOrigins().measured.number == 0
