"""Centric diatoms: round valves, flat, vaulted or folded, alone or two to a frustule, from above or from the side.

Diameters, areolae and processes after Hasle and Syvertsen (in C. Tomas, Identifying Marine Phytoplankton, 1997),
Hendey (1964, An Introductory Account of the Smaller Algae of British Coastal Waters V) and Round, Crawford and Mann
(The Diatoms, 1990). *Coscinodiscus radiatus* is flat as a coin, *C. oculus-iridis* vaulted; of *Cyclotella* the
valve of *C. litoralis* is folded strongly, that of *C. striata* less; six sectors lie in one plane in *Actinocyclus
octonarius* and are raised and sunken by turns in *Actinoptychus senarius*. In each of these three pairs all else is
drawn alike, more than it is in nature, so that what is in focus together looks the same and only the stack tells
them. Large forms are left out, since a camera's frame of 120 um does not show them: diameters here are the lower
half of what is published. How high vaults and folds are is a guess, between what frustules seen from the side show
and what a stack of 4 um covers.
"""

from __future__ import annotations

import numpy as np

from drivers.virtual_slide.matter import OPAL, Body, Map, Pose
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.kinds import Sizes
from drivers.virtual_slide.specimens.relief import Part, cells, cut, disclination, hexagons, relaxed, sectors, soft
from drivers.virtual_slide.specimens.taxa.plan import Plan, Spread, Traits, face_of, preserved

SLICE_UM = 0.6
FRUSTULE = 0.15
"""Share of the specimens that are both valves, lying over each other."""
SIDEWAYS = 0.12
"""Share that lies on its girdle, of those that are not much wider than high."""
WIDE_UM = 24.0
"""From this diameter on all lie flat."""
LEAN_UM = 0.9
"""Standard deviation of how much higher one edge of what lies flat is than the other."""
DEEP_UM = 9.0
"""A frustule on its side is drawn no deeper: so much of it is in focus at all."""
LINEAR, ECCENTRIC, FASCICULATE, RADIAL = range(4)


def centric(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a valve, sometimes with its fellow below it, sometimes the frustule from its side."""
    lying = random.random()
    if lying < SIDEWAYS and length_um < WIDE_UM:
        return _girdle_view(traits, length_um, random)
    canvas = Canvas(length_um, length_um)
    side, face = face_of(random)
    kept = preserved(random)
    turn, rise_um = random.uniform(0, 2 * np.pi), random.normal(0, LEAN_UM)
    leaning = np.asarray((canvas.x * np.cos(turn) + canvas.y * np.sin(turn)) * rise_um / length_um)
    parts = _valve(traits, canvas, length_um, random, side, kept)
    units = 1
    if lying > 1 - FRUSTULE:
        units, apart = 2, float(np.clip(length_um * random.uniform(0.15, 0.35), 2.5, 6.0))
        below = _valve(traits, canvas, length_um, random, -side, kept)
        parts += [(thickness, np.asarray(height - side * apart)) for thickness, height in below]
    parts = [(thickness, np.asarray(height + leaning)) for thickness, height in parts]
    return canvas.body(cut(parts, OPAL, SLICE_UM), pose=Pose("face", face, units))


def _valve(
    traits: Traits, canvas: Canvas, length_um: float, random: np.random.Generator, side: int, kept: float
) -> list[Part]:
    """Sheets of one valve, its outside up (`side` 1) or down."""
    radius = length_um / 2
    x, y = canvas.x, canvas.y
    r, angle = np.hypot(x, y), np.asarray(np.arctan2(y, x))
    edge = np.asarray(r - radius)
    disc = soft(edge)
    parts: list[Part] = []
    height = side * _height(traits, canvas, radius, random)
    structure = _areolae(traits, canvas, radius, random)
    striated = np.clip((r / radius - traits["striated"]) / 0.04 + 0.5, 0, 1) if traits["striae_um"] else canvas.empty
    wall, web = traits["wall_um"] * kept, traits["web_um"] * kept
    stripes = canvas.empty
    if traits["striae_um"]:
        count = max(16, round(2 * np.pi * radius / traits["striae_um"]))
        stripes = soft(np.abs(np.mod(angle * count / (2 * np.pi), 1) - 0.5) * 2 * np.pi * r / count - 0.2, 0.25)
        stripes = np.asarray(stripes * striated * soft(edge + 0.3))
    face = disc * wall + web * structure * (1 - striated) * soft(edge + 0.4) + 1.6 * web * stripes
    parts.append((np.asarray(face), height))
    mantle_um = traits["mantle_um"] * kept
    mantle = soft(np.abs(edge + 0.2) - 0.18) * mantle_um
    parts.append((np.asarray(mantle), np.asarray(height - side * mantle_um / 2)))
    parts.append((_processes(traits, canvas, radius, random) * kept, height))
    return parts


def _height(traits: Traits, canvas: Canvas, radius: float, random: np.random.Generator) -> Map:
    """Height of a valve's face: a vault, a fold along a diameter, sectors up and down."""
    x, y = canvas.x, canvas.y
    r = np.hypot(x, y)
    share = np.clip(r / radius, 0, 1)
    turn = random.uniform(0, 2 * np.pi)
    height = traits["dome_um"] * (1 - share**2)
    across = (x * np.cos(turn) + y * np.sin(turn)) / radius
    inner = np.clip(share / max(traits["striated"], 0.5), 0, 1)
    height = height + traits["fold_um"] * np.sin(np.pi * np.clip(across / 0.55, -1, 1)) / 2 * (1 - inner**4)
    if traits["sectors"]:
        # Raised and sunken in turn, each a bundle of areolae wide.
        waves = np.sin(np.arctan2(y, x) * round(traits["sectors"]) / 2 + np.pi / 2)
        height = height + traits["sector_um"] / 2 * np.tanh(2 * waves) * np.clip(share * 2.5 - 0.3, 0, 1)
    return np.asarray(height)


def _areolae(traits: Traits, canvas: Canvas, radius: float, random: np.random.Generator) -> Map:
    """Draw the web between the areolae, 0 to 1."""
    spacing = traits["areola_um"]
    pattern = int(traits["pattern"])
    if pattern == LINEAR:
        points = hexagons(radius, spacing)
    elif pattern == ECCENTRIC:
        points = disclination(radius, spacing * 1.35, 7)
    else:
        reach = radius / 0.85 if pattern == RADIAL else radius
        points = sectors(reach, spacing, max(6, round(traits["bundles"])))
        if pattern == RADIAL:
            points = points * (1 - 0.15 * (np.hypot(*points.T) * 0.85 / radius) ** 3)[:, None]
            points = relaxed(points + random.normal(0, 0.03 * spacing, points.shape), spacing, 3)
    points = points + random.normal(0, 0.03 * spacing, points.shape)
    if traits["rosette"] > 0.5:
        petals = int(random.integers(5, 8))
        turn = (np.arange(petals) / petals + random.random()) * 2 * np.pi
        ring = 1.05 * spacing * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        points = np.concatenate([ring, points[np.hypot(*points.T) > 1.9 * spacing]])
    border, _ = cells(canvas.x, canvas.y, points)
    r = np.hypot(canvas.x, canvas.y)
    plain = soft(r - traits["hyaline_um"], 0.3) if traits["hyaline_um"] > 0.2 else canvas.empty
    return np.asarray(np.maximum(soft(border - 0.14 * spacing) * (1 - plain), 0.5 * plain))


def _processes(traits: Traits, canvas: Canvas, radius: float, random: np.random.Generator) -> Map:
    """Tubes along the margin, one larger among them, and one in the middle."""
    x, y = canvas.x, canvas.y
    tubes = canvas.empty
    if traits["process_um"] > 0:
        r, angle = np.hypot(x, y), np.arctan2(y, x)
        count = max(4, round(2 * np.pi * radius / traits["process_um"]))
        turn = np.mod(angle * count / (2 * np.pi) + random.random(), 1) - 0.5
        around = np.hypot(turn * 2 * np.pi * radius / count, r - radius + 0.75)
        tubes = soft(np.asarray(around - 0.17)) * random.uniform(0.15, 0.3)
    at = random.uniform(0, 2 * np.pi)
    spots = [(radius - 1.1, 0.28, 0.35)]
    if traits["central"] > 0.5:
        spots.append((random.uniform(0.1, 0.8), 0.22, 0.28))
    for distance, size, height in spots:
        away = np.hypot(x - distance * np.cos(at), y - distance * np.sin(at))
        tubes = np.maximum(tubes, soft(np.asarray(away - size)) * height)
    return np.asarray(tubes)


def _girdle_view(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a frustule from its side: two valves edge-on, bands of the girdle between them."""
    tall = float(length_um * random.uniform(0.35, 0.7))
    fold = abs(traits["fold_um"]) + 0.4 * abs(traits["sector_um"])
    extra = 2 * (abs(traits["dome_um"]) + fold)
    canvas = Canvas(length_um, tall + extra)
    kept = preserved(random)
    x, y = canvas.x, canvas.y
    share = np.clip(x / (length_um / 2), -1, 1)
    vault = traits["dome_um"] * (1 - share**2) + fold / 2 * np.sin(np.pi * share)
    side = np.where(y > 0, 1.0, -1.0)
    # Both folds run the same way, as halves of one box.
    top = tall / 2 + np.where(y > 0, vault, traits["dome_um"] * (1 - share**2) - fold / 2 * np.sin(np.pi * share))
    inside = soft(np.maximum(np.abs(x) - length_um / 2, np.abs(y) - top))
    depth = min(length_um, DEEP_UM) * np.sqrt(np.clip(1 - share**2, 0, 1))
    bands = soft(np.abs(np.mod(y / max(tall / 5, 0.9), 1) - 0.5) * max(tall / 5, 0.9) - 0.12)
    striae_um = traits["striae_um"] or traits["areola_um"]
    beads = 0.6 + 0.4 * np.cos(2 * np.pi * x / striae_um)
    rims = soft(np.abs(np.abs(y) - top + 0.3) - 0.3) * beads * 0.5
    flanks = soft(np.abs(np.abs(x) - length_um / 2 + 0.2) - 0.2) * 0.45
    sheet = np.asarray(inside * (traits["wall_um"] + 0.05 * bands + rims / 2 + flanks / 2) * kept)
    edge_on = np.asarray(inside * soft(np.abs(np.abs(y) - top + 0.15) - 0.15) * 0.7 * kept * (side != 0))
    parts = [(sheet, np.asarray(depth / 2)), (sheet, np.asarray(-depth / 2)), (edge_on, canvas.empty)]
    return canvas.body(cut(parts, OPAL, 0.9), inside > 0.5, Pose("side", units=2))


def _plan(
    taxon: str, length_um: tuple[float, float, float, float], variants: int, broken: float, **characters: Spread
) -> Plan:
    median, spread, low, high = length_um
    every = {
        "pattern": Spread(LINEAR), "areola_um": Spread(0.8, 0.1, 0.45), "bundles": Spread(9, 1.5, 6),
        "web_um": Spread(0.14, 0.03, 0.06), "wall_um": Spread(0.05, 0.012, 0.02),
        "rosette": Spread(0), "hyaline_um": Spread(0), "mantle_um": Spread(0.45, 0.08, 0.2), "process_um": Spread(0),
        "central": Spread(0), "striae_um": Spread(0), "striated": Spread(1), "dome_um": Spread(0.4, 0.25, 0),
        "fold_um": Spread(0), "sectors": Spread(0), "sector_um": Spread(0), **characters,
    }  # fmt: skip
    sizes = Sizes(median, spread, low, high)
    return Plan(taxon, "diatom", sizes, centric, every, (0.4, 1.2), variants, broken)


def _cyclotella(taxon: str, fold: Spread) -> Plan:
    return _plan(
        taxon, (19, 0.25, 10, 32), 10, 0.3, fold_um=fold, striae_um=Spread(1.1, 0.12, 0.8),
        striated=Spread(0.52, 0.06, 0.35, 0.7), areola_um=Spread(0.9, 0.12, 0.5), process_um=Spread(2.4, 0.5, 1.2),
        web_um=Spread(0.2, 0.04, 0.1), dome_um=Spread(0.2, 0.1, 0), pattern=Spread(RADIAL),
    )  # fmt: skip


def _coscinodiscus(taxon: str, dome: Spread) -> Plan:
    return _plan(
        taxon, (43, 0.22, 28, 62), 6, 0.45, pattern=Spread(RADIAL), areola_um=Spread(1.9, 0.3, 1.2),
        web_um=Spread(0.35, 0.06, 0.2), rosette=Spread(0.5, 0.3),
        mantle_um=Spread(0.9, 0.1), dome_um=dome,
    )  # fmt: skip


def _six_sectors(taxon: str, sector: Spread) -> Plan:
    return _plan(
        taxon, (33, 0.28, 18, 58), 8, 0.5, pattern=Spread(FASCICULATE), areola_um=Spread(1.2, 0.2, 0.8),
        bundles=Spread(6), web_um=Spread(0.3, 0.06, 0.15), hyaline_um=Spread(2.0, 0.6, 0.8), sectors=Spread(6),
        sector_um=sector, process_um=Spread(16, 3), dome_um=Spread(0.2, 0.1, 0),
    )  # fmt: skip


PLANS: tuple[Plan, ...] = (
    _plan(
        "thalassiosira-eccentrica", (24, 0.3, 14, 48), 10, 0.4, pattern=Spread(ECCENTRIC),
        areola_um=Spread(1.1, 0.2, 0.6), process_um=Spread(2.6, 0.6, 1.2), central=Spread(1),
        web_um=Spread(0.2, 0.04, 0.1),
    ),
    _plan(
        "thalassiosira-lineata", (22, 0.25, 12, 42), 10, 0.4, areola_um=Spread(0.85, 0.14, 0.5),
        process_um=Spread(2.2, 0.5, 1.2), web_um=Spread(0.2, 0.04, 0.1),
    ),
    _plan(
        "thalassiosira-oestrupii", (18, 0.3, 8, 36), 10, 0.4, pattern=Spread(ECCENTRIC),
        areola_um=Spread(1.35, 0.2, 0.8), process_um=Spread(1.4, 0.3, 0.8), central=Spread(1),
        web_um=Spread(0.28, 0.05, 0.1),
    ),
    _coscinodiscus("coscinodiscus-radiatus", Spread(0.25, 0.15, 0)),
    _coscinodiscus("coscinodiscus-oculus-iridis", Spread(2.3, 0.25, 1.5)),
    _plan(
        "actinocyclus-curvatulus", (32, 0.25, 18, 55), 8, 0.4, pattern=Spread(FASCICULATE),
        areola_um=Spread(0.95, 0.14, 0.6), bundles=Spread(12, 2, 8), web_um=Spread(0.3, 0.06, 0.15),
        process_um=Spread(8, 1.5), hyaline_um=Spread(0.8, 0.4, 0),
    ),
    _six_sectors("actinocyclus-octonarius", Spread(0)),
    _six_sectors("actinoptychus-senarius", Spread(1.8, 0.25, 1.1)),
    _cyclotella("cyclotella-striata", Spread(0.3, 0.15, 0)),
    _cyclotella("cyclotella-litoralis", Spread(1.8, 0.25, 1.1)),
)  # fmt: skip
