"""What a detector found, as annotations that a person looks at and corrects: XML for CVAT, or COCO's JSON."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset as Recorded
from daemon.records.names import field_file
from daemon.records.records import FieldSecured
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Refused
from inference.annotations import cvat
from inference.annotations.coco import (
    NOT_VALIDATED,
    AnnotatedImage,
    Annotation,
    AnnotationFile,
    Category,
    StackInfo,
    to_json,
)

SOURCE = "lamelle"


class Proposed(NamedTuple):
    """How much was proposed, and how many fields were left out: not analysed yet, or without a single picture."""

    pictures: int
    boxes: int
    left_out: int


def propose(folder: Path, into: Path, least_score: float) -> Proposed:
    """Write the objects of a dataset as annotations that nobody has validated.

    A field's picture is the image it was read from, or the raw stack that was kept of it.

    Parameters
    ----------
    into
        `.xml` for CVAT for images 1.1, `.json` for COCO; whole or not at all.
    least_score
        of what is proposed.

    Raises
    ------
    Refused
        There is no dataset, `into` has another ending, or no field has a picture.
    DamagedFile
        A field's file cannot be read.
    """
    if into.suffix not in (".xml", ".json"):
        raise Refused(f"{into} ends neither in .xml, for CVAT, nor in .json, for COCO; name such a file")
    pictures: list[AnnotatedImage] = []
    boxes: list[Annotation] = []
    numbers: dict[str, int] = {}
    left_out = 0
    with Recorded.open(folder) as recorded:
        for field in recorded.fields():
            if not isinstance(field, FieldSecured):
                continue
            picture = _picture(recorded, field, len(pictures) + 1)
            if picture is None:
                left_out += 1
                continue
            pictures.append(picture)
            for row in field.objects:
                if row.score < least_score:
                    continue
                x0, y0, x1, y1 = row.box
                category = numbers.setdefault(row.class_name, len(numbers) + 1)
                boxes.append(
                    Annotation(
                        id=len(boxes) + 1,
                        image_id=picture.id,
                        category_id=category,
                        bbox=(x0, y0, x1 - x0, y1 - y0),
                        area=(x1 - x0) * (y1 - y0),
                        attributes={"score": round(row.score, 3), "plane": round(row.best_plane, 2)},
                    )
                )
    if not pictures:
        raise Refused(
            f"no field of {folder} is of a single image, and no raw stack was kept; there is nothing to annotate"
        )
    categories = tuple(Category(id=number, name=name + NOT_VALIDATED) for name, number in numbers.items())
    dataset = AnnotationFile(images=tuple(pictures), annotations=tuple(boxes), categories=categories)
    content = cvat.to_xml(dataset, SOURCE) if into.suffix == ".xml" else to_json(dataset)
    make_folder(into.parent)
    with replacing(into) as stream:
        stream.write(content)
    return Proposed(len(pictures), len(boxes), left_out)


def _picture(recorded: Recorded, field: FieldSecured, number: int) -> AnnotatedImage | None:
    """Name what a person would annotate: the raw stack, or the image that the field was read from."""
    channels, planes, height, width = field.shape_czyx
    names = [f.name for f in field.files if f.name == field_file(field.slide, field.field, "raw", field.attempt)]
    # A stack of a file that holds several is no picture that a name stands for.
    names += [source.name for source in field.sources if not source.stack] if len(field.sources) == 1 else []
    if not field.analysed or not names:
        return None
    stack = None
    if channels * planes > 1:
        with read_field_file(recorded.path(field.files[0])) as file:
            provenance = file.provenance
        stack = StackInfo(
            slide=field.slide,
            field=field.field,
            # Slides of different nights are different sources, whatever their numbers are.
            seed=zlib.crc32(provenance.night.encode()),
            planes=planes,
            step_um=field.step_um,
            pixel_um=provenance.pixel_um,
            polarizations=field.polarizations,
        )
    return AnnotatedImage(id=number, file_name=names[0], width=width, height=height, stack=stack)
