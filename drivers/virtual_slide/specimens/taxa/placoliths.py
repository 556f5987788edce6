"""Placoliths: coccoliths of two shields around a tube.

Sizes and what tells them apart: *Gephyrocapsa* by length, angle of the bridge and central opening (Bollmann 1997,
Marine Micropaleontology 29, 319; Baumann and Freitag 2004, Marine Micropaleontology 52, 195), *Calcidiscus*,
*Umbilicosphaera* and *Coccolithus* by length, opening and sutures (Young et al. 2003, Journal of Nannoplankton
Research, Special Issue 1; Knappertsbusch et al. 1997, Marine Micropaleontology 30, 293; Geisen et al. 2002, European
Journal of Phycology 37, 531). Shape factors of mass after Young and Ziveri (2000). Lengths scatter by 12 to 15 %.
Which crystals are bright follows Young et al. (1992). Widths of tubes, strength of sutures and distances between
shields are guesses from micrographs.
"""

from __future__ import annotations

import numpy as np

from drivers.virtual_slide.matter import CALCITE, Body, Slice
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.coccoliths import (
    EmilianiaForm,
    Rim,
    laid,
    some_tilt,
    uneven_wear,
    volume_um3,
    weighed,
)
from drivers.virtual_slide.specimens.kinds import Sizes
from drivers.virtual_slide.specimens.taxa.plan import Plan, Spread, Traits, face_of

LOW = (0.0, 0.6)
DEEP = (0.4, 1.0)
LITHS_BROKEN = 0.15


def emiliania(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a delicate shield of T-shaped elements around a tube, which overcalcification widens and closes."""
    aspect = random.uniform(0.8, 0.9)
    canvas = Canvas(length_um, length_um * aspect)
    rim = Rim.at(canvas.x, canvas.y, length_um, aspect, canvas.pixel_um)
    side, _ = face_of(random)
    form = EmilianiaForm(
        uneven=np.clip(random.normal(1, 0.12, random.integers(25, 36)), 0.5, 1.5),
        kink=side * random.uniform(0.1, 0.4),
        curl=side * np.deg2rad(random.uniform(5, 20)),
        tube=1 - traits["opening"],
        tube_width=traits["tube"],
        slit=traits["slit"],
        shield=random.uniform(0.30, 0.40),
        grid=float(np.clip(random.normal(0.07, 0.04), 0, 0.15)),
    )
    distal, proximal, azimuth = form.shields(rim)
    worn = uneven_wear(canvas, random, random.uniform(0.03, 0.15))
    layers = [Slice(z, CALCITE, part * worn, azimuth) for z, part in ((side * 0.15, distal), (side * -0.15, proximal))]
    layers = weighed(layers, canvas.pixel_um, volume_um3(traits["ks"], length_um, random))
    return laid(canvas, layers, rim.between(0, 9), some_tilt(random, 20), side=side)


def placolith(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw two shields, a tube between them, and what spans the opening.

    Of its traits `opening` and `tube` are shares of half the width, `distal` and `proximal` how far inside the lith's
    outline the shields end, `dark` says whether the crystals of the distal shield stand upright, `bright` how much of
    the mass lies in those that do not.
    """
    aspect = traits["aspect"]
    canvas = Canvas(length_um, length_um * aspect)
    rim = Rim.at(canvas.x, canvas.y, length_um, aspect, canvas.pixel_um)
    side, _ = face_of(random)
    elements = max(9, round(traits["elements"]))
    factor, suture = rim.elements(np.clip(random.normal(1, 0.08, elements), 0.6, 1.4), side * traits["kink"])
    inner, tube = 1 - traits["opening"], traits["tube"]
    sutured = factor * (1 - traits["suture"] * suture)
    thinner = 0.5 + 0.5 * np.clip(rim.inward / max(inner, 0.1), 0, 1)
    middle = (traits["distal"] + inner) / 2
    parts = [rim.between(traits["distal"], middle), rim.between(middle, inner)]
    outer, inside = (traits["shield"] * sutured * thinner * part for part in parts)
    # A closed centre is a pit: the tube's crystals meet there.
    ring = np.sqrt(rim.ridge(inner - tube / 2, tube)) * rim.between(0, inner) * (0.85 + 0.15 * factor)
    proximal = 0.3 * rim.between(traits["proximal"], inner) * (1 - 0.2 * suture)
    angle = np.deg2rad(traits["bridge_deg"]) * side
    along = canvas.x * np.cos(angle) + canvas.y * np.sin(angle)
    across = canvas.y * np.cos(angle) - canvas.x * np.sin(angle)
    notch = 1 - 0.5 * np.exp(-((along / 0.15) ** 2))
    half = max(traits["bridge"] * length_um / 2, 1e-3)
    spans = traits["bridge"] > 0
    bridge = spans * random.uniform(0.7, 1.0) * canvas.inside(np.abs(across) - half) * rim.between(inner, 3) * notch
    radial = rim.radial + side * np.deg2rad(random.uniform(5, 20)) * (1 - rim.inward)
    along_bridge = np.full_like(radial, angle + np.deg2rad(random.uniform(-15, 15)))
    worn = uneven_wear(canvas, random, random.uniform(0.02, 0.1))
    apart, volume = traits["apart_um"] / 2, volume_um3(traits["ks"], length_um, random)
    steep = np.full_like(radial, np.deg2rad(random.uniform(70, 80))) if traits["dark"] else None
    shields = [
        Slice(side * (apart - traits["dome_um"] / 2), CALCITE, outer * worn, radial, steep),
        Slice(side * (apart + traits["dome_um"] / 2), CALCITE, inside * worn, radial, steep),
    ]
    rest = [
        Slice(0.0, CALCITE, ring * worn, radial),
        Slice(side * -apart, CALCITE, proximal * worn, radial),
        Slice(side * (apart + 0.05), CALCITE, bridge * worn, along_bridge),
    ]
    if traits["dark"]:
        bright = traits["bright"]
        layers = weighed(shields, canvas.pixel_um, volume * (1 - bright)) + weighed(
            rest, canvas.pixel_um, volume * bright
        )
    else:
        layers = weighed([*shields, *rest], canvas.pixel_um, volume)
    return laid(canvas, layers, rim.between(0, 9), some_tilt(random, 15), step_um=0.8, side=side)


NO_BRIDGE = {"bridge": Spread(0), "bridge_deg": Spread(0)}
ONE_CRYSTAL = {"dark": Spread(0), "bright": Spread(1)}


def _gephyrocapsa(
    taxon: str, length_um: tuple[float, float, float], degrees: Spread, opening: Spread, aspect: float, ks: float
) -> Plan:
    median, low, high = length_um
    characters = {
        "aspect": Spread(aspect, 0.035, 0.72, 0.97), "opening": opening, "tube": Spread(0.26, 0.04, 0.15, 0.4),
        "elements": Spread(38, 5), "kink": Spread(0.3), "suture": Spread(0.25),
        "shield": Spread(0.36, 0.04, 0.2), "distal": Spread(0), "proximal": Spread(0.12),
        "bridge": Spread(0.09, 0.02, 0.05, 0.15), "bridge_deg": degrees, **ONE_CRYSTAL,
        "ks": Spread(ks), "apart_um": Spread(0.4), "dome_um": Spread(0),
    }  # fmt: skip
    sizes = Sizes(median, 0.15, low, high)
    return Plan(taxon, "coccolith", sizes, placolith, characters, LOW, 10, LITHS_BROKEN)


def _dark(taxon: str, length_um: tuple[float, float, float], ks: float, **characters: Spread) -> Plan:
    """Plan a placolith with an upright, dark distal shield."""
    median, low, high = length_um
    every = {
        "aspect": Spread(0.87, 0.03, 0.75, 0.97), "opening": Spread(0.3, 0.04), "tube": Spread(0.3, 0.04, 0.1),
        "elements": Spread(40, 4), "kink": Spread(0.5), "suture": Spread(0.3, 0.06, 0), "shield": Spread(1),
        "distal": Spread(0), "proximal": Spread(0.12, 0.03, 0), **NO_BRIDGE, "dark": Spread(1),
        "bright": Spread(0.44, 0.04, 0.2), "ks": Spread(ks), "apart_um": Spread(0.7, 0.15, 0.3), "dome_um": Spread(0.3),
        **characters,
    }  # fmt: skip
    return Plan(taxon, "coccolith", Sizes(median, 0.13, low, high), placolith, every, DEEP, 10, LITHS_BROKEN)


def _huxleyi(taxon: str, median_um: float, ks: float, opening: float, tube: float, slit: float) -> Plan:
    characters = {
        "opening": Spread(opening, 0.035, 0.2, 0.65), "tube": Spread(tube, 0.035, 0.1, 0.4),
        "slit": Spread(slit, 0.14, 0.1, 1), "ks": Spread(ks, 0.12 * ks, 0.01),
    }  # fmt: skip
    return Plan(taxon, "coccolith", Sizes(median_um, 0.13, 2.3, 5.0), emiliania, characters, LOW, 10, LITHS_BROKEN)


PLANS: tuple[Plan, ...] = (
    _huxleyi("emiliania-huxleyi", 3.3, 0.020, 0.52, 0.17, 0.75),
    _huxleyi("emiliania-huxleyi-overcalcified", 3.5, 0.030, 0.45, 0.235, 0.4),
    _gephyrocapsa("gephyrocapsa-oceanica", (4.6, 3.2, 6.5), Spread(60, 12, 5, 90), Spread(0.57, 0.05), 0.87, 0.05),
    _gephyrocapsa("gephyrocapsa-muellerae", (3.5, 2.4, 4.9), Spread(30, 12, -5, 80), Spread(0.48, 0.05), 0.84, 0.05),
    _gephyrocapsa("gephyrocapsa-caribbeanica", (4.1, 3.0, 5.6), Spread(38, 14, -5, 85), Spread(0.36, 0.06), 0.88, 0.06),
    _gephyrocapsa("gephyrocapsa-small", (2.5, 1.8, 3.2), Spread(48, 20, -5, 90), Spread(0.52, 0.07), 0.84, 0.05),
    _dark(
        "calcidiscus-leptoporus", (6.2, 4.5, 8.5), 0.08, aspect=Spread(0.96, 0.02, 0.9, 1),
        opening=Spread(0.1, 0.03, 0.03),
        tube=Spread(0.25, 0.05, 0.1), elements=Spread(22, 4), kink=Spread(1.1, 0.2), suture=Spread(0.55, 0.1, 0.1, 0.9),
        proximal=Spread(0.22, 0.04), bright=Spread(0.3, 0.04), dome_um=Spread(0.6),
    ),
    _dark(
        "calcidiscus-quadriperforatus", (8.3, 6.0, 11.0), 0.08, aspect=Spread(0.975, 0.015, 0.9, 1),
        opening=Spread(0.1, 0.03, 0.03), tube=Spread(0.25, 0.05, 0.1), elements=Spread(28, 4), kink=Spread(1.1, 0.2),
        suture=Spread(0.4, 0.1, 0.1, 0.9), proximal=Spread(0.22, 0.04), bright=Spread(0.3, 0.04), dome_um=Spread(0.6),
    ),
    _dark(
        "umbilicosphaera-sibogae", (4.6, 3.3, 6.3), 0.055, aspect=Spread(0.97, 0.015, 0.9, 1),
        opening=Spread(0.45, 0.06),
        tube=Spread(0.18, 0.03, 0.1), elements=Spread(26, 4), kink=Spread(0.9, 0.15), distal=Spread(0.1, 0.03, 0),
        proximal=Spread(0.0), bright=Spread(0.38, 0.04),
    ),
    _dark(
        "umbilicosphaera-foliosa", (5.6, 4.2, 7.4), 0.065, aspect=Spread(0.97, 0.015, 0.9, 1),
        opening=Spread(0.24, 0.05, 0.08),
        tube=Spread(0.2, 0.03, 0.1), elements=Spread(28, 4), kink=Spread(1.2, 0.2), proximal=Spread(0.15, 0.03, 0),
        bright=Spread(0.38, 0.04),
    ),
    _dark(
        "coccolithus-pelagicus", (8.2, 6.0, 11.0), 0.06, bridge=Spread(0.0, 0.02, 0, 0.08), bridge_deg=Spread(90, 4),
    ),
    _dark(
        "coccolithus-braarudii", (11.3, 8.5, 15.5), 0.06, bridge=Spread(0.035, 0.015, 0, 0.08),
        bridge_deg=Spread(90, 4),
        opening=Spread(0.32, 0.04),
    ),
)  # fmt: skip
