"""Extraction: what was asked for, under safe names, readable by others."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from daemon.dataset.field_file import read_field_file
from daemon.dataset.selection import Selection
from daemon.exchange.objects import extract
from daemon.figures.choice import ObjectChoice, ObjectOrder
from daemon.labels.transfer import import_labels
from daemon.records.names import safe_name
from daemon.system.errors import Refused
from daemon.system.progress import follow
from tests.support.labelled_night import write_table
from tests.support.small_dataset import NIGHT, PLANES, make_dataset, ring, sample_of


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_object_is_written_in_every_format(tmp_path: Path) -> None:
    make_dataset(tmp_path / "run" / "dataset", slides=1, fields=1, objects=1)
    into = tmp_path / "out" / "deeper"
    assert extract(tmp_path / "run", into, ObjectChoice(), formats=("tiff", "png", "gif")) == 1
    stem = "slide-1_core-1_._bold_µ/field-0001_object-0001_diatom"
    ends = {".ome.tif", "_fused_0_crossed.png", "_fused_1_parallel.png", "_focus.gif"}
    assert names(into) == {stem + end for end in ends}

    crop = ring((50, 47), 1, 2)
    np.testing.assert_array_equal(tifffile.imread(into / f"{stem}.ome.tif"), crop)
    with read_field_file(into / f"{stem}.ome.tif") as file:
        (row,) = file.objects
        np.testing.assert_array_equal(file.fused(row), crop[:, 1])
        assert file.provenance.sample == sample_of(1)
    with Image.open(into / f"{stem}_fused_0_crossed.png") as image:
        assert (image.mode, image.size) == ("L", (47, 50))
        seen = np.asarray(image).astype(float)
    assert np.corrcoef(seen.ravel(), np.sqrt(crop[0, 1].ravel()))[0, 1] > 0.98
    with Image.open(into / f"{stem}_focus.gif") as image:
        assert image.size == (94, 50)
        assert image.n_frames == 2 * PLANES - 2  # type: ignore[attr-defined]
        assert image.info["loop"] == 0


def test_a_composite_has_the_states_side_by_side_and_a_bar_of_a_round_length(tmp_path: Path) -> None:
    make_dataset(tmp_path / "run" / "dataset", slides=1, fields=1, objects=1)
    assert extract(tmp_path / "run", tmp_path / "out", ObjectChoice(), formats=("composite",)) == 1
    (name,) = names(tmp_path / "out")
    assert name == "slide-1_core-1_._bold_µ/field-0001_object-0001_diatom_composite.png"
    with Image.open(tmp_path / "out" / name) as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    side = pixels.shape[0]
    assert pixels.shape[1] == 2 * side + 6
    crop = ring((50, 47), 1, 2)[:, 1].astype(float)
    for at in range(2):
        width = round(side * 47 / 50)
        left = at * (side + 6) + (side - width) // 2
        view = pixels[:, left : left + width]
        small = np.asarray(Image.fromarray(view.astype(np.uint8)).resize((47, 50), Image.Resampling.BOX))
        # But for the corners, in which the names of the states and the bar are.
        assert np.corrcoef(small[8:40, :].ravel(), crop[at, 8:40, :].ravel())[0, 1] > 0.9
    white = "".join("#" if value == 255 else "." for value in pixels[side - 8, :side])
    bar = max(map(len, white.split(".")))
    length_um = (bar - 1) / side * 50 * 0.059
    assert min(abs(length_um / round_um - 1) for round_um in (0.5, 1, 2)) < 0.02


def test_a_gallery_shows_every_object_below_its_taxon(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", slides=2, fields=1, objects=4)
    said = {"night": NIGHT, "slide": "1", "field": "1", "number": "1", "utc": "2026-11-22T00:00:00Z", "who": "AB"}
    label = write_table(tmp_path / "l.csv", [said | {"status": "validated", "taxon": "<b>bold</b> & co"}])
    import_labels(tmp_path, [label], Console(file=io.StringIO()))
    into = tmp_path / "out # 100%"
    assert extract(tmp_path, into, ObjectChoice(order=ObjectOrder.SCORE), formats=("gallery",)) == 4
    page = (into / "gallery.html").read_text("utf-8")
    headings = re.findall(r"<h2[^>]*>(.*?) <span", page)
    assert headings == ["&lt;b&gt;bold&lt;/b&gt; &amp; co", "not named"]
    shown = re.findall(r'src="([^"]*)"', page)
    assert sorted(unquote(one) for one in shown) == sorted(names(into) - {"gallery.html"})
    assert len(shown) == 4
    assert not re.findall(r'(?:src|href)="(?!slide-|#taxon-)', page)
    assert "<b>" not in page
    assert extract(tmp_path, tmp_path / "none", ObjectChoice(Selection(min_score=2)), formats=("gallery",)) == 0
    assert "No object is here." in (tmp_path / "none" / "gallery.html").read_text("utf-8")


SELECTIONS = [
    (Selection(), 2 * 2 * 3),
    (Selection(slides=frozenset({2})), 2 * 3),
    (Selection(samples=frozenset({sample_of(1)})), 2 * 3),
    (Selection(samples=frozenset({"other"})), 0),
    (Selection(classes=frozenset({"diatom"})), 2 * 2 * 1),
    (Selection(min_score=0.8), 2 * 2 * 2),
    (Selection(below_threshold=True), 2 * 2 * 4),
    (Selection(other_tiles=True), 2 * 2 * 4),
    (Selection(other_tiles=True, below_threshold=True), 2 * 2 * 5),
]


@pytest.mark.parametrize(("selection", "count"), SELECTIONS, ids=range(len(SELECTIONS)))
def test_the_selection_is_kept_to(tmp_path: Path, selection: Selection, count: int) -> None:
    make_dataset(tmp_path / "run" / "dataset", slides=2, fields=2, objects=5)
    assert extract(tmp_path / "run", tmp_path / "out", ObjectChoice(selection)) == count
    assert len(names(tmp_path / "out")) == count


def test_a_limit_takes_an_even_share_and_again_gives_the_same(tmp_path: Path) -> None:
    make_dataset(tmp_path / "run" / "dataset", slides=2, fields=2, objects=5)
    for _ in range(2):
        assert extract(tmp_path / "run", tmp_path / "out", ObjectChoice(), limit=6) == 6
    assert len(names(tmp_path / "out")) == 6


def test_writing_into_the_dataset_or_over_a_file_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path / "run" / "dataset", slides=1, fields=1)
    before = list((tmp_path / "run").rglob("*.tif"))
    with pytest.raises(Refused, match="inside the dataset"):
        extract(tmp_path / "run", tmp_path / "run" / "dataset" / "slide-1", ObjectChoice())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Refused, match="is a file"):
        extract(tmp_path / "run", tmp_path / "file", ObjectChoice())
    assert list((tmp_path / "run").rglob("*.tif")) == before
    assert (tmp_path / "file").read_text() == "mine"


@given(st.text())
def test_any_text_becomes_a_name_that_stays_in_its_folder(text: str) -> None:
    name = safe_name(text)
    assert name
    assert not set(name) & set('/\\:*?"<>|\0\n\r\t ')
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert ".." not in name
    assert len(name.encode()) <= 100
    assert name.isprintable()


@pytest.mark.parametrize(
    ("text", "name"), [("../../etc/passwd", "etc_passwd"), ("MD97-2141 12.5cm", "MD97-2141_12.5cm")]
)
def test_names_stay_readable(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_what_takes_long_tells_rate_and_time_left() -> None:
    out = io.StringIO()
    assert list(follow(range(5), 5, "extract", Console(file=out, width=100), patience_s=0)) == list(range(5))
    assert out.getvalue().startswith("extract: 1/5, ")
    assert "/s, 0 s left" in out.getvalue()
    out = io.StringIO()
    assert list(follow(range(5), 5, "extract", Console(file=out, width=100))) == list(range(5))
    assert out.getvalue() == ""
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True, _environ={"TERM": "xterm"})
    assert list(follow(range(5), 5, "extract", terminal, patience_s=0)) == list(range(5))
