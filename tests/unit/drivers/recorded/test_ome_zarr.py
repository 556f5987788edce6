"""OME-Zarr, old and new: images, series and plates; whole or told."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.errors import ImageRefused
from drivers.recorded.formats import zarr_pieces
from drivers.recorded.held import Header, HeldStack, StackParts
from drivers.recorded.images import holds_stacks, opened, opened_one
from drivers.recorded.listing import list_images
from tests.support.ome_zarr_files import AXES, image, said

zarr = pytest.importorskip("zarr", reason="comes with lamelle[formats]")
numcodecs = pytest.importorskip("numcodecs", reason="comes with lamelle[formats]")

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


def plate(folder: Path, version: str, *wells: str) -> Path:
    """Write a plate with an image in each of its wells."""
    said(folder, version, plate={"wells": [{"path": well} for well in wells]})
    for nth, well in enumerate(wells):
        said(folder / well, version, well={"images": [{"path": "0"}]})
        image(folder / well / "0", version, TRUTH[0] ^ np.uint16(nth))
    return folder


def faults(folder: Path) -> dict[str, str]:
    """What is wrong with each image; those that are whole are read as they were written."""
    found = {}
    with opened(folder) as stacks:
        for nth, one in enumerate(stacks):
            found[one.name] = one.fault
            if not one.fault:
                np.testing.assert_array_equal(one.read(), TRUTH[0] ^ np.uint16(nth))
    return found


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_wells_and_images_that_are_not_whole_are_told_and_the_others_are_read(tmp_path: Path, version: str) -> None:
    described, array = (".zattrs", ".zarray") if version == "0.4" else ("zarr.json", "zarr.json")
    wells = [f"{row}/{column}" for row in "ABCD" for column in (1, 2)]
    folder = plate(tmp_path / "a.zarr", version, *wells)
    (folder / "A" / "2" / "0" / "0" / array).unlink()
    (folder / "B" / "1" / described).unlink()
    (folder / "B" / "2" / described).write_text('{"well": {"ima', "utf-8")
    (folder / "C" / "1" / "0" / described).write_bytes((folder / "C" / "1" / "0" / described).read_bytes()[:-9])
    (folder / "C" / "2" / "0" / "0" / array).write_text("{}", "utf-8")
    shutil.rmtree(folder / "D" / "1" / "0")
    said(folder / "D" / "1", version, well={"images": [{"path": "../../A/1/0"}]})
    told = faults(folder)
    assert list(told) == [
        *("A/1/0", "A/2/0", "B/1", "B/2", "C/1/0", "C/2/0"),
        *("D/1/../../A/1/0", "D/2/0"),
    ]
    assert [name for name, fault in told.items() if not fault] == ["A/1/0", "D/2/0"]
    assert told["A/2/0"] == "its array '0' of A/2/0 is missing; copy the whole folder"
    assert told["B/1"] == "its well B/1 is missing; copy the whole folder"
    assert "is damaged" in told["B/2"]
    assert "is damaged" in told["C/1/0"]
    assert told["C/2/0"]
    assert "lies outside its folder" in told["D/1/../../A/1/0"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_a_series_that_are_not_whole_are_told_and_the_others_are_read(tmp_path: Path, version: str) -> None:
    described = ".zattrs" if version == "0.4" else "zarr.json"
    folder = tmp_path / "a.zarr"
    said(folder, version, **{"bioformats2raw.layout": 3})
    for nth in range(4):
        image(folder / str(nth), version, TRUTH[0] ^ np.uint16(nth))
    shutil.rmtree(folder / "1")
    (folder / "2" / described).write_text("{", "utf-8")
    told = faults(folder)
    assert [name for name, fault in told.items() if not fault] == ["0", "3"]
    assert told["1"] == "its image 1 is missing; copy the whole folder"
    assert "is damaged" in told["2"]
    # The last ones are missed where the list of the images, or their XML, says that there are more.
    shutil.rmtree(folder / "3")
    (folder / "OME").mkdir()
    images = "".join(f'<Image ID="Image:{nth}"/>' for nth in range(5))
    (folder / "OME" / "METADATA.ome.xml").write_text(f"<OME>{images}</OME>", "utf-8")
    assert [name for name, fault in faults(folder).items() if fault] == ["1", "2", "3", "4"]
    (folder / "OME" / "METADATA.ome.xml").unlink()
    said(folder / "OME", version, series=["0", "1", "2", "3"])
    assert [name for name, fault in faults(folder).items() if fault] == ["1", "2", "3"]
    (folder / "OME" / described).write_text("{", "utf-8")
    with opened(folder) as stacks:
        assert any("the list of its images cannot be read, so some may" in clause for clause in stacks[0].header.told)


def test_images_and_wells_that_are_not_named_are_read_and_told(tmp_path: Path) -> None:
    folder = plate(tmp_path / "a.zarr", "0.5", "A/1", "A/2", "B/1")
    said(folder, "0.5", plate={"wells": [{"path": "A/1"}, 7]})
    image(folder / "A" / "1" / "1", "0.5", TRUTH[0])
    with opened(folder) as stacks:
        assert [one.name for one in stacks] == ["A/1/0", "A/1/1", "well 2", "A/2/0", "B/1/0"]
        told = "what it lies in does not name it"
        assert [told in one.header.told for one in stacks] == [False, True, False, True, True]
        assert [bool(one.fault) for one in stacks] == [False, False, True, False, False]
    folder = tmp_path / "series.zarr"
    said(folder, "0.5", **{"bioformats2raw.layout": 3})
    said(folder / "OME", "0.5", series=["0"])
    for nth in range(2):
        image(folder / str(nth), "0.5", TRUTH[0])
    with opened(folder) as stacks:
        assert [(one.name, told in one.header.told) for one in stacks] == [("0", False), ("1", True)]


def test_an_image_without_a_pixel_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    folder = plate(tmp_path / "a.zarr", "0.5", "A/1", "A/2", "A/3")
    for well, shape in (("2", (2, 0, 32, 48)), ("3", (0, 3, 32, 48))):
        shutil.rmtree(folder / "A" / well / "0" / "0")
        zarr.create_array(str(folder / "A" / well / "0" / "0"), shape=shape, chunks=(1, 1, 16, 48), dtype="u2")
    told = faults(folder)
    assert [name for name, fault in told.items() if not fault] == ["A/1/0"]
    assert told["A/2/0"] == "its array has the shape (2, 0, 32, 48), and so no pixels; record it again"


def test_images_of_a_series_are_called_by_the_names_that_they_alone_have(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    said(folder, "0.5", **{"bioformats2raw.layout": 3})
    for nth, name in enumerate(("core 3", "twice", "twice", "", "0")):
        image(folder / str(nth), "0.5", TRUTH[0] ^ np.uint16(nth))
        attributes = json.loads((folder / str(nth) / "zarr.json").read_bytes())["attributes"]["ome"]
        attributes["multiscales"][0]["name"] = name
        said(folder / str(nth), attributes.pop("version"), **attributes)
    assert list(faults(folder)) == ["core 3", "1", "2", "3", "4"]
    (folder / "OME").mkdir()
    images = "".join(f'<Image ID="Image:{nth}" Name="scene {nth}"/>' for nth in range(5))
    (folder / "OME" / "METADATA.ome.xml").write_text(f'<OME xmlns="http://ome">{images}</OME>', "utf-8")
    assert list(faults(folder)) == ["core 3", "1", "2", "scene 3", "4"]


def test_labels_are_no_image(tmp_path: Path) -> None:
    folder = image(tmp_path / "labels" / "cells", "0.4", TRUTH[0])
    said(folder, "0.4", **json.loads((folder / ".zattrs").read_bytes()), **{"image-label": {"version": "0.4"}})
    with pytest.raises(ImageRefused, match="it holds labels of what is in an image"), opened(folder):
        pass


def test_more_pieces_than_can_be_looked_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_pieces, "MAX_PLANES", 23)
    with pytest.raises(ImageRefused, match="it lies in 24 files"), opened(image(tmp_path, "0.4", TRUTH)):
        pass


def packed(codec: str, content: bytes) -> bytes:
    return bytes(numcodecs.get_codec({"id": codec}).encode(content))


@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", ""])
def test_a_piece_that_unpacks_to_more_than_its_pixels_is_refused(tmp_path: Path, codec: str) -> None:
    folder = tmp_path / "a.zarr"
    array = zarr.create_array(
        str(folder / "0"),
        shape=(1, 2, 16, 48),
        chunks=(1, 1, 16, 48),
        dtype="u2",
        zarr_format=2,
        compressors=numcodecs.get_codec({"id": codec}) if codec else None,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    array[:] = TRUTH[0, :1, :2, :16]
    said(folder, "0.4", multiscales=[{"axes": AXES[1:], "datasets": [{"path": "0"}]}])
    with opened_one(folder) as held:
        np.testing.assert_array_equal(held.read(), TRUTH[0, :1, :2, :16])
    bomb = bytes(64 << 20)
    (folder / "0" / "0" / "1" / "0" / "0").write_bytes(packed(codec, bomb) if codec else bomb)
    del bomb
    with opened_one(folder) as held:
        tracemalloc.start()
        try:
            with pytest.raises(ImageRefused, match="its piece 0/1/0/0 unpacks to more than its pixels; it is damaged"):
                held.read()
            taken = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert taken < 16 << 20  # of which 8 are the dictionary of LZMA


def test_a_piece_of_a_shard_that_unpacks_to_more_than_its_pixels_is_refused(tmp_path: Path) -> None:
    folder = image(tmp_path / "a.zarr", "0.5", TRUTH[0], shards=(2, 3, 32, 48))
    (shard,) = (path for path in (folder / "0").rglob("*") if path.is_file() and path.name.isdecimal())
    content = shard.read_bytes()
    index = np.frombuffer(content[-16 * 12 - 4 : -4], np.uint64).copy()
    bomb = packed("zstd", bytes(32 << 20))
    index[2 * 5 : 2 * 5 + 2] = len(content) - len(index) * 8 - 4, len(bomb)
    behind = index.tobytes()
    checksum = numcodecs.get_codec({"id": "crc32c", "location": "end"}).encode(behind)[-4:]
    shard.write_bytes(content[: -16 * 12 - 4] + bomb + behind + bytes(checksum))
    with opened_one(folder) as held, pytest.raises(ImageRefused, match="unpacks to more than its pixels"):
        held.read()


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        ([{"id": "pickle"}], "it is damaged, or no OME-Zarr"),
        ([{"id": "zlib", "level": 1}], "so that it cannot be seen how much they unpack to"),
    ],
)
def test_what_may_unpack_to_anything_is_refused(tmp_path: Path, filters: list[dict[str, Any]], why: str) -> None:
    folder = image(tmp_path / "a.zarr", "0.4", TRUTH[0])
    array = json.loads((folder / "0" / ".zarray").read_bytes())
    (folder / "0" / ".zarray").write_text(json.dumps(array | {"filters": filters}), "utf-8")
    with pytest.raises(ImageRefused, match=why), opened(folder):
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
