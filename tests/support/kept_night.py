"""A night that kept its raw stacks, made without a microscope: fields of the virtual slide, found as they truly are."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray

from daemon.analysis.field_output import FUSED, RAW, write_fused, write_raw
from daemon.dataset.catalog import Catalog
from daemon.dataset.field_file import FieldProvenance, write_field_file
from daemon.records.names import field_file
from daemon.records.records import (
    AnyRecord,
    FieldSecured,
    FileEntry,
    FocusResult,
    NightClosed,
    NightStarted,
    ObjectRow,
    SlideClosed,
    SourceFile,
    encode,
)
from daemon.reprocessing.archive import ArchiveSettings
from daemon.system.durable_files import make_folder, replacing, sha256_of
from drivers.virtual_slide.visibility import Visible, visible
from inference.analyser import Analyser
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from tests.support import emulated_stacks

FRAME_PX, PLANES = 384, 7
PIXEL_UM = 0.059
WORDS = ("LR", "LL")
"""What names of files have for the polarizations."""
CONFIGURATION = yaml.safe_dump(
    ArchiveSettings(planes="f{field}_{polarization}_z{z}.tif", polarizations=("crossed=LR", "parallel=LL")).model_dump(
        mode="json", include={"planes", "polarizations"}
    )
    | {"archive": {}}
)


def make_kept_night(
    folder: Path, slides: int = 2, night: str = "N", images: Path | None = None, part: str = RAW
) -> list[FieldSecured]:
    """Write a dataset of a field a mini-slide, its objects where the truth has them, and their raw stacks.

    Parameters
    ----------
    part
        what of the fields is kept: raw stacks, or the fields fused.
    images
        where the stacks are written as plane files instead: an archive, of which the dataset is.
    """
    make_folder(folder)
    every = range(1, slides + 1)
    fields = [_field(folder, slide, night, images, part) for slide in every]
    records: list[AnyRecord] = [
        NightStarted(
            utc=1.7e9, night=night, configuration="" if images is None else CONFIGURATION,
            samples={slide: {"sample": "core"} for slide in every}, planned=dict.fromkeys(every, 1), versions={},
            weights_sha256="ab" * 32,
        )
    ]  # fmt: skip
    for field in fields:
        records += [field, SlideClosed(utc=2.0, slide=field.slide, sample="core", recorded=1, skipped=0)]
    records.append(NightClosed(utc=3.0, recorded=slides, skipped=0))
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return fields


def _field(folder: Path, slide: int, night: str, images: Path | None, part: str) -> FieldSecured:
    config = emulated_stacks.night(frame_px=FRAME_PX, planes=PLANES, seed=12, density=3.0)
    stack, truth = emulated_stacks.stack(config, slide, 0.0)
    plane_of = {id(one): plane for plane, one in truth}
    seen = visible([one for _, one in truth], (FRAME_PX, FRAME_PX), PIXEL_UM)
    found = [(one, plane_of[id(one.true)]) for one in seen if one.to_be_found and 0 <= plane_of[id(one.true)] < PLANES]
    rows = [_row(number, one, plane) for number, (one, plane) in enumerate(found)]
    focus = FocusResult(z_um=0.25, at_edge=False, contrast=2.0)
    provenance = FieldProvenance(
        night=night, slide=slide, field=1, sample="core", x_um=100.0, y_um=50.0, first_z_um=-0.5,
        step_um=config.scan.step_um, pixel_um=PIXEL_UM, polarizations=config.scan.polarizations,
        exposures_ms=(20.0, 20.0), shape_czyx=(2, *stack.shape[1:]), exposed_utc=1.7e9, focus=focus,
        instrument="emulated", configuration_sha256="c" * 64, weights_sha256="ab" * 32, versions={},
    )  # fmt: skip
    path = folder.joinpath(*field_file(slide, 1).split("/"))
    make_folder(path.parent)
    crops = [
        (row, stack[:, :, y0:y1, x0:x1], stack[:, 0, y0:y1, x0:x1]) for row in rows for x0, y0, x1, y1 in [row.box]
    ]
    with replacing(path) as stream:
        write_field_file(stream, provenance, crops)
    entry = FileEntry(name=field_file(slide, 1), size=path.stat().st_size, sha256=sha256_of(path))
    sources: tuple[SourceFile, ...] = ()
    files: tuple[FileEntry, ...] = (entry,)
    kept = folder.joinpath(*field_file(slide, 1, part).split("/"))
    if images is None and part == FUSED:
        settings = DetectorSettings(runtime="torch"), CropSettings(), FocusSettings()
        analysis = Analyser(*settings, PIXEL_UM, config.scan.polarizations, detects=False).analyse(stack)
        files += (write_fused(kept, provenance, stack, analysis),)
    elif images is None:
        files += (write_raw(kept, provenance, stack),)
    else:
        sources = _write_planes(images, f"core {slide}", stack)
    return FieldSecured(
        utc=1.7e9, slide=slide, field=1, sample="core", x_um=100.0, y_um=50.0, first_z_um=-0.5,
        step_um=config.scan.step_um, polarizations=config.scan.polarizations, shape_czyx=provenance.shape_czyx,
        attempts=1, exposed_utc=1.7e9, exposed_monotonic_s=1.0, seconds={}, focus=focus, objects=tuple(rows),
        files=files, sources=sources,
    )  # fmt: skip


def _write_planes(images: Path, folder: str, stack: NDArray[np.uint16]) -> tuple[SourceFile, ...]:
    """Write a file a plane, named as `CONFIGURATION` says; returns them, polarization as the outer loop."""
    (images / folder).mkdir(parents=True)
    names = {f"{folder}/f3_{word}_z{z - 1.5:.2f}.tif": (c, z) for c, word in enumerate(WORDS) for z in range(PLANES)}
    for name, at in names.items():
        tifffile.imwrite(images / name, stack[at], photometric="minisblack")
    return tuple(SourceFile(name=name, sha256=sha256_of(images / name)) for name in names)


def _row(number: int, one: Visible, plane: float) -> ObjectRow:
    x0, y0, x1, y1 = one.box
    box = math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)
    return ObjectRow(
        number=number, series=number, class_name=one.true.class_name, score=0.9, below_threshold=False, box=box,
        crop_box=box, x_um=1.0, y_um=2.0, z_um=0.0, best_plane=plane, best_plane_at_edge=False,
        touches_edge=not one.true.whole, in_exclusive_tile=True,
    )  # fmt: skip
