"""From an analysed stack to a field's rows and files: the same for a night, an archive, and a stack kept for later."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import Corrections
from daemon.analysis.measure import measure_all
from daemon.dataset.features import Features, features_bytes
from daemon.dataset.field_file import FieldProvenance, write_field_file, write_raw_stack
from daemon.records.names import field_file
from daemon.records.records import FieldSecured, FileEntry, FocusResult, ObjectRow
from daemon.system.durable_files import replacing, sha256_of
from inference.objects.objects import FoundObject, StackAnalysis, StackFocus
from inference.settings import FocusSettings
from inference.views.channels import Scale
from inference.views.fusing import fuse_frames

RAW = "raw"
"""Part of the name of a file that holds a whole stack."""
FUSED = "fused"
"""Part of the name of a file that holds a whole field, fused in full size."""


def kept_file(field: FieldSecured) -> FileEntry | None:
    """Give the file in which a field was kept whole: its raw stack, or else the field fused; None where neither was."""
    files = {file.name: file for file in field.files}
    names = (field_file(field.slide, field.field, part, field.attempt) for part in (RAW, FUSED))
    return next((files[name] for name in names if name in files), None)


def focus_result(found: StackFocus, first_z_um: float, step_um: float) -> FocusResult:
    """Where a stack is sharpest, in stage um."""
    z_um = None if found.best_plane is None else first_z_um + found.best_plane * step_um
    return FocusResult(z_um=z_um, at_edge=found.at_edge, contrast=found.contrast)


def object_rows(
    objects: Sequence[FoundObject], provenance: FieldProvenance, corrections: Corrections
) -> tuple[ObjectRow, ...]:
    """Numbers of objects in the order of their series; stage positions from that of the frame's centre."""
    rows = [(_row(number, found, provenance), found.crop, found.fused) for number, found in enumerate(objects)]
    return measure_all(rows, provenance, corrections)


def _row(number: int, found: FoundObject, provenance: FieldProvenance) -> ObjectRow:
    height, width = provenance.shape_czyx[2:]
    x0, y0, x1, y1 = found.box
    x_um = provenance.x_um + ((x0 + x1) / 2 - width / 2) * provenance.pixel_um
    y_um = provenance.y_um + ((y0 + y1) / 2 - height / 2) * provenance.pixel_um
    left, low, right, high = provenance.tile_um or (-np.inf, -np.inf, np.inf, np.inf)
    return ObjectRow(
        number=number,
        series=number,
        class_name=found.class_name,
        score=found.score,
        below_threshold=found.below_threshold,
        box=found.box,
        crop_box=found.crop_box,
        x_um=x_um,
        y_um=y_um,
        z_um=provenance.first_z_um + found.best_plane * provenance.step_um,
        best_plane=found.best_plane,
        best_plane_at_edge=found.best_plane_at_edge,
        touches_edge=found.touches_edge,
        in_exclusive_tile=left <= x_um < right and low <= y_um < high,
        fault=found.fault,
    )


def secured_field(
    provenance: FieldProvenance,
    analysis: StackAnalysis,
    rows: tuple[ObjectRow, ...],
    files: tuple[FileEntry, ...],
    seconds: dict[str, float],
    device: str,
) -> FieldSecured:
    """Record of a field as its analysis knows it: exposed at the first attempt, nobody knows for how long.

    Where the device is `none` nothing was looked for.
    """
    analysed = device != "none"
    return replace(
        _secured(provenance, files, {**analysis.seconds, **seconds}),
        focus=focus_result(analysis.focus, provenance.first_z_um, provenance.step_um),
        backgrounds_dn=analysis.backgrounds_dn,
        objects=rows,
        analysed=analysed,
        device=device if analysed else "",
    )


def unanalysed_field(
    provenance: FieldProvenance, files: tuple[FileEntry, ...], seconds: dict[str, float], reason: str, fault: str
) -> FieldSecured:
    """Record of a field whose stack could not be analysed, and was kept as it is; see `FieldSecured`."""
    return replace(_secured(provenance, files, seconds), analysed=False, reason=reason, fault=fault)


def _secured(provenance: FieldProvenance, files: tuple[FileEntry, ...], seconds: dict[str, float]) -> FieldSecured:
    """Record of a field of which nothing has been seen yet."""
    return FieldSecured(
        utc=time.time(),
        slide=provenance.slide,
        field=provenance.field,
        sample=provenance.sample,
        x_um=provenance.x_um,
        y_um=provenance.y_um,
        first_z_um=provenance.first_z_um,
        step_um=provenance.step_um,
        polarizations=provenance.polarizations,
        shape_czyx=provenance.shape_czyx,
        attempts=1,
        exposed_utc=provenance.exposed_utc,
        exposed_monotonic_s=0.0,
        seconds=seconds,
        focus=FocusResult(z_um=None, at_edge=False, contrast=math.nan),
        objects=(),
        files=files,
        sources=provenance.sources,
        attempt=provenance.attempt,
    )


def write_cutouts(
    path: Path,
    provenance: FieldProvenance,
    rows: Sequence[ObjectRow],
    objects: Sequence[FoundObject],
    before_rename: Callable[[], None] | None = None,
) -> FileEntry:
    """Write a field's file, durably: its objects' stacks and fused crops. Returns its entry in the dataset."""
    crops = [(row, found.crop, found.fused) for row, found in zip(rows, objects, strict=True)]
    with replacing(path, before_rename) as stream:
        write_field_file(stream, provenance, crops)
    return _entry(path, provenance.file_name())


def write_raw(path: Path, provenance: FieldProvenance, stack: NDArray[np.uint16]) -> FileEntry:
    """Write a whole stack (CZYX), durably. Returns its entry in the dataset."""
    with replacing(path) as stream:
        write_raw_stack(stream, stack, provenance)
    return _entry(path, provenance.file_name(RAW))


def write_fused(
    path: Path, provenance: FieldProvenance, stack: NDArray[np.uint16], analysis: StackAnalysis
) -> FileEntry:
    """Write a field fused in full size, durably: a stack of one plane, at the height of focus.

    Returns its entry in the dataset.
    """
    channels, planes, height, width = provenance.shape_czyx
    focus, binning = provenance.focus, Scale.of(provenance.pixel_um, FocusSettings().sigma_um).binning
    z_um = None if focus is None else focus.z_um
    of_one_plane = replace(
        provenance,
        shape_czyx=(channels, 1, height, width),
        first_z_um=provenance.first_z_um + planes // 2 * provenance.step_um if z_um is None else z_um,
    )
    fused = fuse_frames(stack, analysis.taken_from, binning)
    with replacing(path) as stream:
        write_raw_stack(stream, fused[:, None], of_one_plane, f"{provenance.title}, fused")
    return _entry(path, provenance.file_name(FUSED))


def write_features(path: Path, name: str, features: Features) -> FileEntry:
    """Write the features of a field's objects, durably. Returns its entry in the dataset, `name`."""
    with replacing(path) as stream:
        stream.write(features_bytes(features))
    return _entry(path, name)


def write_picture(path: Path, provenance: FieldProvenance, picture: bytes) -> FileEntry:
    """Write the picture that is kept of a field, durably. Returns its entry in the dataset."""
    with replacing(path) as stream:
        stream.write(picture)
    return _entry(path, provenance.picture_file)


def _entry(path: Path, name: str) -> FileEntry:
    return FileEntry(name=name, size=path.stat().st_size, sha256=sha256_of(path))
