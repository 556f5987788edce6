"""A night whose fields have files with pixels, made without a microscope: what pages and pictures are made of."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from PIL import Image

from daemon.config.taxonomy import Taxon, Taxonomy
from daemon.dataset.catalog import Catalog
from daemon.dataset.field_file import FieldProvenance, write_field_file
from daemon.records.flags import FieldFlag
from daemon.records.names import field_file, picture_file
from daemon.records.records import AnyRecord, FieldSecured, FileEntry, NightClosed, ObjectRow, SlideClosed, encode
from daemon.system.durable_files import make_folder, replacing
from tests.support.small_night import entry, object_row, secured, skipped, started

FRAME_PX, PLANES, CROP_PX = 256, 5, 40
PIXEL_UM = 0.1
OBJECTS = 4
TAXA = (
    Taxon(identifier="emiliania-huxleyi", name="Emiliania huxleyi", rank="species"),
    Taxon(identifier="gephyrocapsa", name="Gephyrocapsa", rank="genus"),
)
KEPT = (1, 1)
"""Slide and field of which a picture was kept."""
SKIPPED = (2, 3)


def make_pictured_night(
    folder: Path, night: str = "N", slides: int = 2, fields: int = 3, *, close: bool = True, dry: int | None = None
) -> Path:
    """Write a dataset of a few fields, each with `OBJECTS` objects that are brightest in plane 2; one is skipped.

    The mini-slide `dry` has lost its oil.

    Object 0 is sure, 1 is doubtful and cut by the frame, 2 is named by nobody, 3 scores below the threshold.
    """
    make_folder(folder)
    first = replace(started(night, slides, fields), taxonomy=Taxonomy(TAXA).to_json(), named_by="ab" * 32)
    records: list[AnyRecord] = [first]
    for slide in range(1, slides + 1):
        for field in range(1, fields + 1):
            there = (slide, field) != SKIPPED
            lost = (FieldFlag.DIM, FieldFlag.OIL_LOST) if slide == dry else ()
            taken = write_field(folder, night, slide, field) if there else skipped(slide, field)
            records.append(
                replace(taken, flags=lost, excluded_by=lost[1:]) if isinstance(taken, FieldSecured) else taken
            )
        missed = int(SKIPPED[0] == slide and SKIPPED[1] <= fields)
        records.append(
            SlideClosed(utc=2.0, slide=slide, sample=f"core-{slide}", recorded=fields - missed, skipped=missed)
        )
    missed = int(SKIPPED[0] <= slides and SKIPPED[1] <= fields)
    records += [NightClosed(utc=3.0, recorded=slides * fields - missed, skipped=missed)] if close else []
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return folder


def append(folder: Path, record: AnyRecord) -> None:
    """Record something more, as a night that goes on does."""
    with closing(Catalog(folder)) as catalog:
        catalog.commit(catalog.last_seq() + 1, encode(record))


def write_field(folder: Path, night: str, slide: int, field: int) -> FieldSecured:
    """Write the files of a field; returns its record."""
    rows = [_row(number) for number in range(OBJECTS)]
    record = replace(
        secured(slide, field, (), 0), objects=tuple(rows), shape_czyx=(2, PLANES, FRAME_PX, FRAME_PX),
        backgrounds_dn=(150.0, 28_000.0), x_um=25.0 * field, y_um=50.0,
    )  # fmt: skip
    provenance = FieldProvenance(
        night=night, slide=slide, field=field, sample=record.sample, x_um=record.x_um, y_um=50.0, first_z_um=-2.0,
        step_um=0.5, pixel_um=PIXEL_UM, polarizations=record.polarizations, exposures_ms=(20.0, 20.0),
        shape_czyx=record.shape_czyx, exposed_utc=record.exposed_utc, focus=record.focus, instrument="none",
        configuration_sha256="c" * 64, weights_sha256="ab" * 32, versions={},
    )  # fmt: skip
    stream = io.BytesIO()
    write_field_file(stream, provenance, [(row, _crop(row.number), _crop(row.number).max(axis=1)) for row in rows])
    files = [_write(folder, field_file(slide, field), stream.getvalue())]
    if (slide, field) == KEPT:
        files.append(_write(folder, picture_file(slide, field), picture()))
    return replace(record, files=tuple(files))


def picture() -> bytes:
    """Both states of a field side by side: a dark one and a bright one."""
    sides = np.concatenate([np.full((128, 128), 20, np.uint8), np.full((128, 128), 200, np.uint8)], axis=1)
    stream = io.BytesIO()
    Image.fromarray(sides).save(stream, "JPEG")
    return stream.getvalue()


def _write(folder: Path, name: str, body: bytes) -> FileEntry:
    path = folder.joinpath(*name.split("/"))
    make_folder(path.parent)
    with replacing(path) as stream:
        stream.write(body)
    return entry(name, body)


def _row(number: int) -> ObjectRow:
    x0 = 10 + 60 * number
    box = (x0, 100, x0 + CROP_PX, 100 + CROP_PX)
    row = replace(object_row(number, score=0.95 - 0.1 * number), box=box, crop_box=box, best_plane=2.0)
    named = {0: ("emiliania-huxleyi", 0.99), 1: ("gephyrocapsa", 0.41), 2: (None, None), 3: ("gephyrocapsa", 0.8)}
    taxon, sure = named[number]
    more = {"taxon": taxon, "taxon_probability": sure, "touches_edge": number == 1, "below_threshold": number == 3}
    return replace(row, length_um=3.0 + number, mass_pg=2.5, calcite_equivalent_deviation_pg=0.25, **more)


def _crop(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    noise = np.random.default_rng(number).integers(0, 40, (2, PLANES, CROP_PX, CROP_PX), np.uint16)
    crop = noise + np.array([150, 28_000], np.uint16)[:, None, None, None]
    for plane in range(PLANES):
        light = 3000 // (1 + 2 * abs(plane - 2))
        crop[0, plane, 12:28, 12:28] += np.uint16(light)
        crop[1, plane, 12:28, 12:28] -= np.uint16(light)
    return np.asarray(crop, np.uint16)
