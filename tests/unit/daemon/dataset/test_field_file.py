"""A field's file: what goes in comes out, also through a reader that knows nothing of lamelle."""

from __future__ import annotations

import io
import math
import re
import runpy
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.dataset.field_file import NAMESPACE, FieldProvenance, read_field_file, write_field_file, write_raw_stack
from daemon.records.records import FocusResult, ObjectRow, SourceFile
from daemon.system.errors import DamagedFile
from tests.support.places import ROOT

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def provenance_of(shape: tuple[int, int, int, int], **changes: object) -> FieldProvenance:
    states = ("crossed", "parallel", "third", "fourth")[: shape[0]]
    made = FieldProvenance(
        night="night", slide=3, field=17, sample='MD97 <2141> & "µ" {0} \x01', x_um=1000.0, y_um=2000.0,
        first_z_um=-2.0, step_um=0.5, pixel_um=0.059, polarizations=states, exposures_ms=(20.0,) * shape[0],
        shape_czyx=shape, exposed_utc=1.7e9, focus=FocusResult(z_um=0.1, at_edge=False, contrast=2.0),
        instrument="emulated", configuration_sha256="c" * 64, weights_sha256="w" * 64, versions={"lamelle": "0.1.0"},
        calibrations=("flat",), sample_columns={"core": "MD97-2141", "depth_cm": "12"},
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def row_of(series: int, box: tuple[int, int, int, int]) -> ObjectRow:
    return ObjectRow(
        number=series + 1, series=series, class_name="coccolith", score=0.9, below_threshold=False, box=box,
        crop_box=box, x_um=1.0, y_um=2.0, z_um=3.0, best_plane=4.25, best_plane_at_edge=False, touches_edge=False,
        in_exclusive_tile=True,
    )  # fmt: skip


def coded(series: int, channels: int, planes: int, height: int, width: int) -> NDArray[np.uint16]:
    """Every pixel's value depends on all of its coordinates, so no two can be exchanged unseen."""
    index = np.indices((channels, planes, height, width), dtype=np.int64)
    return np.asarray((((series * 5 + index[0]) * 17 + index[1]) * 131 + index[2]) * 137 + index[3], np.uint16)


Made = list[tuple[ObjectRow, NDArray[np.uint16], NDArray[np.uint16]]]


def objects_of(channels: int, planes: int, sizes: list[tuple[int, int]]) -> Made:
    made: Made = []
    for series, (height, width) in enumerate(sizes):
        crop = coded(series, channels, planes, height, width)
        made.append((row_of(series, (5, 7, 5 + width, 7 + height)), crop, crop[:, planes // 2] ^ np.uint16(0x5555)))
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.integers(1, 4),
    planes=st.integers(1, 6),
    sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), max_size=4),
)
def test_every_pixel_and_number_comes_back(
    tmp_path: Path, channels: int, planes: int, sizes: list[tuple[int, int]]
) -> None:
    provenance = provenance_of((channels, planes, 100, 100))
    objects = objects_of(channels, planes, sizes)
    path = tmp_path / "field.ome.tif"
    with path.open("w+b") as stream:
        write_field_file(stream, provenance, objects)
    with read_field_file(path) as field:
        assert field.provenance == provenance
        assert field.objects == tuple(row for row, _, _ in objects)
        for row, crop, fused in objects:
            np.testing.assert_array_equal(field.crop(row), crop)
            np.testing.assert_array_equal(field.fused(row), fused)


def test_an_independent_reader_sees_series_axes_sizes_and_positions(tmp_path: Path) -> None:
    provenance = provenance_of((2, 5, 100, 200))
    objects = objects_of(2, 5, [(31, 32), (40, 33), (3, 4)])
    path = tmp_path / "field.ome.tif"
    with path.open("w+b") as stream:
        write_field_file(stream, provenance, objects)

    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert [series.axes for series in tiff.series] == ["CZYX"] * 3 + ["CYX"] * 3
        for series, (_, crop, _) in zip(tiff.series, objects, strict=False):
            np.testing.assert_array_equal(series.asarray(), crop)
        root = ElementTree.fromstring(tiff.ome_metadata or "")
    images = root.findall(f"{OME}Image")
    assert len({image.get("ID") for image in images}) == 6
    pixels = images[0].find(f"{OME}Pixels")
    assert pixels is not None
    assert pixels.attrib["PhysicalSizeX"] == pixels.attrib["PhysicalSizeY"] == "0.059"
    assert pixels.attrib["PhysicalSizeZ"] == "0.5"
    assert [c.get("Name") for c in pixels.iter(f"{OME}Channel")] == ["crossed", "parallel"]
    planes = list(pixels.iter(f"{OME}Plane"))
    places = {(int(p.attrib["TheC"]), int(p.attrib["TheZ"])): float(p.attrib["PositionZ"]) for p in planes}
    assert places == {(c, z): -2.0 + 0.5 * z for c in range(2) for z in range(5)}
    # The crop's centre is at column 21 of 200 and row 22.5 of 100; the frame's centre is at stage 1000, 2000.
    assert float(planes[0].attrib["PositionX"]) == pytest.approx(1000 - 79 * 0.059, abs=1e-5)
    assert float(planes[0].attrib["PositionY"]) == pytest.approx(2000 - 27.5 * 0.059, abs=1e-5)
    assert planes[0].attrib["PositionXUnit"] == "µm"
    annotations = root.findall(f".//{OME}CommentAnnotation")
    assert [a.get("Namespace") for a in annotations] == [NAMESPACE]


def test_a_field_without_objects_is_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.ome.tif"
    with path.open("w+b") as stream:
        write_field_file(stream, provenance_of((2, 9, 64, 64)), [])
    assert tifffile.imread(path).shape == (1, 1)
    with read_field_file(path) as field:
        assert field.objects == ()
        assert field.provenance.field == 17


def test_numbers_that_json_lacks_come_back_as_nan(tmp_path: Path) -> None:
    ((row, crop, fused),) = objects_of(2, 3, [(20, 20)])
    row = msgspec.structs.replace(row, best_plane=float("nan"))
    focus = FocusResult(z_um=None, at_edge=False, contrast=float("inf"))
    path = tmp_path / "field.ome.tif"
    with path.open("w+b") as stream:
        write_field_file(stream, provenance_of((2, 3, 64, 64), focus=focus), [(row, crop, fused)])
    with read_field_file(path) as field:
        assert math.isnan(field.objects[0].best_plane)
        assert field.provenance.focus is not None
        assert field.provenance.focus.z_um is None
        assert math.isnan(field.provenance.focus.contrast)


def test_the_same_field_has_the_same_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    for stream in (first, second):
        write_field_file(stream, provenance_of((2, 3, 64, 64)), objects_of(2, 3, [(20, 20)]))
    assert first.getvalue() == second.getvalue()


def test_a_raw_stack_comes_back(tmp_path: Path) -> None:
    stack = coded(0, 2, 4, 300, 257)
    path = tmp_path / "raw.ome.tif"
    with path.open("w+b") as stream:
        write_raw_stack(stream, stack, provenance_of((2, 4, 300, 257)))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "CZYX"
        np.testing.assert_array_equal(tiff.series[0].asarray(), stack)
    with read_field_file(path) as field:
        assert field.provenance.sample_columns["depth_cm"] == "12"


@pytest.mark.parametrize("fault", ["dtype", "crop", "fused", "series"])
def test_arrays_that_contradict_their_row_are_refused(fault: str) -> None:
    row, crop, fused = objects_of(2, 3, [(20, 21)])[0]
    if fault == "dtype":
        crop = crop.astype(np.int32)
    elif fault == "crop":
        crop = crop.transpose(0, 1, 3, 2)
    elif fault == "fused":
        fused = fused[:1]
    else:
        row = msgspec.structs.replace(row, series=4)
    with pytest.raises(ValueError, match="object 1"):
        write_field_file(io.BytesIO(), provenance_of((2, 3, 64, 64)), [(row, crop, fused)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_told_as_such(tmp_path: Path, data: st.DataObject) -> None:
    stream = io.BytesIO()
    write_field_file(stream, provenance_of((2, 3, 64, 64)), objects_of(2, 3, [(20, 20), (9, 30)]))
    whole = bytearray(stream.getvalue())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole = whole[:place]
    else:
        whole[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "field.ome.tif"
    path.write_bytes(whole)
    with suppress(DamagedFile), read_field_file(path) as field:
        for row in field.objects:
            field.crop(row)
            field.fused(row)


def test_a_file_cut_within_its_header_is_told_as_such(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_field_file(stream, provenance_of((2, 3, 64, 64)), objects_of(2, 3, [(20, 20)]))
    path = tmp_path / "field.ome.tif"
    for length in range(16):
        path.write_bytes(stream.getvalue()[:length])
        with pytest.raises(DamagedFile, match=path.name):
            read_field_file(path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.ome.tif"
    text.write_bytes(b"not a TIFF file")
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, np.zeros((4, 4), np.uint16))
    foreign = tmp_path / "foreign.ome.tif"
    tifffile.imwrite(foreign, np.zeros((4, 4), np.uint16), ome=True)
    for path in (text, plain, foreign):
        with pytest.raises(DamagedFile, match=path.name):
            read_field_file(path)


def test_the_documented_program_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "dataset.md").read_text("utf-8")
    (program,) = (one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "tifffile" in one)
    script = tmp_path / "read.py"
    script.write_text(program, "utf-8")
    path = tmp_path / "field.ome.tif"
    with path.open("w+b") as stream:
        write_field_file(stream, provenance_of((1, 5, 100, 200)), objects_of(1, 5, [(31, 32), (1, 4)]))
    monkeypatch.setattr("sys.argv", ["read.py", str(path)])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "1 coccolith 0.90 (1, 5, 31, 32) (1, 31, 32)",
        "2 coccolith 0.90 (1, 5, 1, 4) (1, 1, 4)",
    ]


def test_other_programs_learn_when_how_long_and_with_how_many_bits_it_was_exposed(tmp_path: Path) -> None:
    shape = 2, 3, 40, 50
    exposed = provenance_of(shape, exposed_utc=1.7e9 + 0.25, exposures_ms=(20.0, 1.5), bits=12)
    archived = provenance_of(shape, exposures_ms=(), sources=(SourceFile(name="a.tif", sha256="0" * 64),))
    told = {}
    for name, provenance in (("night", exposed), ("archive", archived)):
        path = tmp_path / f"{name}.ome.tif"
        with path.open("w+b") as stream:
            write_field_file(stream, provenance, objects_of(2, 3, [(8, 9)]))
        with tifffile.TiffFile(path) as tiff:
            told[name] = ElementTree.fromstring(tiff.ome_metadata or "")
        with read_field_file(path) as file:
            assert file.provenance == provenance
    stack, fused = told["night"].iter(f"{OME}Image")
    assert [one.findtext(f"{OME}AcquisitionDate") for one in (stack, fused)] == ["2023-11-14T22:13:20.250"] * 2
    planes = [(plane.get("ExposureTime"), plane.get("ExposureTimeUnit")) for plane in stack.iter(f"{OME}Plane")]
    assert planes == [("0.02", "s")] * 3 + [("0.0015", "s")] * 3
    assert {pixels.get("SignificantBits") for pixels in told["night"].iter(f"{OME}Pixels")} == {"12"}
    assert told["archive"].find(f".//{OME}AcquisitionDate") is None
    assert not any({"ExposureTime", "SignificantBits"} & set(one.keys()) for one in told["archive"].iter())
