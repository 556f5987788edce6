"""A file of several stacks is several fields, each with its own pixels and the same file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from rich.console import Console

from daemon.reprocessing.archive import ArchiveSettings, find_archive
from daemon.reprocessing.archive_stacks import read_field
from daemon.reprocessing.look import look, see
from daemon.system.durable_files import sha256_of
from daemon.system.errors import Exit
from drivers.errors import ImageRefused
from drivers.recorded.recording import read_recording
from drivers.settings import Replay

PLANES: dict[str, Any] = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}


def test_an_archive_takes_each_for_a_field(tmp_path: Path) -> None:
    pixels = [np.full((3, 70, 80), n, np.uint16) for n in range(3)]
    with tifffile.TiffWriter(tmp_path / "night.ome.tif", ome=True) as writer:
        for one in pixels:
            writer.write(one, **PLANES)
    tifffile.imwrite(tmp_path / "zlast.tif", pixels[0], photometric="minisblack")
    settings = ArchiveSettings(pixel_um=0.1, step_um=1)
    archive = find_archive([tmp_path], settings, tmp_path / "into", Console(quiet=True))
    assert [field.names for field in archive.fields] == [("night.ome.tif",)] * 3 + [("zlast.tif",)]
    assert len({field.title for field in archive.fields}) == 4
    assert archive.counts() == "2 files or recordings there: 2 make 4 fields, 0 left out"
    hashes: list[dict[str, str]] = [{} for _ in pixels]
    for field, one, found in zip(archive.fields, pixels, hashes, strict=False):
        np.testing.assert_array_equal(read_field(archive.root, field, settings, found).pixels[0], one)
    assert hashes[0] == hashes[2] == {"night.ome.tif": sha256_of(tmp_path / "night.ome.tif")}


def test_a_replay_shows_each_as_a_field(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "night.ome.tif", ome=True) as writer:
        for n in range(3):
            writer.write(np.full((3, 70, 80), n, np.uint16), **PLANES)
    recording = read_recording(Replay(folder=tmp_path), ("parallel",))
    recording.look()
    assert [recording.read(1, field).pixels.max() for field in (1, 2, 3)] == [0, 1, 2]
    sources = [recording.read(1, field).sources for field in (1, 3)]
    assert [[file.name for file in files] for files in sources] == [["night.ome.tif"]] * 2
    assert len({files[0].stack for files in sources}) == 2


@pytest.fixture(name="zarr")
def _zarr() -> Iterator[Any]:
    zarr = pytest.importorskip("zarr", reason="comes with lamelle[formats]")
    yield zarr
    zarr.core.sync.cleanup_resources()


def test_an_ome_zarr_is_read_from_its_pieces_by_archives_and_replays(tmp_path: Path, zarr: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (2, 3, 70, 80)).astype(np.uint16)
    folder = tmp_path / "core.zarr"
    zarr.create_array(str(folder / "0"), shape=pixels.shape, chunks=(1, 1, 70, 80), dtype="u2")[:] = pixels
    scale = {"type": "scale", "scale": [1, 0.5, 0.1, 0.1]}
    axes = [{"name": "t", "type": "time"}, *({"name": one, "type": "space", "unit": "micrometer"} for one in "zyx")]
    ome = {"multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]}
    group = {"attributes": {"ome": {"version": "0.5", **ome}}, "zarr_format": 3, "node_type": "group"}
    (folder / "zarr.json").write_text(json.dumps(group), "utf-8")

    settings = ArchiveSettings()
    archive = find_archive([tmp_path], settings, tmp_path / "into", Console(quiet=True))
    recording = read_recording(Replay(folder=tmp_path), ("parallel",))
    recording.look()
    for time, truth in enumerate(pixels):
        hashes: dict[str, str] = {}
        np.testing.assert_array_equal(read_field(archive.root, archive.fields[time], settings, hashes).pixels[0], truth)
        read_from = ["zarr.json", "0/zarr.json", *(f"0/c/{time}/{z}/0/0" for z in range(3))]
        assert hashes == {f"core.zarr/{name}": sha256_of(folder / name) for name in read_from}
        replayed = recording.read(1, time + 1)
        np.testing.assert_array_equal(replayed.pixels[0], truth)
        assert {file.name: file.sha256 for file in replayed.sources} == hashes


def test_a_well_that_is_damaged_is_one_field_that_is_skipped(tmp_path: Path, zarr: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 70, 80)).astype(np.uint16)
    axes = [{"name": one, "type": "space", "unit": "micrometer"} for one in "zyx"]
    scale = {"type": "scale", "scale": [0.5, 0.1, 0.1]}
    plate = tmp_path / "plate.zarr"
    said: dict[Path, dict[str, Any]] = {
        plate: {"plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}, {"path": "A/3"}]}}
    }
    for well in "123":
        said[plate / "A" / well] = {"well": {"images": [{"path": "0"}]}}
        said[plate / "A" / well / "0"] = {
            "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]
        }
        zarr.create_array(str(plate / "A" / well / "0" / "0"), shape=pixels.shape, chunks=(1, 70, 80), dtype="u2")[
            :
        ] = pixels
    for folder, ome in said.items():
        group = {"attributes": {"ome": {"version": "0.5", **ome}}, "zarr_format": 3, "node_type": "group"}
        (folder / "zarr.json").write_text(json.dumps(group), "utf-8")
    (plate / "A" / "2" / "zarr.json").write_text('{"attributes', "utf-8")

    seen = see([tmp_path], ArchiveSettings(), Console(quiet=True))
    assert [one.name for one in seen.stacks] == ["plate.zarr: A/1/0", "plate.zarr: A/2", "plate.zarr: A/3/0"]
    assert [bool(one.fault) for one in seen.stacks] == [False, True, False]
    assert look([tmp_path], ArchiveSettings(), Console(quiet=True)) == Exit.SKIPPED
    archive = find_archive([tmp_path], ArchiveSettings(), tmp_path / "into", Console(quiet=True))
    np.testing.assert_array_equal(read_field(archive.root, archive.fields[2], ArchiveSettings(), {}).pixels[0], pixels)
    with pytest.raises(ImageRefused, match="is damaged"):
        read_field(archive.root, archive.fields[1], ArchiveSettings(), {})
