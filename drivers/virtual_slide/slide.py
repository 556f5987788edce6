"""The virtual slide: renders any view of an endless mini-slide, and says what is truly there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.settings import Emulation, MiniSlide
from drivers.virtual_slide import optics, population
from drivers.virtual_slide.camera import LEAKAGE, Camera
from drivers.virtual_slide.population import Box, Placed
from drivers.virtual_slide.specimens import specimen
from drivers.virtual_slide.truth import TrueObject, View

FIELDS_KEPT = 4
FAINTEST = 0.03


@dataclass(frozen=True)
class _Seen:
    """An object as one field sees it: its z, its light, and the affine map from frame region to template."""

    z_um: float
    template: optics.Template
    region: tuple[slice, slice]
    shape: tuple[int, int]
    to_template: NDArray[np.float64]


@cache
def _template(kind: str) -> optics.Template:
    return optics.make_template(specimen(kind).slices)


class VirtualSlide:
    """Eight endless mini-slides under an emulated camera, a pure function of settings and view.

    Parameters
    ----------
    emulation : seed, profile, density, height and tilt of the mini-slides.
    slides : where the mini-slides lie.
    frame_px : height, width. pixel_um : on the sample.
    """

    def __init__(
        self, emulation: Emulation, slides: Sequence[MiniSlide], frame_px: tuple[int, int], pixel_um: float
    ) -> None:
        cv2.setNumThreads(1)
        self._emulation = emulation
        self._slides = {slide.position: slide for slide in slides}
        self._frame_px = frame_px
        self._pixel_um = pixel_um
        self._camera = Camera(frame_px, emulation.seed)
        self._light = np.empty(frame_px, np.float32)
        self._scratch = np.empty(1 << 16, np.float32)
        self._fields: OrderedDict[tuple[int, float, float], tuple[_Seen, ...]] = OrderedDict()

    def surface_z_um(self, slide: int, x_um: float, y_um: float) -> float:
        """Height of a mini-slide's surface, in stage units."""
        mini = self._slides[slide]
        random = np.random.default_rng([self._emulation.seed & 0xFFFFFFFFFFFFFFFF, slide, 5])
        height = random.uniform(-1, 1) * self._emulation.height_um
        tilt, direction = random.uniform(0.3, 1) * self._emulation.tilt_um_per_mm, random.uniform(0, 2 * np.pi)
        along = (x_um - mini.centre_um[0]) * np.cos(direction) + (y_um - mini.centre_um[1]) * np.sin(direction)
        return float(mini.z_um + height + tilt * along / 1000)

    def render(self, view: View, exposure_ms: float, out: NDArray[np.uint16]) -> None:
        """Write the frame of a view.

        Parameters
        ----------
        view : what the frame depends on. Its polarization is `crossed` or `parallel`.
        exposure_ms : signal grows linearly with it.
        out : (H, W) uint16, C-contiguous; written in place.
        """
        crossed = view.polarization == "crossed"
        self._light.fill(LEAKAGE if crossed else 1.0)
        for seen in self._seen(view.slide, view.x_um, view.y_um):
            self._add(seen, view.z_um, crossed)
        self._camera.expose(self._light, view, exposure_ms, out)

    def truth(self, slide: int, x_um: float, y_um: float) -> tuple[TrueObject, ...]:
        """Every object, junk included, whose body lies in part in the frame at a stage position."""
        height, width = self._frame_px
        near = self._around(slide, x_um, y_um, population.REACH_UM * 2)
        found = []
        for placed in near:
            x0, y0, x1, y1 = self._to_frame(placed.box_um, x_um, y_um)
            clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
            if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
                continue
            body = specimen(placed.kind)
            found.append(
                TrueObject(
                    identifier=placed.identifier,
                    class_name=body.class_name,
                    junk=body.junk,
                    box=clipped,
                    x_um=placed.x_um,
                    y_um=placed.y_um,
                    z_um=self.surface_z_um(slide, placed.x_um, placed.y_um) + placed.above_um,
                    size_um=body.size_um * placed.scale,
                    thickness_um=body.thickness_um,
                    touching=any(o is not placed and population.overlap(o.box_um, placed.box_um) for o in near),
                    whole=clipped == (x0, y0, x1, y1),
                )
            )
        return tuple(found)

    def _around(self, slide: int, x_um: float, y_um: float, margin_um: float) -> tuple[Placed, ...]:
        if self._emulation.profile == "blank":
            return ()
        height, width = (n * self._pixel_um / 2 + margin_um for n in self._frame_px)
        box = (x_um - width, y_um - height, x_um + width, y_um + height)
        return population.around(self._emulation.seed, slide, self._emulation.density, box)

    def _to_frame(self, box_um: Box, x_um: float, y_um: float) -> Box:
        height, width = self._frame_px
        x0, y0, x1, y1 = box_um
        across, down = width / 2 - x_um / self._pixel_um, height / 2 - y_um / self._pixel_um
        return (
            x0 / self._pixel_um + across,
            y0 / self._pixel_um + down,
            x1 / self._pixel_um + across,
            y1 / self._pixel_um + down,
        )

    def _seen(self, slide: int, x_um: float, y_um: float) -> tuple[_Seen, ...]:
        key = (slide, x_um, y_um)
        if key not in self._fields:
            near = self._around(slide, x_um, y_um, optics.MARGIN_UM * population.LARGEST_SCALE)
            seen = (self._look(placed, slide, x_um, y_um) for placed in near)
            self._fields[key] = tuple(one for one in seen if one is not None)
            if len(self._fields) > FIELDS_KEPT:
                self._fields.popitem(last=False)
        self._fields.move_to_end(key)
        return self._fields[key]

    def _look(self, placed: Placed, slide: int, x_um: float, y_um: float) -> _Seen | None:
        height, width = self._frame_px
        margin = optics.MARGIN_UM * placed.scale
        x0, y0, x1, y1 = placed.box_um
        left, top, right, bottom = self._to_frame((x0 - margin, y0 - margin, x1 + margin, y1 + margin), x_um, y_um)
        left, top = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
        right, bottom = min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)
        if left >= right or top >= bottom:
            return None
        template = _template(placed.kind)
        rows, columns = template.transmission.shape[1:]
        step = self._pixel_um / (placed.scale * optics.TEMPLATE_PIXEL_UM)
        cos, sin = np.cos(placed.angle) * step, np.sin(placed.angle) * step
        dx = left + 0.5 - width / 2 + (x_um - placed.x_um) / self._pixel_um
        dy = top + 0.5 - height / 2 + (y_um - placed.y_um) / self._pixel_um
        turn = np.array([[cos, sin], [-sin, cos]])
        shift = turn @ (dx, dy) + ((columns - 1) / 2, (rows - 1) / 2)
        return _Seen(
            z_um=self.surface_z_um(slide, placed.x_um, placed.y_um) + placed.above_um,
            template=template,
            region=(slice(top, bottom), slice(left, right)),
            shape=(bottom - top, right - left),
            to_template=np.column_stack([turn, shift]),
        )

    def _add(self, seen: _Seen, z_um: float, crossed: bool) -> None:
        planes = seen.template.flipped if crossed else seen.template.transmission
        lower, upper, weight, strength = optics.between(z_um - seen.z_um)
        if planes is None or strength < FAINTEST:
            return
        empty = 0.0 if crossed else 1.0
        image = cv2.addWeighted(
            planes[lower], (1 - weight) * strength, planes[upper], weight * strength, empty * (1 - strength)
        )
        height, width = seen.shape
        if self._scratch.size < height * width:
            self._scratch = np.empty(height * width, np.float32)
        patch = self._scratch[: height * width].reshape(height, width)
        cv2.warpAffine(
            image,
            seen.to_template,
            (width, height),
            dst=patch,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=empty,
        )
        light = self._light[seen.region]
        if crossed:
            np.add(light, patch, out=light)
        else:
            np.multiply(light, patch, out=light)
