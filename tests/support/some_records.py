"""Calibration records as a shelf may hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from calibration.record import CalibrationRecord, TakenShot
from calibration.steps import Quantity
from daemon.calibration_store.shelf import Arrays, Shelf

NOW = datetime(2026, 11, 24, 15, 0, 0, tzinfo=UTC)
FRAME_PX = (64, 80)
SHOT = TakenShot(
    utc=NOW,
    x_um=15000.0,
    y_um=20000.5,
    first_z_um=-20.0,
    step_um=0.0,
    planes=4,
    polarizations=("parallel",),
    exposures_ms=(20.0,),
    lit=True,
    sha256="ab" * 32,
)
VALUES: dict[str, dict[str, float]] = {
    "dark": {"offset": 100.2, "read_noise": 3.5},
    "flat": {"bad": 0.0},
    "camera": {"gain": 2.21, "read_noise": 3.52, "saturation": 65535.0},
    "polarization": {
        "leakage": 0.0031,
        "leakage_deviation": 4e-4,
        "ratio": 0.98,
        "shift_x": 1.2,
        "shift_y": -0.7,
        "wavelength": 0.546,
    },
    "pixel-size": {"pixel": 0.0591},
    "trigger": {"offset": 0.01, "worst": 0.05, "planes": 9.0},
}


def a_record(routine: str = "camera", taken: datetime = NOW, days: float = 30, **changes: Any) -> CalibrationRecord:
    values = {name: Quantity(value, 0.01, "DN") for name, value in VALUES[routine].items()}
    plain: dict[str, Any] = {
        "routine": routine,
        "verdict": "usable",
        "values": values,
        "residuals": {"variance": Quantity(0.001, 0.0002, "share")},
        "taken": taken,
        "valid_until": taken + timedelta(days=days),
        "instrument": "emulated",
        "camera": "DemoCamera DCam",
        "frame_px": FRAME_PX,
        "slide": 1,
        "configuration_sha256": "cd" * 32,
        "versions": {"lamelle": "0.1.0"},
        "shots": (SHOT,),
    }
    return CalibrationRecord(**{**plain, **changes})


def arrays_of(routine: str) -> Arrays | None:
    bad = np.zeros(FRAME_PX, np.float32)
    ramp = np.linspace(0.9, 1.1, FRAME_PX[0] * FRAME_PX[1], dtype=np.float32).reshape(FRAME_PX)
    if routine == "dark":
        bad[3, 4] = 1
        return {"offset_dn": 100 * ramp, "bad": bad}
    if routine == "flat":
        bad[5, 6] = 1
        return {"flat_crossed": ramp, "flat_parallel": ramp[::-1], "bad": bad}
    if routine == "polarization":
        return {"leakage": np.full((3, 4), 0.003, np.float32)}  # a map in tiles, not of every pixel
    return None


def put(folder: Path, record: CalibrationRecord) -> str:
    shelf = Shelf(folder)
    name = shelf.new_name(record.routine, record.taken)
    shelf.put(name, record, arrays_of(record.routine), b"a picture")
    return name
