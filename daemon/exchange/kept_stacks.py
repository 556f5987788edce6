"""The stacks that were kept of a night: what pictures for annotation are views of, and are mapped back to."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from daemon.analysis.field_output import RAW
from daemon.dataset.field_file import FieldProvenance, read_field_file
from daemon.dataset.reader import Dataset
from daemon.figures.field_picture import view_name
from daemon.records.names import CATALOG, field_file
from daemon.records.records import FieldSecured, FileEntry
from daemon.run_folder.folder import RunFolder
from inference.annotations.coco import AnnotatedImage, StackInfo
from inference.annotations.known_stacks import KnownStack, annotated_stacks
from inference.errors import AnnotationError


def find_known_stacks(folders: Sequence[Path]) -> list[KnownStack]:
    """Find the stacks that nights kept and that the virtual slide's exports hold.

    Parameters
    ----------
    folders
        run folders, datasets, or exports.

    Raises
    ------
    AnnotationError
        A folder has no stack.
    DamagedFile
        A stack that was kept cannot be read.
    """
    return [
        one for folder in folders for one in (_of_night(folder) if _holds_dataset(folder) else annotated_stacks(folder))
    ]


def kept_file(field: FieldSecured) -> FileEntry | None:
    """Give the file of the raw stack that was kept of a field."""
    name = field_file(field.slide, field.field, RAW, field.attempt)
    return next((file for file in field.files if file.name == name), None)


def stack_info(field: FieldSecured, provenance: FieldProvenance, file_name: str = "") -> StackInfo:
    """Describe a field's stack as annotations do."""
    return StackInfo(
        slide=field.slide,
        field=field.field,
        # Slides of different nights are different sources, whatever their numbers are.
        seed=zlib.crc32(provenance.night.encode()),
        planes=field.shape_czyx[1],
        step_um=field.step_um,
        pixel_um=provenance.pixel_um,
        polarizations=field.polarizations,
        file_name=file_name,
    )


def view_of_kept(field: FieldSecured, provenance: FieldProvenance, file: FileEntry, number: int) -> AnnotatedImage:
    """Name the picture that shows a raw stack to people, and the stack."""
    info = stack_info(field, provenance, file.name)
    picture = view_name(field_file(field.slide, field.field, attempt=field.attempt), info.seed)
    height, width = field.shape_czyx[2:]
    return AnnotatedImage(id=number, file_name=picture, width=width, height=height, stack=info)


def _of_night(folder: Path) -> list[KnownStack]:
    found: list[KnownStack] = []
    with Dataset.open(folder) as recorded:
        for field in [one for one in recorded.attempts() if isinstance(one, FieldSecured)]:
            file = kept_file(field)
            if file is None or not (path := recorded.path(file)).is_file():
                continue
            with read_field_file(path) as opened:
                picture = view_of_kept(field, opened.provenance, file, len(found) + 1)
            found.append(KnownStack(path, picture))
    if not found:
        raise AnnotationError(
            f"{str(folder)!r} kept no raw stack; name a night that did (retention.raw), an export of the virtual "
            "slide, or the folder of an archive that `lamelle propose` wrote a coco.json into"
        )
    return found


def _holds_dataset(folder: Path) -> bool:
    return any((place / CATALOG).is_file() for place in (folder, RunFolder(folder).dataset))
