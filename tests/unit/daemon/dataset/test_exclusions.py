"""Which fields are counted: by the night's rule, and above it by what people say beside the dataset."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from rich.console import Console

import lamelle
from daemon.cli import app
from daemon.counts.excluding import FieldsMeant, say_of_fields
from daemon.dataset.catalog import Catalog
from daemon.dataset.exclusions import EXCLUSIONS, StandingExclusions, standing_exclusions
from daemon.dataset.later_tables import objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Selection, choose
from daemon.dataset.summary import render, summarise
from daemon.records.flags import FieldFlag
from daemon.records.names import field_file
from daemon.records.records import AnyRecord, NightClosed, SlideClosed, encode
from daemon.report.gather import gather
from daemon.report.verdict import verdict_of
from daemon.system.errors import Refused
from tests.support.labelled_night import redo
from tests.support.small_disk import remount, small_disk
from tests.support.small_night import entry, secured, started

FIELDS, OBJECTS = 6, 4
LOST = (FieldFlag.DIM, FieldFlag.OIL_LOST)


def make(folder: Path, lost: tuple[int, ...] = (2, 3)) -> Path:
    """Write a night of one mini-slide, some of whose fields lost their oil."""
    folder.mkdir(parents=True)
    with closing(Catalog(folder)) as catalog:
        records: list[AnyRecord] = [started(slides=1, fields=FIELDS)]
        for number in range(1, FIELDS + 1):
            field = secured(1, number, (entry(field_file(1, number), b"%d" % number),), OBJECTS)
            if number in lost:
                field = replace(field, flags=LOST, excluded_by=(FieldFlag.OIL_LOST,))
            records.append(field)
        records += [SlideClosed(utc=2.0, slide=1, sample="core-1", recorded=FIELDS, skipped=0)]
        records += [NightClosed(utc=3.0, recorded=FIELDS, skipped=0)]
        for seq, record in enumerate(records, 1):
            catalog.commit(seq, encode(record))
    return folder


def stands(folder: Path, beside: Path | None = None) -> StandingExclusions:
    with Dataset.open(folder) as dataset:
        return standing_exclusions(dataset, beside)


def excluded(folder: Path, beside: Path | None = None) -> list[int]:
    return [one.field for one in stands(folder, beside).excluded]


def say(folder: Path, fields: str, excluded: bool | None, reason: str | None = None, who: str = "AB") -> int:
    return say_of_fields(folder, FieldsMeant(1, fields, excluded, reason, who))


def counts(folder: Path) -> set[int]:
    """How many objects there are, by all who count them."""
    with Dataset.open(folder) as dataset:
        table, _ = objects_table(dataset)
        numbers, objects = gather(dataset)
        told = {
            dataset.totals().objects,
            sum(table["counted"].to_pylist()),
            numbers.total.number,
            numbers.slides[0].total.number,
            sum(field.objects for field in numbers.fields),
            len(objects),
            len(choose(dataset, Selection())),
        }
    return told | {summarise(folder).per_slide[0].objects, len(lamelle.open(folder).objects())}


def test_the_rule_of_the_night_is_told_and_counted_by_alike(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    assert excluded(night) == [2, 3]
    assert counts(night) == {4 * OBJECTS}
    assert {one.reason for one in stands(night).excluded} == {"oil lost"}
    assert {one.by for one in stands(night).excluded} == {"the rule"}
    summary = summarise(night)
    assert (summary.fields.excluded, summary.excluded, summary.per_slide[0].excluded_fields) == (2, 2 * OBJECTS, 2)
    rows = pq.read_table(night / "slide-1" / "objects.parquet").to_pylist()
    assert [row["counted"] for row in rows] == [row["field"] not in (2, 3) for row in rows]
    assert {(row["field"], *row["field_flags"], row["field_excluded"]) for row in rows} >= {
        (1, None),
        (2, "dim", "oil-lost", "oil lost"),
    }


def test_a_persons_word_stands_above_the_rule_and_is_undone_at_will(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    assert say(night, "4-5", True, "bubble drifted") == 2
    assert say(night, "2", False, "looked at it") == 1
    assert excluded(night) == [3, 4, 5]
    assert counts(night) == {3 * OBJECTS}
    one, other = stands(night).fields[1, 4], stands(night).fields[1, 2]
    assert (one.counted, one.reason, one.by) == (False, "bubble drifted", "AB")
    assert (other.counted, other.reason, other.by, other.flags) == (True, "looked at it", "AB", LOST)
    table = lamelle.open(night).objects(counted=False).to_pylist()
    assert {row["field_excluded"] for row in table if row["field"] == 4} == {"bubble drifted"}
    assert {row["field_excluded"] for row in table if row["field"] == 2} == {None}
    assert say(night, "4", False) == 1
    assert excluded(night) == [3, 5]
    assert say(night, "2,4-5", None) == 3
    assert excluded(night) == [2, 3, 4]
    assert say(night, "4", None) == 1
    assert (excluded(night), counts(night)) == ([2, 3], {4 * OBJECTS})
    with pytest.raises(Refused, match="nobody said anything of fields 4 of mini-slide 1"):
        say(night, "4", None)


def test_the_newest_word_stands_whatever_the_clocks_say(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    for turn in range(6):
        say(night, "1", turn % 2 == 0, f"turn {turn}")
    assert excluded(night) == [2, 3]
    assert stands(night).fields[1, 1].reason == "turn 5"


def test_two_persons_at_once_lose_no_word(tmp_path: Path) -> None:
    night = make(tmp_path / "night", lost=())
    with ThreadPoolExecutor(4) as several:
        list(several.map(lambda number: say(night, str(number), True, f"by {number}"), range(1, FIELDS + 1)))
    assert excluded(night) == list(range(1, FIELDS + 1))
    assert counts(night) == {0}
    copy = tmp_path / "copy"
    shutil.copytree(night, copy)
    assert excluded(copy) == excluded(night)


def test_a_word_is_of_an_attempt_and_a_further_one_is_judged_anew(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    say(night, "4", True, "bubble")
    for field in (2, 4):
        redo(night, field, OBJECTS)
    assert (excluded(night), stands(night).idle) == ([3], 1)
    assert counts(night) == {5 * OBJECTS}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("0", "--fields is '0'; write numbers and ranges such as 3-9,12, or all"),
        ("5-3", "--fields is '5-3'; write"),
        ("two", "--fields is 'two'; write"),
        ("1,7-8", "--fields names 7-8, not recorded on mini-slide 1"),
    ],
)
def test_fields_that_are_none_are_named(tmp_path: Path, fields: str, told: str) -> None:
    night = make(tmp_path / "night")
    with pytest.raises(Refused, match=told):
        say(night, fields, True)
    with pytest.raises(Refused, match="--slide is 2, of which no field was recorded"):
        say_of_fields(night, FieldsMeant(2, "1", True))
    with pytest.raises(Refused, match="--reason is 'two\\\\nlines'; write one line"):
        say(night, "1", True, "two\nlines")
    assert excluded(night) == [2, 3]


def test_where_nothing_can_be_written_a_word_lies_in_the_folder_that_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        night = make(disk / "night")
        remount(disk, "ro")
        with pytest.raises(Refused, match="name a folder for what is added with --beside"):
            say(night, "1", True)
        words = tmp_path / "words"
        assert say_of_fields(night, FieldsMeant(1, "1", True, "oil", "AB"), words) == 1
        assert (excluded(night), excluded(night, words)) == ([2, 3], [1, 2, 3])
        nights = lamelle.open(night, beside=words)
        assert len(nights.objects()) == nights.samples()["objects"].to_pylist()[0] == 3 * OBJECTS


def test_what_cannot_be_read_is_named_and_nothing_follows_from_it(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    say(night, "5", True)
    (part,) = (night / "added").glob(f"{EXCLUSIONS.name}-*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    found = stands(night)
    assert [one.field for one in found.excluded] == [2, 3]
    assert [Path(one.name).name for one in found.unread] == [part.name]
    console = Console(width=200, record=True, quiet=False)
    console.print(render(summarise(night)))


def test_flags_that_are_none_are_told_as_damage(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    with closing(sqlite3.connect(night / "catalog.sqlite")) as database:
        database.execute("UPDATE fields SET flags = '[\"purple\"]' WHERE field = 2")
        database.commit()
    with pytest.raises(lamelle.LamelleError, match="holds flags of a field that cannot be read"):
        excluded(night)


def test_the_verdict_tells_of_the_oil_and_a_person_silences_it(tmp_path: Path) -> None:
    night = make(tmp_path / "night")
    with Dataset.open(night) as dataset:
        verdict = verdict_of(dataset, None, 0)
    assert verdict.headline == f"Complete: 6 of 6 fields recorded, 2 not counted, {4 * OBJECTS} objects."
    assert verdict.needs[0].startswith("Mini-slide 1, core-1, lost its oil: 2 of its 6 fields (2-3) are not counted.")
    say(night, "all", False)
    with Dataset.open(night) as dataset:
        verdict = verdict_of(dataset, None, 0)
    assert (verdict.headline, verdict.needs) == (f"Complete: 6 of 6 fields recorded, {6 * OBJECTS} objects.", ())


def test_the_commands_say_what_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = make(tmp_path / "night")

    def run(*words: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as ended:
            app.app([*words], standalone_mode=True)
        return ended.value.code, capsys.readouterr().out

    assert run("exclude", str(night))[0] == 0
    status, said = run("exclude", str(night), "--slide", "1", "--fields", "5", "--reason", "oil", "--who", "AB")
    assert (status, "1 field of mini-slide 1: excluded" in said, "3 fields not counted" in said) == (0, True, True)
    assert "1 field not counted" in run("include", str(night), "--slide", "1", "--fields", "2,5")[1]
    assert "2 fields not counted" in run("exclude", str(night), "--slide", "1", "--fields", "2", "--undo")[1]
