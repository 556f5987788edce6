"""Gain, read noise, linearity and saturation of the camera, by photon transfer (Janesick 2007, Photon Transfer).

Light comes in electrons, whose number n varies by its root. With g DN an electron the signal S = g n varies by
V = g S + r^2, r being the read noise: the slope of variance over signal is the gain. Written down before it was
measured:

- One place is exposed out of focus, some frames at each of a dozen exposures between a fiftieth and 85 % of what
  saturates the camera, in an order that lets a drift of the lamp show as scatter, not as curvature. Darkness of the
  same exposure is taken off.
- The variance is that of each pixel from frame to frame, so that nothing fixed counts: neither the pixels' own gains
  nor what lies there. Each frame's mean over a block of 32 x 32 px is taken off first, so that a flickering lamp does
  not count. Of the blocks' ratios V / S the median is taken, so that what moves in one of them does not count.
- r is that of the dark frames; g is fitted to V - r^2 over the signals up to 70 % of saturation, each weighted by its
  error.
- Linearity is the greatest deviation of a signal from proportion to its exposure, as a share, from 5 % up.
- Saturation is the value at which most pixels of an overexposed frame lie.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.images.frames import noise_dn, refuse_no_light, refuse_saturated, saturated
from calibration.steps import Curve, NotUsable, Outcome, Quantity, Routine, Shot, ShotResult

BLOCK_PX = 32
LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.78, 0.85)
FITTED_UP_TO = 0.7
LINEAR_FROM = 0.05
SHORTER, SHORTENED = 8.0, 3
"""Where even the first exposure saturates, it is divided by this, so often at most."""
LONGER, LONGEST_MS = 2.0, 4000.0
MOST_OF_IT = 0.5
MOST_SCATTER = 0.05
MOST_NONLINEARITY = 0.03
FEWEST_BLOCKS = 4

Frames = NDArray[np.uint16]


@dataclass(frozen=True)
class _Level:
    """Signal and variance at one exposure, and the standard error of their ratio."""

    exposure_ms: float
    signal_dn: float
    ratio: float
    ratio_error: float
    dark_variance: float

    @property
    def variance(self) -> float:
        """Variance of a pixel, DN^2."""
        return self.signal_dn * self.ratio


@dataclass(frozen=True)
class _ExposurePlace:
    """Where all is exposed, and how often."""

    x_um: float
    y_um: float
    z_um: float
    state: str
    planes: int

    def shot(self, exposure_ms: float, lit: bool = True, planes: int | None = None) -> Shot:
        """Shot of one exposure."""
        count = planes or self.planes
        return Shot(self.x_um, self.y_um, self.z_um, 0.0, count, (self.state,), (exposure_ms,), lit=lit)


def photon_transfer(x_um: float, y_um: float, z_um: float, state: str, exposure_ms: float, planes: int) -> Routine:
    """Expose one place at a dozen exposures, `planes` frames each (3 or more).

    Parameters
    ----------
    z_um
        out of focus.
    state
        the bright one.
    exposure_ms
        of a night.
    """
    place = _ExposurePlace(x_um, y_um, z_um, state, planes)
    dark = (yield place.shot(exposure_ms, lit=False, planes=2)).stack[0].copy()
    offset = float(np.median(dark))
    dn_per_ms, saturation = yield from _find_saturation(place, exposure_ms, offset, noise_dn(dark))
    levels = []
    for share in (*LEVELS[::2], *LEVELS[-1::-2]):
        level_ms = share * (saturation - offset) / dn_per_ms
        lit = (yield place.shot(level_ms)).stack[0].copy()
        refuse_saturated(lit, state, level_ms, MOST_OF_IT)
        darkness = (yield place.shot(level_ms, lit=False)).stack[0]
        levels.append(_measure(level_ms, lit, darkness))
    return _judge(sorted(levels, key=lambda level: level.exposure_ms), saturation, offset)


def _find_saturation(
    place: _ExposurePlace, exposure_ms: float, offset: float, noise: float
) -> Generator[Shot, ShotResult, tuple[float, float]]:
    """DN per ms where nothing is saturated, and the DN at which all is."""
    for _ in range(SHORTENED):
        frame = (yield place.shot(exposure_ms, planes=2)).stack[0, 1].copy()
        if not saturated(frame):
            break
        exposure_ms /= SHORTER
    else:
        raise NotUsable(
            f"{place.state} is saturated even at {exposure_ms * SHORTER:.3g} ms; lower the lamp, or check whether the "
            "camera is read as it should be"
        )
    signal = float(np.median(frame)) - offset
    refuse_no_light(signal, noise, place.state, exposure_ms)
    long_ms = exposure_ms
    while not saturated(frame, MOST_OF_IT):
        long_ms *= LONGER
        if long_ms > LONGEST_MS:
            raise NotUsable(f"{place.state} does not saturate the camera at {long_ms / LONGER:.0f} ms; give more light")
        frame = (yield place.shot(long_ms, planes=2)).stack[0, 1].copy()
    return signal / exposure_ms, float(np.median(frame))


def _measure(exposure_ms: float, lit: Frames, dark: Frames) -> _Level:
    """Signal and variance of blocks, from frames (N, H, W) with and without light."""
    signals, variances = _blocks(lit)
    dark_means, dark_variances = _blocks(dark)
    if signals.size < FEWEST_BLOCKS:
        raise NotUsable(f"the frame holds {signals.size} blocks of {BLOCK_PX} px, and {FEWEST_BLOCKS} are needed")
    net = signals - dark_means
    ratios = variances / np.maximum(net, 1e-6)
    middle = float(np.median(ratios))
    # The error of a median is 1.253 times that of a mean.
    error = 1.253 * 1.4826 * float(np.median(np.abs(ratios - middle))) / np.sqrt(ratios.size)
    return _Level(exposure_ms, float(np.median(net)), middle, float(error), float(np.median(dark_variances)))


def _blocks(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance from frame to frame of each block of (N, H, W)."""
    count, height, width = frames.shape
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    means, variances = [], []
    for row in range(rows):
        band = frames[:, row * BLOCK_PX : (row + 1) * BLOCK_PX, : columns * BLOCK_PX].astype(np.float64)
        blocks = band.reshape(count, BLOCK_PX, columns, BLOCK_PX).transpose(0, 2, 1, 3).reshape(count, columns, -1)
        levels = blocks.mean(axis=2, keepdims=True)
        varying = (blocks - levels).var(axis=0, ddof=1)
        # A block's mean, which is taken off, holds a share of the noise of each of its pixels.
        variances.append(_trimmed(varying) * BLOCK_PX**2 / (BLOCK_PX**2 - 1))
        means.append(levels.mean(axis=(0, 2)))
    return np.concatenate(means), np.concatenate(variances)


def _trimmed(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the pixels of blocks (B, P) without those that vary beyond all chance."""
    # Where darkness is rounded to a single value nearly everywhere, a step of one is no outlier.
    most = np.maximum(12 * np.median(variances, axis=1, keepdims=True), 1.0)
    usual = variances <= most
    return np.asarray((variances * usual).sum(1) / usual.sum(1))


def _judge(levels: list[_Level], saturation: float, offset: float) -> Outcome:
    full = saturation - offset
    exposures = np.array([level.exposure_ms for level in levels])
    signals = np.array([level.signal_dn for level in levels])
    variances = np.array([level.variance for level in levels])
    errors = signals * np.array([level.ratio_error for level in levels])
    read_variances = np.array([level.dark_variance for level in levels])
    read_variance = float(np.mean(read_variances))
    fitted = signals <= FITTED_UP_TO * full
    weights = 1 / np.maximum(errors[fitted], 1e-9) ** 2
    gain = float((weights * signals[fitted] * (variances[fitted] - read_variance)).sum())
    gain /= float((weights * signals[fitted] ** 2).sum())
    off = variances / (gain * signals + read_variance) - 1
    chi = (variances[fitted] - gain * signals[fitted] - read_variance) / np.maximum(errors[fitted], 1e-9)
    spread = max(1.0, float(np.sqrt((chi**2).sum() / max(fitted.sum() - 1, 1))))
    gain_error = spread / float(np.sqrt((weights * signals[fitted] ** 2).sum()))
    scatter = float(np.sqrt(np.mean(off[fitted] ** 2)))
    if not (gain > 0 and scatter <= MOST_SCATTER):
        raise NotUsable(
            f"the variance strays by {scatter:.1%} from a straight line over the signal, more than {MOST_SCATTER:.0%}; "
            "switch automatic gain and noise filters of the camera off, and let nothing move in the field"
        )
    counted = signals >= LINEAR_FROM * full
    rate = float(np.median(signals[counted] / exposures[counted]))
    deviation = signals / (rate * exposures) - 1
    linearity = float(np.abs(deviation[counted]).max())
    if not linearity <= MOST_NONLINEARITY:
        raise NotUsable(
            f"the signal strays by {linearity:.1%} from proportion to the exposure, more than {MOST_NONLINEARITY:.0%}; "
            "let the lamp warm up, and check that the shutter stays open"
        )
    read_noise = float(np.sqrt(read_variance))
    read_error = float(np.std(np.sqrt(read_variances), ddof=1) / np.sqrt(len(levels)))
    lamp_error = float(np.std(deviation[counted], ddof=1))
    return Outcome(
        values={
            "gain": Quantity(gain, gain_error, "DN/e-"),
            "read_noise": Quantity(read_noise, read_error, "DN"),
            "saturation": Quantity(saturation, 0.5, "DN"),
            "full_well": Quantity(full / gain, full / gain * gain_error / gain, "e-"),
            "nonlinearity": Quantity(linearity, lamp_error, "share"),
            "light": Quantity(rate, rate * lamp_error, "DN/ms"),
        },
        pictures=(
            Curve(
                "Photon transfer", "signal (DN)", "variance (DN²)", signals, variances, gain * signals + read_variance
            ),
            Curve("Variance over the line", "signal (DN)", "deviation (%)", signals, 100 * off, 0 * off),
            Curve("Linearity", "exposure (ms)", "signal (DN)", exposures, signals, rate * exposures),
            Curve("Signal over the line", "signal (DN)", "deviation (%)", signals, 100 * deviation, 0 * deviation),
        ),
        residuals={"variance": Quantity(scatter, scatter / float(np.sqrt(2 * fitted.sum())), "share")},
    )
