"""What lies in an archive, and how its files are read: order, names, axes, units, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from rich.console import Console

from daemon.reprocessing.archive import ArchiveSettings, find_archive
from daemon.reprocessing.archive_stacks import ReadStack, read_field
from daemon.system.errors import Refused
from drivers.errors import ImageRefused, SettingRefused
from tests.support.rights import closed, for_everybody

QUIET = Console(quiet=True)
CROSSED_FIRST = ("crossed=LR", "parallel=LL")


def coded(channels: int = 2, planes: int = 3, height: int = 70, width: int = 80) -> NDArray[np.uint16]:
    """CZYX whose every pixel tells where it is."""
    c, z, y, x = np.indices((channels, planes, height, width), np.uint16)
    return np.asarray(20_000 * c + 5_000 * z + 64 * y + x, np.uint16)


def read(folder: Path, **settings: object) -> ReadStack:
    """The only stack of an archive."""
    given = ArchiveSettings.model_validate(settings)
    archive = find_archive([folder], given, folder / "into", QUIET)
    (field,) = archive.fields
    return read_field(archive.root, field, given, {})


def write(path: Path, pixels: NDArray[np.generic], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **options})


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_folders_are_samples_and_images_fields_in_the_order_of_people(tmp_path: Path) -> None:
    touch(tmp_path, "core 10/a.png", "core 2/b10.tif", "core 2/B9.JPG", "core 2/.hidden.png", "core 2/notes.txt")
    touch(tmp_path, "top.jpeg", "core 2/deep/x.tiff", "found/slide-1/field-0001.ome.tif", ".trash/y.png")
    archive = find_archive([tmp_path], ArchiveSettings(), tmp_path / "found", QUIET)
    assert [(field.slide, field.field, field.names[0]) for field in archive.fields] == [
        (1, 1, "top.jpeg"),
        (2, 1, "core 2/B9.JPG"),
        (2, 2, "core 2/b10.tif"),
        (3, 1, "core 2/deep/x.tiff"),
        (4, 1, "core 10/a.png"),
    ]
    assert [columns["sample"] for columns in archive.samples.values()] == [
        tmp_path.name, "core 2", "core 2/deep", "core 10",
    ]  # fmt: skip
    assert archive.planned() == {1: 1, 2: 2, 3: 1, 4: 1}
    few = find_archive(
        [tmp_path / "core 10", tmp_path / "core 2" / "b10.tif"], ArchiveSettings(), tmp_path / "found", QUIET
    )
    assert [(field.sample, field.names[0]) for field in few.fields] == [
        ("core 2", "core 2/b10.tif"),
        ("core 10", "core 10/a.png"),
    ]
    assert archive.folders["core 10"] == few.folders["core 10"]


@pytest.mark.parametrize(
    ("place", "settings", "sentence"),
    [
        ("nowhere", {}, "does not exist"),
        ("notes.txt", {}, "is not an image"),
        ("empty", {}, "holds no images"),
        (".", {"planes": "{polarization}.tif"}, "must hold {field} or {z}"),
        (".", {"planes": "{field}_{depth}.tif"}, "may hold {slide}, {field}, {z}, {polarization} and"),
        (".", {"planes": "{field}_z{z}.tif"}, "matches no file, such as 'a-1.tif'"),
        (".", {"planes": "a-{field}.{polarization}"}, "such as --polarization crossed=tif"),
        (".", {"polarizations": ("dark",)}, "'dark' must be one of"),
    ],
)
def test_an_archive_that_cannot_be_read_is_refused(
    tmp_path: Path, place: str, settings: dict[str, object], sentence: str
) -> None:
    touch(tmp_path, "a-1.tif", "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises((Refused, SettingRefused), match=sentence):
        find_archive([tmp_path / place], ArchiveSettings.model_validate(settings), tmp_path / "into", QUIET)


def test_plane_files_become_stacks(tmp_path: Path) -> None:
    pixels = coded(planes=11)
    for c, word in enumerate(("LR", "LL")):
        for z in range(11):
            write(tmp_path / "core" / f"field7_z{z}_{word}.tif", pixels[c, z])
    touch(tmp_path, "core/overview.png")
    settings = ArchiveSettings(
        planes="field{field}_z{z}_{polarization}.tif", polarizations=CROSSED_FIRST, pixel_um=0.1, step_um=0.3
    )
    archive = find_archive([tmp_path], settings, tmp_path / "into", QUIET)
    assert list(archive.left_out) == ["core/overview.png"]
    assert "does not fit --planes" in archive.left_out["core/overview.png"]
    hashes: dict[str, str] = {}
    stack = read_field(archive.root, archive.fields[0], settings, hashes)
    np.testing.assert_array_equal(stack.pixels, pixels)
    assert stack.described.polarizations == ("crossed", "parallel")
    assert len(hashes) == 22
    turned = settings.model_copy(update={"polarizations": CROSSED_FIRST[::-1]})
    archive = find_archive([tmp_path], turned, tmp_path / "into", QUIET)
    np.testing.assert_array_equal(read_field(archive.root, archive.fields[0], turned, {}).pixels, pixels[::-1])


def test_plane_files_may_lie_in_a_folder_a_field(tmp_path: Path) -> None:
    touch(tmp_path, *(f"core/site {n}/plane{z:02}.tif" for n in (9, 10) for z in (1, 2)))
    archive = find_archive([tmp_path], ArchiveSettings(planes="site {field}/plane{z}.tif"), tmp_path / "into", QUIET)
    assert [(field.sample, field.names) for field in archive.fields] == [
        ("core", ("core/site 9/plane01.tif", "core/site 9/plane02.tif")),
        ("core", ("core/site 10/plane01.tif", "core/site 10/plane02.tif")),
    ]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["1_0_crossed", "1_1_crossed", "1_0_parallel"], "plane 1 of parallel is missing"),
        (["1_0_crossed", "2_0_crossed", "2_0_parallel"], "plane 0 of parallel is missing"),
        (["1_0_crossed", "1_1_crossed", "1_3_crossed"], "its planes are 0, 1, 3: some are missing"),
        (["1_0_crossed", "1_00_crossed"], "plane 0 of crossed is there twice"),
    ],
)
def test_stacks_with_missing_planes_are_told(tmp_path: Path, names: list[str], fault: str) -> None:
    touch(tmp_path, *(f"{name}.tif" for name in names))
    settings = ArchiveSettings(planes="{field}_{z}_{polarization}.tif", pixel_um=0.1, step_um=1)
    archive = find_archive([tmp_path], settings, tmp_path / "into", QUIET)
    with pytest.raises(ImageRefused, match=fault):
        read_field(archive.root, archive.fields[0], settings, {})


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX", "ZYX", "CYX", "YX"])
def test_ome_stacks_say_what_they_are(tmp_path: Path, axes: str) -> None:
    pixels = coded()[: 2 if "C" in axes else 1, : 3 if "Z" in axes else 1]
    given = pixels.transpose(1, 0, 2, 3) if axes == "ZCYX" else pixels.squeeze()
    metadata = {
        "axes": axes,
        "PhysicalSizeX": 59.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.059,
        "Channel": {"Name": ["crossed", "parallel"] if "C" in axes else ["crossed"]},
        **({"PhysicalSizeZ": 0.3} if "Z" in axes else {}),
    }
    write(tmp_path / "a.ome.tif", given, metadata=metadata, ome=True)
    stack = read(tmp_path, pixel_um=5, step_um=5)
    np.testing.assert_array_equal(stack.pixels, pixels)
    assert stack.described.pixel_um == pytest.approx(0.059)
    assert stack.described.step_um == (0.3 if "Z" in axes else 5)
    assert stack.described.polarizations == (("crossed", "parallel") if "C" in axes else ("crossed",))


def test_imagej_stacks_say_what_they_are(tmp_path: Path) -> None:
    pixels = coded()
    write(
        tmp_path / "a.tif", pixels.transpose(1, 0, 2, 3), imagej=True, resolution=(10.0, 10.0),
        metadata={"axes": "ZCYX", "spacing": 0.4, "unit": "micron"},
    )  # fmt: skip
    stack = read(tmp_path, polarizations=("crossed", "parallel"))
    np.testing.assert_array_equal(stack.pixels, pixels)
    assert (stack.described.pixel_um, stack.described.step_um) == pytest.approx((0.1, 0.4))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_single_images_become_grey_stacks_of_one_plane(tmp_path: Path, suffix: str, dtype: type) -> None:
    grey = (coded(1, 1)[0, 0] % 251).astype(dtype)
    colours: NDArray[np.integer] = np.stack([grey // 2, grey, 250 - grey], axis=-1).astype(dtype)
    images: tuple[tuple[str, NDArray[np.integer]], ...] = (("grey", grey), ("colours", colours))
    for name, pixels in images:
        path = tmp_path / name / f"a.{suffix}"
        path.parent.mkdir()
        if suffix == "png":
            cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        else:
            write(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    stack = read(tmp_path / "grey", pixel_um=0.1)
    np.testing.assert_array_equal(stack.pixels, grey[None, None])
    assert stack.described.polarizations == ("parallel",)
    expected = colours @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read(tmp_path / "colours", pixel_um=0.1).pixels[0, 0] - expected).max() < 2
    assert read(tmp_path / "grey", pixel_um=0.1, polarizations=("crossed",)).described.polarizations == ("crossed",)


@pytest.mark.parametrize(
    ("shape", "options", "settings", "sentence"),
    [
        ((70, 80), {}, {"pixel_um": None}, "give --pixel-um"),
        ((3, 70, 80), {}, {"step_um": None}, "how far apart its 3 planes are; give --step-um"),
        (
            (2, 70, 80),
            {"imagej": True, "metadata": {"axes": "CYX"}},
            {},
            "2 channels, without names; .* such as --polarization crossed=1 --polarization parallel=2",
        ),
        ((70, 20), {}, {}, "20 x 70 px of 0.1 um, too small"),
    ],
)
def test_what_a_file_does_not_say_is_not_guessed(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, object], settings: dict[str, object], sentence: str
) -> None:
    write(tmp_path / "a.tif", np.zeros(shape, np.uint16), **options)
    with pytest.raises(ImageRefused, match=sentence):
        read(tmp_path, **{"pixel_um": 0.1, "step_um": 1.0, **settings})


def test_an_image_that_has_gone_is_told_but_an_archive_that_has_gone_is_a_fault(tmp_path: Path) -> None:
    settings = ArchiveSettings(pixel_um=0.1)
    write(tmp_path / "core" / "a.tif", coded()[0, 0])
    write(tmp_path / "core" / "b.tif", coded()[0, 0])
    archive = find_archive([tmp_path], settings, tmp_path / "into", QUIET)
    (tmp_path / "core" / "a.tif").unlink()
    with pytest.raises(ImageRefused, match="cannot be read any more"):
        read_field(archive.root, archive.fields[0], settings, {})
    (tmp_path / "core").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        read_field(archive.root, archive.fields[1], settings, {})


def test_two_of_three_channels_are_taken_where_they_are_named_and_the_third_is_told(tmp_path: Path) -> None:
    pixels = coded(3)
    named = {"axes": "CZYX", "Channel": {"Name": ["LL", "DAPI", "LR"]}}
    write(tmp_path / "a.ome.tif", pixels, metadata=named, ome=True)
    stack = read(tmp_path, pixel_um=0.1, step_um=1, polarizations=CROSSED_FIRST)
    np.testing.assert_array_equal(stack.pixels, pixels[[0, 2]])
    assert stack.described.polarizations == ("parallel", "crossed")
    assert "channel 'DAPI' is left out, as it is no polarization" in stack.described.told


def test_stacks_of_one_state_a_file_are_joined(tmp_path: Path) -> None:
    pixels = coded(2, 4)
    for c, word in enumerate(("LR", "LL")):
        write(tmp_path / f"f1_{word}.tif", pixels[c])
    given = {"planes": "{field}_{polarization}.tif", "polarizations": CROSSED_FIRST, "pixel_um": 0.1, "step_um": 0.3}
    stack = read(tmp_path, **given)
    np.testing.assert_array_equal(stack.pixels, pixels)
    write(tmp_path / "f1_LL.tif", pixels[1, :3])
    with pytest.raises(ImageRefused, match=r"'f1_LL.tif' is 1 x 3 x 70 x 80 px"):
        read(tmp_path, **given)


def test_samples_of_a_folder_are_told_apart_by_name(tmp_path: Path) -> None:
    for slide in (2, 10):
        for z in (-1, 0):
            write(tmp_path / "core" / f"s{slide}_f1_z{z}.tif", coded(1, 1)[0, 0])
    archive = find_archive([tmp_path], ArchiveSettings(planes="s{slide}_{field}_z{z}.tif"), tmp_path / "into", QUIET)
    assert [(field.slide, field.field, field.sample) for field in archive.fields] == [
        (1, 1, "core/2"),
        (2, 1, "core/10"),
    ]
    assert archive.fields[0].names == ("core/s2_f1_z-1.tif", "core/s2_f1_z0.tif")
    assert archive.samples[2] == {"sample": "core/10", "folder": "core"}


def test_a_file_that_cannot_be_read_is_a_field_that_says_so() -> None:
    with for_everybody() as root:
        write(root / "core" / "a.tif", coded()[0, 0])
        write(root / "core" / "b.tif", coded()[0, 0])
        with closed(root / "core" / "b.tif"):
            archive = find_archive([root], ArchiveSettings(), root / "into", QUIET)
    assert [field.fault for field in archive.fields] == ["", "it cannot be read (Permission denied)"]
