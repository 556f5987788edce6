"""Recordings of Micro-Manager and pycro-manager: files and folders in which planes say where they belong."""

from __future__ import annotations

import io
import itertools
import json
import random
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.held import Header, HeldStack
from drivers.recorded.images import holds_stacks, opened, opened_one
from tests.support.micromanager_files import write_images, write_stacks
from tests.support.ndtiff_files import Place, write_ndtiff


def stack(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 4096, shape).astype(np.uint16)


def recorded(folder: Path, planes: Mapping[Place, NDArray[Any]]) -> Path:
    """Write an NDTiff dataset whose planes lie the lower the higher their number."""
    heights = {at: {"PixelSizeUm": 0.1, "ZPositionUm": 10 - 0.3 * int(dict(at).get("z", 0))} for at in planes}
    return write_ndtiff(folder, planes, heights)


def told(stacks: list[HeldStack]) -> list[str]:
    """What is wrong with each stack."""
    faults = []
    for one in stacks:
        try:
            one.read()
            faults.append("")
        except ImageRefused as error:
            faults.append(str(error))
    return faults


def test_planes_of_ndtiff_are_put_in_order_by_their_axes(tmp_path: Path) -> None:
    """Recorded from the focus outwards, time before position, an axis that nobody knows."""
    truth = stack(2, 2, 2, 3, 16, 20)
    planes: dict[Place, NDArray[Any]] = {
        (("time", t), ("position", f"Pos{p}"), ("angle", 5), ("channel", ("LR", "LL")[c]), ("z", z)): truth[
            p, t, c, z + 1
        ]
        for t in range(2)
        for z in (0, 1, -1)
        for p in range(2)
        for c in range(2)
    }
    folder = recorded(tmp_path, planes)
    assert holds_stacks(folder)
    for source in (folder, next(folder.glob("*.tif"))):
        with opened(source) as stacks:
            assert sorted(one.name for one in stacks) == [f"Pos{p} time {t}" for p in range(2) for t in range(2)]
            for one in stacks:
                t, p = int(one.name.partition("time ")[2][0]), int(one.name.partition("Pos")[2][0])
                np.testing.assert_array_equal(one.read(), truth[p, t])
                assert (one.header.channels, one.header.pixel_um) == (("LR", "LL"), 0.1)
                assert one.header.step_um == pytest.approx(0.3)
                assert one.header.told == ("its planes run downward, from 10.3 to 9.7 um",)


def test_bits_and_colours_of_ndtiff(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (16, 20, 3)).astype(np.uint8)
    folder = recorded(tmp_path / "colours", {(("time", 0),): colours.reshape(16, 60)})
    index = bytearray((folder / "NDTiff.index").read_bytes())
    struct.pack_into("<III", index, len(index) - 28, 20, 16, 2)  # width, height, three colours of 8 bit
    (folder / "NDTiff.index").write_bytes(index)
    with opened_one(folder) as held:
        assert np.abs(held.read()[0, 0] - colours @ np.array([0.299, 0.587, 0.114])).max() < 1
        assert (held.header.bits, held.header.told) == (8, ("its colours are made grey",))
    folder = recorded(tmp_path / "bits", {(("time", 0),): stack(16, 20)})
    index = bytearray((folder / "NDTiff.index").read_bytes())
    struct.pack_into("<I", index, len(index) - 20, 4)  # 12 bit
    (folder / "NDTiff.index").write_bytes(index)
    with opened_one(folder) as held:
        np.testing.assert_array_equal(held.read()[0, 0], stack(16, 20))
        assert held.header.bits == 12


def test_ndtiff_is_whole_or_told(tmp_path: Path) -> None:
    planes: dict[Place, NDArray[Any]] = {
        (("position", p), ("channel", c), ("z", z)): stack(16, 20)
        for p in range(3)
        for z in range(4)
        for c in ("LR", "LL")
    }
    folder = recorded(tmp_path / "whole", planes)
    with opened(folder) as stacks:
        assert told(list(stacks)) == ["", "", ""]
    for places, fault in (
        (list(planes)[:-1], "1 of its 8 planes are missing, the first is plane 3 of LL; complete it"),
        (list(planes)[:-2], "it has 2 channels of 3 planes where others of its set have 2 of 4: its recording was cut"),
    ):
        with opened(recorded(tmp_path / fault[:3], {at: planes[at] for at in places})) as stacks:
            assert [one.startswith(fault) for one in told(list(stacks))] == [False, False, True]
    index, file = folder / "NDTiff.index", next(folder.glob("*.tif"))
    content, pixels = index.read_bytes(), file.read_bytes()
    file.write_bytes(pixels[: len(pixels) // 2])
    with opened(folder) as stacks:
        assert [bool(one) for one in told(list(stacks))] == [False, True, True]
        assert told(list(stacks))[2] == "night_NDTiffStack.tif is cut off; copy it again"
    file.unlink()
    with opened(folder) as stacks:
        assert set(told(list(stacks))) == {"night_NDTiffStack.tif belongs to it and is missing; lay it beside it"}
    file.write_bytes(pixels)
    index.write_bytes(content)
    with opened(folder) as stacks:
        assert [one.header.told for one in stacks] == [("its planes run downward, from 10 to 9.1 um",)] * 3
    index.write_bytes(b"")
    with pytest.raises(ImageRefused, match="names no plane; copy it again, or record it again where"), opened(folder):
        pass
    index.unlink()
    for source in (file, io.BytesIO(pixels)):
        with pytest.raises(ImageRefused, match=r"its NDTiff\.index is missing"), opened(source):
            pass


def test_what_was_recorded_before_an_index_was_torn_is_read_and_what_was_not_ended_is_told(tmp_path: Path) -> None:
    truth = stack(3, 2, 4, 16, 20)
    planes: dict[Place, NDArray[Any]] = {
        (("position", p), ("channel", c), ("z", z)): truth[p, ("LR", "LL").index(c), z]
        for p in range(3)
        for z in range(4)
        for c in ("LR", "LL")
    }
    folder = recorded(tmp_path, planes)
    index = folder / "NDTiff.index"
    content = index.read_bytes()
    entry = len(content) // len(planes)
    for left in range(0, len(content), 7):
        for torn in (content[:left], content[:left] + bytes(40)):
            index.write_bytes(torn)
            whole = sum(torn.startswith(content[: nth * entry]) for nth in range(1, len(planes) + 1))
            if not whole:
                with pytest.raises(ImageRefused, match="names no plane"), opened(folder):
                    pass
                continue
            ended = [8 * (position + 1) < whole for position in range(3)]
            with opened(folder) as stacks:
                assert [not fault for fault in told(list(stacks))] == ended[: len(stacks)]
                for one, written, is_whole in zip(stacks, truth, ended, strict=False):
                    if is_whole:
                        np.testing.assert_array_equal(one.read(), written)
                        assert any("NDTiff.index" in clause or "ended" in clause for clause in one.header.told)


@pytest.mark.parametrize("order", ["zpc", "cpz", "czp", "pcz", "pzc"])
@pytest.mark.parametrize("damage", ["index", "index that has room", "pages"])
def test_a_recording_that_was_cut_short_gives_no_smaller_stack(tmp_path: Path, order: str, damage: str) -> None:
    truth = stack(3, 2, 3, 16, 20)
    ranges = {"p": range(3), "c": range(2), "z": range(3)}
    places = [dict(zip(order, at, strict=True)) for at in itertools.product(*(ranges[axis] for axis in order))]
    planes: dict[Place, NDArray[Any]] = {
        (("position", at["p"]), ("channel", ("LR", "LL")[at["c"]]), ("z", at["z"])): truth[at["p"], at["c"], at["z"]]
        for at in places
    }
    folder = write_ndtiff(tmp_path, planes, {at: {"Axes": dict(at)} for at in planes})
    index, file = folder / "NDTiff.index", next(folder.glob("*.tif"))
    named, pixels = index.read_bytes(), file.read_bytes()
    read = 0
    for tenth in range(10):
        left = named[: tenth * len(named) // 10 + 3]
        index.write_bytes({"index": left, "index that has room": left + bytes(99), "pages": b""}[damage])
        file.write_bytes(pixels[: tenth * len(pixels) // 10] if damage == "pages" else pixels)
        try:
            with opened(folder) as stacks:
                for one in stacks:
                    if not one.fault:
                        np.testing.assert_array_equal(one.read(), truth[int(one.name.split()[-1])])
                        read += 1
        except ImageRefused as error:
            refused = str(error)
            assert "NDTiff.index names no plane" in refused
    assert bool(read) == order.startswith("p")


def test_a_killed_recording_is_read_from_its_pages_up_to_the_stack_that_was_not_ended(tmp_path: Path) -> None:
    """Its index is empty then, and its last file is not closed."""
    truth = stack(3, 1, 4, 16, 20)
    planes: dict[Place, NDArray[Any]] = {
        (("position", p), ("z", z)): truth[p, 0, z] for p in range(3) for z in range(4)
    }
    folder = write_ndtiff(tmp_path, planes, {at: {"Axes": dict(at)} for at in planes})
    file = next(folder.glob("*.tif"))
    pixels = file.read_bytes()
    for index in (b"", (folder / "NDTiff.index").read_bytes()[:30], None):
        for left in (len(pixels) - 1100, len(pixels) - 200):
            (folder / "NDTiff.index").unlink(missing_ok=True)
            if index is not None:
                (folder / "NDTiff.index").write_bytes(index)
            file.write_bytes(pixels[:left])
            with opened(file if index is None else folder) as stacks:
                assert [one.name for one in stacks] == ["position 0", "position 1", "position 2"]
                assert [bool(one.fault) for one in stacks] == [False, False, True]
                for one, written in zip(stacks, truth[:2], strict=False):
                    np.testing.assert_array_equal(one.read(), written)


def test_a_file_that_the_index_does_not_name_is_no_end_of_the_last_stack(tmp_path: Path) -> None:
    folder = recorded(tmp_path, {(("position", p), ("z", z)): stack(16, 20) for p in range(2) for z in range(2)})
    file = next(folder.glob("*.tif"))
    (folder / "night_NDTiffStack_1.tif").write_bytes(file.read_bytes())
    with opened(folder) as stacks:
        faults = told(list(stacks))
    assert [bool(fault) for fault in faults] == [False, True]
    assert faults[1].startswith("its NDTiff.index does not name night_NDTiffStack_1.tif, and nothing says that this")


def test_a_plane_whose_metadata_are_damaged_is_told_and_the_other_stacks_are_read(tmp_path: Path) -> None:
    truth = stack(2, 1, 2, 16, 20)
    folder = recorded(tmp_path, {(("position", p), ("z", z)): truth[p, 0, z] for p in range(2) for z in range(2)})
    file = next(folder.glob("*.tif"))
    content = file.read_bytes()
    at = content.rindex(b"ZPositionUm")
    file.write_bytes(content[: at - 20] + bytes(20) + content[at:])
    with opened(folder) as stacks:
        np.testing.assert_array_equal(stacks[0].read(), truth[0])
        assert "what it says of itself is damaged" in stacks[1].fault


@pytest.mark.parametrize("name", ["../night_NDTiffStack.tif", "/etc/passwd", "C:/night_NDTiffStack.tif"])
def test_an_index_does_not_reach_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = recorded(tmp_path, {(("z", 0),): stack(16, 20)})
    content = (folder / "NDTiff.index").read_bytes()
    (length,) = struct.unpack_from("<I", content)
    rest = content[4 + length + 4 + len("night_NDTiffStack.tif") :]
    changed = content[: 4 + length] + struct.pack("<I", len(name)) + name.encode() + rest
    (folder / "NDTiff.index").write_bytes(changed)
    with pytest.raises(ImageRefused, match="which lies outside its folder"), opened(folder):
        pass


POSITIONS = {f"Pos{nth}": stack(2, 3, 16, 20, seed=nth) for nth in range(2)}


@pytest.mark.parametrize("planes_a_file", [100, 5])
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("one_file", [True, False])
def test_positions_of_stack_files_are_stacks(tmp_path: Path, one_file: bool, ended: bool, planes_a_file: int) -> None:
    paths = write_stacks(tmp_path, POSITIONS, one_file=one_file, ended=ended, planes_a_file=planes_a_file)
    read = []
    for path in paths:
        with opened(path) as stacks:
            for one in stacks:
                read.append(one.read())
                header = one.header
                assert (header.channels, header.pixel_um, header.step_um) == (("LR", "LL"), 0.059, 0.5)
                assert (header.bits, header.position_um[1:]) == (12, (7.0, -1.0))
                assert header.told == (() if ended else ("its recording was not ended",))
                assert one.name in ({"Pos0", "Pos1"} if len(stacks) > 1 else {""})
    np.testing.assert_array_equal(read, list(POSITIONS.values()))


def test_a_stack_file_without_all_of_its_planes_is_told(tmp_path: Path) -> None:
    for path in write_stacks(tmp_path / "cut", POSITIONS, planes_kept=4):
        with opened_one(path) as held, pytest.raises(ImageRefused, match="2 of its 6 planes are missing"):
            held.read()
    paths = write_stacks(tmp_path / "gone", POSITIONS, one_file=True, planes_a_file=5)
    paths[1].unlink()
    with opened_one(paths[0]) as held, pytest.raises(ImageRefused, match="1 of its 6 planes are missing"):
        held.read()


def test_files_of_a_recording_that_do_not_show_light_alike_are_refused(tmp_path: Path) -> None:
    (folder,) = write_images(tmp_path / "images", {"Pos0": stack(1, 2, 16, 20)}, version=2, channels=("LR",))
    last = sorted(folder.glob("*.tif"))[1]
    tifffile.imwrite(last, stack(16, 20), photometric="miniswhite", metadata=None)
    stacks = write_stacks(tmp_path / "stacks", POSITIONS, one_file=True, planes_a_file=5)
    with tifffile.TiffFile(stacks[1], mode="r+") as tiff:
        for page in tiff.pages:
            page.aspage().tags["PhotometricInterpretation"].overwrite(0)
    for source in (folder, stacks[0]):
        with opened(source) as held, pytest.raises(ImageRefused, match=r"ways of their own \(grey, grey whose white"):
            [one.read() for one in held]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ended", [True, False])
def test_folders_of_single_images_are_stacks(tmp_path: Path, version: int, ended: bool) -> None:
    folders = write_images(tmp_path, POSITIONS, version=version, ended=ended)
    for folder, truth in zip(folders, POSITIONS.values(), strict=True):
        assert holds_stacks(folder)
        with opened_one(folder) as held:
            np.testing.assert_array_equal(held.read(), truth)
            header = held.header
            assert (header.channels, header.pixel_um, header.step_um, header.bits) == (("LR", "LL"), 0.059, 0.5, 12)
            assert header.told == (() if ended else ("its recording was not ended",))
            assert len(held.files) == 6
    text = (folders[1] / "metadata.txt").read_text("utf-8")
    (folders[1] / "metadata.txt").write_text(text[: text.rindex("ZPositionUm")], "utf-8")
    with opened_one(folders[1]) as held:
        unended = "its recording was not ended", "1 of its images do not stand in metadata.txt"
        assert (held.header.told, held.fault[:30]) == (unended, "1 of its 6 planes are missing,")
    gone = sorted(folders[0].glob("*.tif"))[2]
    gone.unlink()
    with opened_one(folders[0]) as held, pytest.raises(ImageRefused, match=f"{gone.name} belongs to it and is missing"):
        held.read()
    tifffile.imwrite(gone, stack(16, 19))
    with opened_one(folders[0]) as held, pytest.raises(ImageRefused, match="is 19 x 16 px where others are 20 x 16"):
        held.read()
    (folders[1] / "metadata.txt").write_text('{"Summary": [', "utf-8")
    with pytest.raises(ImageRefused, match=r"its metadata\.txt is damaged or cut off"), opened(folders[1]):
        pass


def test_no_index_and_no_metadata_at_all_are_a_traceback(tmp_path: Path) -> None:
    drawn = random.Random(3)
    indexed = recorded(tmp_path / "a", {(("z", z), ("channel", "LR")): stack(8, 9) for z in range(2)}) / "NDTiff.index"
    listed = write_images(tmp_path / "b", {"Pos0": stack(1, 2, 8, 9)}, version=2, channels=("LR",))[0] / "metadata.txt"
    for path, _ in [(indexed, 0), (listed, 0)] * 60:
        valid = path.read_bytes()
        content = bytearray(valid)
        for _ in range(drawn.randint(1, 3)):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        path.write_bytes(content[: drawn.choice([len(content), drawn.randrange(len(content))])])
        try:
            if holds_stacks(path.parent):
                with opened(path.parent) as stacks:
                    for fault in told(list(stacks)):
                        assert len(fault) < 400
        except ImageRefused as error:
            refused = str(error)
            assert "\n" not in refused
        path.write_bytes(valid)


def test_what_lies_in_metadata_of_any_kind_is_no_traceback(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"Pos0": stack(1, 1, 8, 9)}, version=1, channels=("LR",))[0]
    said = json.loads((folder / "metadata.txt").read_text("utf-8"))
    every: tuple[Any, ...] = (None, -1, "x", [], {}, 1e300)
    for odd in every:
        for key in ("SliceIndex", "FileName", "PixelSizeUm", "BitDepth", "PositionName"):
            plane = said["FrameKey-0-0-0"] | {key: odd}
            text = json.dumps(said | {"FrameKey-0-0-0": plane})
            (folder / "metadata.txt").write_text(text, "utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    with opened(folder) as stacks:
                        told(list(stacks))
                except ImageRefused as error:
                    refused = str(error)
                    assert refused


def test_metadata_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"Pos0": stack(1, 1, 8, 9)}, version=1, channels=("LR",))[0]
    (folder / "metadata.txt").write_text('{"Summary": ' + 100_000 * "[", "utf-8")
    with pytest.raises(ImageRefused, match="is damaged"), opened(folder):
        pass


def test_a_plane_that_is_there_twice_is_told(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"Pos0": stack(1, 2, 8, 9)}, version=1, channels=("LR",))[0]
    said = json.loads((folder / "metadata.txt").read_text("utf-8"))
    said["FrameKey-0-0-2"] = said["FrameKey-0-0-1"]
    (folder / "metadata.txt").write_text(json.dumps(said), "utf-8")
    with opened_one(folder) as found:
        assert told([found]) == ["it has plane 1 of LR more than once; leave one of them"]


@pytest.mark.parametrize("pixels", [np.zeros((1, 1, 8, 8), np.uint16), np.zeros((1, 1, 8, 9), np.uint8)])
def test_pixels_that_are_not_what_was_said_are_refused(pixels: NDArray[Any]) -> None:
    held = HeldStack(Header((1, 1, 8, 9)), lambda: pixels)
    with pytest.raises(ImageRefused, match=r"where it says \(1, 1, 8, 9\)"):
        held.read()


def test_points_in_time_are_stacks_and_what_a_recording_says_of_its_step_counts_first(tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"Pos0": stack(1, 2, 8, 9)}, version=1, channels=("LR",))[0]
    said = json.loads((folder / "metadata.txt").read_text("utf-8"))
    for z in range(2):
        said[f"FrameKey-1-0-{z}"] = said[f"FrameKey-0-0-{z}"] | {"FrameIndex": 1, "ZPositionUm": 3.0 * z}
    (folder / "metadata.txt").write_text(json.dumps(said), "utf-8")
    with opened(folder) as stacks:
        assert [(one.name, one.header.step_um) for one in stacks] == [("Pos0 time 0", 0.5), ("Pos0 time 1", 0.5)]


def test_a_stack_file_that_was_cut_off_is_not_whole_where_nothing_says_how_many_planes_it_has(tmp_path: Path) -> None:
    (path,) = write_stacks(tmp_path, {"Pos0": stack(2, 4, 8, 9)}, planes_kept=4)
    path.write_bytes(path.read_bytes().replace(b'"Slices"', b'"Unsaid"'))
    with opened(path) as stacks:
        assert ["cut off" in fault for fault in told(list(stacks))] == [True]
