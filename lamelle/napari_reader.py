"""What napari shows of a field, and of a whole night: objects where they lay, at their scale, with their names.

Found by napari through `napari.yaml` where both are installed; it imports nothing of napari. Everything lies in the
coordinates of the stage, in um, so that what is opened together fits together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.dataset.field_file import FieldFile, FieldProvenance, Pixels, read_field_file
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, Selection
from daemon.figures.choice import ChosenObjects, ObjectChoice, choose_objects
from daemon.records.names import CATALOG
from daemon.records.records import ObjectRow
from daemon.system.errors import DamagedFile

Layer = tuple[Any, ...]
"""What is shown, how, and as what."""
Reader = Callable[[str | Sequence[str]], list[Layer]]
NOTHING: Layer = (None,)
"""By which napari knows that what was read has nothing to show."""
ENDING = ".ome.tif"
_COLOURS = {"crossed": "bop orange", "parallel": "gray"}
_BLACK_WHITE = (0.5, 99.8)
"""Percentiles of what is shown."""
_LETTERS, _LINE_PX = 9, 4


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Give what reads a path, or several; None where one is neither a field's file nor a dataset of lamelle.

    Parameters
    ----------
    path
        a field's OME-TIFF, a single object's, a kept stack; a dataset, its catalog, or a run folder.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_is_ours(Path(one)) for one in paths) else None


def read(path: str | Sequence[str]) -> list[Layer]:
    """Read layers of napari.

    Raises
    ------
    LamelleError
        A file is damaged.
    """
    layers: list[Layer] = []
    for one in [Path(path)] if isinstance(path, str) else map(Path, path):
        layers += _field(one) if one.name.endswith(ENDING) else _night(_folder(one))
    return layers or [NOTHING]


def _folder(path: Path) -> Path:
    return path.parent if path.name == CATALOG else path


def _is_ours(path: Path) -> bool:
    if not path.name.endswith(ENDING):
        return Dataset.find(_folder(path)) is not None
    try:
        read_field_file(path).close()
    except (DamagedFile, OSError):
        return False
    return True


def _field(path: Path) -> list[Layer]:
    """Give a layer a polarization, with the stacks of objects where they lay in the frame, and one of their names."""
    with read_field_file(path) as file:
        at = file.provenance
        if not file.objects:
            whole = _whole(file)
            return [] if whole is None else _images(at, whole, (0, 0), "stack")
        corner, pixels = _together(file)
        title = f"slide {at.slide} field {at.field}"
        return [*_images(at, pixels, corner, title), _boxes(path, at, file.objects, title)]


def _whole(file: FieldFile) -> Pixels | None:
    """Read the whole stack of a file that holds one; None of a field in which nothing was found."""
    try:
        return file.stack()
    except DamagedFile:
        if file.provenance.file_name() == f"{file.path.parent.name}/{file.path.name}":
            return None
        raise


def _together(file: FieldFile) -> tuple[tuple[int, int], Pixels]:
    """Put the crops into one stack (CZYX) as large as all of them reach, black between; x and y of its corner."""
    boxes = np.array([row.crop_box for row in file.objects])
    x0, y0 = boxes[:, 0].min(), boxes[:, 1].min()
    x1, y1 = boxes[:, 2].max(), boxes[:, 3].max()
    stack = np.zeros((*file.provenance.shape_czyx[:2], y1 - y0, x1 - x0), np.uint16)
    for row in file.objects:
        left, top, right, bottom = row.crop_box
        stack[:, :, top - y0 : bottom - y0, left - x0 : right - x0] = file.crop(row)
    return (int(x0), int(y0)), stack


def _images(at: FieldProvenance, stack: Pixels, corner: tuple[int, int], title: str) -> list[Layer]:
    y_um, x_um = _stage(at, np.array([[corner[1], corner[0]]], float))[0]
    layers: list[Layer] = []
    for pixels, state in zip(stack, at.polarizations, strict=True):
        seen = pixels[pixels > 0] if pixels.any() else pixels
        low, high = (float(value) for value in np.percentile(seen, _BLACK_WHITE))
        shown = {
            "name": f"{title} {state}",
            "scale": (at.step_um, at.pixel_um, at.pixel_um),
            "translate": (at.first_z_um, y_um, x_um),
            "units": ("um", "um", "um"),
            "contrast_limits": (low, max(high, low + 1)),
            "colormap": _COLOURS.get(state, "gray"),
            "blending": "additive",
        }
        layers.append((pixels, shown, "image"))
    return layers


def _boxes(path: Path, at: FieldProvenance, rows: Sequence[ObjectRow], title: str) -> Layer:
    corners = [
        _stage(at, np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], float))
        for x0, y0, x1, y1 in (row.box for row in rows)
    ]
    names = _names(path, at.slide, rows)
    features = {
        "name": names,
        "class": [row.class_name for row in rows],
        "score": [row.score for row in rows],
        "number": [row.number for row in rows],
        "counted": [row.counted for row in rows],
        "length_um": [np.nan if row.length_um is None else row.length_um for row in rows],
    }
    shown = {
        "name": f"{title} objects",
        "shape_type": "rectangle",
        "features": features,
        "face_color": "transparent",
        "edge_color": "yellow",
        "edge_width": _LINE_PX * at.pixel_um,
        "units": ("um", "um"),
        "text": {
            "string": "{number} {name} {score:.2f}",
            "size": _LETTERS,
            "color": "yellow",
            "anchor": "upper_left",
        },
    }
    return corners, shown, "shapes"


def _names(path: Path, slide: int, rows: Sequence[ObjectRow]) -> list[str]:
    """Name objects as they are named last where the file lies in its dataset; else as the file does."""
    folder = path.parent.parent
    last: dict[int, str] = {}
    if (folder / CATALOG).exists():
        with Dataset.open(folder) as dataset, dataset.unchanging():
            selection = Selection(frozenset({slide}), below_threshold=True, other_tiles=True)
            found = choose_objects(dataset, ObjectChoice(selection))
        last = {one.row.number: _called(found, one) for one in found.objects if one.path.resolve() == path.resolve()}
    return [last.get(row.number) or row.taxon or row.class_name for row in rows]


def _called(found: ChosenObjects, one: Chosen) -> str:
    return one.row.class_name if one.row.taxon is None else found.name_of(one)


def _stage(at: FieldProvenance, yx_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Say where pixels of the frame lie on the stage, um, (N, 2), y first."""
    height, width = at.shape_czyx[2:]
    return np.asarray((yx_px - (height / 2, width / 2)) * at.pixel_um + (at.y_um, at.x_um))


def _night(folder: Path) -> list[Layer]:
    """Give the fields of a night, and its objects that count, on the stage."""
    from daemon.report.gather import gather

    with Dataset.open(folder) as dataset, dataset.unchanging():
        numbers, _ = gather(dataset)
        found = choose_objects(dataset, ObjectChoice())
    fields = [one for one in numbers.fields if np.isfinite(one.x_um)]
    frames = {
        "name": f"{numbers.started.night} fields",
        "symbol": "square",
        "size": max(numbers.frame_um),
        "face_color": "transparent",
        "border_color": "gray",
        "border_width": 0.01,
        "units": ("um", "um"),
        "features": {
            "slide": [one.slide for one in fields],
            "field": [one.field for one in fields],
            "state": [one.state for one in fields],
            "objects": [one.objects for one in fields],
        },
    }
    objects = found.objects
    points = {
        "name": f"{numbers.started.night} objects",
        "size": 5.0,
        "border_width": 0,
        "face_color": "class",
        "units": ("um", "um"),
        "features": {
            "name": [_called(found, one) for one in objects],
            "class": [one.row.class_name for one in objects],
            "score": [one.row.score for one in objects],
            "slide": [one.slide for one in objects],
            "field": [one.field for one in objects],
            "number": [one.row.number for one in objects],
            "length_um": [np.nan if one.row.length_um is None else one.row.length_um for one in objects],
        },
    }
    places = np.array([(one.row.y_um, one.row.x_um) for one in objects], float).reshape(-1, 2)
    return [
        (np.array([(one.y_um, one.x_um) for one in fields], float).reshape(-1, 2), frames, "points"),
        (places, points, "points"),
    ]
