"""Annotated images and stacks, as COCO has them and lamelle writes them.

A stack is an image with a `stack` map beside COCO's keys; each annotation's `attributes` say more of its object.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from inference.annotations.foreign import OddValue, finite, relative_name, shown, size_px
from inference.annotations.outlines import Box
from inference.errors import AnnotationError

NOT_VALIDATED = "_NV"
"""Ends the label of what a detector proposes and nobody has looked at yet."""
Attribute = bool | float | str
ROUNDING_PX = 1.0
"""Boxes stand out of their image by so much where programs count pixels from their corners or their centres."""
PERCENT, PERCENT_REACHED = 100.0, 75.0
"""Where boxes in percent of their picture end, and what the furthest of them come to along each side."""
BY_CHANCE = 1e-9
"""Boxes in px, anywhere in their pictures, lie with less than this probability all in the first 100 px."""
WELL_BEYOND_PX = 250
"""Pictures of at least this many px a side tell px from percent: in smaller ones objects lie in the middle, within the
first 100 px, as in crops of single objects."""


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A class by its name."""

    id: int
    name: str
    supercategory: str = ""


class StackInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a stack is: where it was taken, its axes CZYX, its scale, and how much in it is known to be junk.

    Attributes
    ----------
    file_name
        of the stack, relative to the folder of its annotations, where the picture that is annotated is a view of it;
        empty where the picture is the stack.
    """

    slide: int
    field: int
    seed: int
    planes: int
    step_um: float
    pixel_um: float
    polarizations: tuple[str, ...]
    junk: int = 0
    file_name: str = ""


class AnnotatedImage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image or a stack; `file_name` is relative to the folder of its annotations, or of its subset there.

    Attributes
    ----------
    subset
        what people sorted it into, such as `Train`; empty where nothing says.
    """

    id: int
    file_name: str
    width: int
    height: int
    stack: StackInfo | None = None
    subset: str = ""

    @property
    def place(self) -> str:
        """Name among all pictures of its annotations."""
        return f"{self.subset}/{self.file_name}" if self.subset else self.file_name

    @property
    def source(self) -> str:
        """What must not be split between training and evaluation: the slide, or the image before its augmentation."""
        if self.stack is not None:
            return f"seed {self.stack.seed} slide {self.stack.slide}"
        # Copies of one image that were sorted into several subsets are of one source still.
        return self.file_name.split(".rf.")[0] if ".rf." in self.file_name else self.place


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

    @property
    def plane(self) -> float | None:
        """Where in its stack the object lies, fractional, if anybody said it."""
        return finite(self.attributes.get("plane"))


class AnnotationFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole annotation file."""

    images: tuple[AnnotatedImage, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]

    def by_picture(self) -> dict[int, tuple[Annotation, ...]]:
        """Give the annotations of every picture, by its id."""
        found: dict[int, list[Annotation]] = {picture.id: [] for picture in self.images}
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return {key: tuple(those) for key, those in found.items()}


def to_json(dataset: AnnotationFile) -> bytes:
    """COCO JSON of a dataset."""
    return msgspec.json.format(msgspec.json.encode(dataset), indent=1)


class LoadedAnnotations(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as read, and what in its file could not be taken as it stands, a sentence each."""

    dataset: AnnotationFile
    problems: tuple[str, ...] = ()


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


def read_picture(file_name: object, given: Mapping[str, object], file: str) -> AnnotatedImage:
    """Read what programs say of a picture: its name, its size and its subset; without an id.

    Parameters
    ----------
    given
        its `width`, `height` and `subset`.
    file
        that says it, for messages.

    Raises
    ------
    OddValue
        It has no name or no size.
    AnnotationError
        A name leads out of its folder.
    """
    name, subset = relative_name(file_name, file), given.get("subset")
    width, height = size_px(given.get("width")), size_px(given.get("height"))
    if width is None or height is None:
        raise OddValue(f"({name}) has no size ({shown(given.get('width'))} x {shown(given.get('height'))})")
    folder = relative_name(subset, file) if subset and isinstance(subset, str) else ""
    return AnnotatedImage(id=0, file_name=name, subset=folder, width=width, height=height)


def refuse_same_names(pictures: Iterable[AnnotatedImage], name: str) -> None:
    """Refuse two pictures of one name.

    Raises
    ------
    AnnotationError
        With that name.
    """
    [(place, times)] = Counter(picture.place for picture in pictures).most_common(1) or [("", 0)]
    if times > 1:
        raise AnnotationError(
            f"{name!r} names the picture {place!r} {times} times, and nothing says which is which; give each a name "
            "of its own, or keep the exports in files of their own"
        )


def refuse_shares(dataset: AnnotationFile, name: str) -> None:
    """Refuse boxes that are shares of their picture, from 0 to 1 or in percent, and not in px.

    A few boxes in percent may be boxes in px in a corner of their picture, and are taken for that.

    Raises
    ------
    AnnotationError
        All boxes of the file are such.
    """
    boxes = [a.bbox for a in dataset.annotations]
    furthest = max(_reach(boxes))
    if boxes and furthest <= 1:
        raise AnnotationError(
            f"all boxes of {name!r} lie in the first pixel of their pictures, as where they are shares of these; "
            "write them in px"
        )
    areas = {
        p.id: PERCENT / p.width * PERCENT / p.height for p in dataset.images if min(p.width, p.height) >= WELL_BEYOND_PX
    }
    telling = [a for a in dataset.annotations if a.image_id in areas]
    to_the_end = min(_reach([a.bbox for a in telling])) > PERCENT_REACHED and furthest <= PERCENT + ROUNDING_PX
    if to_the_end and math.prod(areas[a.image_id] for a in telling) < BY_CHANCE:
        raise AnnotationError(
            f"all {len(boxes)} boxes of {name!r} lie in the first {PERCENT:.0f} px of their pictures, as where they "
            "are in percent of these; write them in px, or export them anew as COCO or CVAT for images 1.1"
        )


def _reach(boxes: Sequence[Box]) -> tuple[float, float]:
    """How far boxes reach to the right and to the bottom."""
    right = max((x + width for x, _, width, _ in boxes), default=0)
    return right, max((y + height for _, y, _, height in boxes), default=0)


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
