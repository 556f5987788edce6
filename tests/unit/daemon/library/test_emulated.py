"""Specimens of the virtual slide come with their truth for a label, and their collection for a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from rich.console import Console

from daemon.library.build import build
from daemon.library.library import Library
from daemon.library.sources.pictures import PictureSettings
from daemon.system.errors import DamagedFile, Refused
from tests.support.places import CONFIGS


def specimens(folder: Path, junk: str = "mineral-grain") -> Path:
    """Write two stacks and their index as `lamelle emulate specimens` does, and a third line without its stack."""
    (folder / "stacks").mkdir(parents=True)
    rows = []
    for number, (taxon, kind) in enumerate([("gephyrocapsa", "coccolith"), (junk, "quartz"), ("nitzschia", "diatom")]):
        file = f"stacks/{number}.tif"
        if number < 2:
            stack = np.random.default_rng(number).integers(0, 4096, (2, 5, 20, 30)).astype(np.uint16)
            tifffile.imwrite(folder / file, stack, metadata={"axes": "CZYX"}, ome=True)
        rows.append(
            {
                "key": f"N/slide-2/field-{number:04d}/attempt-1/001", "file": file, "sha256": "", "taxon": taxon,
                "class_name": kind, "night": "N", "collection": 7, "slide": 2, "states": "crossed parallel",
                "focus_plane": 1.5, "step_um": 0.5, "pixel_um": 0.059, "white_dn": 4095, "length_um": 3.0,
                "width_um": 2.0,
            }
        )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "index.parquet")
    return folder


def test_specimens_with_a_damaged_index_are_not_taken_for_pictures(tmp_path: Path) -> None:
    source = specimens(tmp_path / "emulated")
    index = source / "index.parquet"
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match=r"index\.parquet cannot be read .*; write the specimens again"):
        build(tmp_path / "library", [source], PictureSettings(), None, Console(quiet=True))


def test_specimens_without_their_index_are_not_taken_for_pictures(tmp_path: Path) -> None:
    source, stack = specimens(tmp_path / "emulated"), tmp_path / "emulated/stacks/slide-2/gephyrocapsa/000001.ome.tif"
    stack.parent.mkdir(parents=True)
    (source / "stacks/0.tif").rename(stack)
    (source / "index.parquet").unlink()
    library = tmp_path / "library"
    with pytest.raises(
        Refused, match=r"but no index\.parquet that says what they are; put it back, or write them again"
    ):
        build(library, [source], PictureSettings(), None, Console(quiet=True))
    (source / "stacks").rename(source / "mine")
    told = build(library, [source], PictureSettings(), None, Console(quiet=True))
    assert len(told.left_out) == 2, "taken for pictures, whose channels nobody names"


@pytest.mark.parametrize("junk", ["mineral-grain", ""])
def test_truth_is_the_label_and_what_is_missing_is_told(tmp_path: Path, junk: str) -> None:
    source = specimens(tmp_path / "emulated", junk)
    taxonomy = CONFIGS / "taxonomy.csv"
    told = build(tmp_path / "library", [source], PictureSettings(), taxonomy, Console(quiet=True))
    assert list(told.left_out) == ["emulated/stacks/2.tif"]
    one, other = Library.open(tmp_path / "library").examples()
    assert (one.taxon, one.sample, one.slide) == ("gephyrocapsa", "collection 7", "N/slide-2")
    assert other.taxon == "mineral-grain"
    specimen = one.read()
    assert specimen.states == ("crossed", "parallel")
    assert (specimen.white_dn, specimen.focus_plane, specimen.length_um) == (4095, 1.5, 3.0)
    np.testing.assert_array_equal(
        specimen.stack, np.random.default_rng(0).integers(0, 4096, (2, 5, 20, 30)).astype(np.uint16)
    )
