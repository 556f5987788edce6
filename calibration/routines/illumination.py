"""How steady the light is: its drift over minutes and its flicker from frame to frame.

Written down before it was measured: one place is exposed again and again, some frames each time, until the time is
up. The light of a frame is its mean above darkness. Flicker is the root mean square of the differences of frames that
follow each other at once, over the root of two; drift is the range of the means of the shots; the trend is a straight
line.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calibration.images.frames import noise_dn, refuse_no_light, refuse_saturated
from calibration.steps import Curve, NotUsable, Outcome, Quantity, Routine, Shot

MOST_DRIFT = 0.05
FEWEST_SHOTS = 3


def illumination(
    x_um: float,
    y_um: float,
    z_um: float,
    state: str,
    exposure_ms: float,
    planes: int,
    duration_s: float,
    every_s: float,
) -> Routine:
    """Expose `planes` frames (2 or more) every `every_s` seconds for `duration_s`, by the clock that read the frames.

    Parameters
    ----------
    z_um
        out of focus.
    state
        the bright one.
    exposure_ms
        of a night.
    """
    at = Shot(x_um, y_um, z_um, 0.0, planes, (state,), (exposure_ms,))
    darkness = (yield Shot(x_um, y_um, z_um, 0.0, 2, (state,), (exposure_ms,), lit=False)).stack[0]
    dark_dn, noise = float(darkness.mean(dtype=np.float64)), noise_dn(darkness)
    frames, times = [], []
    wait_s = 0.0
    # Bounded also where the clock stands still.
    for number in range(1, math.ceil(duration_s / every_s) + 2):
        shown = yield Shot(x_um, y_um, z_um, 0.0, planes, (state,), (exposure_ms,), wait_s=wait_s)
        light = shown.stack[0].mean(axis=(1, 2), dtype=np.float64) - dark_dn
        refuse_no_light(float(light.min()), noise, state, exposure_ms)
        refuse_saturated(shown.stack[0], state, exposure_ms)
        frames.append(light)
        times.append(shown.monotonic_s[0])
        if times[-1][-1] - times[0][0] >= duration_s:
            break
        wait_s = max(0.0, times[0][0] + number * every_s - times[-1][-1])
    return _judge(np.array(frames), np.array(times) - times[0][0], at)


def _judge(light: NDArray[np.float64], seconds: NDArray[np.float64], at: Shot) -> Outcome:
    """Judge the light of frames (shots, planes) and when they were read."""
    shots, planes = light.shape
    if shots < FEWEST_SHOTS:
        raise NotUsable(
            f"only {shots} shots were taken in the time, and {FEWEST_SHOTS} are needed; take them more often"
        )
    mean = float(light.mean())
    share = light / mean
    flicker = float(np.sqrt(np.mean(np.diff(share, axis=1) ** 2) / 2))
    flicker_error = flicker / math.sqrt(2 * shots * (planes - 1))
    levels, when = share.mean(1), seconds.mean(1)
    error = flicker / math.sqrt(planes)
    drift = float(np.ptp(levels))
    slope, middle = np.polyfit(when, levels, 1)
    line = slope * when + middle
    residual = float(np.sqrt(np.mean((levels - line) ** 2)))
    slope_error = max(error, residual) / math.sqrt(float(((when - when.mean()) ** 2).sum()))
    if not drift <= MOST_DRIFT:
        raise NotUsable(
            f"the light changed by {drift:.1%} in {when[-1] / 60:.1f} min, more than {MOST_DRIFT:.0%}; let the lamp "
            "warm up, or have it looked at"
        )
    first = share - levels[:, None] + 1
    within = seconds - seconds[:, :1]
    return Outcome(
        values={
            "drift": Quantity(drift, error * math.sqrt(2), "share"),
            "flicker": Quantity(flicker, flicker_error, "share"),
            "trend": Quantity(float(slope) * 3600, slope_error * 3600, "share/h"),
            "light": Quantity(
                mean, mean * error / math.sqrt(shots), f"DN in {at.exposures_ms[0] if at.exposures_ms else 0:g} ms"
            ),
        },
        pictures=(
            Curve("Light over time", "time (min)", "over its mean", when / 60, levels, line),
            Curve("Frames of each shot", "time within the shot (s)", "over their mean", within.ravel(), first.ravel()),
        ),
        residuals={"line": Quantity(residual, residual / math.sqrt(2 * shots), "share")},
    )
