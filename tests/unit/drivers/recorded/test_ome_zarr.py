"""OME-Zarr, old and new: images, series and plates; whole or told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drivers.errors import ImageRefused
from drivers.recorded.formats import ome_zarr
from drivers.recorded.held import Header, HeldStack, StackParts
from drivers.recorded.images import holds_stacks, opened, opened_one
from drivers.recorded.listing import list_images
from tests.support.ome_zarr_files import AXES, image, said

zarr = pytest.importorskip("zarr", reason="comes with lamelle[formats]")

TRUTH = np.random.default_rng(0).integers(1, 65536, (2, 2, 3, 32, 48)).astype(np.uint16)


@pytest.fixture(autouse=True)
def _threads_of_zarr_end() -> Iterator[None]:
    yield
    zarr.core.sync.cleanup_resources()


@pytest.mark.parametrize(("version", "shards"), [("0.4", None), ("0.5", None), ("0.5", (1, 2, 3, 32, 48))])
def test_points_in_time_of_an_image_are_stacks(tmp_path: Path, version: str, shards: tuple[int, ...] | None) -> None:
    folder = image(tmp_path / "a.zarr", version, TRUTH, shards=shards)
    assert holds_stacks(folder)
    with opened(folder) as stacks:
        assert [one.name for one in stacks] == ["time 0", "time 1"]
        for one, truth in zip(stacks, TRUTH, strict=True):
            np.testing.assert_array_equal(one.read(), truth)
            header = one.header
            assert (header.pixel_um, header.step_um, header.channels) == (0.059, 0.5, ("LR", "LL"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_series_and_plates_are_read_image_by_image(tmp_path: Path, version: str) -> None:
    series, plate = tmp_path / "series.zarr", tmp_path / "plate.zarr"
    said(series, version, **{"bioformats2raw.layout": 3})
    said(plate, version, plate={"wells": [{"path": "A/1"}]})
    said(plate / "A" / "1", version, well={"images": [{"path": "0"}, {"path": "1"}]})
    for nth in range(2):
        image(series / str(nth), version, TRUTH[nth])
        image(plate / "A" / "1" / str(nth), version, TRUTH[nth])
    for folder, names in ((series, ["0", "1"]), (plate, ["A/1/0", "A/1/1"])):
        with opened(folder) as stacks:
            assert [one.name for one in stacks] == names
            for one, truth in zip(stacks, TRUTH, strict=True):
                np.testing.assert_array_equal(one.read(), truth)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_pieces_that_are_missing_are_told_and_not_black(tmp_path: Path, version: str) -> None:
    folder = image(tmp_path / "a.zarr", version, TRUTH[0])
    pieces = sorted(path for path in (folder / "0").rglob("*") if path.is_file() and path.name.isdecimal())
    pieces[3].write_bytes(pieces[3].read_bytes()[:20])
    with opened_one(folder) as held, pytest.raises(ImageRefused, match="it is damaged"):
        held.read()
    pieces[3].unlink()
    with opened_one(folder) as held, pytest.raises(ImageRefused, match="1 of its 12 pieces are missing; copy it again"):
        held.read()


def test_pieces_are_looked_for_once_and_when_they_are_asked_for(tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", "0.4", TRUTH)
    with opened(folder) as (asked, waiting):
        assert asked.fault == ""
        assert len(asked.files) == 2 + 12
        for time in "01":
            (folder / "0" / time / "0" / "0" / "0" / "0").unlink()
        assert asked.fault == ""
        assert waiting.fault.startswith("1 of its 12 pieces are missing")
        assert len(waiting.files) == 2 + 11
    with opened(folder) as stacks:
        assert all(one.fault.startswith("1 of its 12 pieces are missing") for one in stacks)


def test_parts_that_cannot_be_looked_for_are_a_fault_of_their_stack() -> None:
    def look() -> StackParts:
        raise ValueError("index of 3 bytes")

    held = HeldStack(Header((1, 1, 2, 2)), lambda: np.zeros((1, 1, 2, 2), np.uint16), look=look)
    assert (held.fault, held.files) == ("it is damaged (index of 3 bytes)", ())
    with pytest.raises(ImageRefused, match="index of 3 bytes"):
        held.read()


def test_pieces_of_a_shard_that_were_not_written_are_told_and_not_black(tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", "0.5", np.zeros_like(TRUTH), shards=(1, 2, 3, 32, 48))
    written = zarr.open_array(str(folder / "0"), mode="r+", config={"write_empty_chunks": True})
    written[0] = TRUTH[0]
    written[1, :, :2] = TRUTH[1, :, :2]
    with opened(folder) as (first, second):
        np.testing.assert_array_equal(first.read(), TRUTH[0])
        with pytest.raises(ImageRefused, match="4 of its 12 pieces are missing; copy it again"):
            second.read()
    # A shard that is cut off, or empty, as a full disk leaves it.
    for left in (20, 0):
        shard = folder / "0" / "c" / "1" / "0" / "0" / "0" / "0"
        shard.write_bytes(shard.read_bytes()[:left])
        with opened(folder) as (first, second):
            np.testing.assert_array_equal(first.read(), TRUTH[0])
            assert second.fault.startswith("12 of its 12 pieces are missing")


def test_pieces_of_shards_at_the_edge_lie_outside_and_are_not_missed(tmp_path: Path) -> None:
    odd = np.ascontiguousarray(TRUTH[0, :, :, :30, :45])
    folder = image(tmp_path / "a.zarr", "0.5", odd, shards=(2, 2, 32, 96))
    with opened_one(folder) as held:
        np.testing.assert_array_equal(held.read(), odd)


def test_axes_may_be_named_in_capitals(tmp_path: Path) -> None:
    """As iohub writes them."""
    folder = image(tmp_path / "a.zarr", "0.4", TRUTH[0])
    attributes = json.loads((folder / ".zattrs").read_bytes())
    for axis in attributes["multiscales"][0]["axes"]:
        axis["name"] = axis["name"].upper()
    said(folder, "0.4", **attributes)
    with opened_one(folder) as held:
        np.testing.assert_array_equal(held.read(), TRUTH[0])
        assert (held.header.pixel_um, held.header.step_um, held.header.channels) == (0.059, 0.5, ("LR", "LL"))


def test_several_images_of_one_folder_are_stacks(tmp_path: Path) -> None:
    """As pymmcore-plus wrote positions; but two ways to shrink one image are one."""
    folder = tmp_path / "a.zarr"
    scales = []
    for name, pixels in zip(("p0", "my pos"), TRUTH, strict=True):
        image(folder / "made", "0.4", pixels)
        (folder / "made" / "0").rename(folder / name)
        scales.append({"name": name, "axes": AXES[1:], "datasets": [{"path": name}, {"path": f"{name} by 2"}]})
    said(folder, "0.4", multiscales=[*scales, {**scales[0], "name": "p0 shrunk otherwise"}])
    with opened(folder) as stacks:
        assert [one.name for one in stacks] == ["p0", "my pos"]
        for one, truth in zip(stacks, TRUTH, strict=True):
            np.testing.assert_array_equal(one.read(), truth)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_plain_arrays_are_told_as_one_and_not_by_their_pieces(tmp_path: Path, version: str) -> None:
    """As xarray and TensorStore write them."""
    array = image(tmp_path / "made", version, TRUTH) / "0"
    (tmp_path / "a.zarr" / "group").mkdir(parents=True)
    array.rename(tmp_path / "a.zarr" / "group" / "raw")
    listing = list_images(tmp_path / "a.zarr", [tmp_path / "a.zarr"], None)
    assert list(listing.sizes) == ["group/raw"]
    assert not listing.left_out
    with (
        pytest.raises(ImageRefused, match="nothing says which axes it has; save it as OME-Zarr"),
        opened(tmp_path / "a.zarr" / "group" / "raw"),
    ):
        pass


def test_wells_and_arrays_that_are_missing_are_named(tmp_path: Path) -> None:
    said(tmp_path, "0.5", plate={"wells": [{"path": "A/1"}, {"path": "B/2"}]})
    for well in (tmp_path / "A" / "1", tmp_path / "B" / "2"):
        said(well, "0.5", well={"images": [{"path": "0"}]})
        image(well / "0", "0.5", TRUTH[0])
    (tmp_path / "B" / "2" / "0" / "0" / "zarr.json").unlink()
    with pytest.raises(ImageRefused, match="its array '0' of B/2/0 is missing; copy the whole"), opened(tmp_path):
        pass
    (tmp_path / "B" / "2" / "zarr.json").unlink()
    with pytest.raises(ImageRefused, match="its well B/2 is missing; copy the whole folder"), opened(tmp_path):
        pass


def test_labels_are_no_image(tmp_path: Path) -> None:
    folder = image(tmp_path / "labels" / "cells", "0.4", TRUTH[0])
    said(folder, "0.4", **json.loads((folder / ".zattrs").read_bytes()), **{"image-label": {"version": "0.4"}})
    with pytest.raises(ImageRefused, match="it holds labels of what is in an image"), opened(folder):
        pass


def test_more_pieces_than_can_be_looked_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_zarr, "MAX_PLANES", 23)
    with pytest.raises(ImageRefused, match="it lies in 24 files"), opened(image(tmp_path, "0.4", TRUTH)):
        pass


def test_an_image_does_not_reach_out_of_its_folder(tmp_path: Path) -> None:
    image(tmp_path / "b.zarr", "0.4", TRUTH)
    folder = image(tmp_path / "a.zarr", "0.4", TRUTH, path="../b.zarr/0")
    with pytest.raises(ImageRefused, match="which lies outside its folder"), opened(folder):
        pass


@pytest.mark.parametrize("odd", [None, [], {}, "x", -1, [{"datasets": []}], [{"axes": [1], "datasets": [{}]}]])
def test_what_says_anything_is_no_traceback(tmp_path: Path, odd: object) -> None:
    folder = image(tmp_path / "a.zarr", "0.5", TRUTH[0])
    said(folder, "0.5", multiscales=odd)
    with pytest.raises(ImageRefused), opened(folder):
        pass
