"""What a field is called and what is said of it where people annotate: its picture, and the stack that this shows."""

from __future__ import annotations

import zlib

from daemon.analysis.field_output import kept_file
from daemon.dataset.field_file import FieldProvenance
from daemon.figures.field_picture import view_name
from daemon.records.names import field_file
from daemon.records.records import FieldSecured
from inference.annotations.coco import AnnotatedImage, StackInfo
from inference.annotations.sources import SUFFIXES


def is_picture(field: FieldSecured) -> bool:
    """Whether a field was read from a picture that other programs show as it is."""
    channels, planes = field.shape_czyx[:2]
    single = channels * planes == len(field.sources) == 1 and not field.sources[0].stack
    return single and kept_file(field) is None and field.sources[0].name.lower().endswith(SUFFIXES)


def source_of(field: FieldSecured) -> str:
    """Name what a field was read from, as people read it: its only file, or else words that are no file's name."""
    first, more = field.sources[0], len(field.sources) - 1
    return first.title + (f" and {more} more" if more else "")


def stack_of(field: FieldSecured, provenance: FieldProvenance) -> StackInfo:
    """Describe a field's stack as annotations do; a field that was kept fused is a stack of one plane."""
    kept = kept_file(field)
    return StackInfo(
        slide=field.slide,
        field=field.field,
        # Slides of different nights are different sources, whatever their numbers are.
        seed=zlib.crc32(provenance.night.encode()),
        planes=provenance.shape_czyx[1],
        step_um=field.step_um,
        pixel_um=provenance.pixel_um,
        polarizations=field.polarizations,
        file_name=source_of(field) if kept is None else kept.name,
    )


def picture_of(field: FieldSecured, provenance: FieldProvenance, number: int) -> AnnotatedImage:
    """Name the picture that shows a field to people, and its stack: a view of this, or what it was read from itself."""
    height, width = field.shape_czyx[2:]
    stack = stack_of(field, provenance)
    if is_picture(field):
        name = field.sources[0].name
    else:
        name = view_name(field_file(field.slide, field.field, attempt=field.attempt), stack.seed)
    return AnnotatedImage(id=number, file_name=name, width=width, height=height, stack=stack)
