"""From calibration records to what measuring takes off a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibration.corrections import Corrections
from calibration.record import CalibrationRecord, RecordDamaged
from daemon.calibrations import Arrays, Shelf
from daemon.config import Night
from daemon.errors import Refused


def corrections_of(config: Night, names: Sequence[str]) -> Corrections:
    """Build the corrections of a night from the records that it names; assumed values where it names none.

    Raises
    ------
    Refused
        A record is gone, has been changed since the night began, or lacks a number, or its arrays do not fit the
        frame.
    """
    shelf = Shelf(config.calibration.folder)
    found: dict[str, tuple[CalibrationRecord, Arrays]] = {}
    for name in names:
        try:
            record, arrays = shelf.load(name)
        except RecordDamaged as error:
            raise Refused(
                f"the calibration {name} in {config.calibration.folder} cannot be used: {error}; put it back as it was"
            ) from error
        for key, values in arrays.items():
            if values.shape != config.instrument.frame_px:
                raise Refused(
                    f"{key} of the calibration {name} is {values.shape[0]} x {values.shape[1]} px, but "
                    f"instrument.frame_px is {list(config.instrument.frame_px)}; calibrate anew"
                )
        found[record.routine] = record, arrays
    return _corrections(config, found, tuple(names))


class _Numbers:
    """The values of a record by name; refuses where it lacks one that is needed."""

    def __init__(self, record: CalibrationRecord) -> None:
        self._record = record

    def __getitem__(self, name: str) -> float:
        record = self._record
        if name not in record.values:
            raise Refused(f"the calibration {record.routine} of {record.taken:%Y-%m-%d} lacks {name}; calibrate anew")
        return record.values[name].value


def _corrections(
    config: Night, found: dict[str, tuple[CalibrationRecord, Arrays]], names: tuple[str, ...]
) -> Corrections:
    states = config.scan.polarizations
    exposures_ms = tuple(config.instrument.polarizations[state].exposure_ms for state in states)
    corrections = replace(Corrections.assumed(config.instrument.frame_px, exposures_ms), records=names)
    for routine, (record, arrays) in found.items():
        values = _Numbers(record)
        match routine:
            case "dark":
                bad = corrections.bad | (arrays["bad"] > 0)
                corrections = replace(corrections, offset_dn=arrays["offset_dn"], bad=bad)
            case "flat":
                flat = np.stack(
                    [arrays.get(f"flat_{s}", even) for s, even in zip(states, corrections.flat, strict=True)]
                )
                corrections = replace(corrections, flat=flat, bad=corrections.bad | (arrays["bad"] > 0))
            case "camera":
                corrections = replace(
                    corrections,
                    dn_per_electron=values["gain"],
                    read_noise_dn=values["read_noise"],
                    full_dn=int(values["saturation"]),
                )
            case "polarization":
                corrections = replace(
                    corrections,
                    ratio=values["ratio"],
                    shift_px=(values["shift_x"], values["shift_y"]),
                    leakage=values["leakage"],
                    leakage_deviation=values["leakage_deviation"],
                )
    return corrections
