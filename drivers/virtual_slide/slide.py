"""The virtual slide: renders any view of an endless mini-slide, and says what is truly there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.errors import Refused
from drivers.settings import Emulation, MiniSlide
from drivers.virtual_slide import optics, population
from drivers.virtual_slide.camera import LEAKAGE, Camera
from drivers.virtual_slide.population import Box, Placed
from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.specimens import specimen
from drivers.virtual_slide.truth import TrueObject, View

POLARIZATIONS = ("crossed", "parallel")
FIELDS_KEPT = 4
_SURFACE = 5
FAINTEST = 0.03
"""Share of its light at the last plane of its template below which a defocused object is left out."""


@dataclass(frozen=True)
class _Surface:
    """A plane: height at the centre, slope along x and y."""

    centre_um: tuple[float, float]
    z_um: float
    slope: tuple[float, float]


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
    """Endless mini-slides under an emulated camera: a pure function of settings and view.

    Not for two threads at once, as frames are made in scratch memory; OpenCV is set to one thread.

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
        self._surfaces = {slide.position: _surface(emulation, slide) for slide in slides}
        self._frame_px = frame_px
        self._pixel_um = pixel_um
        self._camera = Camera(frame_px, emulation.seed)
        self._light = np.empty(frame_px, np.float32)
        self._scratch = np.empty(1 << 16, np.float32)
        self._fields: OrderedDict[tuple[int, float, float], tuple[_Seen, ...]] = OrderedDict()

    def prepare(self) -> None:
        """Make the light of every kind of object now (about a second), rather than in the first frames."""
        if self._emulation.profile != "blank":
            for kind in population.KINDS:
                _template(kind.name)

    def surface_z_um(self, slide: int, x_um: float, y_um: float) -> float:
        """Height of a mini-slide's surface at a stage position, in stage units.

        Raises
        ------
        Refused
            There is no such mini-slide.
        """
        if slide not in self._surfaces:
            raise Refused(
                f"the virtual slide holds mini-slides {sorted(self._surfaces)}, not {slide}; view one of those"
            )
        surface = self._surfaces[slide]
        x, y = x_um - surface.centre_um[0], y_um - surface.centre_um[1]
        return surface.z_um + surface.slope[0] * x + surface.slope[1] * y

    def render(self, view: View, exposure_ms: float, out: NDArray[np.uint16]) -> None:
        """Write the frame of a view.

        Parameters
        ----------
        view : what the frame depends on. Its polarization is `crossed` or `parallel`.
        exposure_ms : the signal above the offset grows linearly with it.
        out : (H, W) uint16, C-contiguous; written in place.

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
        crossed = view.polarization == "crossed"
        self._light.fill(LEAKAGE if crossed else 1.0)
        for seen in self._seen(view.slide, view.x_um, view.y_um):
            self._add(seen, view.z_um, crossed)
        self._camera.expose(self._light, view, exposure_ms, out)

    def truth(self, slide: int, x_um: float, y_um: float) -> tuple[TrueObject, ...]:
        """Every object, junk included, whose body lies in part in the frame at a stage position."""
        height, width = self._frame_px
        found = []
        for placed in self._around(slide, x_um, y_um, 0.0):
            x0, y0, x1, y1 = self._to_frame(placed.box_um, x_um, y_um)
            clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
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
                    touching=placed.touching,
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
        x0, y0, x1, y1 = ((a - b) / self._pixel_um for a, b in zip(box_um, (x_um, y_um, x_um, y_um), strict=True))
        return x0 + width / 2, y0 + height / 2, x1 + width / 2, y1 + height / 2

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
        """Add what an object flips to the dark field, or multiply the bright field by what it lets through."""
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
        (np.add if crossed else np.multiply)(light, patch, out=light)


def _surface(emulation: Emulation, mini: MiniSlide) -> _Surface:
    random = generator(emulation.seed, mini.position, _SURFACE)
    height = float(random.uniform(-1, 1)) * emulation.height_um
    tilt = float(random.uniform(0.3, 1)) * emulation.tilt_um_per_mm / 1000
    direction = float(random.uniform(0, 2 * np.pi))
    slope = (tilt * float(np.cos(direction)), tilt * float(np.sin(direction)))
    return _Surface(mini.centre_um, mini.z_um + height, slope)
