"""What a detector found, as annotations that a person looks at and corrects: XML for CVAT, or COCO's JSON.

Beside them lie pictures of the fields that were kept raw or fused: programs for annotation show 8 bits and no planes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace
from rich.console import Console

from daemon.analysis.field_output import kept_file
from daemon.dataset.field_file import FieldProvenance, Pixels, read_field_file
from daemon.dataset.reader import Dataset as Recorded
from daemon.exchange.archived_stacks import ImagesBehind
from daemon.exchange.field_pictures import is_picture, picture_of, stack_of
from daemon.figures.field_picture import draw_field
from daemon.records.records import FieldSecured, ObjectRow
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from inference.annotations import cvat
from inference.annotations.coco import NOT_VALIDATED, AnnotatedImage, Annotation, AnnotationFile, Category, to_json
from inference.annotations.sources import CVAT_FILE, PICTURES

SOURCE = "lamelle"
LABELS_FILE = "labels.json"
"""What CVAT makes the labels of a task of."""
Write = Callable[[str, bytes], None]


class Proposed(NamedTuple):
    """How much was proposed.

    Attributes
    ----------
    drawn
        pictures that were made of stacks.
    undrawn
        stacks of an archive that have no picture, and do not lie beside the annotations either.
    absent
        single pictures that are missing in the zip.
    left_out
        fields that are not analysed yet, or of which there is neither a raw stack nor an image.
    """

    pictures: int
    boxes: int
    drawn: int
    undrawn: int
    absent: int
    left_out: int


def propose(
    folder: Path, into: Path, least_score: float, images: Path | None = None, console: Console | None = None
) -> Proposed:
    """Write the objects of a dataset as annotations that nobody has validated.

    A field's picture is the single image it was read from, by its name; or the fused view of the raw stack that was
    kept of it, which is drawn into `images/`. So are the stacks of an archive where it is said where that lies, however
    many files they lie in.

    Parameters
    ----------
    into
        `.xml` for CVAT for images 1.1, `.json` for COCO, with the drawn pictures in `images` beside it; `.zip` for
        CVAT with the drawn and the single pictures and the labels of a task. The annotations are written whole or not
        at all.
    least_score
        of what is proposed.
    images
        folder that an archive's files are named by.
    console
        where to show progress.

    Raises
    ------
    Refused
        There is no dataset, no field has a picture, or pictures would be drawn into the archive.
    DamagedFile
        A field's file cannot be read.
    AnnotationError
        An image of the archive is not below `images`, or not as it was.
    """
    with Recorded.open(folder) as recorded:
        recorded_fields = [field for field in recorded.fields() if isinstance(field, FieldSecured)]
        if not any(map(_can_be_shown, recorded_fields)):
            raise Refused(
                f"no field of {folder} can be shown, so there is nothing to annotate: none was kept raw or fused "
                "(retention.raw, retention.fused), and none was read from images"
            )
        read = [field for field in recorded_fields if _can_be_shown(field) and kept_file(field) is None]
        behind = ImagesBehind.find(recorded, read, [images]) if images is not None and read else None
        drawn_into = into.parent / PICTURES
        if behind is not None and not is_zip(into) and drawn_into.resolve().is_relative_to(behind.root.resolve()):
            raise Refused(
                f"pictures would be drawn into {str(drawn_into)!r}, among the images of the archive; name a file "
                "elsewhere with --into, or a .zip"
            )
        make_folder(into.parent)
        with _opened(into) as write:
            proposal = _Proposal(recorded, into, write, behind)
            for field in follow(recorded_fields, len(recorded_fields), "fields", console or Console(quiet=True)):
                proposal.add(field, least_score)
            dataset = proposal.dataset()
            if is_zip(into):
                write(CVAT_FILE, cvat.to_xml(dataset, SOURCE))
                write(LABELS_FILE, cvat.to_labels(dataset))
            elif _is_coco(into):
                write(into.name, to_json(dataset))
            else:
                write(into.name, cvat.to_xml(dataset, SOURCE))
    return proposal.proposed(len(recorded_fields))


def is_zip(into: Path) -> bool:
    """Whether pictures and annotations are written into one file."""
    return into.suffix.lower() == ".zip"


def _is_coco(into: Path) -> bool:
    return into.suffix.lower() == ".json"


class _Proposal:
    """Annotations as they are gathered field by field."""

    def __init__(self, recorded: Recorded, into: Path, write: Write, behind: ImagesBehind | None) -> None:
        self._recorded, self._into, self._write, self._behind = recorded, into, write, behind
        self._pictures: list[AnnotatedImage] = []
        self._boxes: list[Annotation] = []
        self._numbers: dict[str, int] = {}
        self._drawn = self._undrawn = self._absent = 0

    def add(self, field: FieldSecured, least_score: float) -> None:
        """Take in a field, and draw its picture where it has none."""
        if not _can_be_shown(field):
            return
        kept = kept_file(field)
        with read_field_file(self._recorded.path(kept or field.files[0])) as file:
            picture = picture_of(field, file.provenance, len(self._pictures) + 1)
            if kept is not None:
                self._draw(picture, file.stack(), field, file.provenance)
            elif is_picture(field):
                picture = self._as_it_is(field, picture)
            else:
                picture = self._of_archive(field, picture, file.provenance)
        self._pictures.append(picture)
        self._boxes += [
            self._box(row, picture, len(self._boxes) + place)
            for place, row in enumerate((row for row in field.objects if row.score >= least_score), start=1)
        ]

    def dataset(self) -> AnnotationFile:
        """Give all that was gathered."""
        categories = tuple(Category(id=number, name=name + NOT_VALIDATED) for name, number in self._numbers.items())
        return AnnotationFile(images=tuple(self._pictures), annotations=tuple(self._boxes), categories=categories)

    def proposed(self, fields: int) -> Proposed:
        """Count it."""
        pictures = len(self._pictures)
        return Proposed(pictures, len(self._boxes), self._drawn, self._undrawn, self._absent, fields - pictures)

    def _as_it_is(self, field: FieldSecured, picture: AnnotatedImage) -> AnnotatedImage:
        """Take the single picture that a field was read from; a zip holds it, where it is said where it lies."""
        if is_zip(self._into):
            if self._behind is None:
                self._absent += 1
            else:
                self._write(f"{PICTURES}/{picture.file_name}", self._behind.content(field))
        return replace(picture, stack=None)

    def _of_archive(self, field: FieldSecured, picture: AnnotatedImage, provenance: FieldProvenance) -> AnnotatedImage:
        """Draw the stack that a field was read from, where it is said where that lies."""
        if self._behind is not None:
            self._draw(picture, self._behind.stack(field), field, provenance)
            return picture
        name = field.sources[0].name
        alone = len(field.sources) == 1 and not field.sources[0].stack
        beside = alone and _is_coco(self._into) and self._into.parent.joinpath(*name.split("/")).is_file()
        self._undrawn += not beside
        # No picture but the stack itself, by the name of its file.
        itself = replace(picture, file_name=name, stack=replace(stack_of(field, provenance), file_name=""))
        return itself if alone else picture

    def _draw(self, picture: AnnotatedImage, stack: Pixels, field: FieldSecured, provenance: FieldProvenance) -> None:
        drawn = draw_field(stack, field.polarizations, provenance.pixel_um)
        self._write(f"{PICTURES}/{picture.file_name}", drawn)
        self._drawn += 1

    def _box(self, row: ObjectRow, picture: AnnotatedImage, number: int) -> Annotation:
        x0, y0, x1, y1 = row.box
        # Of a field that was kept fused there is one plane.
        plane = row.best_plane if picture.stack is None else min(row.best_plane, picture.stack.planes - 1)
        return Annotation(
            id=number,
            image_id=picture.id,
            category_id=self._numbers.setdefault(row.class_name, len(self._numbers) + 1),
            bbox=(x0, y0, x1 - x0, y1 - y0),
            area=(x1 - x0) * (y1 - y0),
            attributes={"score": round(row.score, 3), "plane": round(plane, 2)},
        )


def _can_be_shown(field: FieldSecured) -> bool:
    """Whether a person can look at the field: it is analysed, and kept raw or fused, or read from images."""
    return field.analysed and (kept_file(field) is not None or bool(field.sources))


@contextmanager
def _opened(into: Path) -> Iterator[Write]:
    """Give what writes a file by its name: into a zip, or beside `into`."""
    if is_zip(into):
        # Pictures are packed already.
        with replacing(into) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            yield archive.writestr
        return

    def write(name: str, content: bytes) -> None:
        path = into.parent.joinpath(*name.split("/"))
        make_folder(path.parent)
        with replacing(path) as stream:
            stream.write(content)

    yield write
