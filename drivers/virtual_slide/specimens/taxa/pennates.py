"""Pennate diatoms, and the pointed ends of *Rhizosolenia*.

Lengths, widths, striae and fibulae after Hasle and Syvertsen (in C. Tomas, Identifying Marine Phytoplankton, 1997);
*Thalassionema* after Hallegraeff (1986, Diatom Research 1, 57): ends alike in *T. nitzschioides*, the middle
expanded in *T. bacillare*, one end drawn out in *T. frauenfeldii*. *Pseudo-nitzschia* is told into two groups by
width alone, at 3 um (Hasle 1965). *Fragilariopsis kerguelensis* has 4 to 7 striae in 10 um, *F. doliolus* 9 to 14
and one straight side. The longest are left out, since they pass the camera's frame. Thicknesses are guesses from
micrographs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drivers.virtual_slide.matter import OPAL, Body, Map, Pose
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.kinds import Sizes
from drivers.virtual_slide.specimens.relief import Part, cut, soft
from drivers.virtual_slide.specimens.taxa.plan import Plan, Spread, Traits, face_of, preserved

SLICE_UM = 0.6
FRUSTULE = 0.15


def _lay(canvas: Canvas, parts: list[Part], random: np.random.Generator, apart_um: float) -> Body:
    """Lay one valve down, on either face, or sometimes both, one over the other."""
    side, face = face_of(random)
    kept = preserved(random)
    laid = [(np.asarray(thickness * kept), np.asarray(side * height)) for thickness, height in parts]
    units = 1
    if random.random() < FRUSTULE:
        units = 2
        laid += [(thickness, np.asarray(-height - side * apart_um)) for thickness, height in laid]
    return canvas.body(cut(laid, OPAL, SLICE_UM), pose=Pose("face", face, units))


def thalassionema(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a needle with a row of marginal areolae along each edge, or the frustule from its side."""
    half, width = length_um / 2, traits["width_um"]
    bend = random.normal(0, 0.01) * length_um
    canvas = Canvas(length_um, width + 2 * abs(bend))
    x, y = canvas.x, np.asarray(canvas.y + bend * (0.5 - (canvas.x / half) ** 2))
    side_view = random.random() < 0.3
    share = np.clip(x / half, -1, 1)
    swollen, tapered = traits["swollen"], traits["tapered"]
    b = width / 2 * (1 - swollen * (1 - np.exp(-((share / 0.35) ** 2))) - tapered * np.clip(share, 0, 1) ** 1.5)
    b = np.full_like(x, width / 2) if side_view else np.maximum(b, 0.35)
    ends = (0.2 if side_view else 0.9) * b
    edge = np.asarray(np.hypot(np.maximum(np.abs(x) - (half - ends), 0) * (b / ends), y) - b)
    body = soft(edge)
    spacing = traits["areola_um"]
    along = (np.mod(x / spacing + random.random() + 0.5 * (y > 0), 1) - 0.5) * spacing
    pores = soft(np.asarray(np.hypot(along, edge + 0.42) - 0.27 * spacing))
    margin = soft(np.abs(edge + 0.35) - 0.35) * random.uniform(0.09, 0.16) * (1 - pores)
    mantle = soft(np.abs(edge + 0.1) - 0.1) * random.uniform(0.12, 0.25)
    tips = soft(np.asarray(np.hypot(np.abs(x) - (half - 0.9), y) - 0.22)) * 0.2
    valve = np.asarray(body * random.uniform(0.02, 0.04) + margin)
    if side_view:
        kept, deep = preserved(random), random.uniform(1.6, 2.6)
        parts = [
            (np.asarray(valve * kept), canvas.empty),
            (np.asarray(2 * mantle * kept), canvas.empty + deep / 2),
            (np.asarray(valve * kept), canvas.empty + deep),
        ]
        return canvas.body(cut(parts, OPAL, 0.9), pose=Pose("side", units=2))
    flat = np.asarray(-0.3 * (y / (width / 2)) ** 2)
    return _lay(canvas, [(np.asarray(valve + tips), flat), (mantle, flat)], random, 2.0)


def _outline(traits: Traits, x: Map, half: float) -> tuple[Map, Map]:
    """Half widths above and below the apical axis, at each x."""
    width = traits["width_um"]
    share = np.clip(np.abs(x) / half, 0, 1)
    shape = np.hypot(width / 2 * (1 - share ** traits["blunt"]) ** traits["fine"], 0.25)
    straight = traits["lopsided"]
    return np.asarray(shape * (1 + straight)), np.asarray(shape * (1 - straight))


def raphid(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a valve with ribs across, and along one margin a keel with fibulae, as strong as its traits say."""
    half, width = length_um / 2, traits["width_um"]
    canvas = Canvas(length_um, width * 1.1)
    x, y = canvas.x, canvas.y
    above, below = _outline(traits, x, half)
    keel, plain = np.asarray(above - y), np.asarray(below + y)
    body = soft(-np.minimum(keel, plain)) * soft(np.abs(x) - half)
    stria_um = traits["stria_um"]
    bow = traits["bow"] * y**2 / width * np.sign(x)
    stripes = 0.5 + 0.5 * np.cos(2 * np.pi * (x + bow) / stria_um + random.uniform(0, 6))
    ribs = np.clip(stripes * 1.6 - 0.3, 0, 1)
    valve = body * (traits["wall_um"] + traits["rib_um"] * ribs)
    fibula_um = traits["fibula_um"]
    gap = traits["gap"] > 0.5
    at = (np.abs(x) - (0.35 * fibula_um if gap else 0)) / fibula_um
    across = (at - np.floor(at) - 0.5) * fibula_um
    fibulae = soft(np.abs(across) - 0.16) * soft(keel - 0.7 * min(1.0, width / 3)) * soft(0.1 - keel) * body
    fibulae = np.asarray(fibulae * traits["keel_um"] * (np.abs(x) > (fibula_um if gap else 0.0)))
    raised = soft(np.abs(keel - 0.15) - 0.13) * body * traits["keel_um"]
    mantle = soft(np.abs(plain - 0.1) - 0.1) * body * random.uniform(0.15, 0.25)
    rise = np.asarray(traits["keel_um"] * np.exp(-((keel / 0.9) ** 2)) - 0.25 * (y / (width / 2)) ** 2)
    parts = [(np.asarray(valve + mantle), rise), (fibulae, np.asarray(rise - 0.1)), (np.asarray(raised), rise)]
    return _lay(canvas, parts, random, float(np.clip(0.5 * width, 1.5, 4.0)))


def rhizosolenia(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw the pointed end of a frustule from its side: a cone with its process, broken off somewhere behind."""
    width = length_um * traits["cone"]
    canvas = Canvas(length_um, width * 1.05)
    x, y = np.asarray(canvas.x + length_um / 2), canvas.y
    process = traits["process"] * length_um
    lean = traits["lean"] * width
    tip = np.clip((x - process) / (length_um - process), 0, 1)
    middle = lean * (1 - tip) * (x > 0)
    half = np.where(x < process, 0.35 + 0.5 * x / max(process, 0.1), 0.85 + (width / 2 - 0.85) * tip ** traits["round"])
    edge = np.asarray(np.abs(y - middle) - half)
    torn = length_um - np.abs(0.04 * length_um * np.sin(5 * y / width + random.uniform(0, 6)))
    body = soft(edge) * soft(np.maximum(x - torn, -x))
    kept = preserved(random)
    rows = 0.5 + 0.5 * np.cos(2 * np.pi * (x + 0.3 * y) / traits["areola_um"]) * np.cos(
        2 * np.pi * y / traits["areola_um"]
    )
    bands = soft(np.abs(np.mod((x + 0.8 * np.abs(y - middle)) / 6.0, 1) - 0.5) * 6 - 0.15) * (x > 0.6 * length_um)
    sheet = np.asarray(body * (0.04 + 0.05 * rows + 0.1 * bands) * kept)
    flank = np.asarray(body * soft(np.abs(edge + 0.2) - 0.2) * 0.4 * kept)
    solid = np.asarray(soft(edge) * soft(x - process) * soft(-x) * 0.5 * kept)
    # Two wings stand beside the foot of the process.
    otaria = traits["otaria"] * length_um
    wing = np.abs(x - process - otaria / 2) - otaria / 2
    wings = soft(np.maximum(wing, np.abs(np.abs(y - middle) - half - 0.1) - 0.45)) * 0.3 * kept * (otaria > 0.3)
    deep = np.asarray(np.minimum(half, 4.0) * np.sqrt(np.clip(1 - ((y - middle) / np.maximum(half, 0.1)) ** 2, 0, 1)))
    parts = [(sheet, deep), (sheet, np.asarray(-deep)), (np.asarray(flank + solid + wings), canvas.empty)]
    return canvas.body(cut(parts, OPAL, 0.9), pose=Pose("side"))


def _needle(
    taxon: str, length_um: tuple[float, float, float, float], width: Spread, areola: Spread, swollen: Spread,
    tapered: Spread,
) -> Plan:  # fmt: skip
    characters = {"width_um": width, "areola_um": areola, "swollen": swollen, "tapered": tapered}
    return Plan(taxon, "diatom", Sizes(*length_um), thalassionema, characters, (0.2, 0.8), 8, 0.45)


def _raphid(taxon: str, length_um: tuple[float, float, float, float], broken: float, **characters: Spread) -> Plan:
    every = {
        "width_um": Spread(5, 0.8, 2), "blunt": Spread(2.2, 0.25, 1.2), "fine": Spread(0.85, 0.08, 0.5),
        "lopsided": Spread(0, 0.03), "stria_um": Spread(0.8, 0.1, 0.42), "bow": Spread(0.1, 0.05),
        "wall_um": Spread(0.06, 0.015, 0.02), "rib_um": Spread(0.08, 0.02, 0), "fibula_um": Spread(0.8, 0.12, 0.5),
        "gap": Spread(0.4, 0.4), "keel_um": Spread(0.3, 0.06, 0.05), **characters,
    }  # fmt: skip
    return Plan(taxon, "diatom", Sizes(*length_um), raphid, every, (0.2, 0.8), 8, broken)


def _apex(taxon: str, **characters: Spread) -> Plan:
    every = {
        "cone": Spread(0.32, 0.05, 0.15, 0.5), "process": Spread(0.14, 0.03, 0.05), "lean": Spread(0),
        "round": Spread(0.8, 0.1, 0.5), "areola_um": Spread(0.6, 0.08, 0.45), "otaria": Spread(0), **characters,
    }  # fmt: skip
    return Plan(taxon, "diatom", Sizes(34, 0.25, 20, 58), rhizosolenia, every, (2.0, 4.0), 6, 0.3)


PLANS: tuple[Plan, ...] = (
    _needle("thalassionema-nitzschioides", (32, 0.35, 12, 70), Spread(2.8, 0.4, 1.8, 4), Spread(0.9, 0.08, 0.6),
            Spread(0.02, 0.05, 0), Spread(0.08, 0.08, 0)),
    _needle("thalassionema-bacillare", (40, 0.35, 18, 80), Spread(3.2, 0.5, 2, 5), Spread(1.05, 0.1, 0.6),
            Spread(0.24, 0.08, 0.02), Spread(0.04, 0.05, 0)),
    _needle("thalassionema-frauenfeldii", (52, 0.3, 26, 90), Spread(2.9, 0.45, 1.8, 5), Spread(1.2, 0.12, 0.7),
            Spread(0.03, 0.05, 0), Spread(0.42, 0.14, 0.02, 0.8)),
    _raphid("fragilariopsis-kerguelensis", (36, 0.35, 14, 72), 0.35, width_um=Spread(7.5, 1.2, 5, 11),
            stria_um=Spread(1.85, 0.22, 1.3), rib_um=Spread(0.35, 0.06, 0.15), wall_um=Spread(0.1, 0.02, 0.04),
            keel_um=Spread(0.06, 0.02, 0.02), blunt=Spread(2.6, 0.3, 1.6), fine=Spread(0.7, 0.08, 0.5)),
    _raphid("fragilariopsis-doliolus", (44, 0.3, 22, 76), 0.35, width_um=Spread(6.2, 0.9, 4, 9),
            stria_um=Spread(0.88, 0.12, 0.6), rib_um=Spread(0.2, 0.04, 0.08), keel_um=Spread(0.1, 0.03, 0.02),
            lopsided=Spread(0.55, 0.15, 0.1, 0.9), blunt=Spread(3.0, 0.3, 1.8), fine=Spread(0.75, 0.08, 0.5)),
    replace(
        _raphid("nitzschia", (44, 0.35, 20, 85), 0.35, stria_um=Spread(0.6, 0.12, 0.42),
                fibula_um=Spread(0.85, 0.15, 0.5), keel_um=Spread(0.42, 0.07, 0.15)),
        name="nitzschia-sp",
    ),
    _raphid("pseudo-nitzschia-seriata-group", (72, 0.2, 45, 100), 0.55, width_um=Spread(4.2, 0.7, 3.0, 6.5),
            stria_um=Spread(0.62, 0.06, 0.5), fibula_um=Spread(0.62, 0.07, 0.5), keel_um=Spread(0.2, 0.04, 0.08),
            blunt=Spread(1.9, 0.2, 1.3), fine=Spread(1.05, 0.08, 0.8), wall_um=Spread(0.05, 0.01, 0.02)),
    _raphid("pseudo-nitzschia-delicatissima-group", (58, 0.22, 34, 92), 0.55, width_um=Spread(2.2, 0.4, 1.4, 3.0),
            stria_um=Spread(0.44, 0.02, 0.42), fibula_um=Spread(0.5, 0.06, 0.42), keel_um=Spread(0.16, 0.03, 0.06),
            blunt=Spread(1.9, 0.2, 1.3), fine=Spread(1.05, 0.08, 0.8), wall_um=Spread(0.045, 0.01, 0.02),
            rib_um=Spread(0.03, 0.01, 0)),
    _apex("rhizosolenia-styliformis", otaria=Spread(0.16, 0.035, 0.06), lean=Spread(0.16, 0.06, 0)),
    _apex("rhizosolenia-bergonii", cone=Spread(0.27, 0.05, 0.14, 0.45), process=Spread(0.2, 0.04, 0.08),
          areola_um=Spread(0.75, 0.1, 0.45), otaria=Spread(0.01, 0.02, 0), lean=Spread(0.03, 0.04, 0)),
)  # fmt: skip
