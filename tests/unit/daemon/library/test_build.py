"""A library is built from what lies in folders: again and again, whole, and by name and reason what is not taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from daemon.library.build import Built, build, undo
from daemon.library.entry import Entry
from daemon.library.library import Library
from daemon.library.sources.pictures import PictureSettings
from daemon.library.sources.places import NamesPattern
from daemon.library.sources.table import PictureTable
from daemon.system.errors import DamagedFile, Refused
from drivers.recorded.file_names import Polarizations
from tests.support.class_folders import class_folders, picture, save
from tests.support.places import SHARED_DATA
from tests.support.rights import closed, for_everybody
from tests.support.small_night import until

QUIET = Console(quiet=True)


def built(library: Path, *sources: Path, taxonomy: Path | None = None, **settings: object) -> Built:
    return build(library, sources, PictureSettings(**settings), taxonomy, QUIET)  # type: ignore[arg-type]


def entry_of(library: Path, key: str) -> Entry:
    return Library.open(library).entries[key]


def test_what_is_new_changed_and_gone_is_taken_and_nothing_twice(tmp_path: Path) -> None:
    source, library = class_folders(tmp_path / "set", {"Calanus": 3, "Acartia": 2}), tmp_path / "library"
    assert built(library, source).taken == {"set": 5}
    again = built(library, source)
    assert (again.taken.total(), again.unchanged["set"]) == (0, 5)
    moved = source / "Calanus" / "2016-04-01-0.png"
    moved.rename(source / "Acartia" / "moved.png")
    save(source / "Calanus" / "2016-04-01-1.png", picture(77, 30, 30))
    third = built(library, source)
    assert (third.taken["set"], third.unchanged["set"], third.dropped["set"]) == (2, 3, 1)
    examples = Library.open(library).examples()
    assert [one.taxon for one in examples] == ["acartia"] * 3 + ["calanus"] * 2
    assert entry_of(library, "set/Calanus/2016-04-01-1.png").shape_czyx == (1, 1, 30, 30)


def test_a_build_is_taken_back_and_the_one_before_it_then(tmp_path: Path) -> None:
    library = tmp_path / "library"
    built(library, class_folders(tmp_path / "first", {"a": 2}))
    built(library, class_folders(tmp_path / "second", {"b": 3}, first=9))
    undo(library)
    assert len(Library.open(library).entries) == 2
    undo(library)
    assert not Library.open(library).entries
    with pytest.raises(Refused, match="no build that could be undone"):
        undo(library)
    built(library, tmp_path / "second")
    assert len(Library.open(library).entries) == 3


def test_pixels_are_those_of_the_files_whatever_their_depth(tmp_path: Path) -> None:
    source, library = tmp_path / "set", tmp_path / "library"
    eight = picture(1)
    twelve = picture(2).astype(np.uint16) * np.uint16(16) + np.uint16(15)
    dim = np.tile(np.arange(9, 39, dtype=np.uint16), (20, 1))
    save(source / "x" / "8.png", eight)
    save(source / "x" / "12.png", twelve)
    save(source / "x" / "dim.png", dim)
    stack = (np.arange(2 * 5 * 20 * 30) % 4096).astype(np.uint16).reshape(2, 5, 20, 30)
    names = {"axes": "CZYX", "Channel": {"Name": ["parallel", "crossed"]}, "PhysicalSizeX": 0.06, "PhysicalSizeY": 0.06}
    tifffile.imwrite(source / "x" / "stack.ome.tif", stack, metadata=names)
    assert built(library, source, pixel_um=0.1).taken["set"] == 4
    seen = {one.key.rpartition("/")[2]: one.read() for one in Library.open(library).examples()}
    np.testing.assert_array_equal(seen["8.png"].stack[0, 0], eight)
    np.testing.assert_array_equal(seen["12.png"].stack[0, 0], twelve)
    np.testing.assert_array_equal(seen["stack.ome.tif"].stack, stack)
    assert [seen[name].white_dn for name in ("8.png", "12.png", "dim.png")] == [255, 4095, 4095]
    assert seen["stack.ome.tif"].states == ("parallel", "crossed")
    assert (seen["8.png"].pixel_um, seen["stack.ome.tif"].pixel_um) == (0.1, 0.06)


def test_channels_without_names_are_said_or_told(tmp_path: Path) -> None:
    source = tmp_path / "set"
    (source / "x").mkdir(parents=True)
    stack = np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 1, 20, 30)
    tifffile.imwrite(source / "x" / "a.ome.tif", stack, metadata={"axes": "CZYX"})
    assert "--polarization" in built(tmp_path / "one", source).left_out["set/x/a.ome.tif"]
    states = Polarizations.of(["parallel", "crossed"])
    built(tmp_path / "two", source, polarizations=states)
    assert Library.open(tmp_path / "two").examples()[0].read().states == ("parallel", "crossed")


def test_odd_names_of_classes_stay_apart_or_are_told(tmp_path: Path) -> None:
    source, library = tmp_path / "set", tmp_path / "library"
    names = ["unsure", "other_Biota", "a, b", "é", "Acantharea__25828", "CON", "ends.", "nil", "Copepod", "丁", "empty"]
    names += [] if os.name == "nt" else ["copepod", "other<Biota", "e\u0301"]
    for number, name in enumerate(names):
        save(source / name / "a.png", picture(number))
    (source / "empty" / "a.png").unlink()
    told = built(library, source)
    opened = Library.open(library)
    taxa = {entry.label: entry.taxon for entry in opened.entries.values()}
    assert len(taxa) == len(names) - 1
    assert taxa["unsure"] == "unsure"
    assert taxa["Acantharea__25828"] == "acantharea"
    assert taxa["a, b"] == "a-b"
    assert taxa["CON"] not in ("con", "")
    assert len(set(taxa.values())) == 10
    assert all(opened.taxonomy.of(taxon) is not None for taxon in taxa.values() if taxon != "unsure")
    assert opened.taxonomy.of("empty") is not None
    assert "unsure" not in {one.taxon for one in opened.examples()}
    if os.name != "nt":
        assert taxa["Copepod"] == taxa["copepod"]
        assert taxa["other<Biota"] == taxa["other_Biota"]
        assert taxa["é"] == taxa["e\u0301"]
        assert sum("taken for one class" in note for note in told.notes) == 3


def test_classes_that_a_given_taxonomy_does_not_know_are_kept_and_told(tmp_path: Path) -> None:
    table = tmp_path / "given.csv"
    table.write_text("identifier,name,rank,parent,synonyms\ncalanus,Calanus,genus,,Neocalanus\n")
    source, library = class_folders(tmp_path / "set", {"Calanus": 1, "Neocalanus": 1, "Blob": 2}), tmp_path / "library"
    told = built(library, source, taxonomy=table)
    assert [one.taxon for one in Library.open(library).examples()] == ["calanus", "calanus"]
    assert len(Library.open(library).entries) == 4
    assert "1 class is not in the taxonomy" in " ".join(told.notes)
    table.write_text(table.read_text() + "blob,Blob,group,,\n")
    built(library, source, taxonomy=table)
    assert len(Library.open(library).examples()) == 4


def test_what_people_wrote_into_the_table_of_a_library_stays(tmp_path: Path) -> None:
    source, library = class_folders(tmp_path / "set", {"Calanus": 1}), tmp_path / "library"
    built(library, source)
    table = library / "taxonomy.csv"
    written = (
        "identifier;name;rank;parent;calcite;remark\ncopepod;Copepod;class;;no;mine\ncalanus;Calanus;genus;copepod;;\n"
    )
    table.write_text(written, encoding="cp1252")
    built(library, source)
    assert table.read_text(encoding="cp1252") == written
    built(library, class_folders(source, {"Blob": 1}))
    text = table.read_text(encoding="utf-8-sig")
    assert "copepod,Copepod,class,,no,mine" in text
    assert "\nblob,Blob,group," in text
    assert [one.taxon for one in Library.open(library).examples()] == ["blob", "calanus"]
    given = tmp_path / "given.csv"
    given.write_text(written, encoding="utf-16")
    built(library, source, taxonomy=given)
    assert table.read_bytes() == given.read_bytes()


def test_merging_taxa_changes_what_examples_are_called(tmp_path: Path) -> None:
    library = tmp_path / "library"
    built(library, class_folders(tmp_path / "set", {"Calanus": 1, "Neocalanus": 1}))
    before = Library.open(library).sha256
    (library / "taxonomy.csv").write_text(
        "identifier,name,rank,parent,synonyms\ncalanus,Calanus,genus,,neocalanus\n", encoding="utf-8"
    )
    merged = Library.open(library)
    assert {one.taxon for one in merged.examples()} == {"calanus"}
    assert merged.sha256 != before


@pytest.mark.skipif(os.name == "nt", reason="links need rights there, and names may not hold such letters")
def test_what_cannot_be_read_is_told_by_name_and_nothing_else_is_lost(tmp_path: Path) -> None:
    source, library = class_folders(tmp_path / "set", {"x": 2}), tmp_path / "library"
    whole = (source / "x" / "2016-04-01-0.png").read_bytes()
    (source / "x" / "empty.png").write_bytes(b"")
    (source / "x" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (source / "x" / "text.png").write_text("no picture")
    (source / "x" / "data.raw").write_text("x")
    (source / "x" / "word.docx").write_text("x")
    save(source / "above.png", picture(3))
    frames = [Image.fromarray(picture(number)) for number in range(3)]
    frames[0].save(source / "x" / "moves.png", save_all=True, append_images=frames[1:])
    (source / "x" / "loop").symlink_to(source)
    (source / "x" / "nowhere.png").symlink_to(source / "gone.png")
    told = built(library, source)
    assert told.taken["set"] == 2
    why = {name.removeprefix("set/"): reason for name, reason in told.left_out.items()}
    assert {name: part for name, part in {
        "x/empty.png": "empty", "x/cut.png": "damaged", "x/text.png": "no image", "x/moves.png": "moves",
        "x/data.raw": "suffix", "above.png": "no folder of a class", "x/nowhere.png": "nowhere", "x/loop": "link",
    }.items() if part not in why[name]} == {}  # fmt: skip
    assert Library.open(library).left_out["set"] == why
    assert any("document" in note for note in told.notes)


def test_tables_of_other_programs_say_what_pictures_are(tmp_path: Path) -> None:
    source, library = class_folders(tmp_path / "set", {"heap": 4}), tmp_path / "library"
    table = tmp_path / "trieur.csv"
    names = [f"2016-04-0{1 + n // 2}-{n}.png" for n in range(4)]
    rows = [
        "fichier;label;sample;date;resolution",
        f"C:\\pictures\\{names[0]};Calanus;MD 1;1459740420;2000",
        f"heap/{names[1]};other<Biota;MD  1;04.04.2016;2000,0",
        f"{names[2]};Målsjö;MD 2;2016-04-05T23:30:00-04:00;",
        "gone.png;Calanus;MD 2;20160406;",
        ";Calanus;MD 2;20160406;",
    ]
    table.write_bytes("\r\n".join(rows).encode("cp1252"))
    told = built(library, source, table=PictureTable(table))
    found = {entry.name: entry for entry in Library.open(library).entries.values()}
    one, two, three, four = (found[f"heap/{name}"] for name in names)
    assert [(e.label, e.sample, e.day, e.pixel_um) for e in (one, two, three, four)] == [
        ("Calanus", "MD 1", "2016-04-04", 0.5),
        ("other<Biota", "MD 1", "2016-04-04", 0.5),
        ("Målsjö", "MD 2", "2016-04-06", None),
        ("heap", "", "", None),
    ]
    assert len(told.left_out) == 1
    assert "gone.png" in " ".join(told.left_out)
    assert any("Windows-1252" in note for note in told.notes)
    assert any("line 6 names no file" in note for note in told.notes)


def test_names_tell_sample_and_day(tmp_path: Path) -> None:
    source, library = tmp_path / "set", tmp_path / "library"
    save(source / "MD-1" / "Calanus" / "SPC-1459740420-7.png", picture(1))
    save(source / "MD-1" / "odd.png", picture(2))
    told = built(library, source, names=NamesPattern.of("{sample}/{class}/SPC-{day}-*"))
    entry = entry_of(library, "set/MD-1/Calanus/SPC-1459740420-7.png")
    assert (entry.label, entry.sample, entry.day) == ("Calanus", "MD-1", "2016-04-04")
    assert "--names does not describe" in told.left_out["set/MD-1/odd.png"]
    for pattern, why in (("{field}/{class}/*", "field"), ("{day}{day}", "twice"), ("*/*", "says nothing")):
        with pytest.raises(Refused, match=why):
            NamesPattern.of(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "day"),
    [
        ("SPC-X-{day}-*", "SPC-X-1460172511-000840-138-2220-1724.png", "2016-04-09"),
        ("SPC-X-{day}-*", "SPC-X-1460172511123-000840-138.png", "2016-04-09"),
        ("{day}-*", "2016-04-04-000840.png", "2016-04-04"),
        ("{day}-*", "2016-04-04T12:30:05Z-17-3.png", "2016-04-04"),
        ("{day}_*", "2016-04-04_17.png", "2016-04-04"),
        ("{day}_*", "2016-04-04_1230_17.png", "2016-04-04"),
        ("D{day}_*", "D20160404T235959_IFCB101_00012.png", "2016-04-04"),
        ("{day}-*", "20160404-12-1.png", "2016-04-04"),
        ("{day}-*", "20160404-1.png", "2016-04-04"),
        ("*_{day}.png", "a_4.4.2016.png", "2016-04-04"),
        ("{day}-*", "17-3.png", "17"),
    ],
)
def test_numbers_that_follow_a_day_are_none_of_it(pattern: str, name: str, day: str) -> None:
    place = NamesPattern.of(pattern).place(name)
    assert place is not None
    assert place.day == day


def test_a_build_that_no_more_says_where_specimens_are_from_is_told(tmp_path: Path) -> None:
    library, source, table = tmp_path / "library", tmp_path / "pictures", tmp_path / "table.csv"
    for number in (1, 2):
        save(source / "blob" / f"{number}.png", picture(number))
    table.write_text("file,sample\nblob/1.png,core\nblob/2.png,core\n", "utf-8")
    assert built(library, source, table=PictureTable(table)).notes == []
    told = "pictures: 2 specimens had a sample, mini-slide or day before, which nothing says now; say it as before"
    (note,) = built(library, source).notes
    assert note.startswith(told)
    undo(library)
    assert entry_of(library, "pictures/blob/1.png").sample == "core"


def test_a_picture_that_changed_since_is_not_learnt_from(tmp_path: Path) -> None:
    source, library = class_folders(tmp_path / "set", {"x": 1}), tmp_path / "library"
    built(library, source)
    (example,) = Library.open(library).examples()
    save(source / "x" / "2016-04-01-0.png", picture(5))
    with pytest.raises(DamagedFile, match="is not what the library took in"):
        example.read()
    (source / "x" / "2016-04-01-0.png").unlink()
    with pytest.raises(DamagedFile, match="put it back, or build again"):
        example.read()


def test_a_library_moves_together_with_its_pictures(tmp_path: Path) -> None:
    home = tmp_path / "home"
    built(home / "library", class_folders(home / "set", {"x": 1}))
    home.rename(tmp_path / "elsewhere")
    (example,) = Library.open(tmp_path / "elsewhere" / "library").examples()
    np.testing.assert_array_equal(example.read().stack[0, 0], picture(0))


def test_what_cannot_be_built_is_refused_in_one_sentence(tmp_path: Path) -> None:
    source, library = class_folders(tmp_path / "set", {"x": 1}), tmp_path / "library"
    with pytest.raises(Refused, match="is no folder"):
        built(library, tmp_path / "nowhere")
    with pytest.raises(Refused, match="is no library, and not empty"):
        built(source, source)
    with pytest.raises(Refused, match="is no library; `lamelle library build"):
        Library.open(tmp_path / "nowhere")
    with pytest.raises(Refused, match="is no library; `lamelle library build"):
        undo(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "empty.csv").touch()
    with pytest.raises(Refused, match="holds no picture; give a first line with the names of the columns and one line"):
        PictureTable(tmp_path / "empty.csv")
    built(library, source)
    other = class_folders(tmp_path / "other" / "set", {"x": 1}, first=5)
    with pytest.raises(Refused, match="has another source 'set'"):
        built(library, other)
    assert built(library, other, source="other").taken["other"] == 1
    part = next((library / "index").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match="restore it from a copy"):
        Library.open(library)


@pytest.mark.skipif(sys.platform == "win32", reason="folders are closed by their mode")
def test_a_library_that_may_not_be_looked_into_is_not_taken_for_an_empty_one() -> None:
    with for_everybody() as place:
        built(place / "library", class_folders(place / "set", {"x": 1}))
        with closed(place / "library" / "index"), pytest.raises(PermissionError):
            Library.open(place / "library")


@pytest.mark.slow
def test_a_build_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    source, library = tmp_path / "set", tmp_path / "library"
    for number in range(2600):
        save(source / "x" / f"{number}.png", np.full((4, 4), number % 251, np.uint8))
    command = [sys.executable, "-m", "daemon", "library", "build", str(library), str(source)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until(lambda: any((library / "index").glob("*.parquet")), "the first part of the index")
    process.kill()
    process.wait()
    told = built(library, source)
    assert told.unchanged["set"] >= 2000
    assert len(Library.open(library).entries) == 2600


def test_real_pictures_of_a_plankton_camera_are_all_taken(tmp_path: Path) -> None:
    if not (SHARED_DATA / "vliz_flowcam").is_dir():
        pytest.skip("the FlowCam pictures are not at hand")
    told = built(tmp_path / "library", SHARED_DATA / "vliz_flowcam", SHARED_DATA / "ifcb")
    assert told.taken == {"vliz_flowcam": 105, "ifcb": 30}
    assert sorted(name.rpartition(".")[2] for name in told.left_out) == ["adc", "hdr", "roi"]
