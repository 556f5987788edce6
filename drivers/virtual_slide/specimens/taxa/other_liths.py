"""Coccoliths that are no placoliths: helicoliths, muroliths, and plates of *Florisphaera*.

*Helicosphaera*: 7 to 12 um, two pores or slits in line with the long axis in *H. carteri*, turned by 10 to 20
degrees in *H. wallichii*, none and smaller in *H. hyalina*; the blanket is bright, flange and proximal plate stay
dark (Young et al. 2003, Journal of Nannoplankton Research, Special Issue 1; Geisen et al. 2004). *Syracosphaera
pulchra*: a wall around a floor of radial laths, 4.5 to 8 um (Young et al. 2003). Heights of walls and shares of mass
are guesses from micrographs.
"""

from __future__ import annotations

import numpy as np

from drivers.virtual_slide.matter import CALCITE, Body, Slice
from drivers.virtual_slide.specimens import coccoliths
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.coccoliths import Rim, laid, some_tilt, uneven_wear, volume_um3, weighed
from drivers.virtual_slide.specimens.kinds import Sizes
from drivers.virtual_slide.specimens.taxa.placoliths import DEEP, LITHS_BROKEN, LOW
from drivers.virtual_slide.specimens.taxa.plan import Plan, Spread, Traits, face_of


def helicolith(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a dark flange that winds outwards to a wing, around a bright blanket with two slits."""
    aspect = traits["aspect"]
    canvas = Canvas(length_um, length_um * aspect)
    side, _ = face_of(random)
    a, b = length_um / 2, length_um / 2 * aspect
    x, y = canvas.x, np.asarray(canvas.y * side)
    rho, angle = np.hypot(x / a, y / b), np.mod(np.arctan2(y / b, x / a) + 0.35, 2 * np.pi) / (2 * np.pi)
    edge = (0.78 + 0.22 * angle**1.5) * (1 - traits["wing"] * np.exp(-(((angle - 0.02) / 0.05) ** 2)))
    scale = (a + b) / 2
    inside = canvas.inside((rho - edge) * scale)
    blanket = canvas.inside((rho - traits["blanket"]) * scale)
    turn = np.deg2rad(traits["slit_deg"]) * side
    along = canvas.x * np.cos(turn) + canvas.y * np.sin(turn)
    across = canvas.y * np.cos(turn) - canvas.x * np.sin(turn)
    half, width = traits["slit"] * a, traits["slit_width"] * b
    reach = np.abs(np.abs(along) - (half / 2 + 0.06 * a)) - half / 2
    slits = canvas.inside(np.maximum(reach, np.abs(across) - width / 2)) * (traits["slit"] > 0)
    striae = 0.8 + 0.2 * np.cos(60 * np.pi * angle)
    worn = uneven_wear(canvas, random, random.uniform(0.02, 0.08))
    radial = np.arctan2(canvas.y / b**2, canvas.x / a**2) + side * np.deg2rad(random.uniform(20, 40))
    steep = np.full_like(radial, np.deg2rad(random.uniform(72, 82)))
    volume, bright = volume_um3(0.05, length_um, random), traits["bright"]
    dark = [
        Slice(side * -0.25, CALCITE, inside * (1 - slits) * striae * worn, radial, steep),
    ]
    light = [
        Slice(side * 0.35, CALCITE, blanket * (1 - slits) * (0.6 + 0.4 * rho) * worn, radial),
        Slice(side * 0.1, CALCITE, 0.1 * canvas.inside(np.abs(rho - edge + 0.06) * scale - 0.12) * worn, radial),
    ]
    layers = weighed(dark, canvas.pixel_um, volume * (1 - bright)) + weighed(light, canvas.pixel_um, volume * bright)
    return laid(canvas, layers, inside, some_tilt(random, 12), step_um=0.8, side=side)


def murolith(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw an elliptic wall of some height around a floor of radial laths."""
    aspect = traits["aspect"]
    canvas = Canvas(length_um, length_um * aspect)
    rim = Rim.at(canvas.x, canvas.y, length_um, aspect, canvas.pixel_um)
    side, _ = face_of(random)
    laths = round(traits["laths"])
    factor, suture = rim.elements(np.clip(random.normal(1, 0.1, laths), 0.6, 1.4), side * 0.15)
    wall = traits["wall"]
    floor = 0.45 * factor * rim.between(wall, 3) * (1 - 0.85 * suture) + 0.25 * rim.ridge(0.62, 0.06)
    flange = 0.7 * rim.between(0, wall * 0.6)
    tube = rim.between(wall * 0.4, wall)
    worn = uneven_wear(canvas, random, random.uniform(0.03, 0.12))
    radial, height = rim.radial + side * 0.15, traits["height_um"]
    layers = [
        Slice(side * -height / 2, CALCITE, floor * worn, radial),
        Slice(side * -height / 2, CALCITE, 0.6 * tube * worn, radial),
        Slice(0.0, CALCITE, tube * worn, radial),
        Slice(side * height / 2, CALCITE, flange * worn, radial),
    ]
    layers = weighed(layers, canvas.pixel_um, volume_um3(0.03, length_um, random))
    return laid(canvas, layers, rim.between(0, 9), some_tilt(random, 15), step_um=0.8, side=side)


def _helicosphaera(taxon: str, length_um: tuple[float, float, float], slit: Spread, degrees: Spread) -> Plan:
    median, low, high = length_um
    characters = {
        "aspect": Spread(0.64, 0.035, 0.52, 0.76), "wing": Spread(0.12, 0.04, 0, 0.25),
        "blanket": Spread(0.62, 0.04, 0.45, 0.72), "slit": slit, "slit_width": Spread(0.12, 0.03, 0.05, 0.25),
        "slit_deg": degrees, "bright": Spread(0.5, 0.05, 0.3, 0.7),
    }  # fmt: skip
    sizes = Sizes(median, 0.13, low, high)
    return Plan(taxon, "coccolith", sizes, helicolith, characters, DEEP, 10, LITHS_BROKEN)


PLANS: tuple[Plan, ...] = (
    _helicosphaera("helicosphaera-carteri", (9.2, 6.5, 12.5), Spread(0.2, 0.04, 0.06), Spread(0, 6)),
    _helicosphaera("helicosphaera-wallichii", (9.0, 6.5, 12.5), Spread(0.2, 0.04, 0.06), Spread(16, 6)),
    _helicosphaera("helicosphaera-hyalina", (7.6, 5.5, 10.0), Spread(0.0, 0.03, 0, 0.1), Spread(3, 8)),
    Plan(
        "syracosphaera-pulchra", "coccolith", Sizes(6.0, 0.14, 4.3, 8.3), murolith,
        {"aspect": Spread(0.68, 0.04, 0.55, 0.8), "laths": Spread(34, 4, 20), "wall": Spread(0.2, 0.03, 0.1),
         "height_um": Spread(1.2, 0.2, 0.6)},
        LOW, 10, 0.2,
    ),
    Plan(
        "florisphaera-profunda", "coccolith", Sizes(5.2, 0.18, 4.0, 8.0),
        lambda _, length, random: coccoliths.florisphaera(length, random), {}, LOW, 10, LITHS_BROKEN,
    ),
)  # fmt: skip
