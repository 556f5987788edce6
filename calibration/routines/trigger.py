"""`trigger`: whether the focus drive truly goes where the camera's trigger should bring it.

Written down before any of it was tried: one place is exposed by steps, each height commanded and read back, and by
sequence, the camera stepping the drive, in turn. A frame of either is taken over its mean and blurred by 2 px, and what
is coarser than 8 px is taken off. The distance of two planes is the mean square of what differs. **Each plane by
sequence must be nearest to the plane by steps of the same height, in every pair**; a plane that is nearest to another
one was exposed elsewhere.

Between neighbouring planes, a parabola through the distances tells how far each lies off, in um.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.routines.place_finding import Area, find_objects, refuse_bad_light
from calibration.steps import Curve, NotUsable, Outcome, Quantity, Routine, Shot

Floats = NDArray[np.float64]

BLUR_PX, COARSE_PX = 2.0, 8.0
LEAST_CONTRAST = 1.2
"""By so much the nearest plane must stand out from the farthest, or the place shows too little."""


def trigger(area: Area, state: str, planes: int, step_um: float, pairs: int = 4, full_dn: int = 65535) -> Routine:
    """Expose a place by steps and by sequence, in turn.

    Parameters
    ----------
    planes
        of a night's stack; 3 or more.
    step_um
        between them.
    pairs
        how often each way is taken; 2 or more.

    Raises
    ------
    NotUsable
        Nothing to focus on, or a plane by sequence is not what it should be.
    """
    place, z_um = yield from find_objects(area, area.centre_um, state)
    first_z_um = min(max(z_um - (planes - 1) / 2 * step_um, area.search.low_um), area.search.high_um)
    found: list[Floats] = []
    for _ in range(pairs):
        looks = []
        for by_sequence in (False, True):
            shown = yield Shot(*place, first_z_um, step_um, planes, (state,), by_sequence=by_sequence)
            refuse_bad_light(shown.stack, full_dn, bright=False, saturated=0.05)
            looks.append([_look(frame) for frame in shown.stack[0]])
        found.append(np.array([[float(np.mean((one - other) ** 2)) for other in looks[0]] for one in looks[1]]))
    _judge(found)
    return _outcome(found, step_um)


def _look(frame: NDArray[np.uint16]) -> NDArray[np.float32]:
    image = frame.astype(np.float32) / max(float(frame.mean()), 1.0)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR_PX) - cv2.GaussianBlur(image, (0, 0), COARSE_PX), np.float32)


def _judge(found: Sequence[Floats]) -> None:
    """Refuse distances (by sequence, by steps) of which one is not least where it should be."""
    offs: Counter[int] = Counter()
    nearest: set[int] = set()
    for distances in found:
        least = np.argmin(distances, axis=1)
        nearest.update(least.tolist())
        offs.update((least - np.arange(len(least))).tolist())
    if set(offs) == {0}:
        contrast = min(float(np.median(distances.max(axis=1) / distances.min(axis=1))) for distances in found)
        if contrast < LEAST_CONTRAST:
            raise NotUsable("planes hardly differ from each other here; use a mini-slide with more objects")
        return
    taken = sum(offs.values())
    if len(nearest) == 1:
        raise NotUsable(
            "by sequence every plane shows the same height: the focus drive does not follow the camera's trigger; "
            "check cable and trigger mode, or set instrument.motion.z_sequence to false"
        )
    off = max((count, off) for off, count in offs.items() if off)[1]
    raise NotUsable(
        f"by sequence {taken - offs[0]} of {taken} planes show another height than by steps, most of them "
        f"{abs(off)} {'above' if off > 0 else 'below'} their own; trigger at the other edge of the exposure, lengthen "
        "it, or set instrument.motion.z_sequence to false"
    )


def _outcome(found: Sequence[Floats], step_um: float) -> Outcome:
    off_um = step_um * np.array([[_fine(row, plane) for plane, row in enumerate(one)] for one in found])[:, 1:-1]
    mean, spread = off_um.mean(axis=0), off_um.std(axis=0, ddof=1)
    count = off_um.shape[1]
    worst = int(np.argmax(np.abs(mean)))
    error = float(np.sqrt(np.mean(spread**2) / len(found)))
    return Outcome(
        values={
            "offset": Quantity(float(off_um.mean()), error / float(np.sqrt(count)), "um"),
            "worst": Quantity(float(mean[worst]), error, "um"),
            "planes": Quantity(float(count + 2), 0.0, "1"),
        },
        pictures=(
            Curve(
                "Planes by sequence, from where they are by steps",
                "plane",
                "off (um)",
                np.arange(1, count + 1, dtype=np.float64),
                mean,
            ),
        ),
        residuals={"repeatability": Quantity(float(np.sqrt(np.mean(spread**2))), error, "um")},
    )


def _fine(row: Floats, plane: int) -> float:
    """Least of a parabola through the distances to a plane and its neighbours, in planes from it; 0 at either end."""
    if not 0 < plane < len(row) - 1:
        return 0.0
    below, at, above = row[plane - 1 : plane + 2]
    bend = below - 2 * at + above
    return float((below - above) / (2 * bend)) if bend > 0 else 0.0
