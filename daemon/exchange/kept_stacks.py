"""The stacks of datasets and exports, that pictures for annotation are views of, and are mapped back to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from daemon.analysis.field_output import kept_file
from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset
from daemon.exchange.archived_stacks import ImagesBehind
from daemon.exchange.field_pictures import picture_of
from daemon.records.names import CATALOG
from daemon.records.records import FieldSecured
from daemon.run_folder.folder import RunFolder
from inference.annotations.known_stacks import KnownStack, annotated_stacks
from inference.errors import AnnotationError


def find_known_stacks(folders: Sequence[Path], images: Sequence[Path] = ()) -> list[KnownStack]:
    """Find the stacks that nights kept, that archives hold, and that the virtual slide's exports hold.

    Parameters
    ----------
    folders
        run folders, datasets, or exports.
    images
        folders of the images that such datasets were made of.

    Raises
    ------
    AnnotationError
        A folder has no stack, or the images of a dataset are not there as they were.
    DamagedFile
        A stack that was kept cannot be read.
    """
    if images and not any(map(_holds_dataset, folders)):
        raise AnnotationError(
            f"--images {str(images[0])!r} holds the images of a dataset; name that dataset with --stacks"
        )
    return [
        one
        for folder in folders
        for one in (_of_dataset(folder, images) if _holds_dataset(folder) else annotated_stacks(folder))
    ]


def _of_dataset(folder: Path, images: Sequence[Path]) -> list[KnownStack]:
    found: list[KnownStack] = []
    with Dataset.open(folder) as recorded:
        fields = [one for one in recorded.attempts() if isinstance(one, FieldSecured)]
        read = [field for field in fields if kept_file(field) is None and _was_read(field)]
        behind = ImagesBehind.find(recorded, read, images) if read and images else None
        for field in fields:
            kept = kept_file(field)
            if kept is not None and (path := recorded.path(kept)).is_file():
                with read_field_file(path) as opened:
                    found.append(KnownStack(path, picture_of(field, opened.provenance, len(found) + 1)))
            elif behind is not None and kept is None and _was_read(field):
                with read_field_file(recorded.path(field.files[0])) as opened:
                    picture = picture_of(field, opened.provenance, len(found) + 1)
                found.append(KnownStack(behind.place(field), picture, partial(behind.stack, field)))
    if not found and read:
        raise AnnotationError(f"{str(folder)!r} keeps no stack; name the folder of the images behind it with --images")
    if not found:
        raise AnnotationError(
            f"{str(folder)!r} kept no field raw or fused; name a night that did (retention), what `lamelle detect` "
            "made of an archive (--images names that), or an export of the virtual slide"
        )
    return found


def _was_read(field: FieldSecured) -> bool:
    """Whether the stack of a field was read from images, and not exposed."""
    return field.analysed and bool(field.sources)


def _holds_dataset(folder: Path) -> bool:
    return any((place / CATALOG).is_file() for place in (folder, RunFolder(folder).dataset))
