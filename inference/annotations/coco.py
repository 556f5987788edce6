"""Annotated images and stacks in COCO's JSON.

Ids may start at 0 or 1, and a root category without annotations of its own, as Roboflow writes it, is left out. A stack
is an image with a `stack` map beside COCO's keys; each annotation's `attributes` say more of its object.
"""

from __future__ import annotations

import math

import msgspec

from inference.errors import AnnotationError

NOT_VALIDATED = "_NV"
"""Ends the label of what a detector proposes and nobody has looked at yet."""
Attribute = bool | float | str
Box = tuple[float, float, float, float]
"""x, y, width, height in px."""
ROUNDING_PX = 1.0
"""Boxes stand out of their image by so much where programs count pixels from their corners or their centres."""


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


class AnnotatedImage(msgspec.Struct, frozen=True, kw_only=True):
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
    bbox: Box
    area: float
    iscrowd: int = 0
    segmentation: Polygons | RunLengths | None = ()
    attributes: dict[str, Attribute] = {}


class AnnotationFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole annotation file."""

    images: tuple[AnnotatedImage, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]

    def of(self, picture: AnnotatedImage) -> tuple[Annotation, ...]:
        """Give the annotations of one picture."""
        return tuple(a for a in self.annotations if a.image_id == picture.id)


def to_json(dataset: AnnotationFile) -> bytes:
    """COCO JSON of a dataset."""
    return msgspec.json.format(msgspec.json.encode(dataset), indent=1)


class LoadedAnnotations(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as read, and what in its file could not be taken as it stands, a sentence each."""

    dataset: AnnotationFile
    problems: tuple[str, ...] = ()


def read(json: bytes, name: str) -> LoadedAnnotations:
    """Read COCO's JSON; boxes are clipped to their image, and those without area left out, as `problems` tells.

    Parameters
    ----------
    name
        of the file, for messages.

    Raises
    ------
    AnnotationError
        It is not COCO, holds no image, or an annotation names an image or category that it does not hold.
    """
    try:
        dataset = msgspec.json.decode(json, type=AnnotationFile)
    except msgspec.DecodeError as error:
        raise AnnotationError(f"annotations {name!r} are not COCO ({error}); export them again") from error
    if not dataset.images:
        raise AnnotationError(f"annotations {name!r} hold no image; export them again")
    images = {image.id: image for image in dataset.images}
    categories = {category.id for category in dataset.categories}
    for a in dataset.annotations:
        if a.image_id not in images or a.category_id not in categories:
            raise AnnotationError(
                f"annotation {a.id} in {name!r} names image {a.image_id} and category {a.category_id}, "
                "of which one is missing; export the file again"
            )
    used = {a.category_id for a in dataset.annotations}
    parents = {category.supercategory for category in dataset.categories}
    kept, problems = [], []
    for a in dataset.annotations:
        picture = images[a.image_id]
        box, problem = fit(a.bbox, picture)
        if problem:
            problems.append(f"{name}: annotation {a.id} of {picture.file_name!r} {problem}")
        if box is not None:
            kept.append(msgspec.structs.replace(a, bbox=box))
    categories_used = tuple(c for c in dataset.categories if c.id in used or c.name not in parents)
    return LoadedAnnotations(
        dataset=AnnotationFile(images=dataset.images, annotations=tuple(kept), categories=categories_used),
        problems=tuple(problems),
    )


def fit(box: Box, picture: AnnotatedImage) -> tuple[Box | None, str]:
    """Clip a box x, y, width, height to its picture; None if nothing is left, and what was wrong, empty if nothing."""
    x, y, width, height = box
    if not all(map(math.isfinite, box)) or width <= 0 or height <= 0:
        return None, f"has no area ({_rounded(box)}); left out"
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, picture.width), min(y + height, picture.height)
    if x0 >= x1 or y0 >= y1:
        return None, f"lies outside ({_rounded(box)}); left out"
    if max(x0 - x, y0 - y, x + width - x1, y + height - y1) > ROUNDING_PX:
        return (x0, y0, x1 - x0, y1 - y0), f"lies in part outside ({_rounded(box)}); cut at the edge"
    return box, ""


def set_aside_unvalidated(dataset: AnnotationFile) -> tuple[AnnotationFile, int]:
    """Take what nobody has looked at yet for something that neither has to be found nor is false when found.

    Returns the dataset, its labels without their mark, and how many annotations were set aside.
    """
    unsure = {category.id for category in dataset.categories if category.name.endswith(NOT_VALIDATED)}
    categories = tuple(
        msgspec.structs.replace(category, name=category.name.removesuffix(NOT_VALIDATED))
        for category in dataset.categories
    )
    annotations = tuple(
        msgspec.structs.replace(a, iscrowd=1) if a.category_id in unsure else a for a in dataset.annotations
    )
    aside = sum(a.category_id in unsure for a in annotations)
    return AnnotationFile(images=dataset.images, annotations=annotations, categories=categories), aside


def _rounded(box: Box) -> str:
    return ", ".join(f"{value:.1f}" for value in box)
