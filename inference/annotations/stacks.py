"""Annotated stacks: found, read, and turned into the views that the network will see at work."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.images import opened
from inference.annotations.coco import AnnotatedImage, Annotation, set_aside_unvalidated
from inference.annotations.known_stacks import KnownStack, Read, StacksByName, views_of_stacks
from inference.annotations.outlines import Box
from inference.annotations.sources import open_sources, read_content, unnamed
from inference.errors import AnnotationError
from inference.settings import FocusSettings
from inference.views import channels
from inference.views.channels import ENERGY_BINNING, Floats, Planes, Scale
from inference.views.sharpness import best_plane, box_sharpness
from inference.wording import counted

NOT_JUDGED = -1
"""Label of what may be found or not: no class is learnt from it, and not that it is background."""
IMAGE_PIXEL_UM = channels.NETWORK_PIXEL_UM
"""Assumed of annotated images that are no stacks and name no scale."""

PIXEL_BYTES, PICTURE_BYTES = 64, 1 << 24
"""A file of a picture is no larger than so many bytes a pixel, and so many besides."""
SMALLEST_PX, LARGEST_PX = 8, 8192
"""Side of a picture: below there is nothing to find, above no memory to find it in."""


@dataclass(frozen=True)
class AnnotatedStack:
    """A picture with its annotations, and where it lies; `read` reads it where no file there holds it alone."""

    path: Traversable
    picture: AnnotatedImage
    annotations: tuple[Annotation, ...]
    class_names: dict[int, str]
    read: Read | None = None

    @property
    def pixel_um(self) -> float:
        """Size of a pixel on the sample."""
        return IMAGE_PIXEL_UM if self.picture.stack is None else self.picture.stack.pixel_um

    @property
    def polarizations(self) -> tuple[str, ...]:
        """Names of the states along C; an image that is no stack is taken as bright field."""
        return ("parallel",) if self.picture.stack is None else self.picture.stack.polarizations


@dataclass(frozen=True)
class Views:
    """One field: its views, and what is in each.

    Attributes
    ----------
    images
        float16 (F + Z, 3, h, w), a memory map; fused views first, that of all planes before the others, then the
        planes.
    fused
        F, how many of the images are fused.
    boxes
        float32 (N, 4) x0, y0, x1, y1 in px of the images.
    labels
        (F + Z, N) counted from 1 where an object is to be found in an image, 0 where it is too far out of focus,
        `NOT_JUDGED` in between, and wherever it has not to be found.
    """

    images: NDArray[np.float16]
    fused: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


class Annotated(NamedTuple):
    """What some sources hold.

    Attributes
    ----------
    problems
        what in their files could not be taken as it stands, a sentence each: first what is true of many.
    sources
        name and sha256 of each file of annotations.
    """

    stacks: list[AnnotatedStack]
    problems: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]


def find_stacks(
    data: Sequence[Path],
    classes: Sequence[str],
    one_class: bool = False,
    only_annotated: bool = False,
    stacks: Sequence[KnownStack] = (),
) -> Annotated:
    """Read every picture of some folders, zips or files of annotations.

    Parameters
    ----------
    one_class
        take all labels as the only class of `classes`.
    only_annotated
        leave out pictures without a box, instead of taking them for empty.
    stacks
        what the pictures are views of; without any, pictures are taken for themselves.

    Raises
    ------
    AnnotationError
        A place has no annotations, they cannot be read, they name a class that is not asked for, which stack a picture
        is of cannot be told, or two of them annotate one file.
    """
    annotated: list[AnnotatedStack] = []
    problems: list[str] = []
    place_of: dict[str, Path] = {}
    by_name = StacksByName(stacks)
    readers = {str(one.path): one.read for one in stacks}
    opened_ones = [(place, source) for place in data for source in open_sources(place)]
    if beside := unnamed([source for _, source in opened_ones]):
        what = counted(len(beside), "picture that lies there is", "pictures that lie there are")
        problems.append(f"{what} not looked at, as in none of these annotations, such as {str(beside[0])!r}")
    sources = [(place, by_name.map(source) if stacks else source) for place, source in opened_ones]
    for place, source in sources:
        dataset, unvalidated = set_aside_unvalidated(source.loaded.dataset)
        names = {category.id: classes[0] if one_class else category.name for category in dataset.categories}
        # Labels that a project has and nobody drew here are no classes of these annotations.
        unknown = {names[a.category_id] for a in dataset.annotations} - set(classes)
        if unknown:
            raise AnnotationError(
                f"{str(place)!r} annotates the class {min(unknown)!r}, which is not among {', '.join(classes)}; "
                "name all classes with --class, once for each, or take every label as one with --one-class"
            )
        by_picture = dataset.by_picture()
        found = [
            AnnotatedStack(path, picture, _once(by_picture[picture.id], names), names, readers.get(str(path)))
            for path, picture in source.pictures
        ]
        if again := sum(len(by_picture[one.picture.id]) - len(one.annotations) for one in found):
            what = counted(again, "box is there twice, and is", "boxes are there twice, and are")
            problems.append(f"{source.name}: {what} taken once")
        for file in [str(stack.path) for stack in found]:
            if file in place_of:
                raise AnnotationError(
                    f"{file!r} is annotated twice, in {str(place_of[file])!r} and in {str(place)!r}; leave one of "
                    "them out"
                )
            place_of[file] = place
        problems += _told(source.name, found, unvalidated, only_annotated)
        annotated += [stack for stack in found if stack.annotations or not only_annotated]
    if only_annotated and not annotated:
        named = ", ".join(repr(source.name) for _, source in sources)
        raise AnnotationError(f"no picture of {named} has a box, and those without are left out; draw some")
    problems += by_name.left()
    problems += [problem for _, source in sources for problem in source.loaded.problems]
    return Annotated(annotated, tuple(problems), tuple((source.name, source.sha256) for _, source in sources))


def _once(annotations: Sequence[Annotation], names: Mapping[int, str]) -> tuple[Annotation, ...]:
    """Take the annotations of a picture that are the same once."""
    first: dict[object, Annotation] = {}
    for one in annotations:
        first.setdefault((names[one.category_id], one.bbox, one.plane, one.iscrowd), one)
    return tuple(first.values())


def _told(source: str, found: Sequence[AnnotatedStack], unvalidated: int, only_annotated: bool) -> Iterator[str]:
    """Say what is true of many pictures or boxes of a source."""
    if unvalidated:
        what = counted(
            unvalidated,
            "box is not validated, as its label ends in _NV; nothing is learnt or judged by it",
            "boxes are not validated, as their labels end in _NV; nothing is learnt or judged by them",
        )
        yield f"{source}: {what}"
    if empty := sum(not stack.annotations for stack in found):
        have = "has no box and is" if empty == 1 else "have no box and are"
        taken = "left out" if only_annotated else "taken as empty; --only-annotated leaves them out"
        yield f"{source}: {empty} of {counted(len(found), 'picture')} {have} {taken}"
    if views := views_of_stacks([stack.picture for stack in found]):
        what = counted(
            views,
            "picture is named as a view of a stack, and taken for a single picture",
            "pictures are named as views of stacks, and taken for single pictures",
        )
        yield f"{source}: {what}; --stacks leads to the stacks"


def read_stack(annotated: AnnotatedStack) -> NDArray[np.uint16]:
    """Read an annotated stack, CZYX; an image becomes a stack of one plane.

    Raises
    ------
    AnnotationError
        The file is missing, no picture, not whole, or of another shape than annotated.
    """
    info, picture = annotated.picture.stack, annotated.picture
    if annotated.read is not None:
        return annotated.read()
    if not annotated.path.is_file():
        remedy = (
            "export it with its pictures, or lead to its stack with --stacks"
            if info is None
            else "name the folder that it lies in (--stacks, --images)"
        )
        raise AnnotationError(f"{str(annotated.path)!r} is annotated but does not exist; {remedy}")
    if min(picture.height, picture.width) < SMALLEST_PX or max(picture.height, picture.width) > LARGEST_PX:
        raise AnnotationError(
            f"{str(annotated.path)!r} has {picture.width} x {picture.height} px; give pictures of {SMALLEST_PX} to "
            f"{LARGEST_PX} px, larger ones cut into tiles"
        )
    states, planes = (1, 1) if info is None else (len(info.polarizations), info.planes)
    shape = states, planes, picture.height, picture.width
    try:
        with opened(_source(annotated.path, math.prod(shape))) as stacks:
            found = {math.prod(stack.header.shape_czyx[:2]) for stack in stacks}
            if len(stacks) != 1 or (info is None and found != {1}):
                raise AnnotationError(
                    f"{str(annotated.path)!r} has {len(stacks) * max(found, default=0)} pages, the annotations know "
                    f"{states * planes}; annotate single pictures, or say in the annotations what stack it is"
                )
            if stacks[0].header.shape_czyx != shape:
                raise AnnotationError(
                    f"{str(annotated.path)!r} has the shape {stacks[0].header.shape_czyx}, not {shape} as annotated "
                    "(CZYX); export it again"
                )
            return stacks[0].read()
    except (ImageRefused, OSError) as error:
        raise AnnotationError(f"{str(annotated.path)!r} cannot be read: {error}") from error


def _source(path: Traversable, pixels: int) -> Path | io.BytesIO:
    """Give a file, or the bytes of what lies in a zip, no more of them than so many pixels need."""
    return path if isinstance(path, Path) else io.BytesIO(read_content(path, PICTURE_BYTES + PIXEL_BYTES * pixels))


def prepare(
    items: Sequence[AnnotatedStack],
    classes: Sequence[str],
    focus: FocusSettings,
    depth_um: float,
    cache: Path,
    report: Callable[[int, int], None],
) -> list[Views]:
    """Compute the views of every stack once, into `.npy` files below `cache`.

    Of a stack all planes are fused, and every second one, as of a coarser stack. An object is to be found in a plane no
    further than `depth_um` from its own, may be found up to twice as far, and is in a fused view what it is in the best
    plane that is fused there. Where nobody said its plane, its own is the one in which its box is sharpest. Of what is
    annotated though its own plane lies beyond the stack, the last plane counts as its own: so much of it can be seen
    there.
    """
    fields = []
    for number, annotated in enumerate(items):
        scale = Scale.of(annotated.pixel_um, focus.sigma_um)
        path = cache / f"{number}.npy"
        stack = read_stack(annotated)
        fusions = _fusions(stack.shape[1], number)
        planes = Planes.of(stack, scale)
        sharpness = planes.sharpness()
        np.save(path, _views(planes, sharpness, annotated.polarizations, fusions))
        images = np.load(path, mmap_mode="r")
        boxes = np.array([a.bbox for a in annotated.annotations], np.float32).reshape(-1, 4) / np.float32(scale.binning)
        boxes[:, 2:] += boxes[:, :2]
        own = own_planes(annotated.annotations, sharpness, scale)
        labels = _labels(annotated, classes, [*fusions, *([z] for z in range(stack.shape[1]))], own, depth_um)
        fields.append(Views(images, len(fusions), boxes, labels))
        report(number + 1, len(items))
    return fields


def _fusions(planes: int, number: int) -> list[list[int]]:
    """Which planes are fused: all of them, and every second one of a stack, the even or the odd ones."""
    return [list(range(planes))] + ([list(range(number % 2, planes, 2))] if planes > 1 else [])


def own_planes(annotations: Sequence[Annotation], sharpness: Floats, scale: Scale) -> list[float]:
    """Give the plane of each object, fractional: as it was said, else that in which its box is sharpest.

    Parameters
    ----------
    sharpness
        of every plane, as `Planes` gives it at this scale.
    """
    return [_sharpest(one.bbox, sharpness, scale) if one.plane is None else one.plane for one in annotations]


def _sharpest(bbox: Box, sharpness: Floats, scale: Scale) -> float:
    x, y, width, height = bbox
    box = math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
    return best_plane(box_sharpness(sharpness, box, scale.binning * ENERGY_BINNING))[0]


def _views(
    planes: Planes, sharpness: Floats, polarizations: tuple[str, ...], fusions: Sequence[Sequence[int]]
) -> NDArray[np.float16]:
    views = []
    for fused in fusions:
        sharpest = channels.sharpest_plane(sharpness[fused])
        index = channels.plane_index(sharpest, *planes.roots.shape[2:])
        roots = channels.fused_roots(planes.roots[:, fused], index)
        views.append(channels.fused_input(roots, sharpness[fused], sharpest, polarizations))
    views += [channels.plane_input(planes.roots, sharpness, z, polarizations) for z in range(len(sharpness))]
    return np.stack(views).astype(np.float16)


def _labels(
    annotated: AnnotatedStack,
    classes: Sequence[str],
    planes_of_view: Sequence[Sequence[int]],
    own_planes: Sequence[float],
    depth_um: float,
) -> NDArray[np.int64]:
    known = annotated.annotations
    classed = [1 + classes.index(annotated.class_names[a.category_id]) for a in known]
    label = np.where([bool(a.iscrowd) for a in known], NOT_JUDGED, np.array(classed, np.int64))
    info = annotated.picture.stack
    if info is None:
        return np.tile(label, (len(planes_of_view), 1))
    true = np.clip(own_planes, 0, info.planes - 1)
    away = [np.abs(np.array(planes)[:, None] - true).min(axis=0) for planes in planes_of_view]
    away_um = np.array(away) * info.step_um
    return np.where(away_um <= depth_um, label, np.where(away_um <= 2 * depth_um, NOT_JUDGED, 0)).astype(np.int64)
