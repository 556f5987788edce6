"""Resting spores of *Chaetoceros*, and skeletons of silicoflagellates.

Spores: long spines that fork on the primary valve of *C. diadema*; short ones, a few stouter, on both valves of *C.
affinis* (Hasle and Syvertsen, in C. Tomas, Identifying Marine Phytoplankton, 1997; Rines and Hargraves 1988,
Bibliotheca Phycologica 79). Silicoflagellates: four spines and a bar over the basal ring in *Dictyocha*, on which
*D. stapedia* (*D. messanensis*) has a spine that points upwards, along the light (Haeckel 1887); six spines around
two rings in *Octactis speculum*, eight in *O. octonaria*, now and then one more or less (McCartney, in J. Lipps,
Fossil Prokaryotes and Protists, 1993; Henriksen et al. 1993, Phycologia 32, 29). Diameters of 10 to 45 um with
spines.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from drivers.virtual_slide.matter import OPAL, Body, Pose
from drivers.virtual_slide.specimens.canvas import SEEN_UM, Canvas
from drivers.virtual_slide.specimens.diatoms import SUBPIXELS, half_chord
from drivers.virtual_slide.specimens.kinds import Sizes
from drivers.virtual_slide.specimens.relief import cut, soft
from drivers.virtual_slide.specimens.siliceous import Bar, Point, laid_along_x, skeleton
from drivers.virtual_slide.specimens.taxa.plan import Plan, Spread, Traits, face_of, preserved

FROM_ABOVE = 0.35
"""Share of the spores that lie on a valve."""
DOUBLE = 0.06
"""Share of silicoflagellates that are two skeletons, ring to ring."""

Line = tuple[float, float, float, float]


def spore(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a hollow spore of two domed valves, from its side or from above."""
    if random.random() < FROM_ABOVE:
        return _spore_from_above(traits, length_um, random)
    half = length_um / 2
    domes = traits["dome"], traits["dome"] * random.uniform(0.5, 0.9)
    seam, fullness = random.uniform(0.15, 0.35), (random.uniform(0.6, 1.1), random.uniform(0.6, 1.0))
    bars = _bristles(traits, domes, seam, random, half)
    reach = max([seam / 2 + max(domes), *(max(abs(bar[1]), abs(bar[3])) for bar, _ in bars)])
    wide = max([1.0, *(max(abs(bar[0]), abs(bar[2])) for bar, _ in bars)])
    canvas = Canvas(2 * wide * half, 2 * reach * half)
    x, y = canvas.x, canvas.y
    depth, wall, kept = random.uniform(0.45, 0.7), random.uniform(0.05, 0.1), preserved(random)
    heights = domes[0] * half, domes[1] * half
    shell, face, solid = canvas.empty, canvas.empty, np.zeros(x.shape, bool)
    offsets = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS * canvas.pixel_um - canvas.pixel_um / 2
    for dy in offsets:
        outer = half_chord(np.asarray(y + dy), half, seam * half, heights, fullness)
        inner = half_chord(
            np.asarray(y + dy), half - wall, seam * half, (heights[0] - wall, heights[1] - wall), fullness
        )
        for dx in offsets:
            far, near = (np.sqrt(np.maximum(chord**2 - (x + dx) ** 2, 0)) for chord in (outer, inner))
            shell, face = shell + depth * (far - near), face + depth * (far + near) / 2
            solid |= far > 0
    blurred = cv2.GaussianBlur(shell / SUBPIXELS**2, (0, 0), 0.11 / canvas.pixel_um)
    face = np.asarray(face / SUBPIXELS**2)
    girdle = soft(np.abs(y) - 0.13) * solid * random.uniform(0.1, 0.2)
    spines = canvas.empty
    for (x0, y0, x1, y1), width in bars:
        spines = np.maximum(spines, canvas.rod((x0 * half, y0 * half, x1 * half, y1 * half), width) * 0.8 * kept)
    sheet = np.asarray((blurred + girdle) * kept)
    parts = [(sheet, face), (sheet, np.asarray(-face)), (np.asarray(spines), canvas.empty)]
    return canvas.body(cut(parts, OPAL, max(0.6, depth * length_um / 10)), solid | (spines > SEEN_UM), Pose("side"))


def _bristles(
    traits: Traits, domes: tuple[float, float], seam: float, random: np.random.Generator, half: float
) -> list[tuple[Line, float]]:
    """Spines of both valves: ends as shares of half the width, and their width in um."""
    bars: list[tuple[Line, float]] = []
    for side, dome, much in ((1, domes[0], 1.0), (-1, domes[1], traits["second"])):
        count = round(traits["spines"] * (1.0 if much > 0.3 else 0.0))
        for at in np.linspace(-0.7, 0.7, count) + random.normal(0, 0.05, count):
            x, y = float(at), seam / 2 + dome * (1 - float(at) ** 2) - 0.08
            lean, long = float(at) * 0.9 + random.normal(0, 0.12), traits["spine_um"] / half * random.uniform(0.8, 1.2)
            tip = x + long * np.sin(lean), y + long * np.cos(lean)
            bars.append(((x, side * y, tip[0], side * tip[1]), 0.28))
            if traits["forked"] > 0.5:
                for fork in (-0.6, 0.6):
                    end = tip[0] + 0.5 * long * np.sin(lean + fork), tip[1] + 0.5 * long * np.cos(lean + fork)
                    bars.append(((tip[0], side * tip[1], end[0], side * end[1]), 0.22))
    return bars


def _spore_from_above(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a spore that lies on a valve: an ellipse, its spines dots that stay sharp through so much of the stack."""
    aspect = random.uniform(0.6, 0.85)
    half = length_um / 2
    canvas = Canvas(length_um, length_um * aspect)
    side, face = face_of(random)
    kept = preserved(random)
    rho = canvas.ellipse(half, half * aspect)
    inside = soft((rho - 1) * half * aspect)
    high = traits["dome"] * half
    height = np.asarray(side * high * np.clip(1 - rho**2, 0, 1))
    steep = np.clip(rho / np.maximum(1.05 - rho, 0.15), 0, 4)
    wall = np.asarray(inside * (0.08 + 0.05 * steep) * kept)
    parts = [(wall, height), (np.asarray(wall * 0.8), np.asarray(-0.7 * height))]
    tall = traits["spine_um"] * (1.4 if traits["forked"] > 0.5 else 1.0)
    filled = random.uniform(0.3, 1.0)
    for _ in range(round(traits["spines"])):
        r, at = np.sqrt(random.uniform(0, 0.6)), random.uniform(0, 2 * np.pi)
        x, y = r * half * np.cos(at), r * half * aspect * np.sin(at)
        foot = side * high * (1 - r**2)
        dot = soft(np.asarray(np.hypot(canvas.x - x, canvas.y - y) - 0.16))
        piece = np.asarray(dot * 0.5 * filled * kept)
        parts += [(piece, np.asarray(canvas.empty + foot + side * level)) for level in np.arange(0, tall, 0.5)]
    return canvas.body(cut(parts, OPAL, 0.6), inside > 0.5, Pose("face", face))


def silicoflagellate(traits: Traits, length_um: float, random: np.random.Generator) -> Body:
    """Draw a basal ring with a spine at each corner, struts, and a bar or a ring above it, perhaps with a spine."""
    corners = max(3, round(traits["spines"]))
    angle = np.arange(corners) * 2 * np.pi / corners + random.normal(0, 0.04, corners)
    squash, tilt = random.uniform(0.8, 0.98), random.normal(0, 0.04)
    side, face = face_of(random)
    depth = traits["height"] * length_um

    def node(radius: float, at: float, z: float = 0.0) -> Point:
        x, y = radius * np.cos(at), squash * radius * np.sin(at)
        return np.array([x, y, z * depth / length_um + tilt * x])

    width = float(np.clip(length_um * traits["bar"], 0.8, 2.0))
    hollow = random.choice([0.0, 0.45])
    ring_radius = traits["ring"]
    long_ones = np.where(np.arange(corners) % max(corners // 2, 1) == 0, 1.25, 0.9)
    spines = random.normal(traits["spine"], 0.02, corners).clip(0.05) * long_ones
    ring = [node(ring_radius, a) for a in angle]
    after = np.roll(np.arange(corners), -1)
    sides = [(ring[i] + ring[j]) / 2 for i, j in enumerate(after)]
    bars = [Bar(ring[i], ring[j], (width, width), 0.9, hollow) for i, j in enumerate(after)]
    bars += [Bar(ring[i], node(ring_radius + spines[i], a, -0.1), (width, 0.3 * width)) for i, a in enumerate(angle)]
    if traits["apical"] > 0.05:
        top = [node(traits["apical"], a + np.pi / corners, 1.0) for a in angle]
        bars += [Bar(top[i], top[j], (width, width), 0.9, hollow) for i, j in enumerate(after)]
        bars += [Bar(sides[i], top[i], (width, 0.9 * width), 0.85, hollow) for i in range(corners)]
    else:
        turn = random.uniform(-0.25, 0.25)
        bridge = [node(0.085, turn, 1.0), node(0.085, turn + np.pi, 1.0)]
        bars.append(Bar(bridge[0], bridge[1], (width, width), 0.9, hollow))
        for foot in sides:
            nearest = min(bridge, key=lambda end: float(np.hypot(*(end - foot)[:2])))
            bars.append(Bar(foot, nearest, (width, 0.9 * width), 0.85, hollow))
    if traits["upright"] > 0.02:
        # Bars are drawn by their length in the slide's plane, so one that stands is a pile of dots.
        dot, levels = np.array([1e-3, 0.0, 0.0]), max(2, round(traits["upright"] * length_um))
        for share in np.arange(levels) / levels:
            place = np.array([0.0, 0.0, depth / length_um + share * traits["upright"]])
            bars.append(Bar(place, place + dot, ((0.9 - 0.4 * share) * width,) * 2))
    units = 1
    if random.random() < DOUBLE:
        units = 2
        turn = random.uniform(0.1, 0.5)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, -1.0]])
        drop = np.array([0, 0, -0.05])
        bars += [replace(bar, start=matrix @ bar.start + drop, end=matrix @ bar.end + drop) for bar in bars]
    flip = np.array([1, 1, side])
    bars = [replace(bar, start=bar.start * flip, end=bar.end * flip) for bar in bars]
    body = skeleton(laid_along_x(bars, length_um - 0.3 * width))
    return replace(body, pose=Pose("face", face, units))


def _spore(taxon: str, **characters: Spread) -> Plan:
    every = {"dome": Spread(0.55, 0.1, 0.3, 0.85), "second": Spread(0.1, 0.2), "forked": Spread(0), **characters}
    return Plan(taxon, "diatom", Sizes(11, 0.22, 6, 18), spore, every, (2.0, 3.5), 10, 0.1)


def _skeleton(taxon: str, median_um: float, **characters: Spread) -> Plan:
    every = {
        "spines": Spread(4), "ring": Spread(0.3, 0.025, 0.2), "spine": Spread(0.22, 0.04, 0.08),
        "apical": Spread(0), "height": Spread(0.2, 0.03, 0.1, 0.3), "bar": Spread(0.055, 0.008, 0.03),
        "upright": Spread(0), **characters,
    }  # fmt: skip
    return Plan(taxon, "silicoflagellate", Sizes(median_um, 0.25, 11, 42), silicoflagellate, every, (0.5, 2.0), 8, 0.25)


RINGED = {"apical": Spread(0.13, 0.015, 0.08), "height": Spread(0.17, 0.03, 0.08)}
PLANS: tuple[Plan, ...] = (
    _spore("chaetoceros-diadema", spines=Spread(6, 1.2, 3), spine_um=Spread(3.2, 0.7, 1.2), forked=Spread(0.8, 0.25)),
    _spore("chaetoceros-affinis", spines=Spread(8, 1.5, 4), spine_um=Spread(1.1, 0.35, 0.4), second=Spread(0.7, 0.3)),
    _skeleton("dictyocha-fibula", 22.5),
    _skeleton("dictyocha-stapedia", 22.5, upright=Spread(0.14, 0.03, 0.07)),
    _skeleton("octactis-speculum", 24, spines=Spread(6, 0.3), spine=Spread(0.18, 0.03, 0.06), **RINGED),
    _skeleton("octactis-octonaria", 27, spines=Spread(8, 0.35), spine=Spread(0.14, 0.03, 0.05), **RINGED),
)
