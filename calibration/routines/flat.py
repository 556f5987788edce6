"""The flat field of each polarization: the light of an empty field, and how much each pixel makes of it.

Written down before any of it was measured:

- Many fields are exposed out of focus, each several times; dark frames of the same exposures are taken off. A state
  that is much darker than the brightest one is exposed longer, so that it is told as well.
- The lamp wavers, so every field is scaled by the median of its ratio to what is known so far of the flat field.
- Objects lie elsewhere in every field: of each pixel the mean over the fields is taken of what lies within three
  standard deviations of their median. On a blank slide hardly anything is left out.
- A pixel turns light into DN the same way in every state, so what the states differ in is the light's own and smooth:
  the ratio of a state to the brightest one, which has least noise, is smoothed over 3 px.
- The flat field of a state is that over its mean; a pixel that lies more than 30 % off its 5 x 5 neighbours is bad.
- Residual: every other field makes a flat field of its own; half the root mean square of their difference.

The crossed state is lit by what leaks through the polarizers; where that is uneven, so is its flat field.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from calibration.images.frames import Image, beside, noise_dn, refuse_no_light, refuse_saturated
from calibration.steps import Curve, Map, NotUsable, Outcome, Quantity, Routine, Shot, ShotResult

OUTLIER_SIGMAS = 3.0
SMOOTH_PX = 3.0
ROUNDS = 2
"""Of scaling the fields to the flat field that the last round gave."""
LONGEST_MS = 1000.0
MOST_SATURATED = 0.3
"""Share of a field that bright objects may saturate; they are left out like any object."""
BAD_SHARE = 0.3
MOST_RESIDUAL = 0.005
MOST_BAD_SHARE = 0.01
STRIP_ROWS = 64
"""Rows that are worked out at a time, which bounds the memory."""
SAMPLED = 4
"""Every so many rows and columns tell how bright a field is."""
FEWEST_FIELDS = 4

Fields = NDArray[np.uint16]
"""Means of the frames of each field, (N, H, W)."""


@dataclass(frozen=True)
class _StateExposures:
    """What was exposed in one polarization: fields, and darkness of the same exposure (H, W)."""

    name: str
    exposure_ms: float
    fields: Fields
    dark: Image


def flat(
    places: Sequence[tuple[float, float]],
    z_um: float,
    states: Sequence[str],
    exposures_ms: Sequence[float],
    planes: int,
) -> Routine:
    """Expose `planes` frames (2 or more) of each place (4 or more), one state after the other.

    Parameters
    ----------
    places
        stage x and y in um, far enough apart to show other objects each.
    z_um
        out of focus.
    exposures_ms
        of a night, along `states`.
    """
    if len(places) < FEWEST_FIELDS:
        raise NotUsable(f"only {len(places)} fields fit on the mini-slide, and a flat field needs {FEWEST_FIELDS}")
    chosen_ms = yield from _choose_exposures(places[0], z_um, states, exposures_ms)
    exposed = []
    for name, exposure_ms in zip(states, chosen_ms, strict=True):
        exposed.append((yield from _expose(places, z_um, name, exposure_ms, planes)))
    return _judge(exposed)


def _choose_exposures(
    place: tuple[float, float], z_um: float, states: Sequence[str], exposures_ms: Sequence[float]
) -> Generator[Shot, ShotResult, list[float]]:
    """Lengthen the exposure of a state that is darker than the brightest, to a second at most."""
    names, usual_ms = tuple(states), tuple(exposures_ms)
    dark = (yield Shot(*place, z_um, 0.0, 2, names, usual_ms, lit=False)).stack.copy()
    lit = (yield Shot(*place, z_um, 0.0, 2, names, usual_ms)).stack
    signals = np.median(lit, axis=(1, 2, 3)) - np.median(dark, axis=(1, 2, 3))
    brightest = int(np.argmax(signals))
    refuse_no_light(float(signals[brightest]), noise_dn(dark[brightest]), names[brightest], usual_ms[brightest])
    for number, name in enumerate(names):
        refuse_saturated(lit[number], name, usual_ms[number])
    wanted = float(signals[brightest])
    longer = [wanted / max(float(signal), 1e-3 * wanted) for signal in signals]
    return [max(ms, min(times * ms, LONGEST_MS)) for times, ms in zip(longer, usual_ms, strict=True)]


def _expose(
    places: Sequence[tuple[float, float]], z_um: float, name: str, exposure_ms: float, planes: int
) -> Generator[Shot, ShotResult, _StateExposures]:
    fields: Fields | None = None
    for number, (x_um, y_um) in enumerate(places):
        stack = (yield Shot(x_um, y_um, z_um, 0.0, planes, (name,), (exposure_ms,))).stack[0]
        refuse_saturated(stack, name, exposure_ms, MOST_SATURATED)
        if fields is None:
            fields = np.empty((len(places), *stack.shape[1:]), np.uint16)
        np.rint(stack.mean(0, dtype=np.float32), out=fields[number], casting="unsafe")
    darkness = (yield Shot(*places[-1], z_um, 0.0, planes, (name,), (exposure_ms,), lit=False)).stack[0]
    assert fields is not None
    dark, noise = darkness.mean(0, dtype=np.float32), noise_dn(darkness)
    refuse_no_light(float(np.median(fields[0] - dark)), noise / np.sqrt(planes), name, exposure_ms)
    return _StateExposures(name, exposure_ms, fields, dark)


def _judge(exposed: Sequence[_StateExposures]) -> Outcome:
    flats, used = _flats(exposed, slice(None))
    halves = [_flats(exposed, slice(start, None, 2))[0] for start in (0, 1)]
    bad = np.zeros(exposed[0].dark.shape, np.bool_)
    for one in flats:
        bad |= np.abs(one - beside(one)) > BAD_SHARE
    if bad.mean() > MOST_BAD_SHARE:
        raise NotUsable(
            f"{bad.mean():.1%} of the pixels differ by more than {BAD_SHARE:.0%} from those around them; look for dirt "
            "on the camera, and whether a stage that stands still shows the same objects everywhere"
        )
    # Whoever divides by a flat field shall not divide by the nothing of a dead pixel.
    flats = [np.where(bad, beside(one), one) for one in flats]
    values, residuals, arrays = {}, {}, {"bad": bad.astype(np.float32)}
    pictures: list[Curve | Map] = []
    good = ~bad
    for number, state in enumerate(exposed):
        difference = (halves[0][number] - halves[1][number])[good]
        residual = float(np.sqrt(np.mean(difference**2))) / 2
        if not residual <= MOST_RESIDUAL:
            raise NotUsable(
                f"the flat field of {state.name} is uncertain by {residual:.2%}, more than {MOST_RESIDUAL:.1%}; take a "
                "blank or thinly settled mini-slide, or a brighter lamp"
            )
        spread = float(flats[number][good].std())
        # What is left of noise adds its square to that of the spread.
        values[f"spread_{state.name}"] = Quantity(spread, residual**2 / (2 * max(spread, residual)), "share")
        values[f"exposure_{state.name}"] = Quantity(state.exposure_ms, 0.0, "ms")
        values[f"left_out_{state.name}"] = Quantity(1 - used[number], 0.0, "share")
        error = residual / float(np.sqrt(2 * (len(state.fields) - 1)))
        residuals[f"flat_{state.name}"] = Quantity(residual, error, "share")
        arrays[f"flat_{state.name}"] = flats[number]
        pictures.append(Map(f"Flat field, {state.name}", "over its mean", flats[number]))
        pictures.append(_profile(f"Middle rows, {state.name}", flats[number]))
    values["bad"] = Quantity(float(bad.sum()), 0.0, "px")
    return Outcome(values=values, arrays=arrays, pictures=tuple(pictures), residuals=residuals)


def _flats(exposed: Sequence[_StateExposures], fields: slice) -> tuple[list[Image], list[float]]:
    """Flat field of each state from some of the fields, and the share of field pixels that it rests on."""
    raw, used = zip(*(_combine(state.fields[fields], state.dark) for state in exposed), strict=True)
    brightest = int(np.argmax([np.median(state.fields[0] - state.dark) for state in exposed]))
    flats = []
    for number, one in enumerate(raw):
        if number != brightest:
            ratio = one / np.maximum(raw[brightest], 1e-6)
            around = beside(ratio)
            # One hot pixel would make a dent of its whole neighbourhood.
            ratio = np.where(np.abs(ratio - around) > BAD_SHARE, around, ratio)
            smooth = gaussian_filter(ratio, SMOOTH_PX, mode="reflect")
            one = raw[brightest] * smooth
        flats.append(np.asarray(one / one.mean(), np.float32))
    return flats, list(used)


def _combine(fields: Fields, dark: Image) -> tuple[Image, float]:
    """Mean over the fields of what is no object, and the share of what went into it."""
    sparse = fields[:, ::SAMPLED, ::SAMPLED] - dark[::SAMPLED, ::SAMPLED]
    scales = np.median(sparse, axis=(1, 2))
    image, used = np.zeros(dark.shape, np.float32), 0.0
    for _ in range(ROUNDS):
        used = 0.0
        for top in range(0, dark.shape[0], STRIP_ROWS):
            rows = slice(top, top + STRIP_ROWS)
            light = (fields[:, rows] - dark[rows]) / scales[:, None, None].astype(np.float32)
            middle = np.median(light, axis=0)
            off = np.abs(light - middle)
            sigma = 1.4826 * float(np.median(off))
            kept = off <= OUTLIER_SIGMAS * sigma
            image[rows] = np.where(kept, light, 0).sum(0) / np.maximum(kept.sum(0), 1)
            used += float(kept.mean()) * light.shape[1] / dark.shape[0]
        scales = np.median(sparse / np.maximum(image[::SAMPLED, ::SAMPLED], 1e-6), axis=(1, 2))
    return image, used


def _profile(title: str, image: Image) -> Curve:
    """Mean of the rows in the middle, along x."""
    height, width = image.shape
    rows = image[height // 2 - height // 32 : height // 2 + height // 32]
    step = max(1, width // 256)
    cut = rows[:, : width // step * step].reshape(len(rows), -1, step).mean(axis=(0, 2))
    x = (np.arange(len(cut)) + 0.5) * step
    return Curve(title, "x (px)", "over the mean", x, np.asarray(cut, np.float64))
