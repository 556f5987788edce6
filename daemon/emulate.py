"""Annotated fields of the emulated microscope, to train and to judge the detector with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from daemon.config import Night
from daemon.durable import make_folder, replacing
from daemon.errors import Refused
from drivers.settings import Emulation
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import TrueObject, View
from inference.annotations import Annotation, Category, Dataset, Picture, StackInfo, to_json

COCO_FILE = "coco.json"
ABOVE_SURFACE_UM = 0.5
FOCUS_ERROR_UM = 0.6
SLIVER_UM = 1.0
"""What is cut by the frame to less than this has not to be found."""


Watch = Callable[[Sequence[tuple[int, int]]], Iterable[tuple[int, int]]]
"""Takes fields, as mini-slide and number, and gives them on."""


def export(
    config: Night,
    into: Path,
    slides: Sequence[int],
    fields: int,
    seed: int,
    density: float = 1.0,
    watch: Watch = iter,
) -> None:
    """Write annotated fields: `coco.json` and one OME-TIFF stack (CZYX) a field, at random places of each slide.

    Junk is not annotated. The stack's centre lies 0.5 um above the slide's surface, give or take up to 0.6 um. An
    annotation's attributes are `touching`, `whole`, `size_um` and `plane`, fractional, where its object truly lies.
    `watch` gives the fields on one after the other, and may tell how far it is.

    Raises
    ------
    Refused
        The configuration has no emulated microscope, or no such slide.
    """
    emulation = config.instrument.emulation
    if emulation is None:
        raise Refused("instrument.emulation is missing; add it to export emulated fields")
    unknown = set(slides) - {slide.position for slide in config.scan.slides}
    if unknown:
        raise Refused(f"scan.slides has no position {min(unknown)}; choose among those it lists")
    exporter = _Exporter(config, emulation.model_copy(update={"seed": seed, "density": density}))
    make_folder(into)
    names = config.detector.classes
    images: list[Picture] = []
    found: list[tuple[int, float, TrueObject]] = []
    for slide, field in watch([(slide, field) for slide in slides for field in range(1, fields + 1)]):
        picture, objects = exporter.field(into, slide, field, number=len(images) + 1)
        images.append(picture)
        found += [(picture.id, plane, o) for plane, o in objects if o.class_name in names]
    dataset = Dataset(
        images=tuple(images),
        annotations=tuple(
            _annotation(number, image, names.index(o.class_name) + 1, plane, o, SLIVER_UM / config.instrument.pixel_um)
            for number, (image, plane, o) in enumerate(found, start=1)
        ),
        categories=tuple(Category(id=k, name=name) for k, name in enumerate(names, start=1)),
    )
    with replacing(into / COCO_FILE) as stream:
        stream.write(to_json(dataset))


class _Exporter:
    """Exposes single stacks of a virtual slide, without a stage."""

    def __init__(self, config: Night, emulation: Emulation) -> None:
        self._instrument, self._scan, self._seed = config.instrument, config.scan, emulation.seed
        self._margin_um = config.scan.pattern.margin_um
        self._virtual = VirtualSlide(
            emulation, config.scan.slides, self._instrument.frame_px, self._instrument.pixel_um
        )
        self._stack: NDArray[np.uint16] = np.empty(
            (len(self._scan.polarizations), self._scan.planes, *self._instrument.frame_px), np.uint16
        )

    def field(self, into: Path, slide: int, field: int, number: int) -> tuple[Picture, list[tuple[float, TrueObject]]]:
        """Write one field's stack; what lies in it comes with its fractional plane."""
        random = np.random.default_rng([self._seed, slide, field])
        mini = next(s for s in self._scan.slides if s.position == slide)
        x, y = (
            float(centre + random.uniform(-0.5, 0.5) * max(size - 2 * self._margin_um, 0))
            for centre, size in zip(mini.centre_um, mini.size_um, strict=True)
        )
        middle = self._virtual.surface_z_um(slide, x, y) + ABOVE_SURFACE_UM
        middle += float(random.uniform(-FOCUS_ERROR_UM, FOCUS_ERROR_UM))
        step = self._scan.step_um
        first = middle - (self._scan.planes - 1) / 2 * step
        for c, state in enumerate(self._scan.polarizations):
            exposure_ms = self._instrument.polarizations[state].exposure_ms
            for z in range(self._scan.planes):
                view = View(slide, field, z, state, x, y, first + z * step)
                self._virtual.render(view, exposure_ms, self._stack[c, z])
        name = f"slide-{slide}/field-{field:04}.ome.tif"
        self._write(into / name)
        truth = self._virtual.truth(slide, x, y)
        height, width = self._instrument.frame_px
        info = StackInfo(
            slide=slide,
            field=field,
            seed=self._seed,
            planes=self._scan.planes,
            step_um=step,
            pixel_um=self._instrument.pixel_um,
            polarizations=self._scan.polarizations,
            junk=sum(o.junk for o in truth),
        )
        picture = Picture(id=number, file_name=name, width=width, height=height, stack=info)
        return picture, [((o.z_um - first) / step, o) for o in truth]

    def _write(self, path: Path) -> None:
        make_folder(path.parent)
        metadata = {
            "axes": "CZYX",
            "PhysicalSizeX": self._instrument.pixel_um,
            "PhysicalSizeY": self._instrument.pixel_um,
            "PhysicalSizeZ": self._scan.step_um,
            "Channel": {"Name": list(self._scan.polarizations)},
        }
        with replacing(path) as stream:
            tifffile.imwrite(stream, self._stack, ome=True, photometric="minisblack", metadata=metadata)


def _annotation(
    number: int, image: int, category: int, plane: float, found: TrueObject, sliver_px: float
) -> Annotation:
    x0, y0, x1, y1 = found.box
    width, height = x1 - x0, y1 - y0
    return Annotation(
        id=number,
        image_id=image,
        category_id=category,
        bbox=(x0, y0, width, height),
        area=width * height,
        iscrowd=int(not found.whole and min(width, height) < sliver_px),
        attributes={
            "touching": found.touching,
            "whole": found.whole,
            "plane": round(plane, 3),
            "size_um": round(found.size_um, 3),
        },
    )
