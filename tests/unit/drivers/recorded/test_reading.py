"""A stack from its files: opened, read, its channels named, its shape checked, joined."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers.errors import ImageRefused
from drivers.recorded.file_names import Polarizations
from drivers.recorded.held import Header
from drivers.recorded.reading import StoredStack, headers_of
from drivers.recorded.stacks import find_stacks

TRUTH = np.random.default_rng(2).integers(0, 4096, (3, 4, 12, 15)).astype(np.uint16)
BOTH = Polarizations.of(["crossed=LR", "parallel=LL"])


def accepted(_: list[Header]) -> None:
    """Take whatever its files say."""


def named_channels(path: Path) -> StoredStack:
    """Write a file of three channels, of which the last and the first are polarizations."""
    axes = {"axes": "CZYX", "Channel": {"Name": ["LL", "DAPI", "LR"]}}
    tifffile.imwrite(path, TRUTH, ome=True, photometric="minisblack", metadata=axes)
    (found,) = find_stacks(path.parent, [path.name], None, BOTH).stacks
    return StoredStack.of(path.parent, found, BOTH)


def test_channels_are_taken_by_name_and_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    stored, hashes = named_channels(tmp_path / "a.ome.tif"), dict[str, str]()
    read = stored.read(hashes, accepted)
    assert read.states == ("parallel", "crossed")
    np.testing.assert_array_equal(read.pixels, TRUTH[[0, 2]])
    read = stored.read(hashes, accepted, ("crossed", "parallel"))
    assert read.states == ("crossed", "parallel")
    np.testing.assert_array_equal(read.pixels, TRUTH[[2, 0]])
    assert hashes == {"a.ome.tif": hashlib.sha256((tmp_path / "a.ome.tif").read_bytes()).hexdigest()}
    assert (stored.whole_shape(read.headers), stored.shape(read.headers)) == ((3, 4, 12, 15), (2, 4, 12, 15))


def test_plane_files_are_joined_polarization_by_polarization(tmp_path: Path) -> None:
    names = [f"z{z}_{state}.tif" for state in ("LR", "LL") for z in range(4)]
    for nth, name in enumerate(names):
        tifffile.imwrite(tmp_path / name, TRUTH[nth // 4, nth % 4])
    stored, hashes = StoredStack(tmp_path, names, BOTH, ("crossed", "parallel")), dict[str, str]()
    asked: list[int] = []
    read = stored.read(hashes, lambda headers: asked.append(len(headers)))
    np.testing.assert_array_equal(read.pixels, TRUTH[:2])
    assert (read.states, list(hashes), len(read.headers), asked) == (("crossed", "parallel"), names, 8, [8] * 8)
    tifffile.imwrite(tmp_path / names[5], TRUTH[0, 0, :, :14])
    with pytest.raises(
        ImageRefused, match=r"its plane 'z1_LL\.tif' is 1 x 1 x 12 x 14 px \(CZYX\), not a single plane"
    ):
        stored.read({}, accepted)


def test_what_is_refused_by_what_it_says_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TRUTH[0], photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        (offset,) = tiff.pages[2].dataoffsets
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = bytes(20)
    path.write_bytes(content)

    def refuse(headers: list[Header]) -> None:
        raise ImageRefused(f"{headers[0].shape_czyx} is not asked for")

    stored = StoredStack(tmp_path, ["a.tif"], Polarizations.of(["crossed"]))
    with pytest.raises(ImageRefused, match="is not asked for"):
        stored.read({}, refuse)
    with pytest.raises(ImageRefused, match="it is damaged"):
        stored.read({}, accepted)


def test_a_file_that_is_gone_is_told_and_a_folder_that_is_gone_is_another_fault(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    tifffile.imwrite(tmp_path / "inside" / "a.tif", TRUTH[0, 0])
    (found,) = find_stacks(tmp_path, ["inside/a.tif"], None, BOTH).stacks
    stored = StoredStack.of(tmp_path, found, BOTH)
    assert [header.shape_czyx for header in headers_of(tmp_path, found)] == [(1, 1, 12, 15)]
    (tmp_path / "inside" / "a.tif").unlink()
    with pytest.raises(ImageRefused, match="it was listed, but cannot be read any more"):
        stored.read({}, accepted)
    (tmp_path / "inside").rmdir()
    with pytest.raises(FileNotFoundError):
        stored.read({}, accepted)
