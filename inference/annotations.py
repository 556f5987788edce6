"""Annotated images and stacks in COCO's JSON.

Ids may start at 0 or 1, and a root category without annotations of its own, as Roboflow writes it, is left out. A stack
is an image with a `stack` map beside COCO's keys; each annotation's `attributes` say more of its object.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from inference.errors import AnnotationError

Attribute = bool | float | str


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A class by its name."""

    id: int
    name: str
    supercategory: str = ""


class StackInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a stack is: where it was taken, its axes CZYX, its scale, and how much in it is known to be junk."""

    slide: int
    field: int
    seed: int
    planes: int
    step_um: float
    pixel_um: float
    polarizations: tuple[str, ...]
    junk: int = 0


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """An image or a stack; `file_name` is relative to the annotation file."""

    id: int
    file_name: str
    width: int
    height: int
    stack: StackInfo | None = None

    @property
    def source(self) -> str:
        """What must not be split between training and evaluation: the slide, or the image before its augmentation."""
        if self.stack is not None:
            return f"seed {self.stack.seed} slide {self.stack.slide}"
        return self.file_name.split(".rf.")[0]


Polygons = tuple[tuple[float, ...], ...]
"""Outlines as COCO has them: x0, y0, x1, y1, ... in px, a part each."""


class RunLengths(msgspec.Struct, frozen=True, kw_only=True):
    """A mask as runs of pixels, as other programs write it."""

    size: tuple[int, int]
    counts: str | tuple[int, ...]


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """A box x, y, width, height in px. With `iscrowd` it neither has to be found nor is false when found."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int = 0
    segmentation: Polygons | RunLengths | None = ()
    attributes: dict[str, Attribute] = {}


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A whole annotation file."""

    images: tuple[Picture, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]

    def of(self, picture: Picture) -> tuple[Annotation, ...]:
        """Give the annotations of one picture."""
        return tuple(a for a in self.annotations if a.image_id == picture.id)


def to_json(dataset: Dataset) -> bytes:
    """COCO JSON of a dataset."""
    return msgspec.json.format(msgspec.json.encode(dataset), indent=1)


def read(path: Path) -> Dataset:
    """Read a COCO file; boxes without area are left out.

    Raises
    ------
    AnnotationError
        There is no such file, it is not COCO, or an annotation names an image or category that it does not hold.
    """
    try:
        dataset = msgspec.json.decode(path.read_bytes(), type=Dataset)
    except FileNotFoundError as error:
        raise AnnotationError(f"annotations {str(path)!r} do not exist; name a COCO file or its folder") from error
    except msgspec.DecodeError as error:
        raise AnnotationError(f"annotations {str(path)!r} are not COCO: {error}") from error
    images = {image.id for image in dataset.images}
    categories = {category.id for category in dataset.categories}
    for a in dataset.annotations:
        if a.image_id not in images or a.category_id not in categories:
            raise AnnotationError(
                f"annotation {a.id} in {str(path)!r} names image {a.image_id} and category {a.category_id}, "
                "of which one is missing; export the file again"
            )
    used = {a.category_id for a in dataset.annotations}
    parents = {category.supercategory for category in dataset.categories}
    return Dataset(
        images=dataset.images,
        annotations=tuple(a for a in dataset.annotations if a.bbox[2] > 0 and a.bbox[3] > 0),
        categories=tuple(c for c in dataset.categories if c.id in used or c.name not in parents),
    )
