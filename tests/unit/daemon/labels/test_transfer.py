"""Labels brought in, written out and merged: every row that fits an object is kept, every other one is named."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

import lamelle
from daemon.cli.app import app
from daemon.dataset.labels import LabelStatus, label_store
from daemon.dataset.reader import Dataset
from daemon.labels.overview import overview
from daemon.labels.rows import SaidForAll
from daemon.labels.transfer import Brought, export_labels, import_labels, merge_labels
from daemon.system.errors import Refused
from tests.support.deadlines import END_S
from tests.support.labelled_night import COLUMNS, NIGHT, make_night, redo, rows, write_table
from tests.support.places import ROOT
from tests.support.small_disk import fill, remount, small_disk

QUIET = Console(quiet=True)
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return make_night(tmp_path / "night")


def bring(night: Path, table: Path, **how: Any) -> Brought:
    return import_labels(night, [table], QUIET, now=NOW, **how)


def said(night: Path) -> dict[tuple[int, int], str | None]:
    """What stands, by field and number."""
    table = lamelle.open(night).objects(counted=False)
    keys = zip(table["field"].to_pylist(), table["number"].to_pylist(), table["label_taxon"].to_pylist(), strict=True)
    return {(field, number): taxon for field, number, taxon in keys if taxon is not None}


def kept(night: Path) -> set[str]:
    """Hashes of all that was ever said."""
    with Dataset.open(night) as dataset:
        return set(label_store(dataset).read().table["row"].to_pylist())


def test_labels_are_taken_once_in_whatever_order(night: Path, tmp_path: Path) -> None:
    table = list(rows(10, 5))
    first = bring(night, write_table(tmp_path / "a.csv", table))
    assert (first.added, first.known, first.refused, first.notes) == (10, 0, 0, [])
    before = kept(night)
    random.Random(1).shuffle(table)
    again = bring(night, write_table(tmp_path / "b.csv", table, sorted(COLUMNS)))
    assert (again.added, again.known) == (0, 10)
    assert kept(night) == before
    changed = [row | {"taxon": "other", "utc": "2026-11-23T00:00:00Z"} for row in table[:1]]
    assert bring(night, write_table(tmp_path / "c.csv", changed + table[1:])).added == 1
    assert list(said(night).values()).count("other") == 1
    assert before < kept(night)
    old = bring(night, write_table(tmp_path / "d.csv", [changed[0] | {"taxon": "older", "utc": "2026-11-20T00:00Z"}]))
    assert old.added == 1
    assert "older" not in said(night).values(), "an old export never beats a later word"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"night": "another"}, "it is of night 'another', not of '2026-11-21 A'"),
        ({"night": ""}, "night is empty"),
        ({"number": "99"}, "there is no such object in this dataset"),
        ({"field": "7"}, "there is no such object in this dataset"),
        ({"attempt": "2"}, "there is no such object in this dataset"),
        ({"slide": "one"}, "slide is 'one', which is no number"),
        ({"number": "1.5"}, "number is 1.5, which is no whole number of an object"),
        ({"field": ""}, "field is empty; name the object"),
        ({"utc": "21.11.2026"}, "utc is '21.11.2026'; write the time as 2026-03-14T21:05:00Z"),
        ({"utc": "0001-01-01T00:00+14:00"}, "utc is '0001-01-01T00:00+14:00'; write the time"),
        ({"utc": ""}, "utc is empty; say when the label was given"),
        ({"status": "sure"}, "status is 'sure'; choose one of predicted, dubious, validated, discarded"),
        ({"status": ""}, "status is empty; choose one of"),
        ({"taxon": ""}, "taxon is empty; name one"),
        ({"qualifier": "sp."}, "qualifier is 'sp.'; choose one of cf., aff., ?"),
        ({"completeness": "half"}, "completeness is 'half'; choose one of whole, more than half, less"),
        ({"units": "1,234"}, "units is '1,234', which is no number"),
        ({"units": "-1"}, "units is -1; give a number from 0 to 10000"),
        ({"reworked": "perhaps"}, "reworked is 'perhaps'; write yes or no"),
        ({"content": "ab" * 32}, "the object of this name has another content here"),
        ({"row": "ab" * 32}, "it was changed after it was exported"),
        ({"object": "N/1"}, "'N/1' is not the name of an object"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_the_others_are_taken(
    changes: dict[str, str], reason: str, night: Path, tmp_path: Path
) -> None:
    good, bad, best = rows(3, 5)
    columns = (*COLUMNS, *(name for name in changes if name not in COLUMNS))
    brought = bring(night, write_table(tmp_path / "a.csv", [good, bad | changes, best], columns))
    ((source, why),) = brought.left_out
    assert source == str(tmp_path / "a.csv")
    assert why.startswith(reason)
    assert brought.left_out[source, why] == [3]
    assert said(night) == {(1, 0): "taxon-0", (1, 2): "taxon-2"}


def test_words_are_read_whatever_a_spreadsheet_made_of_them(night: Path, tmp_path: Path) -> None:
    (row,) = rows(1, 5)
    row |= {
        "status": "DISCARDED", "taxon": "", "completeness": "MORE THAN HALF", "reworked": "WAHR", "units": "0,5",
        "qualifier": "CF.", "who": " A\u030aB ", "number": "1.0", "utc": "2026-11-22 01:00:00,5+01:00",
    }  # fmt: skip
    turkish = row | {"status": "D\u0130SCARDED", "number": "2", "reworked": "YES"}
    extra = ("completeness", "reworked", "units", "qualifier")
    brought = bring(night, write_table(tmp_path / "a.csv", [row, turkish], (*COLUMNS, *extra)))
    assert brought.left_out == {}
    _, one, two, *_ = lamelle.open(night).objects().to_pylist()
    assert (one["label_completeness"], one["label_reworked"], one["label_units"]) == ("more than half", True, 0.5)
    assert (one["label_qualifier"], one["label_who"], one["label_status"]) == ("cf.", "\u00c5B", "discarded")
    assert one["label_utc"] == datetime(2026, 11, 22, 0, 0, 0, 500_000, tzinfo=UTC)
    assert two["label_status"] == "discarded"


def test_what_rows_do_not_say_is_said_for_all(night: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", rows(1, 5), ("night", "slide", "field", "number", "taxon"))
    for_all = SaidForAll("CD", datetime(2026, 11, 22, tzinfo=UTC), LabelStatus.DUBIOUS)
    assert bring(night, table, for_all=for_all).added == 1
    (row, *_) = lamelle.open(night).objects().to_pylist()
    assert (row["label_who"], row["label_status"]) == ("CD", "dubious")
    assert bring(night, table, for_all=for_all).known == 1


def test_times_without_a_zone_and_in_the_future_are_told(night: Path, tmp_path: Path) -> None:
    table = list(rows(3, 5))
    table[0]["utc"] = "2026-11-22T12:00:00"
    table[1]["utc"] = "2027-01-01T00:00:00Z"
    brought = bring(night, write_table(tmp_path / "a.csv", table))
    assert brought.notes == [
        "1 label with a time without a zone, which was read as UTC",
        "1 label with a time in the future, by a clock that was wrong: they stand until it has passed",
    ]
    assert overview(night, now=NOW).notes == ("1 row with a time in the future, by a clock that was wrong",)
    assert overview(night, now=datetime(2027, 1, 2, tzinfo=UTC)).notes == ()


def test_a_night_may_be_named_in_decomposed_letters(tmp_path: Path) -> None:
    name = "n\u00e9e \u00c5"
    night = make_night(tmp_path / "night", night=name)
    row = next(rows(1, 5)) | {
        "night": unicodedata.normalize("NFD", name),
        "taxon": unicodedata.normalize("NFD", "\u00e9"),
    }
    assert bring(night, write_table(tmp_path / "a.csv", [row])).added == 1
    assert bring(night, write_table(tmp_path / "b.csv", [row | {"night": name, "taxon": "\u00e9"}])).known == 1


def test_a_label_of_an_attempt_that_does_not_count_is_kept_and_told(night: Path, tmp_path: Path) -> None:
    redo(night, 1)
    row = next(rows(1, 5))
    assert bring(night, write_table(tmp_path / "a.csv", [row])).notes == [
        "1 label of an attempt at a field that does not count: they are kept, and stand in no table"
    ]
    assert said(night) == {}
    brought = bring(night, write_table(tmp_path / "b.csv", [row | {"attempt": ""}]))
    ((_, why),) = brought.left_out
    assert why == "attempt is empty, and the field has the attempts 1, 2; say which was looked at"
    named = row | {"object": f"{NIGHT}/slide-1/field-0001/attempt-2/000"}
    assert bring(night, write_table(tmp_path / "c.csv", [named], ("object", "utc", "status", "taxon"))).added == 1
    assert said(night) == {(1, 0): "taxon-0"}


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.parquet"])
def test_what_is_exported_comes_back_unchanged(name: str, night: Path, tmp_path: Path) -> None:
    odd = {"unit": "@lith", "view": "'=a", "contents": "-", "units": "0.1", "reworked": "no", "who": "+AB"}
    table = [row | odd for row in rows(4, 5)] + [row | {"utc": "2026-11-23T00:00:00.000001Z"} for row in rows(2, 5)]
    bring(night, write_table(tmp_path / "a.csv", table, (*COLUMNS, *odd)))
    taken_back = next(rows(1, 5)) | {"status": "", "taxon": "", "undone": sorted(kept(night))[0]}
    bring(night, write_table(tmp_path / "u.csv", [taken_back], (*COLUMNS, "undone")))
    before = kept(night)
    assert export_labels(night, tmp_path / name) == len(before) == 7
    shutil.rmtree(night / "added")
    back = bring(night, tmp_path / name)
    assert (back.added, back.refused, back.notes) == (7, 0, [])
    assert kept(night) == before
    assert export_labels(night, tmp_path / "standing.csv", standing_alone=True) in (3, 4)


def test_a_row_that_was_edited_after_the_export_needs_a_time_of_its_own(night: Path, tmp_path: Path) -> None:
    bring(night, write_table(tmp_path / "a.csv", rows(2, 5)))
    export_labels(night, tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_text("utf-8-sig").replace("taxon-1", "better")
    (tmp_path / "edited.csv").write_text(text, "utf-8")
    brought = bring(night, tmp_path / "edited.csv")
    assert (brought.added, brought.known, brought.refused) == (0, 1, 1)
    assert said(night) == {(1, 0): "taxon-0", (1, 1): "taxon-1"}


def test_an_export_that_would_miss_something_is_refused(night: Path, tmp_path: Path) -> None:
    bring(night, write_table(tmp_path / "a.csv", rows(2, 5)))
    (part,) = (night / "added").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(Refused, match=r"cannot be read .* would be missing in the export"):
        export_labels(night, tmp_path / "out.csv")


def test_what_is_shown_without_a_file_that_cannot_be_read_is_told_by_name_and_status(
    night: Path, tmp_path: Path
) -> None:
    bring(night, write_table(tmp_path / "a.csv", rows(2, 5)))
    (damaged,) = (night / "added").iterdir()
    bring(night, write_table(tmp_path / "b.csv", rows(3, 5)))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    shown = CliRunner().invoke(app, ["labels", str(night), "show"])
    assert shown.exit_code == 3
    text = "".join(shown.stdout.split())  # wherever the lines are broken
    assert f"{damaged}cannotberead".replace(" ", "") in text
    assert text.endswith("1labelbyAB1;1objectnamed;0conflicts;withoutwhat1filewouldsay")
    told = CliRunner().invoke(app, ["labels", str(night), "show", "--json"])
    assert told.exit_code == 3
    assert [one["name"] for one in json.loads(told.stdout)["unread"]] == [str(damaged)]


def test_a_merge_says_by_its_status_that_a_file_of_the_other_could_not_be_read(night: Path, tmp_path: Path) -> None:
    other = make_night(tmp_path / "other")
    bring(other, write_table(tmp_path / "a.csv", rows(2, 5)))
    (part,) = (other / "added").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    ended = CliRunner().invoke(app, ["labels", str(night), "merge", str(other)])
    assert ended.exit_code == 3
    assert f"{part.name} cannot be read" in ended.stdout


def test_parquet_of_another_program_is_read(night: Path, tmp_path: Path) -> None:
    columns = {
        "number": pa.array([1, 2], pa.int32()), "Taxon": ["a", "b"], "field": [1.0, 1.0], "slide": ["1", "1"],
        "night": pa.array([NIGHT] * 2).dictionary_encode(), "status": ["validated"] * 2, "note": ["x", None],
        "utc": pa.array([datetime(2026, 11, 22), None], pa.timestamp("ns")), "units": pa.array([1, None], pa.int8()),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    brought = bring(night, tmp_path / "a.parquet")
    assert brought.added == 1
    assert list(brought.left_out.values()) == [[2]]
    assert brought.notes[0].endswith("a.parquet: nothing is read from note")
    assert said(night) == {(1, 1): "a"}


def test_copies_of_a_night_are_merged_and_stay_as_they_are(night: Path, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop"
    shutil.copytree(night, laptop)
    bring(night, write_table(tmp_path / "a.csv", rows(4, 5, who="AB")))
    bring(laptop, write_table(tmp_path / "b.csv", rows(6, 5, who="CD", taxon="mine", utc="2026-11-23T00:00:00Z")))
    there = kept(laptop)
    merged = merge_labels(night, [laptop], QUIET, now=NOW)
    assert (merged.added, merged.known, merged.refused) == (6, 0, 0)
    assert kept(laptop) == there < kept(night)
    assert merge_labels(laptop, [night / "added"], QUIET, now=NOW).added == 4
    assert kept(laptop) == kept(night)
    assert said(laptop) == said(night)
    assert set(said(night).values()) == {"mine"}
    found = overview(night, now=NOW)
    assert (found.labels, found.objects, len(found.conflicts)) == (10, 6, 4)
    assert found.conflicts[0].said[0][:2] == ("CD", "mine")


def test_another_night_and_another_analysis_are_not_merged(night: Path, tmp_path: Path) -> None:
    bring(night, write_table(tmp_path / "a.csv", rows(2, 5)))
    with pytest.raises(Refused, match="holds night 2026-11-21 A, not B; merge copies of the same night"):
        merge_labels(make_night(tmp_path / "other", night="B"), [night], QUIET)
    with pytest.raises(Refused, match="is no dataset, nor a folder of labels"):
        merge_labels(night, [tmp_path], QUIET)
    again = make_night(tmp_path / "again", salt=b"again")
    merged = merge_labels(again, [night], QUIET)
    assert (merged.added, merged.refused) == (0, 2)
    assert said(again) == {}


def test_on_a_disk_that_cannot_be_written_labels_lie_where_a_person_says(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        night = make_night(disk / "night")
        table = write_table(tmp_path / "a.csv", rows(2, 5))
        bring(night, write_table(tmp_path / "first.csv", rows(1, 5, taxon="first")))
        remount(disk, "ro")
        with pytest.raises(
            Refused, match=r"^neither .* nor .* can be written to \(Read-only file system\); name a folder .* --beside"
        ):
            bring(night, table)
        beside = tmp_path / "beside"
        assert bring(night, table, beside=beside).added == 2
        there = lamelle.open(night, beside=beside).objects().to_pylist()
        assert sum(row["label_taxon"] is not None for row in there) == 2
        assert overview(night, beside, now=NOW).labels == 3
        assert len(said(night)) == 1


def test_a_disk_that_is_full_ends_it_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        night = make_night(disk / "night")
        bring(night, write_table(tmp_path / "first.csv", rows(1, 5)))
        fill(disk)
        from daemon.cli.app import main

        table = write_table(tmp_path / "a.csv", rows(10, 5, taxon="x"))
        monkeypatch.setattr("sys.excepthook", sys.excepthook)
        monkeypatch.setattr(sys, "argv", ["lamelle", "labels", str(night), "import", str(table)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        (sentence,) = capsys.readouterr().err.splitlines()
        assert "No space left on device" in sentence
        (disk / "filler").unlink()
        assert len(kept(night)) == 1
        assert bring(night, table).added == 10


def test_the_commands_say_what_they_did(night: Path, tmp_path: Path) -> None:
    table = [*rows(3, 5), next(rows(1, 5)) | {"number": "77"}]
    write_table(tmp_path / "a.csv", table)
    words = ["labels", str(night)]

    def run(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*words, *more], catch_exceptions=False)
        return done.exit_code, done.output

    status, output = run("import", str(tmp_path / "a.csv"))
    assert status == 3
    assert f"{tmp_path / 'a.csv'}, row 5: there is no such object in this dataset\n" in output
    assert output.endswith("3 labels added, 0 known already, 1 left out\n")
    status, output = run("show")
    assert (status, "3 labels by AB 3; 3 objects named; 0 conflicts" in output) == (0, True)
    status, output = run("show", "--json")
    assert json.loads(output)["taxa"][0] == ["taxon-0", "validated", 1]
    assert run("export", "--into", str(tmp_path / "out.csv"))[0] == 0
    assert run("import", str(tmp_path / "out.csv")) == (0, "0 labels added, 3 known already\n")
    assert run("merge", str(night)) == (0, "0 labels added, 3 known already\n")


@pytest.mark.slow
def test_imports_at_once_and_killed_ones_lose_nothing(night: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "tr_TR.UTF-8", "PYTHONIOENCODING": "ascii"}
    tables = [
        [str(write_table(tmp_path / f"{who}{n}.csv", rows(10, 5, who=f"{who}{n}"))) for n in range(8)]
        for who in ("AB", "CD")
    ]

    def start(given: list[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "daemon", "labels", str(night), "import", *given]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    processes = [start(given) for given in tables]
    while not (night / "added").is_dir() or len(list((night / "added").iterdir())) < 4:
        assert any(process.poll() is None for process in processes)
    processes[0].kill()
    assert processes[1].wait(END_S) == 0
    processes[0].wait(END_S)
    brought = import_labels(night, [Path(one) for one in tables[0]], QUIET, now=NOW)
    assert brought.added + brought.known == 80
    assert len(kept(night)) == 160


@pytest.mark.long
def test_fifty_thousand_labels_survive_whatever_happens_between(tmp_path: Path) -> None:
    night = make_night(tmp_path / "night", fields=50, objects=1000)
    table = list(rows(50_000, 1000))
    assert bring(night, write_table(tmp_path / "a.csv", table)).added == 50_000
    before = said(night)
    random.Random(3).shuffle(table)
    for row in table[:500]:
        row |= {"taxon": "changed", "utc": "2026-11-24T00:00:00Z"}
    changed = {(int(row["field"]), int(row["number"])) for row in table[:500]}
    copied = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(night, copied)
    again = bring(copied, write_table(tmp_path / "b.csv", table))
    assert (again.added, again.known, again.refused) == (500, 49_500, 0)
    after = said(copied)
    assert {key for key, taxon in after.items() if taxon == "changed"} == changed
    assert {key: taxon for key, taxon in after.items() if key not in changed} == {
        key: taxon for key, taxon in before.items() if key not in changed
    }
    assert merge_labels(night, [copied], QUIET, now=NOW).added == 500
    assert said(night) == after
    assert len(kept(night)) == 50_500
