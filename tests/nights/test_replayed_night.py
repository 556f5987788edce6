"""A whole night on recorded stacks: a real one, and what an emulated night kept of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.records import FieldSecured, FieldSkipped
from daemon.system.errors import Exit
from tests.support.emulated_night import digest, lamelle, living, write_configuration
from tests.support.ome_zarr_files import image, said
from tests.support.places import CONFIGS, SHARED_DATA

MITOCHONDRIA = SHARED_DATA / "zstack-mitochondria-16bit"
FIRST_PLANE, SHARPEST_PLANE = 32, 51


@pytest.mark.skipif(not MITOCHONDRIA.is_dir(), reason=f"{MITOCHONDRIA} is not there")
def test_a_real_stack_is_replayed_and_its_best_plane_found(tmp_path: Path) -> None:
    config = yaml.safe_load((CONFIGS / "replay.yaml").read_text(encoding="utf-8"))
    config["instrument"]["replay"]["folder"] = str(MITOCHONDRIA)
    config["scan"]["samples"] = str(CONFIGS / "replay-samples.csv")
    config["scan"]["step_um"] = 0.05
    config["report"] = {"make": "never"}
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    run = tmp_path / "run"
    done = lamelle("scan", path, "--run", run)
    assert done.returncode == Exit.COMPLETE, done.stderr
    assert summarise(run).complete
    with Dataset.open(run) as dataset:
        (field,) = dataset.fields()
    assert isinstance(field, FieldSecured)
    assert field.focus.z_um is not None
    plane = FIRST_PLANE + (field.focus.z_um - field.first_z_um) / field.step_um
    assert abs(plane - SHARPEST_PLANE) <= 2
    assert not living(run)


def test_a_night_replays_what_another_kept(tmp_path: Path) -> None:
    taken = write_configuration(tmp_path, slides=2, fields=2, retention={"raw": "all"})
    assert lamelle("scan", taken, "--run", tmp_path / "taken").returncode == Exit.COMPLETE
    config = yaml.safe_load(taken.read_text(encoding="utf-8"))
    config["instrument"] |= {
        "name": f"replay {tmp_path}",
        "backend": "replay",
        "hardware": None,
        "emulation": None,
        "replay": {
            "folder": str(tmp_path / "taken" / "dataset"),
            "planes": "slide-{slide}/field-{field}-raw.ome.tif",
        },
    }
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = lamelle("scan", again, "--run", tmp_path / "again")
    assert done.returncode == Exit.COMPLETE, done.stderr
    with Dataset.open(tmp_path / "taken") as kept, Dataset.open(tmp_path / "again") as replayed:
        raw = {file.name: file.sha256 for one in secured(kept) for file in one.files if "-raw" in file.name}
        assert {file.name: file.sha256 for one in secured(replayed) for file in one.sources} == raw
        assert not any(one.sources for one in secured(kept))
    first, second = digest(tmp_path / "taken"), digest(tmp_path / "again")
    assert [(objects, pixels) for _, objects, pixels in first.values()] == [
        (objects, pixels) for _, objects, pixels in second.values()
    ]


def test_a_broken_well_costs_its_field_alone(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="comes with lamelle[formats]")
    wells, plate = ("A/1", "A/2", "A/3", "B/1"), tmp_path / "archive" / "plate.zarr"
    said(plate, "0.5", plate={"wells": [{"path": well} for well in wells]})
    truth = np.random.default_rng(0).integers(100, 1000, (1, 1, 3, 256, 256)).astype(np.uint16)
    for nth, well in enumerate(wells):
        said(plate / well, "0.5", well={"images": [{"path": "0"}]})
        image(plate / well / "0", "0.5", truth[0] + np.uint16(nth))
    zarr.core.sync.cleanup_resources()
    shutil.rmtree(plate / "A" / "1")
    piece = next(path for path in (plate / "A" / "3" / "0" / "0" / "c").rglob("*") if path.is_file())
    piece.write_bytes(bytes(100))
    config = yaml.safe_load((CONFIGS / "replay.yaml").read_text(encoding="utf-8"))
    config["instrument"]["frame_px"] = [256, 256]
    config["instrument"]["replay"] = {"folder": str(plate.parent)}
    config["scan"] |= {"samples": str(CONFIGS / "replay-samples.csv"), "fields": 4, "planes": 3}
    config["report"] = {"make": "never"}
    path, run = tmp_path / "night.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    told = "'plate.zarr', A/1 is not whole, so its field will be skipped: its well A/1 is missing"
    done = lamelle("scan", path, "--run", run)
    assert done.returncode == Exit.SKIPPED
    assert told in " ".join((done.stdout + done.stderr).split())
    with Dataset.open(run) as dataset:
        fields = {field.field: field for field in dataset.fields()}
        assert [one.sources[0].stack for one in secured(dataset)] == ["A/2/0", "B/1/0"]
    skipped = {nth: field.reason for nth, field in fields.items() if isinstance(field, FieldSkipped)}
    assert list(skipped) == [1, 3]
    assert "'plate.zarr', A/1: its well A/1 is missing" in skipped[1]
    assert "'plate.zarr', A/3/0: it is damaged" in skipped[3]


def secured(dataset: Dataset) -> list[FieldSecured]:
    return [one for one in dataset.fields() if isinstance(one, FieldSecured)]
