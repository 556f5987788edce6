"""What a detector found, as annotations that a person looks at and corrects: XML for CVAT, or COCO's JSON.

Beside them lie pictures of the raw stacks that were kept: programs for annotation show 8 bits and no planes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace
from rich.console import Console

from daemon.dataset.field_file import FieldProvenance, Pixels, read_field_file
from daemon.dataset.reader import Dataset as Recorded
from daemon.exchange.kept_stacks import kept_file, stack_info, view_of_kept
from daemon.figures.field_picture import SUFFIX, draw_field
from daemon.records.records import FieldSecured, ObjectRow
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from inference.annotations import cvat
from inference.annotations.coco import NOT_VALIDATED, AnnotatedImage, Annotation, AnnotationFile, Category, to_json
from inference.annotations.sources import CVAT_FILE, PICTURES
from inference.annotations.stacks import AnnotatedStack, read_stack

SOURCE = "lamelle"
ENDINGS = (".zip", ".xml", ".json")
LABELS_FILE = "labels.json"
"""What CVAT makes the labels of a task of."""
Write = Callable[[str, bytes], None]


class Proposed(NamedTuple):
    """How much was proposed.

    Attributes
    ----------
    drawn
        pictures that were made of raw stacks.
    stacks
        pictures that are stacks of an archive, which CVAT cannot show.
    left_out
        fields that are not analysed yet, or that no single file shows.
    """

    pictures: int
    boxes: int
    drawn: int
    stacks: int
    left_out: int


def propose(
    folder: Path, into: Path, least_score: float, images: Path | None = None, console: Console | None = None
) -> Proposed:
    """Write the objects of a dataset as annotations that nobody has validated.

    A field's picture is the image it was read from, by its name; or the fused view of the raw stack that was kept of
    it, which is drawn into `images/`. So are the stacks of an archive where it is said where that lies.

    Parameters
    ----------
    into
        `.xml` for CVAT for images 1.1, `.json` for COCO, with the drawn pictures in `images` beside it; `.zip` for
        CVAT with its pictures and the labels of a task. The annotations are written whole or not at all.
    least_score
        of what is proposed.
    images
        folder that an archive's files are named by.
    console
        where to show progress.

    Raises
    ------
    Refused
        There is no dataset, `into` has another ending, or no field has a picture.
    DamagedFile
        A field's file cannot be read.
    AnnotationError
        A stack of the archive is not below `images`, or not as it was.
    """
    if into.suffix not in ENDINGS:
        raise Refused(f"{into} ends neither in .zip or .xml, for CVAT, nor in .json, for COCO; name such a file")
    with Recorded.open(folder) as recorded:
        recorded_fields = [field for field in recorded.fields() if isinstance(field, FieldSecured)]
        if not any(map(_can_be_shown, recorded_fields)):
            raise Refused(
                f"no field of {folder} can be shown, so there is nothing to annotate: none has a raw stack "
                "(retention.raw), and none is of a file that holds one image or stack; plane files, folders and files "
                "of several are not proposed"
            )
        make_folder(into.parent)
        with _opened(into) as write:
            proposal = _Proposal(recorded, write, images)
            for field in follow(recorded_fields, len(recorded_fields), "fields", console or Console(quiet=True)):
                proposal.add(field, least_score)
            dataset = proposal.dataset()
            if into.suffix == ".json":
                write(into.name, to_json(dataset))
            elif into.suffix == ".xml":
                write(into.name, cvat.to_xml(dataset, SOURCE))
            else:
                write(CVAT_FILE, cvat.to_xml(dataset, SOURCE))
                write(LABELS_FILE, cvat.to_labels(dataset))
    return proposal.proposed(len(recorded_fields))


class _Proposal:
    """Annotations as they are gathered field by field."""

    def __init__(self, recorded: Recorded, write: Write, images: Path | None) -> None:
        self._recorded, self._write, self._images = recorded, write, images
        self._pictures: list[AnnotatedImage] = []
        self._boxes: list[Annotation] = []
        self._numbers: dict[str, int] = {}
        self._drawn = 0

    def add(self, field: FieldSecured, least_score: float) -> None:
        """Take in a field, and draw its picture where it has none."""
        if not _can_be_shown(field):
            return
        number = len(self._pictures) + 1
        kept = kept_file(field)
        if kept is None:
            picture = self._of_archive(field, number)
        else:
            with read_field_file(self._recorded.path(kept)) as file:
                picture = view_of_kept(field, file.provenance, kept, number)
                self._draw(picture.file_name, file.stack(), file.provenance)
        self._pictures.append(picture)
        self._boxes += [
            self._box(row, picture.id, len(self._boxes) + place)
            for place, row in enumerate((row for row in field.objects if row.score >= least_score), start=1)
        ]

    def dataset(self) -> AnnotationFile:
        """Give all that was gathered."""
        categories = tuple(Category(id=number, name=name + NOT_VALIDATED) for name, number in self._numbers.items())
        return AnnotationFile(images=tuple(self._pictures), annotations=tuple(self._boxes), categories=categories)

    def proposed(self, fields: int) -> Proposed:
        """Count it."""
        stacks = sum(picture.stack is not None for picture in self._pictures) - self._drawn
        pictures = len(self._pictures)
        return Proposed(pictures, len(self._boxes), self._drawn, stacks, fields - pictures)

    def _of_archive(self, field: FieldSecured, number: int) -> AnnotatedImage:
        """Name the image that a field was read from, or the picture that is drawn of it where it is a stack."""
        channels, planes, height, width = field.shape_czyx
        name = field.sources[0].name
        image = AnnotatedImage(id=number, file_name=name, width=width, height=height)
        if channels * planes == 1:
            return image
        with read_field_file(self._recorded.path(field.files[0])) as file:
            provenance = file.provenance
        image = replace(image, stack=stack_info(field, provenance))
        if self._images is None:
            return image
        stack = read_stack(AnnotatedStack(self._images.joinpath(*name.split("/")), image, (), {}))
        self._draw(name + SUFFIX, stack, provenance)
        return replace(image, file_name=name + SUFFIX, stack=stack_info(field, provenance, name))

    def _draw(self, name: str, stack: Pixels, provenance: FieldProvenance) -> None:
        self._write(f"{PICTURES}/{name}", draw_field(stack, provenance.polarizations, provenance.pixel_um))
        self._drawn += 1

    def _box(self, row: ObjectRow, picture: int, number: int) -> Annotation:
        x0, y0, x1, y1 = row.box
        return Annotation(
            id=number,
            image_id=picture,
            category_id=self._numbers.setdefault(row.class_name, len(self._numbers) + 1),
            bbox=(x0, y0, x1 - x0, y1 - y0),
            area=(x1 - x0) * (y1 - y0),
            attributes={"score": round(row.score, 3), "plane": round(row.best_plane, 2)},
        )


def _can_be_shown(field: FieldSecured) -> bool:
    """Whether a person can look at the field: it is analysed, and kept raw or of a single image."""
    # A stack of a file that holds several is no picture that a name stands for.
    single = len(field.sources) == 1 and not field.sources[0].stack
    return field.analysed and (kept_file(field) is not None or single)


@contextmanager
def _opened(into: Path) -> Iterator[Write]:
    """Give what writes a file by its name: into a zip, or beside `into`."""
    if into.suffix == ".zip":
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
