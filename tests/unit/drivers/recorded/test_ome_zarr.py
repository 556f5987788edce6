"""OME-Zarr, old and new: images, series and plates; whole or told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.images import holds_stacks, opened, opened_one

zarr = pytest.importorskip("zarr", reason="comes with lamelle[formats]")

TRUTH = np.random.default_rng(0).integers(1, 65536, (2, 2, 3, 32, 48)).astype(np.uint16)
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


@pytest.fixture(autouse=True)
def _threads_of_zarr_end() -> Iterator[None]:
    yield
    zarr.core.sync.cleanup_resources()


def said(folder: Path, version: str, **attributes: Any) -> None:
    """Write what a folder says of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}', "utf-8")
        (folder / ".zattrs").write_text(json.dumps(attributes), "utf-8")
    else:
        ome = {"attributes": {"ome": {"version": "0.5", **attributes}}, "zarr_format": 3, "node_type": "group"}
        (folder / "zarr.json").write_text(json.dumps(ome), "utf-8")


def image(
    folder: Path, version: str, pixels: NDArray[Any] = TRUTH, *, path: str = "0", shards: tuple[int, ...] | None = None
) -> Path:
    axes = AXES[5 - pixels.ndim :]
    scale = [1.0, 1.0, 0.5, 59.0, 59.0][5 - pixels.ndim :]
    old: dict[str, Any] = {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    array = zarr.create_array(
        str(folder / "0"),
        shape=pixels.shape,
        chunks=(*(1,) * (pixels.ndim - 2), 16, 48),
        shards=shards,
        dtype=pixels.dtype,
        **(old if version == "0.4" else {"zarr_format": 3}),
    )
    array[:] = pixels
    transformations = [{"type": "scale", "scale": scale}]
    dataset = {"path": path, "coordinateTransformations": transformations}
    labels = [{"label": name} for name in ("LR", "LL")]
    said(folder, version, multiscales=[{"axes": axes, "datasets": [dataset]}], omero={"channels": labels})
    return folder


@pytest.mark.parametrize(("version", "shards"), [("0.4", None), ("0.5", None), ("0.5", (1, 2, 3, 32, 48))])
def test_points_in_time_of_an_image_are_stacks(tmp_path: Path, version: str, shards: tuple[int, ...] | None) -> None:
    folder = image(tmp_path / "a.zarr", version, shards=shards)
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


def test_an_image_does_not_reach_out_of_its_folder(tmp_path: Path) -> None:
    image(tmp_path / "b.zarr", "0.4")
    folder = image(tmp_path / "a.zarr", "0.4", path="../b.zarr/0")
    with pytest.raises(ImageRefused, match="which lies outside its folder"), opened(folder):
        pass


@pytest.mark.parametrize("odd", [None, [], {}, "x", -1, [{"datasets": []}], [{"axes": [1], "datasets": [{}]}]])
def test_what_says_anything_is_no_traceback(tmp_path: Path, odd: object) -> None:
    folder = image(tmp_path / "a.zarr", "0.5", TRUTH[0])
    said(folder, "0.5", multiscales=odd)
    with pytest.raises(ImageRefused), opened(folder):
        pass
