"""From pictures that people annotated back to the stacks that these are views of, by their names.

What goes through other programs comes back in other folders, flattened into one, with another suffix or a few words
more; the names of slide and field stay.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from inference.annotations.coco import AnnotatedImage, Annotation
from inference.annotations.sources import AnnotationSource, alike, open_sources
from inference.errors import AnnotationError
from inference.wording import counted

_ENDING = re.compile(r"(?:[-_](?:raw|fused))?(?:\.[a-z][a-z0-9]{1,4}|[-_](?:ome|png|jpe?g|tiff?|bmp|webp))*$")
"""What programs put behind a name, and lamelle behind that of a stack that was kept."""
_WORDS = re.compile(r"[^\W_]+")
_VIEW = re.compile(r"slide\W\d+\Wfield\W\d+")
SAME_SHAPE = 0.01
"""Width to height differ by no more in pictures that are the same one, made larger or smaller."""
NAMED = 3
"""Stacks or pictures named in a message."""
Words = tuple[str, ...]
Read = Callable[[], NDArray[np.uint16]]
"""Reads a stack, CZYX."""


class KnownStack(NamedTuple):
    """A stack that a picture may be a view of.

    Attributes
    ----------
    path
        where it lies; a name for people where no single file holds it alone.
    picture
        as lamelle annotates it, with its `stack`; known by the name of both.
    read
        reads it; None where `path` is its file.
    """

    path: Traversable
    picture: AnnotatedImage
    read: Read | None = None


def annotated_stacks(path: Path) -> list[KnownStack]:
    """Find the stacks of annotations that lamelle wrote, as `lamelle emulate export` does.

    Raises
    ------
    AnnotationError
        There are no annotations, or none of a stack.
    """
    found = [
        KnownStack(place, picture)
        for source in open_sources(path)
        for place, picture in source.pictures
        if picture.stack is not None
    ]
    if not found:
        raise AnnotationError(
            f"{str(path)!r} holds no stack that lamelle annotated; name an export of the virtual slide, or a night "
            "that kept fields raw or fused"
        )
    return found


def views_of_stacks(pictures: Sequence[AnnotatedImage]) -> int:
    """Count pictures that are views of stacks, by their names, and say nothing of these."""
    return sum(one.stack is None and _VIEW.search("-".join(_words(one.file_name))) is not None for one in pictures)


class StacksByName:
    """Stacks, found by the names that pictures of them come back with."""

    def __init__(self, stacks: Sequence[KnownStack]) -> None:
        self._stacks = stacks
        self._seen = set[str]()
        self._by_file: defaultdict[Words, list[tuple[Words, KnownStack]]] = defaultdict(list)
        """By the words of a file's name: those of its whole name, and the stack."""
        for one in stacks:
            info = one.picture.stack
            names = {one.picture.file_name, info.file_name if info is not None else ""} - {""}
            for name in names:
                self._by_file[_words(name.rpartition("/")[2])].append((_words(name), one))

    def find(self, picture: AnnotatedImage) -> KnownStack | None:
        """Find the stack of a picture.

        Its name ends as that of the stack or of its view, or is the end of it, the file's name at least.

        Raises
        ------
        AnnotationError
            It may be of several.
        """
        name = _words(picture.file_name)
        found: defaultdict[tuple[bool, int], dict[str, KnownStack]] = defaultdict(dict)
        """What fits, by how well it does."""
        for start in range(len(name)):
            for words, stack in self._by_file.get(name[start:], ()):
                common = _common(name, words)
                if common in (len(name), len(words)):
                    found[name == words, common][str(stack.path)] = stack
        if not found:
            return None
        fitting = list(found[max(found)].values())
        if len(fitting) > 1:
            listed = " or ".join(repr(str(one.path)) for one in fitting[:NAMED])
            raise AnnotationError(
                f"the picture {picture.place!r} may be of {listed}, and nothing says which; keep the names of the "
                "pictures that lamelle made, or give --stacks only the folder that it is of"
            )
        return fitting[0]

    def map(self, source: AnnotationSource) -> AnnotationSource:
        """Put stacks in place of pictures that are none; what has none is left out, as the source's problems tell.

        Raises
        ------
        AnnotationError
            No picture has its stack, one may be of several, or two are of one.
        """
        pictures: list[tuple[Traversable, AnnotatedImage]] = []
        problems: list[str] = []
        enlarged: dict[int, tuple[float, float]] = {}
        of_stack: dict[str, str] = {}
        for path, picture in source.pictures:
            own = KnownStack(path, picture) if picture.stack is not None and path.is_file() else None
            stack = own or self.find(picture)
            if stack is None:
                problems.append(f"{source.name}: {picture.place!r} is of no stack of --stacks; left out")
                continue
            place, (width, height) = str(stack.path), (stack.picture.width, stack.picture.height)
            if place in of_stack:
                raise AnnotationError(
                    f"{source.name!r} annotates the stack {place!r} twice, as {of_stack[place]!r} and as "
                    f"{picture.place!r}; take one of them out"
                )
            of_stack[place] = picture.place
            along, down = width / picture.width, height / picture.height
            if abs(along / down - 1) > SAME_SHAPE:
                size = f"{picture.width} x {picture.height} px, its stack {width} x {height}"
                problems.append(f"{source.name}: {picture.place!r} has {size}: another part of it; left out")
                continue
            if (along, down) != (1, 1):
                enlarged[picture.id] = along, down
            pictures.append((stack.path, replace(picture, width=width, height=height, stack=stack.picture.stack)))
        if not pictures:
            names = ", ".join(repr(picture.place) for _, picture in source.pictures[:NAMED])
            raise AnnotationError(
                f"no picture of {source.name!r} is of a stack of --stacks ({names}); keep the names of the pictures "
                f"that lamelle made, such as {self._stacks[0].picture.file_name!r}"
            )
        if enlarged:
            one, many = "picture has another size than its stack", "pictures have another size than their stacks"
            told = counted(len(enlarged), one, many)
            problems.insert(0, f"{source.name}: {told}; scaled")
        self._seen.update(of_stack)
        kept = {picture.id for _, picture in pictures}
        dataset = replace(
            source.loaded.dataset,
            images=tuple(picture for _, picture in pictures),
            annotations=tuple(
                _scaled(one, *enlarged[one.image_id]) if one.image_id in enlarged else one
                for one in source.loaded.dataset.annotations
                if one.image_id in kept
            ),
        )
        loaded = replace(source.loaded, dataset=dataset, problems=(*problems, *source.loaded.problems))
        return source._replace(loaded=loaded, pictures=tuple(pictures))

    def left(self) -> list[str]:
        """Tell how many stacks no picture was of, a sentence at most."""
        unseen = [one.picture.place for one in self._stacks if str(one.path) not in self._seen]
        if not unseen:
            return []
        count = f"{len(unseen)} of {counted(len(self._stacks), 'stack')}"
        have, looked = ("has", "it is") if len(unseen) == 1 else ("have", "they are")
        return [f"{count} {have} no picture here, such as {unseen[0]!r}; {looked} not looked at"]


def _words(name: str) -> Words:
    """Give the words of a picture's name, without its ending."""
    plain = alike(name).split(".rf.")[0]
    *above, last = plain.split("/")
    return tuple(word for part in (*above, _ENDING.sub("", last)) for word in _WORDS.findall(part))


def _common(one: Words, other: Words) -> int:
    """Count the words that both end with."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _scaled(annotation: Annotation, along: float, down: float) -> Annotation:
    x, y, width, height = annotation.bbox
    bbox = x * along, y * down, width * along, height * down
    return replace(annotation, bbox=bbox, area=annotation.area * along * down, segmentation=())
