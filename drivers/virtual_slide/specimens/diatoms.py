"""Diatoms: valves and spores of opal.

Thicknesses are geometric, of opal. To compare: G. Hasle and E. Syvertsen, Marine Diatoms (in C. Tomas, Identifying
Marine Phytoplankton, 1997); F. Round, R. Crawford and D. Mann, The Diatoms (1990).
"""

from __future__ import annotations

import cv2
import numpy as np

from drivers.virtual_slide.matter import OPAL, Body, Map, Pose
from drivers.virtual_slide.specimens.canvas import SEEN_UM, Canvas
from drivers.virtual_slide.specimens.kinds import Kind, Sizes
from drivers.virtual_slide.specimens.relief import cells, cut, disclination, hexagons, relaxed, sectors, soft

VALVE_STEP_UM = 0.6
"""Between slices of a thin valve; the depth of field is 0.5 um."""
SUBPIXELS = 5
"""Points along each side of a pixel at which a wall that is thinner than the pixel is looked for."""


def _thalassiosira(length_um: float, random: np.random.Generator) -> Body:
    """Draw a drum's lid: a thin domed web of areolae, mantle seen edge-on, strutted processes along it."""
    radius = length_um / 2
    oblique = random.random() < 0.25
    tilt = float(np.arcsin(min(random.uniform(2.0, 5.0) / length_um, 0.5))) if oblique else random.uniform(0, 0.03)
    canvas = Canvas(length_um, length_um)
    x, y = canvas.x, np.asarray(canvas.y / np.cos(tilt))
    r, angle = np.hypot(x, y), np.asarray(np.arctan2(y, x))
    spacing, wall = random.uniform(0.5, 1.0), random.uniform(0.02, 0.06)
    web_um = 0.26 * spacing
    pattern = random.integers(3)
    if pattern == 0:
        points = hexagons(radius, spacing)
    elif pattern == 1:
        points = disclination(radius, spacing * 1.35, 7)
    else:
        points = sectors(radius, spacing, int(random.integers(7, 11)))
    points = points + random.normal(0, 0.03 * spacing, points.shape)
    border, _ = cells(x, y, points)
    edge = np.asarray(r - radius)
    web = soft(border - (web_um / 2)) * soft(edge + 0.5)
    valve = soft(edge) * wall + web * random.uniform(0.05, 0.11)
    mantle_um = random.uniform(0.3, 0.5)
    mantle = soft(np.abs(edge + 0.15) - 0.12) * mantle_um
    # Processes are tubes of 0.3 um, upright: along the light they are as long as they stand out.
    processes = max(5, round(2 * np.pi * radius / random.uniform(1.5, 4.0)))
    turn = (angle * processes / (2 * np.pi) + random.random()) % 1 - 0.5
    around = np.hypot(turn * 2 * np.pi * radius / processes, edge + 0.75)
    tubes = soft(around - 0.17) * random.uniform(0.15, 0.3)
    labiate_at = random.uniform(0, 2 * np.pi)
    for distance, size, height in ((random.uniform(0, spacing), 0.2, 0.25), (radius - 1.1, 0.28, 0.35)):
        away = np.hypot(x - distance * np.cos(labiate_at), y - distance * np.sin(labiate_at))
        tubes = np.maximum(tubes, soft(away - size) * height)
    dome = random.uniform(0.3, 1.3) * np.clip(1 - (r / radius) ** 2, 0, 1) + (
        canvas.y + radius * np.cos(tilt)
    ) * np.tan(tilt)
    dome = np.asarray(dome)
    path = 1 / np.cos(tilt)
    parts = [(valve * path, dome), (mantle * path, dome - (mantle_um / 2)), (tubes, dome)]
    pose = Pose("oblique" if oblique else "face")
    return canvas.body(cut(parts, OPAL, VALVE_STEP_UM), pose=pose)


def _coscinodiscus(length_um: float, random: np.random.Generator) -> Body:
    """Draw a valve of hexagonal chambers: a sieve outside, a floor with a round hole in each inside."""
    radius = length_um / 2
    canvas = Canvas(length_um, length_um)
    r = np.hypot(canvas.x, canvas.y)
    spacing, wall = random.uniform(1.2, 2.0), random.uniform(1.0, 1.6)
    shrink = random.uniform(0.1, 0.25)
    points = sectors(radius / (1 - shrink), spacing, int(random.integers(7, 13)))
    from_middle = np.hypot(*points.T)
    # Chambers get smaller towards the border.
    points = points * (1 - shrink * (from_middle * (1 - shrink) / radius) ** 3)[:, None]
    points = relaxed(points + random.normal(0, 0.03 * spacing, points.shape), spacing)
    if random.random() < 0.6:
        petals = int(random.integers(5, 8))
        turn = (np.arange(petals) / petals + random.random()) * 2 * np.pi
        rosette = 1.05 * spacing * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        points = np.concatenate([rosette, points[np.hypot(*points.T) > 1.9 * spacing]])
        hyaline_um = 0.0
    else:
        hyaline_um = random.uniform(0.8, 2.0)
    border, middle = cells(canvas.x, canvas.y, points)
    edge = np.asarray(r - radius)
    disc, inside = soft(edge), soft(edge + 1.0)
    plain = soft(np.asarray(r - hyaline_um), 0.3) if hyaline_um else canvas.empty
    web = np.maximum(soft(border - 0.14) * inside, plain * 0.5) * wall
    holes = soft(middle - (0.24 * spacing), 0.3) * inside * (1 - plain)
    floor = disc * 0.2 * (1 - holes)
    sieve = inside * random.uniform(0.06, 0.12)
    mantle = soft(np.abs(edge + 0.5) - 0.45, 0.3) * (wall * random.uniform(0.9, 1.3))
    spokes = 0.75 + 0.25 * np.cos(np.arctan2(canvas.y, canvas.x) * round(2 * np.pi * radius / 0.9))
    dome = np.asarray(random.uniform(0.8, 2.0) * np.clip(1 - (r / radius) ** 4, 0, 1))
    half = wall / 2
    parts = [(web, dome), (floor, dome - half), (sieve, dome + half), (mantle * spokes, dome - half)]
    return canvas.body(cut(parts, OPAL, 0.8))


def _thalassionema(length_um: float, random: np.random.Generator) -> Body:
    """Draw a narrow valve, or a frustule from its side: plain in the middle, a row of areolae along each margin."""
    half, wall = length_um / 2, random.uniform(0.02, 0.04)
    width = random.uniform(2.0, 4.0) * min(1.0, 0.6 + length_um / 60)
    bend = random.normal(0, 0.012) * length_um
    canvas = Canvas(length_um, width + 2 * abs(bend))
    x, y = canvas.x, np.asarray(canvas.y + bend * (0.5 - (canvas.x / half) ** 2))
    spacing, phase = random.uniform(0.8, 1.1), random.random()
    girdle_view = random.random() < 0.3
    narrowing = 0.0 if girdle_view else random.uniform(0.05, 0.45)
    b = np.asarray(width / 2 * (1 - narrowing * np.clip(x / half, -1, 1) ** 2))
    end = width / 2 * (1 - narrowing) * (0.25 if girdle_view else 1.0)
    beyond = np.maximum(np.abs(x) - (half - end), 0) * (b / end if girdle_view else 1)
    edge = np.asarray(np.hypot(beyond, y) - b)
    body = soft(edge)
    along = ((x / spacing + phase + 0.5 * (y > 0)) % 1 - 0.5) * spacing
    pores = soft(np.hypot(along, edge + 0.42) - (0.27 * spacing))
    margin = soft(np.abs(edge + 0.35) - 0.35) * random.uniform(0.09, 0.16) * (1 - pores)
    mantle = soft(np.abs(edge + 0.1) - 0.1) * random.uniform(0.12, 0.25)
    tips = soft(np.hypot(np.abs(x) - (half - 0.9), y) - 0.22) * 0.2
    flat = np.asarray(-0.3 * (y / (width / 2)) ** 2)
    if girdle_view:
        # Both valves are seen edge-on, near and far side; the girdle between them is one thin band on each.
        far = random.uniform(1.6, 2.6)
        side = body * wall + margin
        parts = [(side, canvas.empty), (mantle * 2, canvas.empty + far / 2), (side, canvas.empty + far)]
        return canvas.body(cut(parts, OPAL, 0.9), pose=Pose("side", units=2))
    return canvas.body(cut([(body * wall + margin + tips, flat), (mantle, flat)], OPAL, VALVE_STEP_UM))


def _nitzschia(length_um: float, random: np.random.Generator) -> Body:
    """Draw a lanceolate valve whose raphe runs in a raised keel along one margin, bridged by fibulae."""
    half = length_um / 2
    width = float(np.clip(length_um * random.uniform(0.08, 0.16), 3.0, 8.0))
    canvas = Canvas(length_um, width)
    x, y = canvas.x, canvas.y
    share = np.clip(np.abs(x) / half, 0, 1)
    shape = np.asarray(width / 2 * (1 - share ** random.uniform(1.8, 2.6)) ** random.uniform(0.75, 1.0))
    shape = np.hypot(shape, 0.25)
    slope = np.gradient(shape, canvas.pixel_um, axis=1)
    lean = np.asarray(np.sqrt(1 + np.clip(slope, -3, 3) ** 2))
    keel_side, plain_side = (shape - y) / lean, (shape + y) / lean
    body = soft(-np.minimum(keel_side, plain_side)) * soft(np.abs(x) - half)
    fibula_um = random.uniform(0.6, 1.0)
    striae_um = max(fibula_um / random.choice([1.0, 1.5, 2.0]), 0.42)
    wall = random.uniform(0.06, 0.11)
    stripes = 0.5 + 0.5 * np.cos(2 * np.pi * (x + 0.15 * y * np.sign(x) * share) / striae_um)
    valve = body * wall * (1 - 0.6 * np.asarray(stripes) * soft(0.9 - keel_side))
    # A gap between the two middle fibulae is where the two raphes end.
    gap = random.random() < 0.5
    at = (np.abs(x) + (0 if not gap else -0.35 * fibula_um)) / fibula_um
    across = (at - np.floor(at) - 0.5) * fibula_um
    reach = random.uniform(0.7, 1.1) * min(1.0, width / 4)
    fibulae = soft(np.abs(across) - 0.16) * soft(keel_side - reach)
    fibulae = fibulae * soft(0.1 - keel_side) * (np.abs(x) > (fibula_um if gap else 0.0))
    fibulae = fibulae * random.uniform(0.3, 0.45) * body
    keel = (soft(np.abs(keel_side - 0.15) - 0.13) + 0.5 * soft(np.abs(keel_side - 0.55) - 0.08)) * body
    keel = keel * random.uniform(0.35, 0.55)
    mantle = soft(np.abs(plain_side - 0.1) - 0.1) * body * random.uniform(0.15, 0.25)
    rise = np.asarray(random.uniform(0.5, 1.0) * np.exp(-((keel_side / 0.9) ** 2)))
    flat = np.asarray(rise - 0.25 * (y / (width / 2)) ** 2)
    return canvas.body(cut([(valve + mantle, flat), (fibulae, flat - 0.1), (keel, flat)],
                           OPAL, VALVE_STEP_UM))  # fmt: skip


def half_chord(y: Map, half: float, flank: float, heights: tuple[float, float], fullness: tuple[float, float]) -> Map:
    """Half the width at each height of a body with two domes upon a straight flank."""
    rise = np.where(y > 0, (y - flank / 2) / heights[0], (-y - flank / 2) / heights[1])
    power = np.where(y > 0, 1 / fullness[0], 1 / fullness[1])
    inside = np.clip(rise, 0, 1) ** power
    return np.asarray(np.where(rise < 1, half * np.sqrt(np.maximum(1 - inside, 0)), 0))


def _spines(
    base: float, height: float, fullness: float, random: np.random.Generator
) -> list[tuple[tuple[float, float, float, float], float]]:
    """Bars that stand out of the upper dome: bristles, or two horns that fork.

    Ends x0, y0, x1, y1 as shares of half the spore's width, and the bar's own width in um.
    """
    style = random.integers(3)
    bars: list[tuple[tuple[float, float, float, float], float]] = []
    if style == 0:
        return bars
    shares = np.linspace(-0.75, 0.75, int(random.integers(7, 13))) if style == 1 else np.array([-0.45, 0.45])
    length = height * (random.uniform(0.2, 0.45) if style == 1 else random.uniform(0.6, 1.1))
    for share in shares + random.normal(0, 0.03, shares.size):
        x, y = share, base + height * (1 - share**2) ** fullness - 0.1
        lean = share * 0.9 + random.normal(0, 0.12)
        long = length * random.uniform(0.75, 1.2)
        tip = (x + long * np.sin(lean), y + long * np.cos(lean))
        bars.append(((x, y, *tip), 0.22 if style == 1 else 0.4))
        forks = (-0.6, 0.6) if style == 2 else ()
        for angle in (lean + fork for fork in forks):
            end = (tip[0] + 0.5 * long * np.sin(angle), tip[1] + 0.5 * long * np.cos(angle))
            bars.append(((*tip, *end), 0.22))
    return bars


def _chaetoceros_spore(length_um: float, random: np.random.Generator) -> Body:
    """Draw a hollow resting spore from its side: two domed valves that meet at a seam, spines on one of them.

    A shell of revolution: its two faces are as thick as the wall is along the light, so that the rim is where the wall
    is seen edge-on.
    """
    proportions = (random.uniform(0.35, 0.75), random.uniform(0.2, 0.5), random.uniform(0.15, 0.35))
    fullness = (random.uniform(0.6, 1.1), random.uniform(0.6, 1.0))
    depth, wall = random.uniform(0.45, 0.7), random.uniform(0.05, 0.1)
    bars = _spines(proportions[2] / 2, proportions[0], fullness[0], random)
    across = np.linspace(-1, 1, 41)
    domes = [
        side * (proportions[2] / 2 + proportions[n] * (1 - across**2) ** fullness[n]) for n, side in ((0, 1), (1, -1))
    ]
    ends = [point for dome in domes for point in zip(across.tolist(), dome.tolist(), strict=True)]
    ends += [(bar[2], bar[3]) for bar, _ in bars]
    corners = np.array(ends)
    feret = float(np.hypot(*(corners[:, None] - corners[None]).transpose(2, 0, 1)).max())
    half = length_um / feret
    middle = half * (corners.max(axis=0) + corners.min(axis=0)) / 2
    extent = half * (corners.max(axis=0) - corners.min(axis=0))
    canvas = Canvas(*extent.tolist())
    x, y = np.asarray(canvas.x + middle[0]), np.asarray(canvas.y + middle[1])
    flank, heights = proportions[2] * half, (proportions[0] * half, proportions[1] * half)
    shell, face, solid = canvas.empty, canvas.empty, np.zeros(x.shape, bool)
    offsets = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS * canvas.pixel_um - canvas.pixel_um / 2
    for dy in offsets:
        outer = half_chord(y + dy, half, flank, heights, fullness)
        inner = half_chord(y + dy, half - wall, flank, (heights[0] - wall, heights[1] - wall), fullness)
        for dx in offsets:
            far, near = (np.sqrt(np.maximum(chord**2 - (x + dx) ** 2, 0)) for chord in (outer, inner))
            shell, face = shell + depth * (far - near), face + depth * (far + near) / 2
            solid |= far > 0
    # Smoothed within what the objective resolves, since the phase of a pixel is not the mean of phases.
    blurred = cv2.GaussianBlur(shell / SUBPIXELS**2, (0, 0), 0.11 / canvas.pixel_um)
    face = np.asarray(face / SUBPIXELS**2)
    seam = soft(np.abs(y) - 0.13) * solid * random.uniform(0.1, 0.2)
    spines = canvas.empty
    for (x0, y0, x1, y1), width in bars:
        ends_um = x0 * half - middle[0], y0 * half - middle[1], x1 * half - middle[0], y1 * half - middle[1]
        bar = canvas.rod(ends_um, width)
        spines = np.maximum(spines, bar * 0.8)
    sheet = np.asarray(blurred + seam)
    step = max(0.6, depth * 2 * half / 10)
    slices = cut([(sheet, face), (sheet, -face), (spines, canvas.empty)], OPAL, step)
    return canvas.body(slices, solid | (spines > SEEN_UM), Pose("side"))


KINDS: tuple[Kind, ...] = (
    Kind("thalassiosira", "diatom", False, 12, Sizes(15, 0.35, 9, 30), (0.0, 0.8), _thalassiosira, 0.2,
         "thalassiosira"),
    Kind("coscinodiscus", "diatom", False, 3, Sizes(70, 0.3, 40, 100), (0.8, 1.6), _coscinodiscus, 0.3,
         "coscinodiscus"),
    Kind("thalassionema", "diatom", False, 10, Sizes(30, 0.4, 10, 70), (0.2, 0.8), _thalassionema, 0.3,
         "thalassionema"),
    Kind("nitzschia", "diatom", False, 8, Sizes(45, 0.35, 20, 100), (0.2, 0.8), _nitzschia, 0.2, "nitzschia"),
    Kind("chaetoceros_spore", "diatom", False, 10, Sizes(9, 0.25, 5, 15), (2.5, 4.0), _chaetoceros_spore, 0.1,
         "chaetoceros-spore"),
)  # fmt: skip
