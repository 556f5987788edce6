"""Annotations wherever people keep them: in a folder, a zip or a file, as COCO or as CVAT for images writes them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from inference.annotations import coco as coco
from inference.annotations import cvat
from inference.annotations.coco import AnnotatedImage, LoadedAnnotations
from inference.errors import AnnotationError

FILES = (
    "coco.json",
    "_annotations.coco.json",
    "annotations/instances_default.json",
    "annotations.xml",
)
"""Looked for in a folder or a zip, in this order: COCO as lamelle, Roboflow and CVAT name it, then CVAT's own."""
PICTURES = "images"


class AnnotationSource(NamedTuple):
    """A file of annotations, and where its pictures lie.

    Attributes
    ----------
    name
        of the folder, the zip or the file, without a path.
    sha256
        of the file of annotations.
    """

    name: str
    sha256: str
    loaded: LoadedAnnotations
    root: Traversable

    def path(self, picture: AnnotatedImage) -> Traversable:
        """Where a picture lies; where it should lie if it is missing."""
        return next((place for place in self._places(picture) if place.is_file()), self.root / picture.file_name)

    def _places(self, picture: AnnotatedImage) -> Iterator[Traversable]:
        yield self.root / picture.file_name
        pictures = self.root / PICTURES
        if pictures.is_dir():
            yield pictures / picture.file_name
            yield from (subset / picture.file_name for subset in pictures.iterdir() if subset.is_dir())


def open_source(path: Path) -> AnnotationSource:
    """Read the annotations of a folder, a zip or a file.

    Raises
    ------
    AnnotationError
        Nothing is there, or no annotations, or they cannot be read.
    """
    if path.is_dir():
        return _read(path.name, path, _find(path, path))
    if path.suffix.lower() in (".xml", ".json"):
        return _read(path.name, path.parent, path)
    try:
        root = zipfile.Path(path)
    except FileNotFoundError as error:
        raise AnnotationError(f"annotations {str(path)!r} do not exist; name a folder, a zip or a file") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise AnnotationError(
            f"annotations {str(path)!r} cannot be read ({error}); name a folder, a zip, an XML or a JSON file"
        ) from error
    return _read(path.name, root, _find(root, path))


def _find(root: Traversable, path: Path) -> Traversable:
    for name in FILES:
        if (found := root.joinpath(*name.split("/"))).is_file():
            return found
    raise AnnotationError(f"{str(path)!r} holds no {', '.join(FILES[:-1])} or {FILES[-1]}; export annotations into it")


def _read(name: str, root: Traversable, file: Traversable) -> AnnotationSource:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise AnnotationError(f"annotations {str(file)!r} cannot be read ({error}); name a file that exists") from error
    read = cvat.read if file.name.endswith(".xml") else coco.read
    return AnnotationSource(name, hashlib.sha256(content).hexdigest(), read(content, str(file)), root)
