"""Writes small OME-Zarr folders, old and new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


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
    folder: Path,
    version: str,
    pixels: NDArray[Any],
    *,
    path: str = "0",
    chunk_px: tuple[int, int] = (16, 48),
    shards: tuple[int, ...] | None = None,
) -> Path:
    """Write an image, its axes the last of TCZYX."""
    import zarr

    axes = AXES[5 - pixels.ndim :]
    scale = [1.0, 1.0, 0.5, 59.0, 59.0][5 - pixels.ndim :]
    old: dict[str, Any] = {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    array = zarr.create_array(
        str(folder / "0"),
        shape=pixels.shape,
        chunks=(*(1,) * (pixels.ndim - 2), *chunk_px),
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
