"""`pixel-size`: what a move of the stage does to the image, from frames that overlap along two long arms.

The stage goes along x and then along y, forth in steps of 0.4 frames, with two short ones in the middle, and back half
a step beside. Frames that overlap by half or more are registered with each other, and `calibration.images.stage` fits
them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from calibration.images.focus import Expected, fit_plane
from calibration.images.registration import SMALLEST_PX, register
from calibration.images.stage import Alignment, Pair, align, together
from calibration.routines.place_finding import Area, find_focus, find_objects, refuse_bad_light
from calibration.steps import Curve, NotUsable, Outcome, Quantity, Routine, Shot, ShotResult

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
XY = tuple[float, float]

STEP = 0.4
"""Of a long step, in frames; two frames half a step more apart still share half of what they show."""
SHORT = (0.1, 0.3)
"""Short steps in the middle of the x and y arm, in long ones."""
LARGEST_PX = 1024
"""Of larger frames the middle is used."""
REGISTERED = 0.55
"""Frames further apart than this share of one are not registered with each other."""
SAME_PLACE = 0.03
"""Nor are frames nearer than this, where what is fixed in the frame may be taken for the sample."""
STRENGTH = 9.0
"""Least strength of a shift that is believed; noise alone reaches 7."""
CLEAR = 12.0
"""Least strength of one that is believed without knowing where to look."""
FEW = 6
PLAY_PAIRS = 24
"""Pairs that are asked what the play is."""
EXPECTED = Expected(tilt_um_per_mm=3.0, drift_um_per_field=0.02, noise_um=0.3)


def pixel_size(area: Area, state: str, stops: int = 20, full_dn: int = 65535) -> Routine:
    """Find how the stage stands to the camera.

    Parameters
    ----------
    area
        about its middle lie the arms; its `frame_um` may be 10 % off.
    state
        polarization that shows the objects.
    stops
        long steps of an arm.

    Raises
    ------
    NotUsable
        Nothing to see, too bright or too dark, the arms do not fit the area, the images do not move, or not with the
        stage.
    """
    step_um = STEP * min(area.frame_um)
    path, looked_at = path_of(stops)
    if (stops / 2 + 1) * step_um > min(area.size_um) / 2:
        raise NotUsable(
            f"arms of {stops} steps of {step_um:.0f} um do not fit an area of {area.size_um[0]:.0f} x "
            f"{area.size_um[1]:.0f} um; use fewer or a larger mini-slide"
        )
    middle, z_um = yield from find_objects(area, area.centre_um, state)
    sent = np.array(middle) + path * step_um
    heights = yield from _heights(area, middle, z_um, stops / 2 * step_um, state, sent)
    frames: list[Image] = []
    for (x, y), height, keep in zip(sent.tolist(), heights.tolist(), looked_at.tolist(), strict=True):
        shown = yield Shot(x, y, height, 0.0, 1, (state,))
        if keep:
            frame = _middle_of(shown.stack[0, 0])
            refuse_bad_light(frame, full_dn, bright=False)
            frames.append(frame.astype(np.float32))
    above = came_from_above(sent)[looked_at]
    moves = path[looked_at] * STEP * min(shown.stack.shape[2:])
    shifts = shifts_between(flattened(frames), moves, above)
    kept = together(len(frames), shifts)
    number = np.cumsum(kept) - 1
    shifts = [(int(number[i]), int(number[j]), shift) for i, j, shift in shifts if kept[i]]
    found = align(sent[looked_at][kept], above[kept], shifts)
    return _outcome(found, sent[looked_at][kept], shifts)


def path_of(stops: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Give stops (N, 2) along x and y about the middle, in long steps, and which are looked at (N,).

    The others take the play out of the drives: both arms begin with both drives pushed from below.
    """
    reach = stops / 2
    forth = np.sort(np.concatenate([np.arange(-reach, reach + 1), SHORT]))
    arm = np.concatenate([forth, np.arange(reach - 0.5, -reach, -1)])
    nothing = np.zeros_like(arm)
    along_x, along_y = np.stack([arm, nothing], axis=1), np.stack([nothing, arm], axis=1)
    before_x, before_y = np.array([[-reach - 0.5, -0.5]]), np.array([[-reach - 0.5, -reach - 0.5]])
    looked_at = np.ones(2 * len(arm) + 2, np.bool_)
    looked_at[[0, len(arm) + 1]] = False
    return np.concatenate([before_x, along_x, before_y, along_y]), looked_at


def came_from_above(sent: Floats) -> NDArray[np.bool_]:
    """Whether the last move along each axis was towards smaller values, (N, 2); False before there was one."""
    above = np.zeros(sent.shape, np.bool_)
    for number in range(1, len(sent)):
        moved = np.diff(sent[number - 1 : number + 1], axis=0)[0]
        above[number] = np.where(np.abs(moved) < 1e-6, above[number - 1], moved < 0)
    return above


def flattened(frames: Sequence[Image]) -> list[Image]:
    """Take off what does not move with the sample: over the median of all, which shows different places."""
    stacked = np.stack([frame / max(float(frame.mean()), 1e-9) for frame in frames])
    flat = np.concatenate([np.median(stacked[:, rows], axis=0) for rows in _strips(stacked.shape[1])])
    return [np.asarray(frame / np.maximum(flat, 0.05), np.float32) for frame in stacked]


def shifts_between(frames: Sequence[Image], moves: Floats, above: NDArray[np.bool_]) -> list[Pair]:
    """Register all frames that overlap by about half, the nearest first, from which the others are expected.

    Parameters
    ----------
    moves
        (N, 2), where the frames would lie with an aligned stage, px.
    above
        (N, 2), whether the stage came there from larger values.

    Raises
    ------
    NotUsable
        They show nothing in common, or do not move.
    """
    side = min(frames[0].shape)
    near = [(i, j) for i, j in combinations(range(len(frames)), 2) if _distance(moves, i, j) <= REGISTERED * side]
    near = sorted(
        (pair for pair in near if _distance(moves, *pair) > SAME_PLACE * side), key=lambda pair: _distance(moves, *pair)
    )
    from_moves = np.zeros((4, 2))
    from_moves[:2] = _first_guess(frames, moves, near)
    found: list[Pair] = []
    turned = [bool(np.any(above[i] != above[j])) for i, j in near]
    # What play does is not known before frames that were come to from the same side have told all else.
    for with_play in (False, True):
        if with_play:
            from_moves[2:] = _play(frames, moves, above, near, from_moves)
        for (i, j), turns in zip(near, turned, strict=True):
            expected = _between(moves, above, i, j) @ from_moves
            if turns != with_play or np.abs(expected).max() > min(0.7 * side, side - SMALLEST_PX):
                continue
            shift = register(frames[i], frames[j], (float(expected[0]), float(expected[1])), 0.03 * side + 5)
            if shift.strength < STRENGTH or not math.isfinite(shift.deviation_px):
                continue
            found.append((i, j, shift))
            if len(found) <= FEW or len(found) % FEW == 0:
                from_moves = _expectation(found, moves, above, from_moves)
    return found


def _play(
    frames: Sequence[Image],
    moves: Floats,
    above: NDArray[np.bool_],
    near: Sequence[tuple[int, int]],
    from_moves: Floats,
) -> Floats:
    """Shift (2, 2) that coming from above along x and along y makes, as most of the nearest pairs agree.

    What is fixed in the frame, or alike by chance, makes a shift of its own in each pair.
    """
    side = min(frames[0].shape)
    play = np.zeros((2, 2))
    for axis in (0, 1):
        differ = [
            (i, j) for i, j in near if above[i, axis] != above[j, axis] and above[i, 1 - axis] == above[j, 1 - axis]
        ]
        told = []
        for i, j in differ[:PLAY_PAIRS]:
            expected = _between(moves, above, i, j)[:2] @ from_moves[:2]
            shift = register(frames[i], frames[j], (float(expected[0]), float(expected[1])), 0.25 * side)
            if shift.strength >= STRENGTH and math.isfinite(shift.deviation_px):
                sign = 1 if above[j, axis] else -1
                told.append(sign * (np.array([shift.x_px, shift.y_px]) - expected))
        if told:
            away = np.array([[np.hypot(*(one - other)) for other in told] for one in told])
            agreeing = away < 0.03 * side
            best = int(np.argmax(agreeing.sum(axis=1)))
            play[axis] = np.median(np.array(told)[agreeing[best]], axis=0)
    return play


def _distance(moves: Floats, i: int, j: int) -> float:
    return math.hypot(*(moves[j] - moves[i]))


def _between(moves: Floats, above: NDArray[np.bool_], i: int, j: int) -> Floats:
    return np.concatenate([moves[j] - moves[i], above[j].astype(np.float64) - above[i]])


def _expectation(found: Sequence[Pair], moves: Floats, above: NDArray[np.bool_], before: Floats) -> Floats:
    """Matrix (4, 2) from moves and turns of the drives to shifts, drawn a little towards the one before."""
    terms = np.stack([_between(moves, above, i, j) for i, j, _ in found])
    shifts = np.array([(shift.x_px, shift.y_px) for *_, shift in found])
    scale = np.diag([10.0, 10.0, 0.1, 0.1])
    return before + np.linalg.solve(terms.T @ terms + scale, terms.T @ (shifts - terms @ before))


def _first_guess(frames: Sequence[Image], moves: Floats, near: Sequence[tuple[int, int]]) -> Floats:
    """Matrix (2, 2) from moves to shifts, from the longest clear move along each axis, wherever it leads."""
    side = min(frames[0].shape)
    axes = []
    for axis, name in enumerate("xy"):
        along = [
            (i, j)
            for i, j in near
            if abs(moves[j, 1 - axis] - moves[i, 1 - axis]) < 1 and 0 < moves[j, axis] - moves[i, axis] < 0.3 * side
        ]
        tried = [
            (moves[j, axis] - moves[i, axis], register(frames[i], frames[j], reach_px=0.45 * side)) for i, j in along
        ]
        clear = [(moved, shift) for moved, shift in tried if shift.strength >= CLEAR and shift.deviation_px < 1]
        if not clear:
            raise NotUsable(
                f"images before and after short moves along {name} have nothing in common: the stage is stuck, nothing "
                "is in focus, or the pixel size is far from what is configured; check them"
            )
        moved, shift = max(clear, key=lambda one: one[0])
        went = math.hypot(shift.x_px, shift.y_px)
        if went < 0.3 * moved:
            raise NotUsable(
                f"the image moved by {went:.1f} px instead of {moved:.0f} when the stage went along {name}: it is "
                "stuck; check it"
            )
        axes.append(np.array([shift.x_px, shift.y_px]) / moved)
    return np.stack(axes)


def _heights(
    area: Area, middle: XY, z_um: float, reach_um: float, state: str, sent: Floats
) -> Generator[Shot, ShotResult, Floats]:
    """Height of every stop: a plane through the middle and, where something lies there, the arms' ends."""
    points = [(*middle, z_um, 0.0)]
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        place = middle[0] + dx * reach_um, middle[1] + dy * reach_um
        found = yield from find_focus(place, area.near(z_um, 2 + EXPECTED.tilt_um_per_mm * reach_um / 1e3), state)
        if found is not None and not found.at_edge:
            points.append((*place, found.z_um, float(len(points))))
    plane = fit_plane(np.array(points), EXPECTED)
    search = area.search
    heights = [plane.predict(x, y, plane.origin[2]) for x, y in sent.tolist()]
    return np.clip(heights, search.low_um, search.high_um)


def _middle_of(frame: NDArray[np.uint16]) -> NDArray[np.uint16]:
    top, left = (max(0, (n - LARGEST_PX) // 2) for n in frame.shape)
    return frame[top : top + LARGEST_PX, left : left + LARGEST_PX]


def _strips(height: int, rows: int = 64) -> list[slice]:
    return [slice(top, top + rows) for top in range(0, height, rows)]


def _outcome(found: Alignment, sent: Floats, shifts: Sequence[Pair]) -> Outcome:
    pictures = []
    middle = np.median(sent, axis=0)
    for axis, name in enumerate("xy"):
        along = np.abs(sent[:, 1 - axis] - middle[1 - axis]) < 1e-6
        order = np.argsort(sent[along, axis])
        pictures.append(
            Curve(
                f"Where the stage stopped along {name}, against the fit",
                f"stage {name} from the middle (um)",
                f"deviation along {name} (um)",
                (sent[along, axis] - middle[axis])[order],
                found.residuals_um[along, axis][order],
            )
        )
    deviation = float(np.sqrt(np.mean([shift.deviation_px**2 for *_, shift in shifts])))
    rest = float(np.sqrt(np.mean(found.residuals_um**2)))
    return Outcome(
        values=found.quantities(),
        arrays={"stage_to_camera": found.matrix.astype(np.float32)},
        pictures=tuple(pictures),
        residuals={
            "places": Quantity(rest, rest / math.sqrt(2 * found.residuals_um.size), "um"),
            "registration": Quantity(deviation, deviation / math.sqrt(2 * len(shifts)), "px"),
        },
    )
