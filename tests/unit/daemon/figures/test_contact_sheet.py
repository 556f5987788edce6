"""The contact sheet: evenly chosen, readable, comparable."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Selection, choose, spread
from daemon.figures.choice import ObjectChoice
from daemon.figures.contact_sheet import _Layout, _strip_planes, draw_sheet
from daemon.figures.pixels import best_plane, composite, contrasts
from daemon.system.errors import DamagedFile, Refused
from tests.support.small_dataset import make_dataset, ring


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_sheet_shows_whole_found_objects(tmp_path: Path, channels: int) -> None:
    make_dataset(tmp_path / "dataset", slides=2, fields=2, objects=4, channels=channels)
    into = tmp_path / "sheet.png"
    # Of the four objects of a field one is below the threshold, one another field's and one cut by the edge.
    assert draw_sheet(tmp_path, into, columns=2).objects == 4
    with Image.open(into) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert pixels[:5].max() < 40
    assert pixels.std() > 15
    assert draw_sheet(tmp_path, into, ObjectChoice(Selection(below_threshold=True, other_tiles=True))).objects == 12
    assert not list(tmp_path.glob("*.part"))


def test_all_objects_go_on_as_many_sheets_as_it_takes(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", slides=2, fields=1, objects=4)
    choice = ["--score", "0.1", "--sort", "score", "--class", "diatom", "--class", "silicoflagellate"]
    done = CliRunner().invoke(app, ["inspect", str(tmp_path), "--sheet", str(tmp_path / "s.png"), "--all", *choice])
    assert done.exit_code == 0, done.output
    assert "4 objects on 1 sheet" in done.output
    drawn = draw_sheet(tmp_path, tmp_path / "t.png", objects=3, every=True)
    assert [path.name for path in drawn.paths] == ["t-01.png", "t-02.png"]
    assert drawn.objects == 4
    assert {path.name for path in tmp_path.glob("*.png")} == {"s-01.png", "t-01.png", "t-02.png"}
    refused = CliRunner().invoke(app, ["inspect", str(tmp_path), "--sort", "size"])
    assert isinstance(refused.exception, Refused)
    assert "name its file with --sheet" in str(refused.exception)


def test_a_sheet_of_nothing_says_so(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", objects=0)
    assert draw_sheet(tmp_path, tmp_path / "sheet.png").objects == 0
    assert (tmp_path / "sheet.png").exists()


def test_missing_files_and_datasets_are_told(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        draw_sheet(tmp_path, tmp_path / "sheet.png")
    make_dataset(tmp_path / "dataset")
    (tmp_path / "dataset" / "slide-1" / "field-0001.ome.tif").unlink()
    with pytest.raises(DamagedFile, match=r"field-0001.ome.tif is missing"):
        draw_sheet(tmp_path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_objects_are_spread_over_slides_and_classes(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=3, fields=4, objects=7)
    with Dataset.open(tmp_path) as dataset:
        chosen = choose(dataset, Selection())
    assert len(chosen) == 3 * 4 * 5
    few = spread(chosen, 18)
    assert few == spread(chosen, 18)
    assert len({(one.slide, one.field, one.row.number) for one in few}) == 18
    assert set(Counter((one.slide, one.row.class_name) for one in few).values()) == {2}
    assert set(Counter(one.slide for one in few).values()) == {6}
    assert spread(chosen, 1000) == chosen
    assert spread(chosen, 0) == []
    assert len(spread(chosen, 7)) == 7


def test_rare_classes_are_not_left_out(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=1, fields=1, objects=2)
    with Dataset.open(tmp_path) as dataset:
        rare, common = choose(dataset, Selection())
    many = [replace(common, field=field) for field in range(50)]
    few = spread([rare, *many], 5)
    assert [one.row.class_name for one in few].count(rare.row.class_name) == 1
    assert len({one.field for one in few}) == 5


def test_one_contrast_for_all_keeps_brighter_brighter() -> None:
    faint, bright = ring((50, 50), 2, 2)[:, 2], ring((50, 50), 2, 2)[:, 2]
    faint = np.stack([75 + faint[0] // 4, faint[1]])
    dark_field, bright_field = contrasts([faint, bright])
    assert (dark_field.dark_field, bright_field.dark_field) == (True, False)
    assert int(dark_field.apply(faint[0]).max()) < int(dark_field.apply(bright[0]).max())
    assert bright_field.apply(bright[1]).min() < 20
    colour = composite(bright, [dark_field, bright_field])
    assert colour.shape == (50, 50, 3)
    # The ring is light on dark in the first state: warm, so redder than blue there and grey elsewhere.
    assert int(colour[25, 37, 0]) > int(colour[25, 37, 2]) + 30
    assert abs(int(colour[2, 2, 0]) - int(colour[2, 2, 2])) < 30


def test_flat_crops_do_not_become_noise() -> None:
    (contrast,) = contrasts([np.full((1, 20, 20), 1000, np.uint16)])
    assert contrast.high - contrast.low >= 100


def test_the_strip_shows_the_best_plane_in_order() -> None:
    for planes, best in [(9, 4), (15, 0), (15, 7), (100, 51), (3, 2), (1, 0)]:
        at = _strip_planes(planes, best, 9)
        assert best in at
        assert at == sorted(set(at))
        assert len(at) == min(9, planes)
        assert max(at) < planes
    assert best_plane(8.6, 9) == 8
    assert best_plane(-0.4, 9) == 0


def test_the_strip_fits_its_cell() -> None:
    for channels in (1, 2, 3):
        for planes in range(1, 10):
            layout = _Layout(channels, planes)
            assert layout.planes * layout.strip + (planes - 1) * 2 <= layout.inner
