"""What is doubtful about a library is listed before anything is learnt from it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.library.build import build
from daemon.library.duplicates import near_duplicates
from daemon.library.entry import Entry
from daemon.library.examined import examine
from daemon.library.findings import Finding, find
from daemon.library.library import Library
from daemon.library.sources.pictures import PictureSettings
from daemon.library.sources.places import impossible
from daemon.library.sources.table import PictureTable
from tests.support.class_folders import class_folders, picture, save
from tests.support.places import SHARED_DATA

QUIET = Console(quiet=True)
TODAY = date(2026, 11, 30)


def library_of(tmp_path: Path, source: Path, table: Path | None = None, taxonomy: Path | None = None) -> Library:
    settings = PictureSettings(table=None if table is None else PictureTable(table))
    build(tmp_path / "library", [source], settings, taxonomy, QUIET)
    return Library.open(tmp_path / "library")


def entry(taxon: str, number: int) -> Entry:
    """Say of a picture that is not there what a library keeps."""
    name = f"{taxon}/{number}.png"
    return Entry(
        key=name, origin="picture", source="set", root="nowhere", name=name, label=taxon, taxon=taxon, sha256=name,
        look=b"", shape_czyx=(1, 1, 2, 2), states=("picture",), low_dn=0, high_dn=9,
    )  # fmt: skip


def of_kind(library: Library, kind: str) -> list[Finding]:
    return [finding for finding in find(library, TODAY) if finding.kind == kind]


def test_the_same_picture_is_found_however_it_was_saved(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set", {"a": 3, "b": 3})
    save(source / "b" / "twice.bmp", picture(0))
    save(source / "a" / "again.png", picture(1))
    library = library_of(tmp_path, source)
    (two,) = of_kind(library, "two names")
    assert set(two.keys) == {"set/a/2016-04-01-0.png", "set/b/twice.bmp"}
    assert "called a and b" in two.told
    (same,) = of_kind(library, "same picture")
    assert set(same.keys) == {"set/a/again.png", "set/a/2016-04-01-1.png"}


def test_near_duplicates_are_found_and_others_are_not(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set", {"a": 40, "b": 40})
    noise = np.random.default_rng(3).integers(-3, 4, (40, 50))
    save(source / "b" / "brighter.png", np.clip(picture(2) * 0.8 + noise + 5, 0, 255).astype(np.uint8))
    save(source / "a" / "cropped.png", picture(5)[1:, 1:])
    library = library_of(tmp_path, source)
    (two,) = of_kind(library, "alike, two names")
    assert set(two.keys) == {"set/a/2016-04-02-2.png", "set/b/brighter.png"}
    (alike,) = of_kind(library, "alike")
    assert set(alike.keys) == {"set/a/2016-04-03-5.png", "set/a/cropped.png"}


def test_pictures_of_one_outline_are_not_the_same(tmp_path: Path) -> None:
    rows, columns = np.mgrid[-1:1:60j, -1:1:60j]
    random = np.random.default_rng(4)
    for number in range(30):
        y, x, radius = random.normal((0, 0, 0.8), 0.03)
        disc = 150 / (1 + np.exp(20 * (np.hypot(rows - y, columns - x) - radius))) + 20
        texture = picture(number, 60, 60) / 255 - 0.5
        pixels = np.clip(disc * (1 + texture), 0, 255).astype(np.uint8)
        save(tmp_path / "set" / "grain" / f"{number}.png", pixels)
    assert not near_duplicates(list(library_of(tmp_path, tmp_path / "set").entries.values()))


def test_classes_in_classes_few_none_and_unequal(tmp_path: Path) -> None:
    taxonomy = tmp_path / "given.csv"
    taxonomy.write_text(
        "identifier,name,rank,parent\ncopepod,Copepod,class,\ncalanus,Calanus,genus,copepod\nblob,Blob,group,\n"
        "none,none,group,\n"
    )
    counts = {"copepod": 12, "calanus": 3, "blob": 1300}
    entries = [entry(taxon, number) for taxon, count in counts.items() for number in range(count)]
    library = Library(tmp_path, read_taxonomy(taxonomy), {one.key: one for one in entries}, (), {})
    (nested,) = of_kind(library, "nested")
    assert "calanus (3) is part of copepod (12)" in nested.told
    assert [finding.told.partition(";")[0] for finding in of_kind(library, "few")] == [
        "calanus has 3 pictures",
        "none has no picture",
    ]
    (unequal,) = of_kind(library, "unequal")
    assert "blob (1300) is 108 times as large as copepod (12)" in unequal.told


def test_without_parents_it_is_said_that_nesting_cannot_be_told(tmp_path: Path) -> None:
    (nested,) = of_kind(library_of(tmp_path, class_folders(tmp_path / "set", {"Copepod": 1, "Calanus": 1})), "nested")
    assert "no taxon has a parent" in nested.told


def test_odd_pictures_days_and_missing_files_are_told(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set", {"a": 4, "unsure": 1})
    save(source / "a" / "flat.png", np.full((20, 20), 7, np.uint8))
    save(source / "a" / "line.png", picture(9, 1, 40))
    table = tmp_path / "days.csv"
    days = ["2016-02-30", "1970-01-01", "2099-01-01", "2016-04-04"]
    rows = [f"2016-04-0{1 + n // 2}-{n}.png,{day},S1" for n, day in enumerate(days)]
    table.write_text("\n".join(["file,date,sample", *(f"a/{row}" for row in rows), ""]))
    library = library_of(tmp_path, source, table)
    told = {finding.keys[0].rpartition("/")[2]: finding.told for finding in of_kind(library, "day")}
    assert {name: text.partition(": ")[2] for name, text in told.items()} == {
        "2016-04-01-0.png": "'2016-02-30' is no day; write it as YYYY-MM-DD",
        "2016-04-01-1.png": "'1970-01-01' is what programs write where they know no day",
        "2016-04-02-2.png": "'2099-01-01' is yet to come",
    }
    assert [finding.keys for finding in of_kind(library, "constant")] == [("set/a/flat.png",)]
    assert "set/a/flat.png" not in {one.key for one in library.examples()}
    assert [finding.keys for finding in of_kind(library, "tiny")] == [("set/a/line.png",)]
    assert [finding.told for finding in of_kind(library, "unsure")] == [
        "'unsure': 1 picture, of which nothing is learnt"
    ]
    assert "3 of 7 pictures have no sample" in [finding.told for finding in of_kind(library, "origin unknown")]
    (source / "a" / "line.png").unlink()
    assert [finding.keys for finding in of_kind(library, "changed")] == [("set/a/line.png",)]


@pytest.mark.parametrize(
    ("day", "why"),
    [("2016-04-04", ""), ("", ""), ("1904-01-01", "know no day"), ("0016-04-04", "before"), ("4/5/2016", "is no day")],
)
def test_days_that_cannot_be(day: str, why: str) -> None:
    told = impossible(day, TODAY)
    assert (why in told) if why else not told


def test_check_prints_json_and_writes_a_page_with_pictures(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set", {"a<b" if os.name == "posix" else "a": 3, "c": 3})
    save(source / "c" / "twice.png", picture(0))
    library_of(tmp_path, source)
    page = tmp_path / "page.html"
    command = ["library", "check", str(tmp_path / "library"), "--json", "--page", str(page)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    kinds = [finding["kind"] for finding in json.loads(result.stdout)["findings"]]
    assert kinds[0] == "two names"
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") >= 2
    assert "One picture under two names" in text
    assert "<b:" not in text


def test_all_pictures_of_a_real_series_that_have_two_labels_are_listed(tmp_path: Path) -> None:
    pwssc = SHARED_DATA / "pwssc"
    if not pwssc.is_dir():
        pytest.skip("the plankton series is not at hand")
    with (pwssc / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    few = {"Calanus", "Neocalanus"}
    by_bytes = defaultdict(set)
    for row in rows:
        if row["label"] in few:
            by_bytes[hashlib.sha256((pwssc / row["file"]).read_bytes()).digest()].add(row["file"])
    known = {frozenset(files) for files in by_bytes.values() if len(files) > 1}
    source = tmp_path / "set"
    source.mkdir()
    for name in few:
        (source / name).symlink_to(pwssc / name)
    checked = examine(library_of(tmp_path, source))
    found = {
        frozenset(key.removeprefix("set/") for key in finding.keys)
        for finding in checked.findings
        if finding.kind == "two names"
    }
    assert known
    assert found == known
