"""A dataset of drawn objects: rings that are bright in the crossed state and sharp in one plane, at known places."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.dataset.catalog import Catalog
from daemon.dataset.field_file import FieldProvenance, write_field_file
from daemon.records.events import EventName
from daemon.records.names import field_file
from daemon.records.records import (
    AnyRecord,
    Event,
    FieldSecured,
    FieldSkipped,
    FileEntry,
    FocusResult,
    NightClosed,
    NightStarted,
    ObjectRow,
    SlideClosed,
    encode,
)
from daemon.system.durable_files import make_folder, replacing

CLASSES = ("coccolith", "diatom", "silicoflagellate")
STATES = ("crossed", "parallel", "third")
NIGHT = "night <of> [red]tests"
PLANES = 5


def sample_of(slide: int) -> str:
    return f"core-{slide}/../[bold]µ"


def ring(shape: tuple[int, int], best: int, channels: int) -> NDArray[np.uint16]:
    """CZYX: a ring, bright on dark in the first state, dark on bright in the others, widening away from `best`."""
    height, width = shape
    yy, xx = np.mgrid[:height, :width]
    distance = np.hypot(yy - height / 2, xx - width / 2) - min(shape) / 4
    stack = np.empty((channels, PLANES, height, width))
    for plane in range(PLANES):
        blur = 2.0 + 3 * abs(plane - best)
        light = np.exp(-((distance / blur) ** 2)) * 2 / blur
        stack[0, plane] = 100 + 3000 * light
        stack[1:, plane] = 9000 - 4000 * light
    return np.random.default_rng(best).poisson(stack).astype(np.uint16)


def make_dataset(
    folder: Path,
    slides: int = 2,
    fields: int = 2,
    objects: int = 4,
    channels: int = 2,
    closed: bool = True,
    weights_sha256: str = "ab" * 32,
) -> list[FieldSecured]:
    """Write a dataset whose last planned field of each slide was skipped, with an event that says so.

    Object n of a field is of class n modulo 3; object 3 is below the threshold, object 4 another field's.
    """
    make_folder(folder)
    catalog = Catalog(folder)
    every = range(1, slides + 1)
    records: list[AnyRecord] = [
        NightStarted(
            utc=1.7e9, night=NIGHT, configuration="", samples={slide: {"sample": sample_of(slide)} for slide in every},
            planned=dict.fromkeys(every, fields + 1), versions={}, weights_sha256=weights_sha256,
        )
    ]  # fmt: skip
    recorded = [_field(folder, slide, field, objects, channels) for slide in every for field in range(1, fields + 1)]
    for slide in every:
        records += [field for field in recorded if field.slide == slide]
        reason = "the stage [xy] did not arrive"
        records.append(
            FieldSkipped(utc=1.0, slide=slide, field=fields + 1, sample=sample_of(slide), reason=reason, attempts=3)
        )
        told = f"{reason}: tried 3 times, field skipped"
        records.append(
            Event(
                utc=1.7e9,
                level="warning",
                name=EventName.FAULT,
                fault="StageStuck",
                message=told,
                monotonic_s=1.0,
                slide=slide,
                field=3,
            )
        )
        records.append(SlideClosed(utc=2.0, slide=slide, sample=sample_of(slide), recorded=fields, skipped=1))
    if closed:
        records.append(NightClosed(utc=3.0, recorded=slides * fields, skipped=slides))
    for seq, record in enumerate(records, start=1):
        catalog.commit(seq, encode(record))
    catalog.close()
    return recorded


def _field(folder: Path, slide: int, field: int, objects: int, channels: int) -> FieldSecured:
    shape = (channels, PLANES, 300, 300)
    made = []
    for number in range(1, objects + 1):
        width, height = 40 + 7 * number, 50
        best = number % PLANES
        row = ObjectRow(
            number=number, series=number - 1, class_name=CLASSES[number % 3], score=0.9 - 0.05 * number,
            below_threshold=number == 3, box=(20, 20, 20 + width, 70), crop_box=(20, 20, 20 + width, 70),
            x_um=1.0, y_um=2.0, z_um=-0.5 + 0.5 * best, best_plane=best + 0.2, best_plane_at_edge=best in (0, 4),
            touches_edge=number == 2, in_exclusive_tile=number != 4,
        )  # fmt: skip
        crop = ring((height, width), best, channels)
        made.append((row, crop, crop[:, best]))
    focus = FocusResult(z_um=0.25, at_edge=False, contrast=2.0)
    provenance = FieldProvenance(
        night=NIGHT, slide=slide, field=field, sample=sample_of(slide), x_um=100.0, y_um=50.0, first_z_um=-0.5,
        step_um=0.5, pixel_um=0.059, polarizations=STATES[:channels], exposures_ms=(20.0,) * channels,
        shape_czyx=shape, exposed_utc=1.7e9, focus=focus, instrument="emulated", configuration_sha256="c" * 64,
        weights_sha256="ab" * 32, versions={},
    )  # fmt: skip
    name = field_file(slide, field)
    path = folder.joinpath(*name.split("/"))
    make_folder(path.parent)
    with replacing(path) as stream:
        write_field_file(stream, provenance, made)
    data = path.read_bytes()
    entry = FileEntry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return FieldSecured(
        utc=1.7e9, slide=slide, field=field, sample=sample_of(slide), x_um=100.0, y_um=50.0, first_z_um=-0.5,
        step_um=0.5, polarizations=STATES[:channels], shape_czyx=shape, attempts=1, exposed_utc=1.7e9,
        exposed_monotonic_s=1.0, seconds={}, focus=focus, objects=tuple(row for row, _, _ in made), files=(entry,),
    )  # fmt: skip
