"""The camera without light: offset of each pixel, read noise, dark current, hot and dead pixels.

Written down before any of it was measured:

- the offset of a pixel is its mean over all frames at the longest exposure that a night uses;
- read noise is the standard deviation of a pixel from frame to frame, its root mean square over sound pixels; the
  rounding to whole DN is part of it, as it is of every frame;
- a pixel is hot (or cold) where its offset lies more than 5 read noises above (or below) the median of the 5 x 5 around
  it, noisy where it varies more than 5 times as much as the median pixel, dead where it never varies though others do;
- darkness shows at most a tenth of the camera's range, and 0.3 % of it (or 1 DN) as noise: beyond it light gets in.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from calibration.images.frames import beside
from calibration.steps import Curve, Map, NotUsable, Outcome, Quantity, Routine, Shot, ShotResult

HOT_NOISES = 5.0
NOISY_TIMES = 5.0
LEAST_NOISE_DN = 1.0
"""Below it a sound pixel may well show one value only."""
LONG_TIMES = 10.0
LONGEST_MS = 1000.0
"""Dark current is seen between the exposure of a night and ten times that, at most a second."""
MOST_GROWTH_NOISES = 10.0
MOST_BAD_SHARE = 0.01
MOST_ZERO_SHARE = 0.01
MOST_LEVEL, MOST_NOISE = 0.1, 0.003
"""Of the camera's range, what darkness may show: level and noise."""

Sums = NDArray[np.float64]


def dark(
    x_um: float,
    y_um: float,
    z_um: float,
    state: str,
    exposure_ms: float,
    planes: int,
    shots: int,
    full_dn: int = 65535,
) -> Routine:
    """Expose without light, `shots` times `planes` frames (2 shots or more, 2 planes or more).

    Parameters
    ----------
    x_um
        where the XY stage stands meanwhile; it matters little.
    y_um
        where the XY stage stands meanwhile; it matters little.
    z_um
        where the focus drive stands meanwhile; it matters little.
    state
        polarization that is set meanwhile.
    exposure_ms
        the longest of a night.
    full_dn
        at which the camera is saturated.

    Raises
    ------
    NotUsable
        Light gets in, or the camera is not one that can be measured with.
    """
    halves: list[Sums] = []
    squares, levels = np.zeros(0), []
    at = Shot(x_um, y_um, z_um, 0.0, planes, (state,), (exposure_ms,), lit=False)
    for number in range(shots):
        frames = yield from _frames(at)
        if number == 0:
            _refuse_cut(frames)
            _refuse_light(frames, full_dn)
            squares = np.zeros(frames.shape[1:])
            halves = [np.zeros(frames.shape[1:]), np.zeros(frames.shape[1:])]
        for frame in frames:
            # About its first value a sum of squares keeps its digits.
            halves[number % 2] += frame
            squares += frame.astype(np.float64) ** 2
            levels.append(float(np.mean(frame)))
    long_ms = max(min(LONG_TIMES * exposure_ms, LONGEST_MS), 2 * exposure_ms)
    long = yield from _frames(Shot(x_um, y_um, z_um, 0.0, planes, (state,), (long_ms,), lit=False))
    count = planes * shots
    offset = (halves[0] + halves[1]) / count
    variance = np.maximum(squares - count * offset**2, 0) / (count - 1)
    return _judge(offset, variance, count, exposure_ms, long_ms, long.mean(0), levels, _halves(halves, planes, shots))


def _frames(shot: Shot) -> Generator[Shot, ShotResult, NDArray[np.uint16]]:
    shown = yield shot
    return np.asarray(shown.stack[0])


def _refuse_cut(frames: NDArray[np.uint16]) -> None:
    zero = float(np.mean(frames == 0))
    if zero > MOST_ZERO_SHARE:
        raise NotUsable(
            f"without light {zero:.0%} of the pixels hold 0 DN, so the camera cuts off its noise or lost its data; "
            "raise the camera's offset, or check its link"
        )


def _refuse_light(frames: NDArray[np.uint16], full_dn: int) -> None:
    """Refuse what no camera shows in darkness, however evenly it does: all else is judged against the noise itself."""
    level, apart = float(np.median(frames)), np.diff(frames.astype(np.float32), axis=0)
    noise = 1.4826 * float(np.median(np.abs(apart - np.median(apart)))) / float(np.sqrt(2))
    if level > MOST_LEVEL * full_dn or noise > max(MOST_NOISE * full_dn, LEAST_NOISE_DN):
        raise NotUsable(
            f"without light the frames show {level:.0f} DN and a noise of {noise:.0f} DN, of {full_dn} DN in all: "
            "light gets in; close the shutter and darken the room, or correct the camera's offset and gain"
        )


def _halves(halves: list[Sums], planes: int, shots: int) -> Sums:
    """Difference of the offsets that every other shot says."""
    odd = shots // 2
    return np.asarray(halves[0] / (planes * (shots - odd)) - halves[1] / (planes * odd))


def _judge(
    offset: Sums,
    variance: Sums,
    count: int,
    exposure_ms: float,
    long_ms: float,
    long: Sums,
    levels: list[float],
    halves: Sums,
) -> Outcome:
    noise = np.sqrt(variance)
    typical = float(np.sqrt(np.median(variance)))
    if not typical > 0:
        raise NotUsable("without light frames do not differ at all; check the camera's link and its mode")
    above = offset - beside(offset.astype(np.float32))
    hot, cold = above > HOT_NOISES * typical, above < -HOT_NOISES * typical
    noisy = noise > NOISY_TIMES * typical
    dead = (noise == 0) & (typical > LEAST_NOISE_DN)
    bad = hot | cold | noisy | dead
    if bad.mean() > MOST_BAD_SHARE:
        raise NotUsable(
            f"{bad.mean():.1%} of the pixels are hot, cold, noisy or dead, more than {MOST_BAD_SHARE:.0%}; check "
            "whether light gets in, and the camera's cooling"
        )
    good = ~bad
    read_noise = float(np.sqrt(variance[good].mean()))
    growth = (long - offset)[good]
    usual = growth[np.abs(growth - np.median(growth)) < HOT_NOISES * read_noise]
    between_ms = long_ms - exposure_ms
    current = float(usual.mean()) / between_ms
    if abs(current) * exposure_ms > MOST_GROWTH_NOISES * read_noise:
        raise NotUsable(
            f"without light the frame grows by {current:.3g} DN/ms, {current * exposure_ms:.0f} DN in the "
            f"{exposure_ms:g} ms of a night; close the shutter and darken the room, or cool the camera"
        )
    error = typical / np.sqrt(count)
    return Outcome(
        values={
            "offset": Quantity(float(offset[good].mean()), float(np.std(levels, ddof=1) / np.sqrt(count)), "DN"),
            "read_noise": Quantity(read_noise, read_noise / float(np.sqrt(2 * (count - 1) * good.sum())), "DN"),
            "dark_current": Quantity(current, float(usual.std() / np.sqrt(usual.size)) / between_ms, "DN/ms"),
            "hot": Quantity(float(hot.sum()), _wavering(above, HOT_NOISES * typical, error), "px"),
            "noisy": Quantity(float((noisy & ~hot).sum()), 0.0, "px"),
            "dead": Quantity(float((dead | cold).sum()), _wavering(-above, HOT_NOISES * typical, error), "px"),
        },
        arrays={"offset_dn": offset.astype(np.float32), "bad": bad.astype(np.float32)},
        pictures=(
            Map("Offset of each pixel", "DN", offset.astype(np.float32)),
            Map("Noise of each pixel", "DN", noise.astype(np.float32)),
            _histogram("Offsets of the pixels", "offset (DN)", offset[good]),
            _histogram("Noise of the pixels", "standard deviation (DN)", noise[good]),
        ),
        residuals={
            "repeatability": Quantity(float(np.std(halves[good]) / 2), error / float(np.sqrt(good.sum())), "DN")
        },
    )


def _wavering(values: Sums, limit: float, error: float) -> float:
    """Half the number of pixels so near to the limit that the error of their values may decide."""
    return float(np.count_nonzero(np.abs(values - limit) < error)) / 2


def _histogram(title: str, label: str, values: Sums) -> Curve:
    low, high = np.percentile(values, (0.1, 99.9))
    counts, edges = np.histogram(values, bins=60, range=(float(low), float(max(high, low + 1e-3))))
    return Curve(title, label, "pixels", (edges[1:] + edges[:-1]) / 2, counts.astype(np.float64))
