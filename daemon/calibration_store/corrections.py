"""From calibration records to what measuring takes off a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from calibration.corrections import Corrections
from calibration.record import CalibrationRecord, RecordDamaged
from daemon.calibration_store.shelf import Arrays, Shelf
from daemon.config.model import NightConfig
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import NightStarted
from daemon.system.errors import Refused
from inference.views.fixed_pattern import FixedPattern

OF_EVERY_PIXEL = ("dark", "flat")
"""Routines whose arrays are taken off frames."""
_UNTOLD_MS = 1.0
"""Stands for the exposures of a stack that does not say them: equal ones."""


def corrections_of(config: NightConfig, names: Sequence[str]) -> Corrections:
    """Build the corrections of a night from the records that it names; assumed values where it names none.

    Raises
    ------
    Refused
        A record is gone, has been changed since the night began, or lacks a number, or its arrays do not fit the
        frame.
    """
    states = config.scan.polarizations
    exposures_ms = tuple(config.instrument.polarizations[state].exposure_ms for state in states)
    return read(config.calibration.folder, tuple(names), config.instrument.frame_px, states, exposures_ms)


def corrections_of_field(provenance: FieldProvenance, folder: Path | None) -> Corrections:
    """Build those of a recorded field from the records that it names, which lie in a folder; see `corrections_of`.

    Parameters
    ----------
    folder
        None where it names none.
    """
    channels, _, height, width = provenance.shape_czyx
    exposures_ms = provenance.exposures_ms or (_UNTOLD_MS,) * channels
    names = provenance.calibrations
    return read(folder or Path(), names, (height, width), provenance.polarizations, exposures_ms)


def pattern_of(corrections: Corrections) -> FixedPattern | None:
    """Give what is taken off frames before anything is looked for; None where nothing was calibrated."""
    if not corrections.records:
        return None
    return FixedPattern(corrections.offset_dn, corrections.flat)


def folder_of(started: NightStarted) -> Path | None:
    """Return where the records lie that a night names; None where it names none.

    Raises
    ------
    Refused
        Its configuration does not say.
    """
    if not started.calibrations:
        return None
    try:
        return Path(yaml.safe_load(started.configuration)["calibration"]["folder"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise Refused(
            f"the configuration of night {started.night} does not say where its calibrations lie ({error}); name the "
            "folder with --calibrations"
        ) from error


@lru_cache(maxsize=4)
def read(
    folder: Path,
    names: tuple[str, ...],
    frame_px: tuple[int, int],
    states: tuple[str, ...],
    exposures_ms: tuple[float, ...],
) -> Corrections:
    """Build corrections from records of a folder; see `corrections_of`.

    Parameters
    ----------
    frame_px
        height, width.
    states
        names of the polarizations along C.
    exposures_ms
        of each of them, along C.
    """
    shelf = Shelf(folder)
    found: dict[str, tuple[CalibrationRecord, Arrays]] = {}
    for name in names:
        try:
            record, arrays = shelf.load(name)
        except RecordDamaged as error:
            raise Refused(
                f"the calibration {name} in {folder} cannot be used: {error}; put it back as it was"
            ) from error
        for key, values in arrays.items() if record.routine in OF_EVERY_PIXEL else ():
            if values.shape != frame_px:
                raise Refused(
                    f"{key} of the calibration {name} is {values.shape[0]} x {values.shape[1]} px, but frames are "
                    f"{list(frame_px)} (instrument.frame_px); calibrate again"
                )
        found[record.routine] = record, arrays
    assumed = replace(Corrections.assumed(frame_px, exposures_ms), records=names)
    return _corrected(assumed, states, found)


class _RecordValues:
    """The values of a record by name; refuses where it lacks one that is needed."""

    def __init__(self, record: CalibrationRecord) -> None:
        self._record = record

    def __getitem__(self, name: str) -> float:
        record = self._record
        if name not in record.values:
            raise Refused(f"the calibration {record.routine} of {record.taken:%Y-%m-%d} lacks {name}; calibrate again")
        return record.values[name].value


def _corrected(
    corrections: Corrections, states: tuple[str, ...], found: dict[str, tuple[CalibrationRecord, Arrays]]
) -> Corrections:
    for routine, (record, arrays) in found.items():
        values = _RecordValues(record)
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
            case "pixel-size":
                corrections = replace(corrections, pixel_um=values["pixel"])
            case "polarization":
                corrections = replace(
                    corrections,
                    ratio=values["ratio"],
                    shift_px=(values["shift_x"], values["shift_y"]),
                    leakage=values["leakage"],
                    leakage_deviation=values["leakage_deviation"],
                    wavelength_um=values["wavelength"],
                )
    return corrections
