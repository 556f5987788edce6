"""Writes what Micro-Manager writes: image stack files, and folders of single images; from its public descriptions."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

Positions = dict[str, NDArray[np.uint16]]
"""Name of a position, and its stack CZYX."""
STEP_UM = 0.5
FIRST_UM = -1.0


def write_stacks(
    folder: Path,
    positions: Positions,
    *,
    channels: Sequence[str] = ("LR", "LL"),
    one_file: bool = False,
    ended: bool = True,
    planes_a_file: int = 10_000,
    planes_kept: int = 10_000,
) -> list[Path]:
    """Write image stack files, as multi-page TIFF; a file a position, unless `one_file`.

    Parameters
    ----------
    ended
        with the index at the end of the file.
    planes_a_file
        after which the recording goes on in a further file.
    planes_kept
        of each file; it is cut off in the middle of the next one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = _summary(positions, channels) | {
        "MicroManagerVersion": "2.0.3",
        "Prefix": "night",
        "StagePositions": [{"Label": name} for name in positions],
    }
    planes = [
        (position, c, z, stack[c, z])
        for position, stack in enumerate(positions.values())
        for z in range(stack.shape[1])
        for c in range(stack.shape[0])
    ]
    names = list(positions)
    groups = {"night_MMStack": planes} if one_file else {}
    for at, name in enumerate(names):
        if not one_file:
            groups[f"night_MMStack_{name}"] = [plane for plane in planes if plane[0] == at]
    paths = []
    for stem, of_group in groups.items():
        for nth, begin in enumerate(range(0, len(of_group), planes_a_file)):
            path = folder / f"{stem}{f'_{nth}' if nth else ''}.ome.tif"
            content = _stack_file(of_group[begin : begin + planes_a_file], summary, names, ended, planes_kept)
            path.write_bytes(content)
            paths.append(path)
    return paths


def _summary(positions: Positions, channels: Sequence[str]) -> dict[str, object]:
    first = next(iter(positions.values()))
    return {
        "Slices": first.shape[1],
        "Channels": first.shape[0],
        "Frames": 1,
        "Positions": len(positions),
        "ChNames": list(channels),
        "PixelSize_um": 0.059,
        "z-step_um": STEP_UM,
        "BitDepth": 12,
    }


def _metadata(summary: dict[str, object], names: Sequence[str], position: int, c: int, z: int) -> dict[str, object]:
    channels = summary["ChNames"]
    assert isinstance(channels, list)
    return {
        "ChannelIndex": c,
        "Channel": channels[c],
        "SliceIndex": z,
        "FrameIndex": 0,
        "PositionIndex": position,
        "PositionName": names[position],
        "XPositionUm": 100.0 * position,
        "YPositionUm": 7.0,
        "ZPositionUm": FIRST_UM + STEP_UM * z,
        "PixelSizeUm": 0.059,
        "BitDepth": 12,
    }


def _stack_file(
    planes: list[tuple[int, int, int, NDArray[np.uint16]]],
    summary: dict[str, object],
    names: Sequence[str],
    ended: bool,
    kept: int,
) -> bytes:
    text = json.dumps(summary).encode()
    out = bytearray(struct.pack("<2sHI", b"II", 42, 40 + len(text)))
    out += struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(text)) + text
    index, link = [], 0
    for nth, (position, c, z, plane) in enumerate(planes):
        at = len(out)
        height, width = plane.shape
        said = json.dumps(_metadata(summary, names, position, c, z)).encode()
        data = at + 2 + 12 * 10 + 4
        rows = [
            (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, data), (277, 3, 1, 1), (278, 3, 1, height), (279, 4, 1, plane.nbytes),
            (51123, 2, len(said), data + plane.nbytes),
        ]  # fmt: skip
        out += struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows)
        link = len(out)
        out += struct.pack("<I", data + plane.nbytes + len(said)) + plane.astype("<u2").tobytes()
        if nth == kept:
            return bytes(out[: data + plane.nbytes // 2])
        out += said
        index.append((c, z, 0, position, at))
    if ended:
        struct.pack_into("<I", out, link, 0)
        struct.pack_into("<I", out, 12, len(out))
        out += struct.pack("<II", 3453623, len(index)) + b"".join(struct.pack("<5I", *row) for row in index)
    return bytes(out)


def write_images(
    folder: Path, positions: Positions, *, version: int, channels: Sequence[str] = ("LR", "LL"), ended: bool = True
) -> list[Path]:
    """Write a folder of single images for each position, as version 1 (1.4) or 2 does."""
    folders = []
    summary = _summary(positions, channels)
    for position, (name, stack) in enumerate(positions.items()):
        below = folder / name
        below.mkdir(parents=True)
        said: dict[str, object] = {"Summary": summary}
        for z in range(stack.shape[1]):
            for c in range(stack.shape[0]):
                plane = _metadata(summary, list(positions), position, c, z)
                if version == 1:
                    file = f"img_000000000_{channels[c]}_{z:03d}.tif"
                    said[f"FrameKey-0-{c}-{z}"] = plane | {"FileName": file}
                else:
                    file = f"img_channel{c:03d}_position{position:03d}_time000000000_z{z:03d}.tif"
                    key = f"{name}/{file}"
                    said[f"Coords-{key}"] = {"channel": c, "z": z, "time": 0, "position": position}
                    bare = {key: one for key, one in plane.items() if not key.endswith("Index")}
                    said[f"Metadata-{key}"] = bare | {"FileName": key}
                tifffile.imwrite(below / file, stack[c, z], metadata=None)
        text = json.dumps(said, indent=1)
        (below / "metadata.txt").write_text(
            text if ended else text.rstrip().removesuffix("}").rstrip() + ",\n", "utf-8"
        )
        folders.append(below)
    return folders
