"""Micrographs of blood cells, which nothing here was made for, replayed as a night."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import yaml

from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.records import FieldSecured
from daemon.system.errors import Exit
from tests.support.emulated_night import lamelle, living
from tests.support.places import CONFIGS, SHARED_DATA

CELLS = SHARED_DATA / "rbc-coco"
BLURS_PX = (3.0, 1.5, 0.0, 1.5, 3.0)
"""Stand for planes out of focus, of pictures that have one."""
STEP_UM, SIDE_PX = 0.5, 416


@pytest.mark.skipif(not CELLS.is_dir(), reason=f"{CELLS} is not there")
@pytest.mark.parametrize(("pixel_um", "bits"), [(0.059, 16), (0.1, 8), (0.5, 16)])
def test_a_night_of_real_cells_completes(tmp_path: Path, pixel_um: float, bits: int) -> None:
    pictures = sorted(CELLS.glob("valid/*.jpg"))
    write_stacks(tmp_path / "stacks", pictures, 1 if bits == 8 else 200)
    run = tmp_path / "run"
    done = lamelle("scan", write_night(tmp_path, len(pictures), pixel_um), "--run", run)
    assert done.returncode == Exit.COMPLETE, done.stdout + done.stderr
    assert not living(run)
    assert (summarise(run).complete, summarise(run).not_analysed) == (True, 0)
    with Dataset.open(run) as dataset:
        rows = [row for field in dataset.fields() if isinstance(field, FieldSecured) for row in field.objects]
    assert rows
    named = [event for event in summarise(run).events if event.name == "not measured"]
    assert bool(named) == any(row.fault is not None for row in rows)


def write_stacks(folder: Path, pictures: list[Path], scale: int) -> None:
    folder.mkdir()
    for number, picture in enumerate(pictures, 1):
        grey = np.asarray(cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE), np.float32)
        planes = [cv2.GaussianBlur(grey, (0, 0), blur) if blur else grey for blur in BLURS_PX]
        stack = (np.stack(planes) * scale).astype(np.uint16)
        tifffile.imwrite(folder / f"field-{number:04d}.tif", stack, imagej=True, metadata={"axes": "ZYX"})


def write_night(folder: Path, fields: int, pixel_um: float) -> Path:
    config = yaml.safe_load((CONFIGS / "replay.yaml").read_text(encoding="utf-8"))
    config["instrument"] |= {
        "name": f"replay {folder}",
        "frame_px": [SIDE_PX, SIDE_PX],
        "pixel_um": pixel_um,
        "replay": {
            "folder": str(folder / "stacks"),
            "planes": "field-{field}.tif",
        },
    }
    config["scan"] |= {"fields": fields, "planes": len(BLURS_PX), "step_um": STEP_UM}
    config["scan"]["samples"] = str(CONFIGS / "replay-samples.csv")
    config["detector"] = {"keep_above": 0.05, "threshold": 0.1}
    config["report"] = {"make": "never"}
    path = folder / "night.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
