"""`retarder`: a check of polarization on a uniform plate of known retardation.

The medians of both states over the field, darkness and leakage taken off, tell the plate's retardation as those of an
object tell its thickness: R = lambda / pi atan2(sqrt(crossed), sqrt(parallel)); beyond half a wave it reads
lambda - R. Leakage that is coherent turns the result with the direction of the plate's axis, by up to
lambda / pi sqrt(coherent); the mean of two directions a right angle apart is free of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibration.objects.birefringence import calcite_birefringence, thickness_um, unmixed
from calibration.routines.place_finding import refuse_bad_light
from calibration.routines.polarization import Band
from calibration.steps import Map, NotUsable, Outcome, Quantity, Routine, Shot

PLANES = 8
EVEN = 0.1
"""Relative scatter of the field above which it is not that of a uniform plate."""

MOST_DEVIATIONS = 4.0
MOST_UNSURE, LEAST_NM = 0.25, 20.0
"""Of the retardation that is expected, what may be unsure for the plate to prove anything."""
"""Difference, in standard uncertainties, beyond which something is wrong."""


@dataclass(frozen=True)
class States:
    """What a calibration of polarization found: see `calibration.routines.polarization`."""

    leakage: float
    coherent: float
    ratio: float
    ratio_deviation: float


def retarder(
    x_um: float,
    y_um: float,
    z_um: float,
    states: tuple[str, str],
    exposures_ms: tuple[float, float],
    light: Band,
    found: States,
    known_nm: float,
    known_deviation_nm: float,
    full_dn: int = 65535,
) -> Routine:
    """Measure the retardation of a plate that fills the field.

    Parameters
    ----------
    states
        names of crossed and parallel.
    exposures_ms
        of them.
    known_nm
        retardation by the plate's certificate.
    known_deviation_nm
        its standard uncertainty.

    Raises
    ------
    NotUsable
        The field is saturated, dark, or not even, or the plate reads something else than its certificate says.
    """
    dark = yield Shot(x_um, y_um, z_um, 0.0, PLANES, states, exposures_ms, lit=False)
    offsets = np.median(dark.stack, axis=1)
    shown = yield Shot(x_um, y_um, z_um, 0.0, PLANES, states, exposures_ms)
    refuse_bad_light(shown.stack, full_dn, bright=False)
    signals = shown.stack.mean(axis=1, dtype=np.float32) - offsets
    crossed, parallel = (signal / exposure for signal, exposure in zip(signals, exposures_ms, strict=True))
    total = crossed + parallel
    middle = float(np.median(total))
    if not middle > 0:
        raise NotUsable("the field is dark in both states; check lamp and shutter")
    share = crossed / np.maximum(total, 1e-9)
    scatter = 1.4826 * float(np.median(np.abs(share - np.median(share))))
    if scatter > EVEN * max(float(np.median(share)), EVEN):
        raise NotUsable(f"the field is not even, it scatters by {scatter:.1%} of its light; bring the plate into place")
    apart = unmixed(np.median(crossed), np.median(parallel), found.leakage)
    retardation = _retardation_nm(float(apart[0]), float(apart[1]), light.wavelength_um, found.ratio)
    wave_nm = 1e3 * light.wavelength_um
    angle = math.pi * retardation / wave_nm
    turned = wave_nm / math.pi * math.sqrt(found.coherent / 2)
    by_ratio = wave_nm / (2 * math.pi) * math.sin(angle) * math.cos(angle) * found.ratio_deviation / found.ratio
    by_wavelength = retardation * light.deviation_um / light.wavelength_um
    deviation = math.hypot(turned, by_ratio, by_wavelength)
    expected = known_nm % wave_nm
    expected = min(expected, wave_nm - expected)
    difference, both = retardation - expected, math.hypot(deviation, known_deviation_nm)
    if both > MOST_UNSURE * max(expected, LEAST_NM):
        raise NotUsable(
            f"the plate reads {retardation:.1f} +- {both:.1f} nm, too unsure to judge {expected:.1f} nm by; calibrate "
            "polarization on more objects first"
        )
    if abs(difference) > MOST_DEVIATIONS * both:
        raise NotUsable(
            f"the plate reads {retardation:.1f} nm where {expected:.1f} nm are expected, {abs(difference) / both:.0f} "
            "times the uncertainty; see whether it is in place, and calibrate polarization again"
        )
    birefringence = calcite_birefringence(light.wavelength_um)
    return Outcome(
        values={
            "retardation": Quantity(retardation, deviation, "nm"),
            "difference": Quantity(difference, both, "nm"),
            "calcite": Quantity(retardation / 1e3 / birefringence, deviation / 1e3 / birefringence, "um"),
        },
        pictures=(Map("Crossed light over that of both states", "1", share.astype(np.float32)),),
        residuals={"evenness": Quantity(scatter, scatter / math.sqrt(2 * share.size), "1")},
    )


def _retardation_nm(crossed: float, parallel: float, wavelength_um: float, ratio: float) -> float:
    """Retardation of light without leakage: the thickness of a crystal whose birefringence is 1."""
    return 1e3 * float(thickness_um(np.array(crossed / ratio), np.array(parallel), wavelength_um, 1.0))
