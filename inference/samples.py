"""Annotated stacks as the network is trained on them: views of the same channels that it will see at work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from inference import channels
from inference.annotations import Annotation, Dataset, Picture, read
from inference.channels import Planes, Scale
from inference.errors import AnnotationError
from inference.settings import FocusSettings

COCO_FILES = ("coco.json", "_annotations.coco.json")
IMAGE_PIXEL_UM = channels.NETWORK_PIXEL_UM
"""Assumed of annotated images that are no stacks and name no scale."""


@dataclass(frozen=True)
class Sample:
    """One field: its views, and what is in each.

    Attributes
    ----------
    views : float16 (1 + Z, 3, h, w), a memory map; the fused view first, then the planes.
    boxes : float32 (N, 4) x0, y0, x1, y1 in px of the views. labels : (N,) counted from 1.
    in_focus : bool (1 + Z, N), whether an object is to be found in a view.
    """

    views: NDArray[np.float16]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    in_focus: NDArray[np.bool_]


@dataclass(frozen=True)
class Entry:
    """A picture with its annotations, and where it lies."""

    path: Path
    picture: Picture
    annotations: tuple[Annotation, ...]
    class_names: dict[int, str]

    @property
    def pixel_um(self) -> float:
        """Size of a pixel on the sample."""
        return IMAGE_PIXEL_UM if self.picture.stack is None else self.picture.stack.pixel_um

    @property
    def polarizations(self) -> tuple[str, ...]:
        """Names of the states along C; an image that is no stack is taken as bright field."""
        return ("parallel",) if self.picture.stack is None else self.picture.stack.polarizations


def entries(data: Sequence[Path], classes: Sequence[str]) -> list[Entry]:
    """Read every picture of some folders, each with a COCO file.

    Raises
    ------
    AnnotationError
        A folder has no COCO file, or annotates a class that is not asked for.
    """
    found: list[Entry] = []
    for folder in data:
        dataset = _read_folder(folder)
        names = {category.id: category.name for category in dataset.categories}
        unknown = set(names.values()) - set(classes)
        if unknown:
            raise AnnotationError(
                f"{str(folder)!r} annotates the class {min(unknown)!r}, which is not among {', '.join(classes)}; "
                "add it to detector.classes"
            )
        found += [Entry(folder / p.file_name, p, dataset.of(p), names) for p in dataset.images]
    return found


def _read_folder(folder: Path) -> Dataset:
    for name in COCO_FILES:
        if (folder / name).is_file():
            return read(folder / name)
    raise AnnotationError(f"{str(folder)!r} holds no {' or '.join(COCO_FILES)}; export annotated fields into it")


def read_stack(entry: Entry) -> NDArray[np.uint16]:
    """Read the stack of an entry, CZYX; an image becomes a stack of one plane.

    Raises
    ------
    AnnotationError
        The file is missing or of another shape than the annotations say.
    """
    info = entry.picture.stack
    if not entry.path.is_file():
        raise AnnotationError(f"{str(entry.path)!r} is annotated but does not exist; export it again")
    if info is None:
        image = cv2.imread(str(entry.path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        if image is None:
            raise AnnotationError(f"{str(entry.path)!r} is no image; name PNG, JPEG or TIFF files")
        return image.astype(np.uint16)[None, None]
    pixels = tifffile.imread(entry.path)
    shape = (len(info.polarizations), info.planes, entry.picture.height, entry.picture.width)
    if pixels.size != np.prod(shape):
        raise AnnotationError(f"{str(entry.path)!r} has the shape {pixels.shape}, not {shape} as annotated")
    return np.asarray(pixels.reshape(shape), np.uint16)


def prepare(
    items: Sequence[Entry],
    classes: Sequence[str],
    focus: FocusSettings,
    depth_um: float,
    cache: Path,
    report: Callable[[int, int], None],
) -> list[Sample]:
    """Compute the views of every entry once, into `.npy` files below `cache`.

    An object is to be found in a plane no further than `depth_um` from its own, in the fused view if any plane is.
    """
    samples = []
    for number, entry in enumerate(items):
        scale = Scale.of(entry.pixel_um, focus.sigma_um)
        path = cache / f"{number}.npy"
        np.save(path, _views(read_stack(entry), entry.polarizations, scale))
        views = np.load(path, mmap_mode="r")
        real = [a for a in entry.annotations if not a.iscrowd]
        boxes = np.array([a.bbox for a in real], np.float32).reshape(-1, 4) / np.float32(scale.binning)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([1 + classes.index(entry.class_names[a.category_id]) for a in real], np.int64)
        samples.append(Sample(views, boxes, labels, _in_focus(entry, real, len(views) - 1, depth_um)))
        report(number + 1, len(items))
    return samples


def _views(stack: NDArray[np.uint16], polarizations: tuple[str, ...], scale: Scale) -> NDArray[np.float16]:
    count, depth, height, width = stack.shape
    planes = Planes(count, depth, height, width, scale)
    for c, z in np.ndindex(stack.shape[:2]):
        planes.add(stack[c, z], c, z)
    sharpness = planes.sharpness()
    views = [channels.fused_input(planes, sharpness, channels.sharpest_plane(sharpness), polarizations)]
    views += [channels.plane_input(planes, sharpness, z, polarizations) for z in range(stack.shape[1])]
    return np.stack(views).astype(np.float16)


def _in_focus(entry: Entry, real: Sequence[Annotation], planes: int, depth_um: float) -> NDArray[np.bool_]:
    info = entry.picture.stack
    if info is None:
        return np.ones((1 + planes, len(real)), bool)
    true = np.array([float(a.attributes["plane"]) for a in real])
    near = np.abs(np.arange(planes)[:, None] - true) * info.step_um <= depth_um
    return np.concatenate([near.any(axis=0, keepdims=True), near])
