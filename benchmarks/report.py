"""How long a report of a full night takes, and how much memory: 8 mini-slides of 200 fields with 60,000 objects.

python -m benchmarks.report [--fields 200] [--objects 37] [--into DIR]

The dataset is made, not recorded: its numbers are random, and all its fields have the same file of crops. The report
is made by the command, in a process of its own, whose memory is looked at every 20 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import psutil

from daemon.cli.demo import demo_configuration
from daemon.config.loading import freeze
from daemon.config.samples import read_samples
from daemon.dataset.catalog import Catalog
from daemon.dataset.field_file import FieldProvenance, write_field_file
from daemon.planning.plan import make_plan
from daemon.records.events import EventName
from daemon.records.fields import PlannedField
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
from daemon.system.durable_files import make_folder

BEGAN_UTC = 1_794_000_000.0
FIELD_S, EXPOSURE_S = 1.3, 1.1
CLASSES, SHARES = ("coccolith", "diatom", "silicoflagellate"), (0.8, 0.17, 0.03)
SAMPLE_S = 0.02
CROP_PX, PLANES, STATES = 64, 9, ("crossed", "parallel")


def rows_of(rng: np.random.Generator, count: int, planned: PlannedField, frame_px: tuple[int, int]) -> list[ObjectRow]:
    """Random objects of one field, with boxes of one size, so that one file of crops serves them all."""
    height, width = frame_px
    rows = []
    for number in range(count):
        name = CLASSES[int(rng.choice(len(CLASSES), p=SHARES))]
        x0, y0 = int(rng.integers(0, width - CROP_PX)), int(rng.integers(0, height - CROP_PX))
        length = float(rng.lognormal(np.log(3.8 if name == "coccolith" else 15), 0.35))
        mass = 0.08 * length**3 * float(rng.lognormal(0, 0.2)) if name == "coccolith" else None
        rows.append(
            ObjectRow(
                number=number, series=number, class_name=name, score=float(1 - 0.5 * rng.random() ** 4),
                below_threshold=bool(rng.random() < 0.05), box=(x0, y0, x0 + CROP_PX, y0 + CROP_PX),
                crop_box=(0, 0, CROP_PX, CROP_PX), x_um=planned.x_um + 0.059 * (x0 - width / 2),
                y_um=planned.y_um + 0.059 * (y0 - height / 2), z_um=1.0, best_plane=4.2, best_plane_at_edge=False,
                touches_edge=False, in_exclusive_tile=bool(rng.random() < 0.93), focus_plane=4.2, focus_z_um=1.0,
                display_plane=4.2, sharpness=float(rng.lognormal(1, 0.4)), length_um=length, width_um=0.8 * length,
                length_by="distal_shield", mass_pg=mass, calcite_equivalent_pg=mass, cut=False,
                calcite_equivalent_deviation_pg=None if mass is None else 0.08 * mass, outline_clipped=False,
                overlapping=bool(rng.random() < 0.1), background_disturbed=False, defocused=False, saturated=False,
                folded=False,
            )
        )  # fmt: skip
    return rows


def make(folder: Path, fields: int, objects: int) -> int:
    """Make the dataset; returns how many objects it holds."""
    config = demo_configuration(fields, None)
    samples = read_samples(config.scan.samples, [slide.position for slide in config.scan.slides])
    frame_px = config.instrument.frame_px
    make_folder(folder)
    started = NightStarted(
        utc=BEGAN_UTC, night="benchmark", configuration=freeze(config), samples=samples, versions={"lamelle": "0"},
        planned={slide.position: fields for slide in config.scan.slides}, weights_sha256="ab" * 32,
    )  # fmt: skip
    records: list[AnyRecord] = [started]
    shape = len(STATES), PLANES, *frame_px
    crop = np.random.default_rng(0).poisson(400, (len(STATES), PLANES, CROP_PX, CROP_PX)).astype(np.uint16)
    utc, found, slide, stored, size, sha256 = BEGAN_UTC + 8, 0, 0, folder / "crops", 0, ""
    for planned in make_plan(config, samples):
        rng = np.random.default_rng([planned.slide, planned.field])
        if planned.slide != slide and slide:
            records.append(SlideClosed(utc=utc, slide=slide, sample=samples[slide]["sample"], recorded=0, skipped=0))
            utc += 5
        slide, utc = planned.slide, utc + FIELD_S + float(rng.exponential(0.05))
        if rng.random() < 0.01:
            told = "the stage did not arrive within 2 s"
            left, sample = planned.field, planned.sample
            skipped = FieldSkipped(utc=utc, slide=slide, field=left, sample=sample, reason=told, attempts=3)
            stuck = Event(
                utc=utc,
                level="error",
                name=EventName.FAULT,
                fault="StageStuck",
                message=told,
                monotonic_s=utc,
                slide=slide,
                field=left,
            )
            records += [skipped, stuck]
            continue
        rows = rows_of(rng, objects, planned, frame_px)
        found += len(rows)
        focus = FocusResult(z_um=1 + 0.002 * planned.field + float(rng.normal(0, 0.1)), at_edge=False, contrast=2.0)
        if not stored.exists():
            provenance = FieldProvenance(
                night="benchmark", slide=slide, field=1, sample="", x_um=0, y_um=0, first_z_um=0, step_um=0.5,
                pixel_um=0.059, polarizations=STATES, exposures_ms=(20.0, 20.0), shape_czyx=shape, exposed_utc=utc,
                focus=focus, instrument="", configuration_sha256="", weights_sha256="", versions={},
            )  # fmt: skip
            with stored.open("w+b") as stream:
                write_field_file(stream, provenance, [(row, crop, crop[:, 4]) for row in rows])
            size, sha256 = stored.stat().st_size, hashlib.sha256(stored.read_bytes()).hexdigest()
        name = field_file(slide, planned.field)
        path = folder.joinpath(*name.split("/"))
        make_folder(path.parent)
        os.link(stored, path)
        records.append(
            FieldSecured(
                utc=utc, slide=slide, field=planned.field, sample=planned.sample, x_um=planned.x_um, y_um=planned.y_um,
                first_z_um=0.0, step_um=0.5, polarizations=STATES, shape_czyx=shape, attempts=1,
                exposed_utc=utc - EXPOSURE_S, exposed_monotonic_s=utc, seconds={"move": 0.15, "expose": EXPOSURE_S},
                focus=focus, backgrounds_dn=(163 + float(rng.normal(0, 1)), 28500 - 0.1 * (utc - BEGAN_UTC)),
                objects=tuple(rows), files=(FileEntry(name=name, size=size, sha256=sha256),), device="cpu",
            )
        )  # fmt: skip
    records.append(SlideClosed(utc=utc, slide=slide, sample=samples[slide]["sample"], recorded=0, skipped=0))
    records.append(NightClosed(utc=utc + 1, recorded=0, skipped=0))
    catalog = Catalog(folder)
    for seq, record in enumerate(records, start=1):
        catalog.commit(seq, encode(msgspec.convert(record, type(record))))
    catalog.close()
    return found


def main() -> None:
    """Make the dataset, report it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--objects", type=int, default=38)
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.into or Path(temporary)) / "dataset"
        found = make(folder, given.fields, given.objects)
        began = time.monotonic()
        peak_mb = 0.0
        with psutil.Popen([sys.executable, "-m", "daemon", "report", str(folder)]) as process:
            while process.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    peak_mb = max(peak_mb, process.memory_info().rss / 1e6)
                time.sleep(SAMPLE_S)
        if process.returncode:
            raise SystemExit(process.returncode)
        took = time.monotonic() - began
        sizes = ", ".join(
            f"{name} {(folder / name).stat().st_size / 1e6:.1f} MB" for name in ("report.html", "report.pdf")
        )
        catalog_mb = (folder / "catalog.sqlite").stat().st_size / 1e6
    print(f"lamelle {version('lamelle')}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"{8 * given.fields} fields, {found} objects, catalog {catalog_mb:.0f} MB")
    print(f"{took:.1f} s, {peak_mb:.0f} MB at most; {sizes}")


if __name__ == "__main__":
    main()
