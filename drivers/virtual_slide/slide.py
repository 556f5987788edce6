"""The virtual slide: renders any view of an endless mini-slide, and says what is truly there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.errors import SettingRefused
from drivers.settings import Emulation, MiniSlide
from drivers.virtual_slide import population
from drivers.virtual_slide.cover_slip import CoverSlip
from drivers.virtual_slide.matter import CALCITE, Image
from drivers.virtual_slide.optics.body_light import Mount
from drivers.virtual_slide.optics.camera import LAMP_DN_PER_MS, Camera
from drivers.virtual_slide.optics.illumination import Illumination
from drivers.virtual_slide.optics.immersion import Immersion
from drivers.virtual_slide.optics.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers, Region
from drivers.virtual_slide.overlap import clear_contrast, overlapping
from drivers.virtual_slide.population import PlacedObject, World
from drivers.virtual_slide.profiles import kinds_shown
from drivers.virtual_slide.scene import FramePlace, Scene, SeenObject, box_of, look
from drivers.virtual_slide.specimens.cabinet import Cabinet
from drivers.virtual_slide.specimens.canvas import MARGIN_UM
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.drawer import SpecimenCard
from drivers.virtual_slide.targets import Sight, target_of
from drivers.virtual_slide.truth import Box, TrueObject, View, completeness

POLARIZATIONS = (CROSSED, PARALLEL)
FIELDS_KEPT = 4
IN_OIL = Immersion()
JUDGED_MS = 20.0
"""Exposure for which a contrast-to-noise is told."""
VEIL = "fluff"
"""Kind so soft that nothing is said to touch it."""


@dataclass(frozen=True)
class _FieldShown:
    """What a field shows, and the cover slip's edge if it is in sight."""

    sight: Sight
    edge: Image | None


class VirtualSlide:
    """Endless mini-slides under an emulated camera: a pure function of settings and view.

    Not for two threads at once; OpenCV is set to one thread.

    Parameters
    ----------
    emulation
        seed, profile, density, mounting and all else.
    slides
        where the mini-slides lie.
    frame_px
        height, width.
    pixel_um
        on the sample.
    """

    def __init__(
        self, emulation: Emulation, slides: Sequence[MiniSlide], frame_px: tuple[int, int], pixel_um: float
    ) -> None:
        cv2.setNumThreads(1)
        self._world = World(emulation.seed, emulation.profile, emulation.density, emulation.settling)
        self._kinds = kinds_shown(emulation)
        self._cabinet = cabinet_of(emulation)
        self._slips = {slide.position: CoverSlip(emulation, slide) for slide in slides}
        self._shift_um = tuple(shift * pixel_um for shift in emulation.polarizers.shift_px)
        self._frame_px = frame_px
        self._pixel_um = pixel_um
        illumination = Illumination(frame_px, pixel_um, emulation.lamp, emulation.seed)
        self._camera = Camera(frame_px, emulation.sensor, emulation.seed, illumination)
        self._light = np.empty(frame_px, np.float32)
        self._polarizers = Polarizers.of(emulation.polarizers)
        self._polarized = PolarizedLight(frame_px, self._polarizers)
        self._target = target_of(emulation, _mount(emulation))
        self._fields: OrderedDict[tuple[int, float, float], _FieldShown] = OrderedDict()

    def prepare(self) -> None:
        """Open the light of every specimen that may be met, now rather than in the first frames."""
        for kind in self._kinds:
            for variant in range(KINDS[kind].variants):
                self._cabinet.drawer(kind, variant)

    def part(self, region: Region) -> VirtualSlide:
        """Return the same slide through a part of the frame: what it shows is that part's pixels, and soon rendered.

        The place of a view is that of the part's middle.
        """
        one = copy(self)
        rows, columns = region
        one._frame_px = rows.stop - rows.start, columns.stop - columns.start
        one._camera = self._camera.part(region)
        one._light = np.empty(one._frame_px, np.float32)
        one._polarized = PolarizedLight(one._frame_px, self._polarizers)
        one._fields = OrderedDict()
        return one

    def settled(self, slide: int, kind: str, order: int) -> Iterator[PlacedObject]:
        """Meet what lies of a kind on a mini-slide, outside aggregates, place after place as chance takes them.

        Parameters
        ----------
        order
            seed of the order; each gives another.
        """
        slip = self._slip(slide)
        for placed in population.settled(self._world, slide, kind, slip.sides_um, order):
            if slip.covers(placed.x_um, placed.y_um):
                yield placed

    def box_um(self, placed: PlacedObject) -> Box:
        """Box around an object's outline, in stage coordinates."""
        outline = self._cabinet.card(placed.kind, placed.variant).outline_um
        return box_of(FramePlace(0.0, 0.0, (0, 0), 1.0).points(outline, placed.x_um, placed.y_um, placed.angle))

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
        view
            what the frame depends on. Its polarization is `crossed` or `parallel`.
        exposure_ms
            the signal above the offset grows linearly with it.
        out
            (H, W) uint16, C-contiguous; written in place.
        immersion
            what lies under the objective.

        Raises
        ------
        Refused
            There is no such mini-slide or polarization, or `out` is not such an array.
        """
        if view.polarization not in POLARIZATIONS:
            raise SettingRefused(
                f"polarization {view.polarization!r} is unknown to the virtual slide; use one of {POLARIZATIONS}"
            )
        if out.shape != self._frame_px or out.dtype != np.uint16 or not out.flags.c_contiguous:
            raise SettingRefused(
                f"a frame of {out.shape} {out.dtype} cannot be written; pass {self._frame_px} uint16, contiguous"
            )
        light = self._light
        self._draw(light, view)
        immersion.disturb(light)
        self._camera.expose(light, view, exposure_ms, out)

    def _draw(self, light: Image, view: View) -> None:
        """Write the light of what lies under the objective."""
        x_um, y_um = view.x_um, view.y_um
        if view.polarization == CROSSED:
            x_um, y_um = x_um - self._shift_um[0], y_um - self._shift_um[1]
        field = self._field(view.slide, x_um, y_um)
        field.sight.draw(light, view.polarization, view.z_um, self._polarized)
        if field.edge is not None:
            light *= field.edge

    def dark(self, view: View, exposure_ms: float, out: NDArray[np.uint16]) -> None:
        """Write the frame of a view without light: offset, hot pixels and read noise; parameters as in `render`."""
        self._light.fill(0)
        self._camera.expose(self._light, view, exposure_ms, out)

    def truth(self, slide: int, x_um: float, y_um: float) -> tuple[TrueObject, ...]:
        """Every object, junk included, whose body lies in part in the frame at a stage position.

        Positions in the frame are those of the parallel state.
        """
        frame = self._frame(x_um, y_um)
        height, width = self._frame_px
        near = [
            (placed, self._cabinet.card(placed.kind, placed.variant)) for placed in self._around(slide, x_um, y_um, 0.0)
        ]
        outlines = [frame.points(card.outline_um, placed.x_um, placed.y_um, placed.angle) for placed, card in near]
        boxes = np.array([box_of(outline) for outline in outlines]).reshape(-1, 4)
        firm = [None if placed.kind == VEIL else o for (placed, _), o in zip(near, outlines, strict=True)]
        beside = overlapping(firm)
        contrasts = np.array([self._contrasts_to_noise(card) for _, card in near])
        found = []
        for number, ((placed, card), outline, box) in enumerate(zip(near, outlines, boxes, strict=True)):
            clipped = _clip(box, height, width)
            if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
                continue
            display = frame.points(card.display_outline_um, placed.x_um, placed.y_um, placed.angle)
            kind = KINDS[placed.kind]
            z_um = self._z(slide, placed)
            found.append(
                TrueObject(
                    identifier=placed.identifier,
                    kind=placed.kind,
                    variant=placed.variant,
                    taxon=kind.taxon,
                    view=card.view,
                    face=card.face,
                    completeness=completeness(card.remaining),
                    units=card.units,
                    angle=placed.angle,
                    class_name=kind.class_name,
                    junk=kind.junk,
                    fragment=card.fragment,
                    buried=placed.buried,
                    outline=outline,
                    display_outline=display,
                    box=clipped,
                    display_box=_clip(np.array(box_of(display)), height, width),
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
                    touching=bool(beside[number]),
                    whole=clipped == tuple(box.tolist()),
                    contrast_to_noise=float(contrasts[number].max()),
                    clear_contrast_to_noise=clear_contrast(number, outlines, contrasts, beside[number]),
                )
            )
        return tuple(found)

    def thickness_um(self, slide: int, x_um: float, y_um: float) -> Image:
        """Thickness of calcite, (H, W), whatever its optic axis, in the frame at a stage position; overlaps add up.

        Positions in the frame are those of the parallel state.
        """
        frame = self._frame(x_um, y_um)
        total = np.zeros(self._frame_px, np.float32)
        for placed in self._around(slide, x_um, y_um, 0.0):
            calcite, body_pixel_um = _calcite(self._cabinet, placed.kind, placed.variant)
            rows, columns = calcite.shape
            corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], np.float32)
            centred = (corners - (columns / 2, rows / 2)) * body_pixel_um
            there = frame.points([(float(x), float(y)) for x, y in centred], placed.x_um, placed.y_um, placed.angle)
            x0, y0, x1, y1 = (round(edge) for edge in _clip(np.array(box_of(there)), *self._frame_px))
            if x0 >= x1 or y0 >= y1 or not calcite.any():
                continue
            here = (there - (x0, y0)).astype(np.float32)
            to_body = cv2.getAffineTransform(here[:3] - 0.5, corners[:3] - 0.5)
            how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            total[y0:y1, x0:x1] += cv2.warpAffine(calcite, to_body, (x1 - x0, y1 - y0), flags=how)
        return total

    def _slip(self, slide: int) -> CoverSlip:
        if slide not in self._slips:
            raise SettingRefused(
                f"the virtual slide holds mini-slides {sorted(self._slips)}, not {slide}; view one of those"
            )
        return self._slips[slide]

    def _around(self, slide: int, x_um: float, y_um: float, margin_um: float) -> tuple[PlacedObject, ...]:
        slip = self._slip(slide)
        if self._target is not None:
            return ()
        height, width = (n * self._pixel_um / 2 for n in self._frame_px)
        box = (x_um - width, y_um - height, x_um + width, y_um + height)
        near = population.around(self._world, slide, box, margin_um)
        return tuple(placed for placed in near if slip.covers(placed.x_um, placed.y_um))

    def _contrasts_to_noise(self, card: SpecimenCard) -> tuple[float, float]:
        """Of what keeps the sense of polarization, in the parallel state, and of what flips it, in the crossed one."""
        lit = LAMP_DN_PER_MS * JUDGED_MS
        parallel, crossed = (self._polarized.empty(state) * lit for state in (PARALLEL, CROSSED))
        return (
            card.kept_contrast * parallel / self._camera.noise_dn(parallel),
            card.flipped_contrast * lit / self._camera.noise_dn(crossed + card.flipped_contrast * lit),
        )

    def _field(self, slide: int, x_um: float, y_um: float) -> _FieldShown:
        key = (slide, x_um, y_um)
        if key not in self._fields:
            frame = self._frame(x_um, y_um)
            slip = self._slip(slide)
            if self._target is not None:
                sight = self._target.look(frame, slip.surface_z_um)
            else:
                sight = self._scene(frame, slide)
            self._fields[key] = _FieldShown(sight, slip.edge(x_um, y_um, self._frame_px, self._pixel_um))
            if len(self._fields) > FIELDS_KEPT:
                self._fields.popitem(last=False)
        self._fields.move_to_end(key)
        return self._fields[key]

    def _scene(self, frame: FramePlace, slide: int) -> Sight:
        near = self._around(slide, frame.x_um, frame.y_um, MARGIN_UM)
        looked = [self._look(frame, slide, placed) for placed in near]
        return Scene([seen for seen in looked if seen is not None], frame)

    def _look(self, frame: FramePlace, slide: int, placed: PlacedObject) -> SeenObject | None:
        drawer = self._cabinet.drawer(placed.kind, placed.variant)
        return look(frame, drawer, placed.x_um, placed.y_um, placed.angle, self._z(slide, placed))

    def _z(self, slide: int, placed: PlacedObject) -> float:
        return self.surface_z_um(slide, placed.x_um, placed.y_um) + placed.above_um

    def _frame(self, x_um: float, y_um: float) -> FramePlace:
        return FramePlace(x_um, y_um, self._frame_px, self._pixel_um)


def cabinet_of(emulation: Emulation) -> Cabinet:
    """Open the cabinet of the specimens that an emulation shows."""
    return Cabinet(emulation.collection, _mount(emulation), turned_over=emulation.turned_over)


def _mount(emulation: Emulation) -> Mount:
    mounting = emulation.mounting
    return Mount(
        mounting.medium_index, mounting.condenser_na, mounting.wavelength_nm / 1000, mounting.bandwidth_nm / 1000
    )


@lru_cache(maxsize=256)
def _calcite(cabinet: Cabinet, kind: str, variant: int) -> tuple[Image, float]:
    """Thickness of a specimen's calcite, and the size of a pixel of its grid."""
    body = cabinet.specimen(kind, variant).body
    return body.thickness_um(CALCITE).astype(np.float32), body.pixel_um


def _clip(box: NDArray[np.float64], height: int, width: int) -> Box:
    x0, x1 = np.clip(box[[0, 2]], 0, width).tolist()
    y0, y1 = np.clip(box[[1, 3]], 0, height).tolist()
    return x0, y0, x1, y1
