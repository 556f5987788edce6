"""Coccoliths: calcite plates of coccolithophores, alone or as a whole coccosphere.

A coccolith is a rim of crystals around a central area. Crystals with a radial optic axis (R-units) are bright between
circular polarizers, those with a nearly vertical one (V-units) stay dark (Young et al. 1992, Nature 356, 516). Its mass
follows from its length by a shape factor, m = 2.71 ks L^3 (Young and Ziveri 2000, Deep-Sea Research II 47, 1679).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import CALCITE, Body, Map, Pose, Slice
from drivers.virtual_slide.specimens.canvas import FINE_PIXEL_UM, Canvas, tilted
from drivers.virtual_slide.specimens.kinds import Kind, Sizes

EMILIANIA_KS = 0.02
GEPHYROCAPSA_KS = 0.05
COCCOLITHUS_KS = 0.06
MASS_SCATTER = 0.12
"""Standard deviation of ln(mass) between liths of one length."""
SHELL_UM = 0.5
"""Height of a lith in the wall of a coccosphere."""
SPHERE_COVER = 6.6
"""Liths of a coccosphere, times the square of their length over its diameter: they cover it 1.4 times."""
FACES = {1: "outer", -1: "inner", 0: ""}
SPHERE_SAMPLES = 6
"""Depths a slice at which the wall of a coccosphere is looked up."""


@dataclass(frozen=True)
class Rim:
    """Places in an elliptic lith, anywhere: on a grid, or on the curved wall of a coccosphere.

    Attributes
    ----------
    inward
        distance from the edge, as a share of half the width; negative outside, 1 in the middle.
    angle
        around the centre, in rad.
    radial
        direction across the rim, in rad.
    blur
        softness of an edge, as a share of half the width.
    """

    inward: Map
    angle: Map
    radial: Map
    blur: float

    @classmethod
    def at(cls, x: Map, y: Map, length_um: float, aspect: float, softness_um: float) -> Rim:
        """Find places, in um from the middle of a lith of a length and width over length, in its rim."""
        a, b = length_um / 2, length_um / 2 * aspect
        rho, slope = np.hypot(x / a, y / b), np.hypot(x / a**2, y / b**2)
        distance = (1 - rho) * rho / np.maximum(slope, 1e-6)  # first order in the distance, so a rim is equally wide
        return cls(
            inward=np.asarray(distance / b),
            angle=np.arctan2(y / b, x / a),
            radial=np.arctan2(y / b**2, x / a**2),
            blur=softness_um / b,
        )

    def between(self, outer: float, inner: float) -> Map:
        """Coverage of the ring between two distances from the edge."""
        rising = np.clip(0.5 + (self.inward - outer) / self.blur, 0, 1)
        return np.asarray(rising * np.clip(0.5 + (inner - self.inward) / self.blur, 0, 1))

    def ridge(self, middle: float, width: float) -> Map:
        """Round ridge along the rim, 1 high, so wide at half of its height."""
        height = np.exp(-4 * np.log(2) * ((self.inward - middle) / width) ** 2)
        return np.asarray(height * (self.inward > 0))

    def elements(self, uneven: NDArray[np.float64], kink: float) -> tuple[Map, Map]:
        """Give the factor of the element at each place, and how near it is to a suture, 0 to 1."""
        turn = (self.angle + kink * self.inward) / (2 * np.pi) * uneven.size
        factor = uneven[np.floor(turn).astype(int) % uneven.size]
        return np.asarray(factor), np.asarray(0.5 + 0.5 * np.cos(2 * np.pi * turn))


@dataclass(frozen=True)
class EmilianiaForm:
    """What differs between liths of *Emiliania huxleyi*; lengths as shares of half the width."""

    uneven: NDArray[np.float64]
    kink: float
    curl: float
    tube: float
    tube_width: float
    slit: float
    shield: float
    grid: float

    @classmethod
    def grown(cls, random: np.random.Generator, side: int = 1) -> EmilianiaForm:
        """Grow one, seen from its distal side (1) or from the other (-1), where it turns the other way."""
        overgrown = random.normal()
        return cls(
            uneven=np.clip(random.normal(1, 0.12, random.integers(25, 36)), 0.5, 1.5),
            kink=side * random.uniform(0.1, 0.4),
            curl=side * np.deg2rad(random.uniform(5, 20)),
            tube=random.uniform(0.42, 0.54),
            tube_width=0.17 * np.exp(0.2 * overgrown),
            slit=float(np.clip(0.75 - 0.15 * overgrown, 0.2, 1)),
            shield=random.uniform(0.30, 0.40),
            grid=float(np.clip(random.normal(0.07, 0.04), 0, 0.15)),
        )

    def shields(self, rim: Rim) -> tuple[Map, Map, Map]:
        """Thickness of the distal shield and of all below it, over that of the tube, and azimuth of the axis."""
        factor, suture = rim.elements(self.uneven, self.kink)
        heads = rim.between(0, 0.13)
        spokes = rim.between(0.0, self.tube)
        distal = self.shield * factor * spokes * (1 - self.slit * suture * (1 - heads))
        proximal = 0.4 * self.shield * rim.between(0.14, self.tube)
        laths = self.grid * rim.between(self.tube, 3) * (1 - 0.5 * suture)
        azimuth = rim.radial + self.curl * (1 - rim.inward)
        return distal, proximal + laths + rim.ridge(self.tube, self.tube_width) * (0.5 + 0.5 * factor), azimuth


def weighed(layers: Sequence[Slice], pixel_um: float, volume_um3: float) -> list[Slice]:
    """Scale the thickness of all layers, so that together they have a volume."""
    scale = volume_um3 / (sum(float(layer.thickness.sum()) for layer in layers) * pixel_um**2)
    return [replace(layer, thickness=np.asarray(layer.thickness * scale)) for layer in layers]


def volume_um3(ks: float, length_um: float, random: np.random.Generator) -> float:
    """Volume of a lith of a shape factor and a length, which scatters from lith to lith."""
    return float(ks * length_um**3 * np.exp(MASS_SCATTER * random.normal()))


def some_tilt(random: np.random.Generator, most_deg: float) -> float:
    """Most liths lie flat, some lean on a neighbour."""
    leaning = random.random() < 0.35
    return float(np.deg2rad(random.uniform(-1, 1) * (most_deg if leaning else 3)))


def uneven_wear(canvas: Canvas, random: np.random.Generator, strength: float) -> Map:
    """Uneven dissolution: a factor around 1 that varies over half a um or so."""
    noise = cv2.GaussianBlur(random.normal(size=canvas.x.shape), (0, 0), 0.4 / canvas.pixel_um)
    return np.asarray(np.clip(1 + strength * noise / noise.std(), 0.3, 2))


def laid(
    canvas: Canvas, layers: Sequence[Slice], covered: Map, tilt: float, step_um: float = 0.4, side: int = 0
) -> Body:
    """Lay flat layers down at a tilt; the body is outlined where half of a pixel is covered.

    Its distal face (`side` 1) or the other (-1) is seen; 0 is without faces.
    """
    shadow = tilted([Slice(0.0, CALCITE, covered)], canvas, tilt)
    mask = np.sum([layer.thickness for layer in shadow], axis=0) * np.cos(tilt) > 0.5
    return canvas.body(tilted(layers, canvas, tilt, step_um), mask, Pose(face=FACES[side]))


def emiliania(length_um: float, random: np.random.Generator) -> Body:
    """*Emiliania huxleyi*: a delicate shield of T-shaped elements around a narrow tube, all of R-units."""
    aspect = random.uniform(0.8, 0.9)
    canvas = Canvas(length_um, length_um * aspect)
    rim = Rim.at(canvas.x, canvas.y, length_um, aspect, canvas.pixel_um)
    side = int(random.choice([-1, 1]))
    distal, proximal, azimuth = EmilianiaForm.grown(random, side).shields(rim)
    worn = uneven_wear(canvas, random, random.uniform(0.03, 0.15))
    layers = [Slice(z, CALCITE, part * worn, azimuth) for z, part in ((side * 0.15, distal), (side * -0.15, proximal))]
    layers = weighed(layers, canvas.pixel_um, volume_um3(EMILIANIA_KS, length_um, random))
    return laid(canvas, layers, rim.between(0, 9), some_tilt(random, 20), side=side)


def gephyrocapsa(length_um: float, random: np.random.Generator) -> Body:
    """*Gephyrocapsa*: two closed shields of R-units, a high tube, and a bridge obliquely over the central area."""
    aspect = random.uniform(0.78, 0.92)
    canvas = Canvas(length_um, length_um * aspect)
    rim = Rim.at(canvas.x, canvas.y, length_um, aspect, canvas.pixel_um)
    overgrown = random.normal()
    side = int(random.choice([-1, 1]))
    factor, suture = rim.elements(np.clip(random.normal(1, 0.08, random.integers(30, 48)), 0.6, 1.4), side * 0.3)
    width = 0.26 * np.exp(0.15 * overgrown)
    # G. oceanica is large and open, its bridge far from the long axis; G. muellerae the opposite (Bollmann 1997)
    oceanica = length_um > 4 or random.random() < 0.4
    tube = random.uniform(0.40, 0.48) if oceanica else random.uniform(0.46, 0.58)
    angle = np.deg2rad(random.uniform(45, 75) if oceanica else random.uniform(10, 40)) * side
    distal = random.uniform(0.30, 0.42) * factor * rim.between(0, tube) * (1 - 0.25 * suture)
    proximal = 0.25 * rim.between(0.12, tube) + rim.ridge(tube, width) * (0.6 + 0.4 * factor)
    along = canvas.x * np.cos(angle) + canvas.y * np.sin(angle)
    across = canvas.y * np.cos(angle) - canvas.x * np.sin(angle)
    half = 0.09 * np.exp(0.25 * overgrown) * length_um / 2
    notch = 1 - 0.5 * np.exp(-((along / 0.15) ** 2))  # its two halves meet in a suture
    bridge = random.uniform(0.7, 1.0) * canvas.inside(np.abs(across) - half) * rim.between(tube, 3) * notch
    azimuth = rim.radial + side * np.deg2rad(random.uniform(5, 20)) * (1 - rim.inward)
    worn = uneven_wear(canvas, random, random.uniform(0.02, 0.1))
    layers = [
        Slice(side * 0.2, CALCITE, distal * worn, azimuth),
        Slice(side * 0.25, CALCITE, bridge * worn, np.full_like(azimuth, angle + np.deg2rad(random.uniform(-15, 15)))),
        Slice(side * -0.15, CALCITE, proximal * worn, azimuth),
    ]
    layers = weighed(layers, canvas.pixel_um, volume_um3(GEPHYROCAPSA_KS, length_um, random))
    return laid(canvas, layers, rim.between(0, 9), some_tilt(random, 20), side=side)


def coccolithus(length_um: float, random: np.random.Generator) -> Body:
    """*Coccolithus pelagicus*: a domed distal shield of V-units over a tube and a proximal shield of R-units."""
    aspect = random.uniform(0.8, 0.93)
    canvas = Canvas(length_um, length_um * aspect)
    rim = Rim.at(canvas.x, canvas.y, length_um, aspect, canvas.pixel_um)
    side, apart = int(random.choice([-1, 1])), random.uniform(0.5, 1.0)
    factor, suture = rim.elements(np.clip(random.normal(1, 0.06, random.integers(34, 46)), 0.7, 1.3), side * 0.5)
    tube, opening = random.uniform(0.42, 0.48), random.uniform(0.66, 0.78)
    thinner = 0.5 + 0.5 * np.clip(rim.inward / tube, 0, 1)  # a shield thins towards its edge
    shield = factor * (1 - 0.3 * suture) * thinner
    outer, inner = shield * rim.between(0, 0.25), shield * rim.between(0.25, opening - 0.06)
    ring = np.sqrt(rim.ridge((tube + opening) / 2, opening - tube)) * rim.between(0, opening) * (0.85 + 0.15 * factor)
    proximal = random.uniform(0.2, 0.3) * rim.between(random.uniform(0.08, 0.15), tube + 0.1) * (1 - 0.2 * suture)
    barred = random.random() < 0.4
    bar = 0.4 * barred * np.exp(-((canvas.x / (0.035 * length_um)) ** 2)) * rim.between(opening, 3)
    radial = rim.radial + side * np.deg2rad(random.uniform(5, 15)) * (1 - rim.inward)
    steep = np.full_like(radial, np.deg2rad(random.uniform(70, 80)))
    worn = uneven_wear(canvas, random, random.uniform(0.02, 0.08))
    volume, bright = volume_um3(COCCOLITHUS_KS, length_um, random), random.uniform(0.40, 0.48)
    dark = [
        Slice(side * (apart / 2 - 0.15), CALCITE, outer * worn, radial, steep),
        Slice(side * (apart / 2 + 0.15), CALCITE, inner * worn, radial, steep),
    ]
    light = [
        Slice(0.0, CALCITE, ring * worn, radial),
        Slice(side * -apart / 2, CALCITE, proximal * worn, radial),
        Slice(side * -apart / 2, CALCITE, bar * worn, np.full_like(radial, np.pi / 2)),
    ]
    layers = weighed(dark, canvas.pixel_um, volume * (1 - bright)) + weighed(light, canvas.pixel_um, volume * bright)
    return laid(canvas, layers, rim.between(0, 9), some_tilt(random, 10), step_um=0.8, side=side)


def florisphaera(length_um: float, random: np.random.Generator) -> Body:
    """*Florisphaera profunda*: a thin plate, a single crystal with its optic axis along its length."""
    half, width = length_um / 2, length_um * random.uniform(0.45, 0.62)
    side, foot, blunt = width / 2, random.uniform(0.5, 0.9, 2), width * random.uniform(0.02, 0.15)
    apex, shoulders = side * random.uniform(-0.5, 0.5), half * random.uniform(0.2, 0.75, 2)
    corners = np.array(
        [
            (-half, -side * foot[0]), (-0.3 * half, -side), (shoulders[0], -side * random.uniform(0.85, 1)),
            (half, apex - blunt), (half, apex + blunt), (shoulders[1], side), (-half, side * foot[1]),
        ]
    )  # fmt: skip
    canvas = Canvas(length_um, width)
    base = random.uniform(0, 0.07, 9) * length_um  # the short side is ragged
    base[random.integers(3, 6)] = 0.0
    ragged = np.interp(canvas.y[:, :1], np.linspace(-side, side, 9), base)
    edge = np.maximum(canvas.polygon(corners), ragged - half - canvas.x)
    profile = canvas.inside(edge) * (1 + random.uniform(-0.3, 0.3) * canvas.x / half)
    plate = random.uniform(0.15, 0.4) * profile * uneven_wear(canvas, random, random.uniform(0.02, 0.08))
    axis = np.full_like(canvas.x, np.deg2rad(random.normal(0, 3)))
    layer = Slice(0.0, CALCITE, np.asarray(plate), axis)
    return laid(canvas, [layer], canvas.inside(edge), some_tilt(random, 20))


@dataclass(frozen=True)
class _PlacedLith:
    """A lith of *Emiliania* on the wall of a sphere: unit vectors outward and along its length and width."""

    form: EmilianiaForm
    length_um: float
    aspect: float
    outward: NDArray[np.float64]
    along: NDArray[np.float64]
    across: NDArray[np.float64]

    @classmethod
    def facing(cls, outward: NDArray[np.float64], length_um: float, random: np.random.Generator) -> _PlacedLith:
        along = np.cross(outward, random.normal(size=3))
        along /= np.linalg.norm(along)
        form, aspect = EmilianiaForm.grown(random), random.uniform(0.8, 0.9)
        return cls(form, length_um, aspect, outward, along, np.cross(outward, along))

    def at(self, places_um: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Amount of calcite at places (N, 3), and that amount as a vector of twice the azimuth, seen along z."""
        amount, vector = np.zeros(len(places_um)), np.zeros(len(places_um), np.complex128)
        near = places_um @ self.outward > 0.7 * np.linalg.norm(places_um, axis=1)
        x, y = (np.asarray(places_um[near] @ way) for way in (self.along, self.across))
        distal, proximal, azimuth = self.form.shields(Rim.at(x, y, self.length_um, self.aspect, FINE_PIXEL_UM))
        axis = np.cos(azimuth)[:, None] * self.along + np.sin(azimuth)[:, None] * self.across
        amount[near] = distal + proximal
        vector[near] = amount[near] * (axis[:, 0] + 1j * axis[:, 1]) ** 2
        return amount, vector


def _spread(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Directions (N, 3), roughly even over the sphere: a jittered spiral of the golden angle."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn, flat = np.arange(count) * np.pi * (3 - np.sqrt(5)), np.sqrt(1 - height**2)
    ways = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1) + random.normal(0, 0.12, (count, 3))
    first, second = (way / np.linalg.norm(way) for way in random.normal(size=(2, 3)))
    third = np.cross(first, second) / np.linalg.norm(np.cross(first, second))
    ways = ways @ np.stack([first, np.cross(third, first), third])
    return np.asarray(ways / np.linalg.norm(ways, axis=1, keepdims=True))


def coccosphere(length_um: float, random: np.random.Generator) -> Body:
    """Make a hollow sphere of overlapping liths of *Emiliania*, each lying along the wall.

    The wall is looked up at many depths. Between two slices the small retardations are added as vectors of twice the
    azimuth, which holds as long as each is a small share of a wave.
    """
    radius = length_um / 2
    canvas = Canvas(length_um, length_um)
    count = int(np.clip(SPHERE_COVER * (length_um / random.uniform(3.0, 3.8)) ** 2, 15, 28))
    lith_um = length_um * float(np.sqrt(SPHERE_COVER / count))
    liths = [_PlacedLith.facing(outward, lith_um, random) for outward in _spread(count, random)]
    slabs = int(np.clip(np.ceil(length_um), 5, 9))
    depths = ((np.arange(slabs * SPHERE_SAMPLES) + 0.5) / (slabs * SPHERE_SAMPLES) - 0.5) * length_um
    layers: list[Slice] = []
    for slab in depths.reshape(slabs, SPHERE_SAMPLES):
        thickness, vector = canvas.empty.copy(), np.zeros(canvas.x.shape, np.complex128)
        for z in slab:
            distance = np.sqrt(canvas.x**2 + canvas.y**2 + z**2)
            wall = (distance < radius) & (distance > radius - SHELL_UM)
            places = np.stack([canvas.x[wall], canvas.y[wall], np.full(int(wall.sum()), z)], axis=1)
            for lith in liths:
                amount, turned = lith.at(places * (radius / distance[wall])[:, None])
                thickness[wall] += amount
                vector[wall] += turned
        flat = np.abs(vector) / np.maximum(thickness, 1e-9)  # cos^2 of the inclination
        rise = np.arccos(np.sqrt(np.clip(flat, 0, 1)))
        layers.append(Slice(float(slab.mean()), CALCITE, thickness, np.angle(vector) / 2, rise))
    layers = weighed(layers, canvas.pixel_um, count * volume_um3(EMILIANIA_KS, lith_um, random))
    return canvas.body(layers, canvas.ellipse(radius, radius) < 1, Pose("sphere", units=count))


KINDS: tuple[Kind, ...] = (
    Kind("emiliania", "coccolith", False, 14, Sizes(3.3, 0.12, 2.5, 4.0), (0.0, 0.6), emiliania, 0.15,
         "emiliania-huxleyi"),
    Kind("gephyrocapsa", "coccolith", False, 14, Sizes(3.6, 0.2, 2.5, 5.5), (0.0, 0.6), gephyrocapsa, 0.15,
         "gephyrocapsa"),
    Kind("coccolithus", "coccolith", False, 10, Sizes(9.0, 0.12, 7.0, 12.0), (0.4, 1.0), coccolithus, 0.15,
         "coccolithus"),
    Kind("florisphaera", "coccolith", False, 10, Sizes(5.2, 0.18, 4.0, 8.0), (0.0, 0.6), florisphaera, 0.15,
         "florisphaera-profunda"),
    Kind("coccosphere", "coccolith", False, 4, Sizes(6.5, 0.18, 5.0, 10.0), (2.5, 5.0), coccosphere, 0.0,
         "coccosphere"),
)  # fmt: skip
