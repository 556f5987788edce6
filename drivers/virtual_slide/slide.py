"""The virtual slide: renders any view of an endless mini-slide, and says what is truly there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.errors import Refused
from drivers.settings import Emulation, MiniSlide
from drivers.virtual_slide import population
from drivers.virtual_slide.cabinet import Cabinet, Card, Drawer
from drivers.virtual_slide.camera import LAMP_DN_PER_MS, Camera
from drivers.virtual_slide.canvas import MARGIN_UM
from drivers.virtual_slide.collection import KINDS
from drivers.virtual_slide.cover_slip import CoverSlip
from drivers.virtual_slide.illumination import Illumination
from drivers.virtual_slide.immersion import Immersion
from drivers.virtual_slide.matter import CALCITE, Image
from drivers.virtual_slide.optics import FARTHEST_UM, Mount
from drivers.virtual_slide.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers, Region, turned
from drivers.virtual_slide.population import Placed, World
from drivers.virtual_slide.profiles import kinds_of
from drivers.virtual_slide.specimen import collect
from drivers.virtual_slide.truth import Box, TrueObject, View

POLARIZATIONS = (CROSSED, PARALLEL)
FIELDS_KEPT = 8
IN_OIL = Immersion()
FAINTEST = 0.03
"""Share of its light at its last plane below which a defocused object is left out."""
JUDGED_MS = 20.0
"""Exposure for which a contrast-to-noise is told."""
VEIL = "fluff"
"""Kind so soft that nothing is said to touch it."""


@dataclass(frozen=True)
class _Seen:
    """An object as one field sees it: its z, its light, where it lies in the frame, and how to get there."""

    z_um: float
    drawer: Drawer
    planes_um: NDArray[np.float64]
    window: Region
    to_window: NDArray[np.float64]
    channels: Image
    region: Region


@dataclass(frozen=True)
class _Field:
    """What a field shows, the object nearest to the condenser first, and the cover slip's edge if it is in sight."""

    seen: tuple[_Seen, ...]
    edge: Image | None


class VirtualSlide:
    """Endless mini-slides under an emulated camera: a pure function of settings and view.

    Not for two threads at once; OpenCV is set to one thread.

    Parameters
    ----------
    emulation : seed, profile, density, mounting and all else.
    slides : where the mini-slides lie.
    frame_px : height, width. pixel_um : on the sample.
    """

    def __init__(
        self, emulation: Emulation, slides: Sequence[MiniSlide], frame_px: tuple[int, int], pixel_um: float
    ) -> None:
        cv2.setNumThreads(1)
        self._world = World(emulation.seed, emulation.profile, emulation.density, emulation.settling)
        self._collection = emulation.collection
        self._cabinet = cabinet_of(emulation)
        self._slips = {slide.position: CoverSlip(emulation, slide) for slide in slides}
        self._polarizers = Polarizers.of(emulation.polarizers)
        self._empty = {state: self._polarizers.empty(state) for state in POLARIZATIONS}
        self._shift_um = tuple(shift * pixel_um for shift in emulation.polarizers.shift_px)
        self._frame_px = frame_px
        self._pixel_um = pixel_um
        illumination = Illumination(frame_px, pixel_um, emulation.lamp, emulation.seed)
        self._camera = Camera(frame_px, emulation.sensor, emulation.seed, illumination)
        self._light = np.empty((frame_px[0], frame_px[1] + 24), np.float32)[:, : frame_px[1]]
        self._polarized = PolarizedLight(frame_px, self._polarizers)
        self._fields: OrderedDict[tuple[int, float, float], _Field] = OrderedDict()

    def prepare(self) -> None:
        """Open the light of every specimen that may be met, now rather than in the first frames."""
        for kind in kinds_of(self._world.profile):
            for variant in range(KINDS[kind].variants):
                self._cabinet.drawer(kind, variant)

    def surface_z_um(self, slide: int, x_um: float, y_um: float) -> float:
        """Height of a mini-slide's surface at a stage position, in stage units.

        Raises
        ------
        Refused
            There is no such mini-slide.
        """
        return self._slip(slide).surface_z_um(x_um, y_um)

    def render(self, view: View, exposure_ms: float, out: NDArray[np.uint16], immersion: Immersion = IN_OIL) -> None:
        """Write the frame of a view.

        Parameters
        ----------
        view : what the frame depends on. Its polarization is `crossed` or `parallel`.
        exposure_ms : the signal above the offset grows linearly with it.
        out : (H, W) uint16, C-contiguous; written in place.
        immersion : what lies under the objective.

        Raises
        ------
        Refused
            There is no such mini-slide or polarization, or `out` is not such an array.
        """
        if view.polarization not in POLARIZATIONS:
            raise Refused(
                f"polarization {view.polarization!r} is unknown to the virtual slide; use one of {POLARIZATIONS}"
            )
        if out.shape != self._frame_px or out.dtype != np.uint16 or not out.flags.c_contiguous:
            raise Refused(
                f"a frame of {out.shape} {out.dtype} cannot be written; pass {self._frame_px} uint16, contiguous"
            )
        x_um, y_um = view.x_um, view.y_um
        if view.polarization == CROSSED:
            x_um, y_um = x_um - self._shift_um[0], y_um - self._shift_um[1]
        field = self._field(view.slide, x_um, y_um)
        light = self._light
        light.fill(self._empty[view.polarization])
        patches = [(seen.region, patch) for seen in field.seen if (patch := _patch(seen, view.z_um)) is not None]
        turning = [(region, patch) for region, patch in patches if patch.ndim == 3]
        for region, _ in turning:
            self._polarized.enter(region)
        for region, patch in turning:
            self._polarized.pass_body(region, patch)
        for region, _ in turning:
            light[region] = self._polarized.analysed(region, view.polarization)
        for region, patch in patches:
            if patch.ndim == 2:
                patch += 1
                light[region] *= patch
        if field.edge is not None:
            light *= field.edge
        immersion.disturb(light)
        self._camera.expose(light, view, exposure_ms, out)

    def truth(self, slide: int, x_um: float, y_um: float) -> tuple[TrueObject, ...]:
        """Every object, junk included, whose body lies in part in the frame at a stage position.

        Positions in the frame are those of the parallel state.
        """
        height, width = self._frame_px
        near = [
            (placed, self._cabinet.card(placed.kind, placed.variant)) for placed in self._around(slide, x_um, y_um, 0.0)
        ]
        outlines = [self._to_frame(card.outline_um, placed, x_um, y_um) for placed, card in near]
        boxes = np.array([_box(outline) for outline in outlines]).reshape(-1, 4)
        firm = np.array([placed.kind != VEIL for placed, _ in near], bool)
        found = []
        for (placed, card), outline, box in zip(near, outlines, boxes, strict=True):
            clipped = _clip(box, height, width)
            if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
                continue
            display = self._to_frame(card.display_outline_um, placed, x_um, y_um)
            kind = KINDS[placed.kind]
            z_um = self.surface_z_um(slide, placed.x_um, placed.y_um) + placed.above_um
            overlaps = (boxes[:, :2] < box[2:]).all(axis=1) & (box[:2] < boxes[:, 2:]).all(axis=1) & firm
            found.append(
                TrueObject(
                    identifier=placed.identifier,
                    kind=placed.kind,
                    variant=placed.variant,
                    angle=placed.angle,
                    class_name=kind.class_name,
                    junk=kind.junk,
                    fragment=card.fragment,
                    buried=placed.buried,
                    outline=outline,
                    display_outline=display,
                    box=clipped,
                    display_box=_clip(np.array(_box(display)), height, width),
                    x_um=placed.x_um,
                    y_um=placed.y_um,
                    z_um=z_um,
                    display_z_um=z_um + card.display_um,
                    depth_um=(z_um + card.depth_um[0], z_um + card.depth_um[1]),
                    length_um=card.length_um,
                    width_um=card.width_um,
                    thickness_um=card.thickness_um,
                    mass_pg=card.mass_pg,
                    visible_mass_pg=card.visible_mass_pg,
                    touching=bool(placed.kind != VEIL and overlaps.sum() > 1),
                    whole=clipped == tuple(box.tolist()),
                    contrast_to_noise=self._contrast_to_noise(card),
                )
            )
        return tuple(found)

    def thickness_um(self, slide: int, x_um: float, y_um: float) -> Image:
        """Thickness of calcite, (H, W), whatever its optic axis, in the frame at a stage position; overlaps add up.

        Positions in the frame are those of the parallel state.
        """
        total = np.zeros(self._frame_px, np.float32)
        for placed in self._around(slide, x_um, y_um, 0.0):
            calcite, body_pixel_um = _calcite(placed.kind, self._collection, placed.variant)
            rows, columns = calcite.shape
            corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], np.float32)
            centred = (corners - (columns / 2, rows / 2)) * body_pixel_um
            there = self._to_frame([(float(x), float(y)) for x, y in centred], placed, x_um, y_um)
            x0, y0, x1, y1 = (round(edge) for edge in _clip(np.array(_box(there)), *self._frame_px))
            if x0 >= x1 or y0 >= y1 or not calcite.any():
                continue
            here = (there - (x0, y0)).astype(np.float32)
            to_body = cv2.getAffineTransform(here[:3] - 0.5, corners[:3] - 0.5)
            how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            total[y0:y1, x0:x1] += cv2.warpAffine(calcite, to_body, (x1 - x0, y1 - y0), flags=how)
        return total

    def _slip(self, slide: int) -> CoverSlip:
        if slide not in self._slips:
            raise Refused(f"the virtual slide holds mini-slides {sorted(self._slips)}, not {slide}; view one of those")
        return self._slips[slide]

    def _around(self, slide: int, x_um: float, y_um: float, margin_um: float) -> tuple[Placed, ...]:
        slip = self._slip(slide)
        height, width = (n * self._pixel_um / 2 for n in self._frame_px)
        box = (x_um - width, y_um - height, x_um + width, y_um + height)
        near = population.around(self._world, slide, box, margin_um)
        return tuple(placed for placed in near if slip.covers(placed.x_um, placed.y_um))

    def _to_frame(
        self, points_um: Sequence[tuple[float, float]], placed: Placed, x_um: float, y_um: float
    ) -> NDArray[np.float64]:
        height, width = self._frame_px
        cos, sin = np.cos(placed.angle), np.sin(placed.angle)
        points = np.asarray(points_um) @ np.array([[cos, sin], [-sin, cos]])
        centre = (placed.x_um - x_um, placed.y_um - y_um)
        return np.asarray((points + centre) / self._pixel_um + (width / 2, height / 2))

    def _contrast_to_noise(self, card: Card) -> float:
        lit = LAMP_DN_PER_MS * JUDGED_MS
        parallel, crossed = self._empty[PARALLEL] * lit, self._empty[CROSSED] * lit
        return max(
            card.kept_contrast * parallel / self._camera.noise_dn(parallel),
            card.flipped_contrast * lit / self._camera.noise_dn(crossed + card.flipped_contrast * lit),
        )

    def _field(self, slide: int, x_um: float, y_um: float) -> _Field:
        key = (slide, x_um, y_um)
        if key not in self._fields:
            near = self._around(slide, x_um, y_um, MARGIN_UM)
            looked = [self._look(placed, slide, x_um, y_um) for placed in near]
            seen = sorted((one for one in looked if one is not None), key=lambda one: -one.z_um)
            edge = self._slip(slide).edge(x_um, y_um, self._frame_px, self._pixel_um)
            self._fields[key] = _Field(tuple(seen), edge)
            if len(self._fields) > FIELDS_KEPT:
                self._fields.popitem(last=False)
        self._fields.move_to_end(key)
        return self._fields[key]

    def _look(self, placed: Placed, slide: int, x_um: float, y_um: float) -> _Seen | None:
        height, width = self._frame_px
        drawer = self._cabinet.drawer(placed.kind, placed.variant)
        card, (rows, columns) = drawer.card, drawer.light.shape[1:3]
        half = (columns * card.pixel_um / 2, rows * card.pixel_um / 2)
        corners = [(sx * half[0], sy * half[1]) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        left, top, right, bottom = _box(self._to_frame(corners, placed, x_um, y_um))
        x0, y0 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
        x1, y1 = min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)
        if x0 >= x1 or y0 >= y1:
            return None
        step = self._pixel_um / card.pixel_um
        cos, sin = np.cos(placed.angle) * step, np.sin(placed.angle) * step
        turn = np.array([[cos, sin], [-sin, cos]])
        dx = x0 + 0.5 - width / 2 + (x_um - placed.x_um) / self._pixel_um
        dy = y0 + 0.5 - height / 2 + (y_um - placed.y_um) / self._pixel_um
        shift = turn @ (dx, dy) + ((columns - 1) / 2, (rows - 1) / 2)
        ends = shift[:, None] + turn @ np.array([[0, x1 - x0, 0, x1 - x0], [0, 0, y1 - y0, y1 - y0]])
        low = np.clip(np.floor(ends.min(axis=1)).astype(int) - 1, 0, (columns - 1, rows - 1))
        high = np.clip(np.ceil(ends.max(axis=1)).astype(int) + 2, 1, (columns, rows))
        return _Seen(
            z_um=self.surface_z_um(slide, placed.x_um, placed.y_um) + placed.above_um,
            drawer=drawer,
            planes_um=np.asarray(card.planes_um),
            window=(slice(low[1], high[1]), slice(low[0], high[0])),
            to_window=np.column_stack([turn, shift - low]),
            channels=turned(np.asarray(card.scale, np.float32), placed.angle),
            region=(slice(y0, y1), slice(x0, x1)),
        )


def cabinet_of(emulation: Emulation) -> Cabinet:
    """Open the cabinet of the specimens that an emulation shows."""
    mounting = emulation.mounting
    mount = Mount(
        mounting.medium_index, mounting.condenser_na, mounting.wavelength_nm / 1000, mounting.bandwidth_nm / 1000
    )
    return Cabinet(emulation.collection, mount)


@lru_cache(maxsize=256)
def _calcite(kind: str, collection: int, variant: int) -> tuple[Image, float]:
    """Thickness of a specimen's calcite, and the size of a pixel of its grid."""
    body = collect(KINDS[kind], collection, variant).body
    return body.thickness_um(CALCITE), body.pixel_um


def _patch(seen: _Seen, z_um: float) -> Image | None:
    """Light of an object over its region: the channels of its drawer, scaled and turned.

    Shape (h, w, 4), or (h, w) of a body that does not turn polarized light; None where too little is left of it.
    """
    lower, upper, weight, strength = between(seen.planes_um, z_um - seen.z_um)
    if strength < FAINTEST:
        return None
    light = seen.drawer.light
    mixed = cv2.addWeighted(
        np.ascontiguousarray(light[lower][seen.window]),
        (1 - weight) * strength,
        np.ascontiguousarray(light[upper][seen.window]),
        weight * strength,
        0.0,
        dtype=cv2.CV_32F,
    )
    mixed = cv2.transform(mixed, seen.channels) if mixed.ndim == 3 else mixed * seen.channels[0, 0]
    rows, columns = seen.region
    size = (columns.stop - columns.start, rows.stop - rows.start)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(mixed, seen.to_window, size, flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0),
        np.float32,
    )


def between(planes_um: NDArray[np.float64], defocus_um: float) -> tuple[int, int, float, float]:
    """Which two planes make the image at a defocus.

    Returns
    -------
    lower, upper : indices of planes.
    weight : of the upper one.
    strength : below 1 beyond the last plane, where light spreads with the square of the distance.
    """
    first, last = float(planes_um[0]), float(planes_um[-1])
    if defocus_um <= first:
        return 0, 0, 0.0, (FARTHEST_UM / (FARTHEST_UM + first - defocus_um)) ** 2
    if defocus_um >= last:
        return len(planes_um) - 1, len(planes_um) - 1, 0.0, (FARTHEST_UM / (FARTHEST_UM + defocus_um - last)) ** 2
    upper = int(np.searchsorted(planes_um, defocus_um, side="right"))
    lower = upper - 1
    weight = float((defocus_um - planes_um[lower]) / (planes_um[upper] - planes_um[lower]))
    return lower, upper, weight, 1.0


def _box(outline: NDArray[np.float64]) -> Box:
    x0, y0 = outline.min(axis=0).tolist()
    x1, y1 = outline.max(axis=0).tolist()
    return x0, y0, x1, y1


def _clip(box: NDArray[np.float64], height: int, width: int) -> Box:
    x0, y0, x1, y1 = box.tolist()
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
