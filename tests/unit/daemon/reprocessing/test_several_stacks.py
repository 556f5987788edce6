"""A file of several stacks is several fields, each with its own pixels and the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from rich.console import Console

from daemon.reprocessing.archive import ArchiveSettings, find_archive
from daemon.reprocessing.archive_stacks import read_field
from daemon.system.durable_files import sha256_of
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
