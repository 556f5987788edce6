"""TIFF: what the files of programs say is what is read; sets of files; what is hostile is refused by name."""

from __future__ import annotations

import io
import logging
import struct
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.held import Header
from drivers.recorded.images import opened, opened_one
from tests.support.micromanager_files import write_stacks

OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{}">{}</OME>'
)


def stack(*shape: int, seed: int = 0, dtype: Any = np.uint16) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, shape).astype(dtype)


def header(path: Path, name: str = "") -> Header:
    with opened_one(path, name) as held:
        held.read()
        return held.header


def test_units_of_resolutions_become_um(tmp_path: Path) -> None:
    said = {"um": (10, 0.3), "\\u00B5m": (10, 0.3), "micron": (10, 0.3), "inch": (254_000, 3e-5), "cm": (1e5, 3e-5)}
    for nth, (unit, (per, spacing)) in enumerate(said.items()):
        path = tmp_path / f"{nth}.tif"
        metadata = {"axes": "ZYX", "unit": unit, "spacing": spacing}
        tifffile.imwrite(path, stack(4, 16, 16), imagej=True, resolution=(per, per), metadata=metadata)
        read = header(path)
        assert read.pixel_um == pytest.approx(0.1)
        assert read.step_um == pytest.approx({"inch": 0.762, "cm": 0.3}.get(unit, 0.3))
    # Of a TIFF of no program in particular: of centimetres, of inches, and of a screen.
    for unit, per, pixel_um in (("CENTIMETER", 1 / 0.059e-4, 0.059), ("INCH", 508_000, 0.05), ("INCH", 72, None)):
        tifffile.imwrite(path, stack(16, 16), resolution=(per, per), resolutionunit=unit, metadata=None)
        assert header(path).pixel_um == (None if pixel_um is None else pytest.approx(pixel_um))
    tifffile.imwrite(path, stack(16, 16), resolution=(1e5, 2e5), resolutionunit="CENTIMETER", metadata=None)
    with pytest.raises(ImageRefused, match=r"its pixels are 0\.1 x 0\.05 um; resample it"):
        header(path)


def test_points_in_time_and_images_are_stacks_with_names(tmp_path: Path) -> None:
    of_time, path = stack(2, 3, 2, 16, 20), tmp_path / "a.tif"
    tifffile.imwrite(path, of_time, imagej=True, metadata={"axes": "TZCYX", "Labels": ["LR", "LL"] * 6})
    with opened(path) as stacks:
        assert [one.name for one in stacks] == ["time 0", "time 1"]
        for one, truth in zip(stacks, of_time, strict=True):
            np.testing.assert_array_equal(one.read(), truth.swapaxes(0, 1))
            assert one.header.channels == ("LR", "LL")
    path = tmp_path / "b.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for nth in range(3):
            writer.write(stack(2, 3, 16, 20, seed=nth), metadata={"axes": "CZYX", "Name": f"Pos{nth % 2}"})
    with opened(path) as stacks:
        assert [one.name for one in stacks] == ["Pos0 1", "Pos1", "Pos0 3"]
    with opened_one(path, "Pos1") as held:
        np.testing.assert_array_equal(held.read(), stack(2, 3, 16, 20, seed=1))
    with pytest.raises(ImageRefused, match="it holds 3 images"):
        header(path)


def test_channels_have_the_names_that_are_theirs(tmp_path: Path) -> None:
    """Numbers too, as wavelengths are; but labels that differ from plane to plane are no names of channels."""
    path = tmp_path / "a.ome.tif"
    names = ["405", "488"]
    tifffile.imwrite(path, stack(2, 3, 16, 20), metadata={"axes": "CZYX", "Channel": {"Name": names}})
    assert header(path).channels == ("405", "488")
    path = tmp_path / "b.tif"
    for labels, expected in ((names * 3, ("405", "488")), ([f"c{n % 2} z{n // 2}" for n in range(6)], ())):
        tifffile.imwrite(path, stack(3, 2, 16, 20), imagej=True, metadata={"axes": "ZCYX", "Labels": labels})
        assert header(path).channels == expected


def test_heights_say_their_direction_and_their_steps(tmp_path: Path) -> None:
    for name, heights, told in (
        ("up", [-0.5, 0.0, 0.5], ()),
        ("down", [0.5, 0.0, -0.5], ("its planes run downward, from 0.5 to -0.5 um",)),
        ("uneven", [0.0, 0.5, 1.5], ("its planes are unequally far apart, 0.5 to 1 um",)),
    ):
        path = tmp_path / f"{name}.ome.tif"
        metadata = {"axes": "ZYX", "SignificantBits": 12, "Plane": {"PositionZ": heights}}
        tifffile.imwrite(path, stack(3, 16, 16), metadata=metadata, photometric="minisblack")
        read = header(path)
        assert (read.told, read.bits, read.position_um[2]) == (told, 12, heights[0])


def test_numbers_of_other_types_are_read_where_they_are_whole_and_else_refused(tmp_path: Path) -> None:
    path, grey = tmp_path / "a.tif", stack(16, 20) // 2
    for dtype in (np.int16, np.int32, np.float32):
        tifffile.imwrite(path, grey.astype(dtype))
        with opened_one(path) as held:
            np.testing.assert_array_equal(held.read()[0, 0], grey)
            assert held.header.told == (
                f"its pixels are {np.dtype(dtype)}, taken only where all of them are whole numbers from 0 to 65535",
            )
    for odd in (-1.0, 0.5, 70_000.0, np.nan):
        tifffile.imwrite(path, np.where(grey == grey[0, 0], odd, grey).astype(np.float32))
        with pytest.raises(ImageRefused, match="save it with 8 or 16 bit a pixel, without sign"):
            header(path)
    tifffile.imwrite(path, grey > 1000)
    with pytest.raises(ImageRefused, match="its pixels are bool; save it with 8 or 16 bit"):
        header(path)


def test_planes_are_not_taken_for_colours(tmp_path: Path) -> None:
    """As tifffile writes stacks of three or four planes, when nobody says what they are."""
    planes, path = stack(4, 16, 20), tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", metadata={"axes": "ZYX"})
    with opened_one(path) as held:
        np.testing.assert_array_equal(held.read(), planes[None])
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", metadata=None)
    with pytest.raises(ImageRefused, match="may be planes or colours"):
        header(path)


def test_planes_that_were_written_one_by_one_are_a_stack(tmp_path: Path) -> None:
    """As imageio and loops around tifffile write them: each says what it is; series of planes stay apart."""
    planes, path = stack(5, 16, 20), tmp_path / "a.tif"
    for plane in planes:
        tifffile.imwrite(path, plane, append=path.exists())
    with opened_one(path) as held:
        np.testing.assert_array_equal(held.read(), planes[None])
        assert held.header.told == ("its pages are taken as planes",)
    path.write_bytes(path.read_bytes()[:-100])
    with opened_one(path) as held:
        assert "cut off" in held.fault
    path.unlink()
    for _ in range(2):
        tifffile.imwrite(path, planes, append=path.exists(), photometric="minisblack", metadata={"axes": "ZYX"})
    with opened(path) as stacks:
        assert [one.header.shape_czyx for one in stacks] == [(1, 5, 16, 20)] * 2


def test_an_ome_tiff_that_was_not_closed_is_no_stack_of_planes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(iter(stack(6, 16, 20)), shape=(2, 3, 16, 20), dtype=np.uint16, metadata={"axes": "CZYX"})
        writer.filehandle.flush()
        left = path.read_bytes()
    with opened_one(path) as held:
        assert held.header.shape_czyx == (2, 3, 16, 20)
    path.write_bytes(left)
    with pytest.raises(ImageRefused, match="its XML was not written yet, as it was not closed"):
        header(path)


def test_pages_that_are_volumes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(16, 16, 16), volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    with pytest.raises(ImageRefused, match="have the axes ZYX; save each plane as a page of its own"):
        header(path)


def ramp(*colour: float, entries: int = 256) -> NDArray[np.uint16]:
    """A palette from black to a colour, as TIFF has it."""
    return np.outer(colour, np.arange(entries) * 256).astype(np.uint16)


def test_a_palette_that_shows_light_in_a_colour_is_left_out(tmp_path: Path) -> None:
    pixels, path = stack(2, 1, 16, 20, dtype=np.uint8), tmp_path / "a.ome.tif"
    said = OME.format(
        "urn:uuid:1",
        '<Image><Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="16" SizeC="2"><TiffData/></Pixels>'
        "</Image>",
    )
    rounded = (ramp(0, 0, 1) * 0.996).astype(np.uint16) // 257 * 257
    assert len(np.unique(rounded[2])) < 256
    for second in (ramp(0.5, 0.25, 1), rounded):
        with tifffile.TiffWriter(path) as writer:
            for nth, colours in enumerate((ramp(1, 0, 0), second)):
                writer.write(
                    pixels[nth, 0],
                    photometric="palette",
                    colormap=colours,
                    description=said if not nth else None,
                    metadata=None,
                    contiguous=False,
                )
        with opened_one(path) as held:
            np.testing.assert_array_equal(held.read(), pixels)
            assert held.header.told == ("its palette only shows its light in a colour, and is left out",)
            assert held.header.bits == 8


def test_palettes_of_drawings_and_of_several_kinds_are_not_taken_for_light(tmp_path: Path) -> None:
    pixels, path = np.arange(256, dtype=np.uint8).reshape(16, 16), tmp_path / "a.tif"
    padded, turned, inverted = ramp(0, 1, 0), ramp(0, 1, 0), ramp(0, 1, 0)[:, ::-1].copy()
    padded[:, 100:] = 0
    turned[:, 50] = 0
    for colours in (padded, turned, inverted):
        tifffile.imwrite(path, pixels, photometric="palette", colormap=colours, metadata=None)
        with opened_one(path) as held:
            green = (colours[1] >> 8).astype(np.float64)
            np.testing.assert_allclose(held.read()[0, 0].ravel(), 0.587 * green, atol=0.51)
            assert "its palette is looked up" in held.header.told
    with tifffile.TiffWriter(path) as writer:
        for colours in (inverted, turned):
            writer.write(pixels, photometric="palette", colormap=colours, metadata=None, contiguous=False)
    with (
        opened_one(path) as held,
        pytest.raises(ImageRefused, match=r"its pages show light in ways of their own \(a palette\); save them all as"),
    ):
        held.read()


GREY: dict[str, Any] = {"photometric": "minisblack"}
WHITE_IS_ZERO: dict[str, Any] = {"photometric": "miniswhite"}
GREEN: dict[str, Any] = {"photometric": "palette", "colormap": ramp(0, 1, 0)}
INVERTED: dict[str, Any] = {"photometric": "palette", "colormap": ramp(0, 1, 0)[:, ::-1].copy()}
TURNED: dict[str, Any] = {"photometric": "minisblack", "extratags": [(274, 3, 1, 3, True)]}
OWN_WAYS = "its pages show light in ways of their own"
UNLIKE = [
    pytest.param(GREY, INVERTED, r"grey, a palette", id="palette"),
    pytest.param(INVERTED, GREY, r"a palette, grey", id="grey"),
    pytest.param(GREY, WHITE_IS_ZERO, r"grey, grey whose white is zero", id="white"),
    pytest.param(WHITE_IS_ZERO, GREY, r"grey whose white is zero, grey", id="black"),
    pytest.param(GREY, TURNED, r"grey, grey turned by 180 degrees", id="turned"),
]


@pytest.mark.parametrize(("first", "second", "told"), UNLIKE)
@pytest.mark.parametrize("kind", ["ImageJ", "OME"])
def test_pages_that_do_not_show_light_alike_are_no_planes_of_a_stack(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], told: str, kind: str
) -> None:
    path, planes = tmp_path / "a.tif", np.arange(2 * 12, dtype=np.uint8).reshape(2, 3, 4)
    pixels = '<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="4" SizeY="3" SizeZ="2"><TiffData/></Pixels>'
    said = {
        "ImageJ": "ImageJ=1.54f\nimages=2\nslices=2\n",
        "OME": OME.format("urn:uuid:0", f'<Image ID="Image:0">{pixels}</Image>'),
    }
    with tifffile.TiffWriter(path) as writer:
        for plane, look, text in zip(planes, (first, second), (said[kind], None), strict=True):
            writer.write(plane, description=text, metadata=None, contiguous=False, **look)
    with opened_one(path) as held, pytest.raises(ImageRefused, match=rf"{OWN_WAYS} \({told}\)"):
        held.read()


def test_a_page_that_is_grey_goes_with_one_that_shows_its_light_in_a_colour(tmp_path: Path) -> None:
    path, planes = tmp_path / "a.tif", np.arange(2 * 12, dtype=np.uint8).reshape(2, 3, 4)
    for first, second in ((GREY, GREEN), (GREEN, GREY)):
        with tifffile.TiffWriter(path) as writer:
            for plane, look, text in zip(planes, (first, second), ("ImageJ=1.54f\nimages=2\n", None), strict=True):
                writer.write(plane, description=text, metadata=None, contiguous=False, **look)
        with opened_one(path) as held:
            np.testing.assert_array_equal(held.read()[0], planes)


@pytest.mark.parametrize("files", [1, 2])
def test_an_orientation_that_is_said_once_is_that_of_all_pages(tmp_path: Path, files: int) -> None:
    planes = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4)
    data = "".join(
        f'<TiffData FirstZ="{nth}" IFD="{nth % (4 // files)}" PlaneCount="1">'
        f'<UUID FileName="{nth // (4 // files)}.ome.tif">urn:{nth // (4 // files)}</UUID></TiffData>'
        for nth in range(4)
    )
    pixels = f'<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="4" SizeY="4" SizeZ="4">{data}</Pixels>'
    for file, some in enumerate(np.split(planes, files)):
        xml = OME.format(f"urn:{file}", f'<Image ID="Image:0">{pixels}</Image>')
        with tifffile.TiffWriter(tmp_path / f"{file}.ome.tif") as writer:
            for nth, plane in enumerate(some):
                look = GREY if nth else TURNED
                writer.write(plane, description=None if nth else xml, metadata=None, contiguous=False, **look)
    with opened_one(tmp_path / "0.ome.tif") as held:
        np.testing.assert_array_equal(held.read()[0], planes[:, ::-1, ::-1])


def test_pages_of_a_series_that_do_not_show_light_alike_are_refused(tmp_path: Path) -> None:
    """Of tifffile's own files pages behind the first are read in short, without what says how they show light."""
    path, planes = tmp_path / "a.tif", stack(3, 16, 20)
    tifffile.imwrite(path, planes, metadata={"axes": "ZYX"}, compression="zlib", **GREY)
    with opened_one(path) as held:
        np.testing.assert_array_equal(held.read()[0], planes)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        assert tiff.is_shaped
        tiff.pages[2].aspage().tags["PhotometricInterpretation"].overwrite(0)
    with opened_one(path) as held, pytest.raises(ImageRefused, match=OWN_WAYS):
        held.read()


def test_smaller_copies_are_no_images(tmp_path: Path) -> None:
    planes = stack(4, 32, 48)
    for path, metadata in ((tmp_path / "a.ome.tif", {"axes": "ZYX"}), (tmp_path / "a.tif", None)):
        with tifffile.TiffWriter(path) as writer:
            writer.write(planes, subifds=1, metadata=metadata, photometric="minisblack")
            writer.write(planes[:, ::2, ::2], subfiletype=1, metadata=None, photometric="minisblack")
        with opened_one(path) as held:
            np.testing.assert_array_equal(held.read(), planes[None])


def test_frames_behind_the_only_page_are_read_and_missed(tmp_path: Path) -> None:
    """As ImageJ writes more than 4 GB: one page, all frames behind it; tifffile joins its own so too."""
    planes, path = stack(9, 16, 20), tmp_path / "a.tif"
    said = "ImageJ=1.54f\nimages=9\nslices=9\nunit=micron\nspacing=0.5\n"
    tifffile.imwrite(path, planes[0], description=said, metadata=None, byteorder=">")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    content = path.read_bytes()[:offset] + planes.astype(">u2").tobytes()
    path.write_bytes(content)
    with opened_one(path) as held:
        np.testing.assert_array_equal(held.read(), planes[None])
        assert held.header.step_um == 0.5
    path.write_bytes(content[:-300])
    with pytest.raises(ImageRefused, match="it is cut off at plane 9; copy it again"):
        header(path)


def test_a_stack_of_which_pages_are_missing_is_never_a_smaller_one(tmp_path: Path) -> None:
    planes, path = stack(9, 16, 20), tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for nth, plane in enumerate(planes):
            said = "ImageJ=1.54f\nimages=9\nslices=9\n" if not nth else None
            writer.write(plane, contiguous=False, metadata=None, description=said)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[6].aspage()
        link = page.offset + 2 + 12 * len(page.tags)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, link, 0)  # says that no page follows
    path.write_bytes(content)
    with pytest.raises(ImageRefused, match="it says 9 images and holds 7"):
        header(path)


def ome_set(folder: Path, *, companion: bool, other: str = "b.ome.tif") -> tuple[NDArray[Any], list[Path]]:
    """Two positions of two states of three planes, a state a file; the first, or a companion, says what they hold."""
    truth = stack(2, 2, 3, 16, 20)
    names = [["a.ome.tif", other], ["c.ome.tif", "d.ome.tif"]]
    images = ""
    for position in range(2):
        data = "".join(
            f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{z}" PlaneCount="1">'
            f'<UUID FileName="{names[position][c]}">urn:uuid:{position}{c}</UUID></TiffData>'
            for c in range(2)
            for z in range(3)
        )
        images += (
            f'<Image ID="Image:{position}" Name="Pos{position}"><Pixels ID="Pixels:{position}" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="20" SizeY="16" SizeZ="3" SizeC="2" SizeT="1" '
            'PhysicalSizeX="0.1" PhysicalSizeY="0.1">'
            f'<Channel Name="LR"/><Channel Name="LL"/>{data}</Pixels></Image>'
        )
    only = f'<BinaryOnly MetadataFile="{"night.companion.ome" if companion else "a.ome.tif"}" UUID="urn:uuid:00"/>'
    folder.mkdir(exist_ok=True)
    if companion:
        (folder / "night.companion.ome").write_text(OME.format("urn:uuid:x", images), "utf-8")
    paths: list[Path] = []
    for position in range(2):
        for c in range(2):
            path = folder / Path(names[position][c]).name
            text = images if not companion and not paths else only
            with tifffile.TiffWriter(path) as writer:
                for z in range(3):
                    said = OME.format(f"urn:uuid:{position}{c}", text) if not z else None
                    writer.write(truth[position, c, z], description=said, metadata=None, contiguous=False)
            paths.append(path)
    return truth, paths


@pytest.mark.parametrize("companion", [True, False])
def test_each_stack_of_a_set_is_given_by_one_file(tmp_path: Path, companion: bool) -> None:
    truth, paths = ome_set(tmp_path, companion=companion)
    given = {}
    for path in paths:
        with opened(path) as stacks:
            for one in stacks:
                given[path.name, one.name] = one.read(), [file.name for file in one.files], one.header
    assert list(given) == [("a.ome.tif", "Pos0"), ("c.ome.tif", "Pos1")]
    for position, (pixels, files, said) in enumerate(given.values()):
        np.testing.assert_array_equal(pixels, truth[position])
        assert files == [path.name for path in paths[2 * position : 2 * position + 2]]
        assert (said.channels, said.pixel_um) == (("LR", "LL"), 0.1)
    paths[1].unlink()
    with opened(paths[0]) as stacks, pytest.raises(ImageRefused, match=r"b\.ome\.tif belongs to it and is missing"):
        stacks[0].read()


@pytest.mark.parametrize("elsewhere", ["../b.ome.tif", "/b.ome.tif", "C:\\b.ome.tif", "..\\b.ome.tif", "\\\\pc\\b"])
def test_a_set_does_not_reach_out_of_its_folder(tmp_path: Path, elsewhere: str) -> None:
    _, paths = ome_set(tmp_path / "in", companion=False, other=elsewhere)
    tifffile.imwrite(tmp_path / "b.ome.tif", stack(3, 16, 20), metadata=None)
    with pytest.raises(ImageRefused, match="which lies outside its folder"), opened(paths[0]):
        pass


def test_xml_that_grows_is_not_read(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    path = tmp_path / "a.ome.tif"
    said = OME.format("urn:uuid:0", "<Image><Pixels/></Image>").replace("?><OME", f"?>{bomb}<OME")
    tifffile.imwrite(path, stack(16, 20), description=said, metadata=None)
    with pytest.raises(ImageRefused, match="its XML declares entities"), opened(path):
        pass


def test_what_says_to_be_vast_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(16, 20), compression="zlib", metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name, size in (("ImageWidth", 60_000), ("ImageLength", 60_000), ("RowsPerStrip", 60_000)):
            tag = tiff.pages.first.tags[name]
            struct.pack_into("<HI", content, tag.offset + 2, 4, 1)
            struct.pack_into("<I", content, tag.offset + 8, size)
    path.write_bytes(content)
    with opened_one(path) as held, pytest.raises(ImageRefused, match="more than 4 GB; split it"):
        held.read()


def seeds() -> list[bytes]:
    """Small valid files of several kinds."""
    files: list[bytes] = []
    planes = stack(2, 2, 8, 9)
    kinds: list[dict[str, Any]] = [
        {"metadata": None},
        {"imagej": True, "metadata": {"axes": "ZCYX"}},
        {"ome": True, "metadata": {"axes": "CZYX"}},
        {"compression": "lzw", "bigtiff": True, "metadata": {"axes": "CZYX"}},
    ]
    for options in kinds:
        stream = io.BytesIO()
        tifffile.imwrite(stream, planes, photometric="minisblack", **options)
        files.append(stream.getvalue())
    with TemporaryDirectory() as folder:
        files += [write_stacks(Path(folder), {"Pos0": planes, "Pos1": planes}, one_file=True)[0].read_bytes()]
    return files


SEEDS = seeds()


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_at_all_are_a_traceback(data: st.DataObject, caplog: pytest.LogCaptureFixture) -> None:
    valid = data.draw(st.sampled_from(SEEDS))
    content = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly where what is said stands, at the beginning and at the end.
        at = data.draw(st.one_of(st.integers(0, 400), st.integers(0, len(content) - 1))) % len(content)
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    told = ""
    try:
        with caplog.at_level(logging.WARNING), opened(io.BytesIO(content)) as stacks:
            for one in stacks:
                assert one.read().shape == one.header.shape_czyx
    except ImageRefused as error:
        told = str(error)
    assert len(told) < 400
    assert "\n" not in told
    assert not caplog.records


def test_planes_are_decoded_right_into_their_stack(tmp_path: Path) -> None:
    whole = np.add.outer(np.arange(2 * 3, dtype=np.uint16), np.zeros((512, 512), np.uint16)).reshape(2, 3, 512, 512)
    plane = whole[0, 0].nbytes
    for nth, packed in enumerate((None, "zlib")):
        tifffile.imwrite(tmp_path / f"{nth}.ome.tif", whole, metadata={"axes": "CZYX"}, compression=packed)
        with opened_one(tmp_path / f"{nth}.ome.tif") as held:
            tracemalloc.start()
            try:
                read, most = held.read(), tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        np.testing.assert_array_equal(read, whole)
        assert most < whole.nbytes + plane * 3 // 4


def test_a_page_of_a_set_that_is_of_another_size_is_refused(tmp_path: Path) -> None:
    files = [tmp_path / f"{nth}.ome.tif" for nth in range(2)]
    data = "".join(
        f'<TiffData FirstZ="{nth}" IFD="0" PlaneCount="1"><UUID FileName="{file.name}">urn:{nth}</UUID></TiffData>'
        for nth, file in enumerate(files)
    )
    pixels = f'<Pixels DimensionOrder="XYZCT" Type="uint16" SizeX="24" SizeY="16" SizeZ="2">{data}</Pixels>'
    for nth, (file, shape) in enumerate(zip(files, ((16, 24), (24, 16)), strict=True)):
        xml = OME.format(f"urn:{nth}", f'<Image ID="Image:0">{pixels}</Image>')
        tifffile.imwrite(file, stack(*shape), description=xml, metadata=None)
    with opened_one(files[0]) as held, pytest.raises(ImageRefused, match="plane 1 is 16 x 24 px where others are 24 x"):
        held.read()


@pytest.mark.parametrize(("first", "second", "told"), UNLIKE)
def test_files_of_a_set_that_do_not_show_light_alike_are_refused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], told: str
) -> None:
    planes = stack(2, 16, 20, dtype=np.uint8)
    data = "".join(
        f'<TiffData FirstZ="{nth}" IFD="0" PlaneCount="1"><UUID FileName="{nth}.ome.tif">urn:{nth}</UUID></TiffData>'
        for nth in range(2)
    )
    pixels = f'<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="16" SizeZ="2">{data}</Pixels>'
    for nth, look in enumerate((first, second)):
        xml = OME.format(f"urn:{nth}", f'<Image ID="Image:0">{pixels}</Image>')
        tifffile.imwrite(tmp_path / f"{nth}.ome.tif", planes[nth], description=xml, metadata=None, **look)
    with opened_one(tmp_path / "0.ome.tif") as held, pytest.raises(ImageRefused, match=rf"{OWN_WAYS} \({told}\)"):
        held.read()


def test_more_planes_than_any_recording_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint16), description="ImageJ=1.53\nimages=2000000\nslices=2000000\n")
    with pytest.raises(ImageRefused, match="it says that it has 2000000 planes"), opened(path):
        pass
