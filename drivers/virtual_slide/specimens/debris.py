"""What else lies on a slide: clumps of clay and organic matter, bubbles of gas, veils of fluff."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import fft, ndimage

from drivers.virtual_slide.matter import CALCITE, CLAY, GAS, ORGANIC, QUARTZ, Body, Map, Material, Slice
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.kinds import Kind, Sizes

SURFACE = Material("gas surface", 1.56, 0.1, 0.0)
"""Stands for what the border of a bubble does to polarized light; of the mount's index, so it does nothing else."""
FIBRE = Material("organic fibre", 1.55, 0.02, 1.5)
GRAIN_SLICES = 2


def _cloud(shape: tuple[int, int], roughness: float, random: np.random.Generator) -> Map:
    """Fractal noise of unit variance that closes on itself: its amplitude falls with frequency to the -roughness."""
    ky, kx = np.meshgrid(fft.fftfreq(shape[0]) * shape[0], fft.rfftfreq(shape[1]) * shape[1], indexing="ij")
    # In cycles over the longer side, so that the grain is as long as it is wide.
    k = np.hypot(ky * max(shape) / shape[0], kx * max(shape) / shape[1])
    spectrum = fft.rfft2(random.standard_normal(shape)) * np.where(k > 0, np.maximum(k, 1.0) ** -roughness, 0)
    noise = fft.irfft2(spectrum, s=shape)
    return np.asarray(noise / noise.std())


def _clump(length_um: float, random: np.random.Generator) -> tuple[Canvas, Map]:
    """Draw a lump of irregular outline, its longest dimension along x: how far it is inside, from 0 at the border."""
    side = 384
    y, x = np.mgrid[0:side, 0:side] / side * 4 - 2
    field = 1 - np.hypot(x, y / random.uniform(0.6, 0.95)) + 0.3 * _cloud((side, side), 1.7, random)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((field > 0).astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    field = np.where(labels == largest, np.maximum(field, 0), 0)
    contour = max(cv2.findContours((field > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
    hull = cv2.convexHull(contour)[:, 0].astype(float)
    distance = np.hypot(*(hull[:, None] - hull[None]).transpose(2, 0, 1))
    first, last = np.unravel_index(int(distance.argmax()), distance.shape)
    turn = np.arctan2(*(hull[last] - hull[first])[::-1])
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    laid = hull @ matrix.T
    low, high = laid.min(axis=0), laid.max(axis=0)
    scale = length_um / (distance.max() + 1)
    canvas = Canvas(length_um, float(high[1] - low[1] + 1) * scale)
    # Where each pixel of the canvas lies in the field.
    there = np.stack([canvas.x, canvas.y], axis=-1) / scale + (low + high) / 2
    source = there @ matrix
    return canvas, np.asarray(ndimage.map_coordinates(field, (source[..., 1], source[..., 0]), order=1))


def _grains(
    canvas: Canvas, within: Map, count: int, size_um: tuple[float, float], random: np.random.Generator
) -> tuple[Map, Map, Map]:
    """Thickness, azimuth and inclination of small crystals, each with an axis of its own."""
    thickness, azimuth, inclination = canvas.empty.copy(), canvas.empty.copy(), canvas.empty.copy()
    places = np.argwhere(within > 0.1)
    for row, column in places[random.integers(0, len(places), count)]:
        r = random.uniform(*size_um) / 2
        reach = int(np.ceil(1.5 * r / canvas.pixel_um)) + 1
        here = (slice(max(row - reach, 0), row + reach + 1), slice(max(column - reach, 0), column + reach + 1))
        dx, dy = canvas.x[here] - canvas.x[row, column], canvas.y[here] - canvas.y[row, column]
        along, stretch = random.uniform(0, np.pi), random.uniform(1.0, 1.5)
        u, v = dx * np.cos(along) + dy * np.sin(along), dy * np.cos(along) - dx * np.sin(along)
        grain = np.clip((r - np.maximum(np.abs(u) / stretch, np.abs(v) + 0.3 * np.abs(u))) / 0.15, 0, 1)
        grain = grain * (r * random.uniform(0.3, 0.9))
        over = grain > thickness[here]
        thickness[here] = np.maximum(thickness[here], grain)
        azimuth[here][over] = random.uniform(0, np.pi)
        inclination[here][over] = np.arcsin(random.uniform(0, 1))
    return thickness, azimuth, inclination


def _aggregate(length_um: float, random: np.random.Generator) -> Body:
    """Draw a clump of clay and brown organic matter, with tiny crystals of calcite and quartz in it."""
    canvas, inside = _clump(length_um, random)
    deep = float(np.clip(length_um * random.uniform(0.2, 0.3), 5.0, 9.0))
    dark = random.uniform(0.5, 1.3)
    lump = np.sqrt(np.clip(inside / 0.4, 0, 1))
    slices = int(np.clip(round(deep / 1.6), 3, 6))
    layers: list[Slice] = []
    area_um2 = float((inside > 0).sum()) * canvas.pixel_um**2
    for number in range(slices):
        z = (number / (slices - 1) - 0.5) * deep
        # Thinner layers above and below the middle, each with holes and lumps of its own.
        present = np.clip(lump - np.abs(2 * z / deep) * 0.6 + 0.15 * _cloud(lump.shape, 1.4, random), 0, 1)
        grit = np.clip(1 + 0.5 * _cloud(lump.shape, 1.0, random), 0, None) * (inside > 0)
        matter = np.asarray(present * grit * lump)
        material = (CLAY, ORGANIC)[number % 2]
        absorption = matter * (2 * dark / slices)
        layers.append(Slice(z, material, matter * (0.5 * deep / slices), absorption=absorption))
    for number in range(GRAIN_SLICES):
        z = layers[(2 * number + 1) * slices // (2 * GRAIN_SLICES)].z_um
        for material, share, size in ((CALCITE, 0.12, (0.4, 1.2)), (QUARTZ, 0.04, (0.8, 3.0))):
            count = 2 + int(share * area_um2 * random.uniform(0.5, 1.5))
            layers.append(Slice(z, material, *_grains(canvas, inside, count, size, random)))
    return canvas.body(layers, inside > 0)


def _bubble(length_um: float, random: np.random.Generator) -> Body:
    """Draw a sphere of gas, as wide as it is deep.

    Light that meets it further than 1 / 1.56 of its radius from the middle is totally reflected, and already from 0.55
    on it is turned by more than the objective takes in (1.56 sin 64 degrees = 1.4). A phase cannot tell this: it would
    change by many waves from one pixel to the next. So the gas is as thick as it is up to where its phase still can be
    followed, and the light that does not come back is taken away by absorption: the black ring. Near its inner border
    the two polarizations pass in unequal shares (Fresnel: 2 % of the light is flipped), which a thin radial retarder
    stands for.
    """
    radius = length_um / 2
    canvas = Canvas(length_um, length_um)
    r = np.hypot(canvas.x, canvas.y)
    share = np.minimum(r / radius, 1)
    clear = random.uniform(0.52, 0.58)
    followed = np.minimum(share, clear)
    # Beyond, it goes on as a cone to nothing: nobody sees it behind the ring.
    slope = clear / np.sqrt(1 - clear**2)
    sphere = 2 * radius * np.maximum(np.sqrt(1 - followed**2) - slope * (share - followed), 0)
    sphere = np.asarray(sphere * canvas.inside(r - radius, 0.4))
    lost = np.clip((share - clear) / 0.12, 0, 1) ** 2 * canvas.inside(r - radius, 0.6) * 4.5
    rim = np.exp(-(((r - clear * radius) / max(0.03 * radius, 0.25)) ** 2))
    azimuth = np.arctan2(canvas.y, canvas.x)
    surface = Slice(0.0, SURFACE, rim * 0.27, azimuth)
    return canvas.body([Slice(0.0, GAS, sphere, absorption=np.asarray(lost)), surface],
                       r <= radius)  # fmt: skip


def _fluff(length_um: float, random: np.random.Generator) -> Body:
    """Draw a curved veil of organic matter that absorbs a few percent, without any sharp edge."""
    half, width = length_um / 2, length_um * random.uniform(0.15, 0.35)
    bend = random.normal(0, 0.06) * length_um
    canvas = Canvas(length_um, width + 2 * abs(bend))
    share = np.clip(np.abs(canvas.x) / half, 0, 1)
    sway = 0.12 * width * _cloud((1, canvas.x.shape[1]), 2.0, random)
    y = canvas.y - bend * (share**2 - 0.5) - sway * (1 - share**2)
    across = np.hypot(canvas.x / half, y / (width / 2 * (1 - 0.5 * share**2)))
    veil = np.clip(1.08 - across, 0, None) / 1.08
    veil = veil**0.7 * np.clip((1.08 - across) / 0.3, 0, 1)
    # Strands along it: noise that is drawn out along x.
    rows, columns = canvas.x.shape
    drawn_out = _cloud((rows, max(8, columns // 5)), 1.2, random)
    along = (np.arange(columns) + 0.5) * drawn_out.shape[1] / columns - 0.5
    places = np.broadcast_arrays(y / canvas.pixel_um + rows / 2 - 0.5, along)
    bowed = ndimage.map_coordinates(drawn_out, places, order=1, mode="reflect")
    texture = np.clip(1 + 0.35 * bowed + 0.2 * _cloud((rows, columns), 1.5, random), 0.1, 2.2)
    matter = np.asarray(veil * texture)
    strong = random.uniform(0.03, 0.1) / float(np.percentile(matter[across < 1], 90))
    absorption = np.asarray(matter * strong)
    azimuth = np.asarray(2 * bend * canvas.x / half**2 + 0.2 * bowed)
    fibre = np.asarray(matter * np.clip(bowed, 0, None) * random.uniform(0.2, 0.5))
    layers = [
        Slice(0.0, ORGANIC, matter * 0.3, absorption=absorption * 0.6),
        Slice(random.uniform(0.8, 2.5), FIBRE, fibre, azimuth, absorption=absorption * 0.4),
    ]
    return canvas.body(layers, across < 1)


KINDS: tuple[Kind, ...] = (
    Kind("aggregate", "aggregate", True, 10, Sizes(22, 0.45, 10, 60), (4.5, 8.0), _aggregate),
    Kind("bubble", "bubble", True, 3, Sizes(25, 0.6, 5, 60), (3.0, 8.0), _bubble),
    Kind("fluff", "fluff", True, 5, Sizes(45, 0.4, 20, 90), (0.0, 3.0), _fluff),
)
