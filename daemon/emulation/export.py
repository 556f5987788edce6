"""Annotated fields of the emulated microscope, to train and judge the detector with, and all that is true of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from rich.console import Console

from daemon.config.model import NightConfig
from daemon.emulation import truth_table
from daemon.figures.field_picture import draw_field, view_name
from daemon.planning.specimens import make_specimens
from daemon.records.names import field_file
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from drivers.emulated.core import virtual_slide
from drivers.emulated.mechanics import true_pixel_um
from drivers.settings import Emulation
from drivers.virtual_slide.profiles import kinds_shown
from drivers.virtual_slide.slide import cabinet_of
from drivers.virtual_slide.truth import TrueObject, View
from drivers.virtual_slide.visibility import Visible, visible
from inference.annotations import cvat
from inference.annotations.coco import AnnotatedImage, Annotation, AnnotationFile, Category, StackInfo, to_json
from inference.annotations.sources import CVAT_FILE, PICTURES

COCO_FILE = "coco.json"
COCO_LAYOUT = "annotations/instances_default.json"
"""The same, where programs that read COCO look for it."""
STACKS = "stacks"
SOURCE = "emulated"
ABOVE_SURFACE_UM = 0.5
FOCUS_ERROR_UM = 0.6


def override(config: NightConfig, mounting: Mapping[str, object] | None = None, **emulation: object) -> NightConfig:
    """Change settings of the emulation, those that are not None.

    Parameters
    ----------
    mounting
        settings of `instrument.emulation.mounting`.
    **emulation
        settings of `instrument.emulation`.

    Raises
    ------
    Refused
        The configuration has no emulated microscope.
    """
    before = emulation_of(config)
    mounted = {name: value for name, value in (mounting or {}).items() if value is not None}
    changes = {name: value for name, value in emulation.items() if value is not None}
    changes["mounting"] = before.mounting.model_copy(update=mounted)
    instrument = config.instrument.model_copy(update={"emulation": before.model_copy(update=changes)})
    return config.model_copy(update={"instrument": instrument})


def export(
    config: NightConfig,
    into: Path,
    slides: Sequence[int],
    fields: int,
    thickness: bool = False,
    console: Console | None = None,
) -> None:
    """Write annotated fields at random places of each slide, one OME-TIFF stack (CZYX) each, and what is true of them.

    Stacks lie in `stacks`, their fused views, which other programs can show, in `images`. `coco.json` and
    `annotations.xml` (CVAT) annotate what is not junk and of a class of the detector; what has not to be found is
    `iscrowd`. `truth.parquet` and `truth.csv` hold every object, junk included. The stack's centre lies 0.5 um above
    the slide's surface, give or take up to 0.6 um; `plane` is where the reference plane of an object truly lies,
    fractional, `display_plane` where it is shown best.

    Parameters
    ----------
    thickness
        also write each field's map of the thickness of calcite in um, beside its stack.
    console
        where to show progress.

    Raises
    ------
    Refused
        The configuration has no emulated microscope, or no such slide.
    """
    emulation, names, frame_px = emulation_of(config), config.detector.classes, config.instrument.frame_px
    unknown = set(slides) - {slide.position for slide in config.scan.slides}
    if unknown:
        raise Refused(f"scan.slides has no position {min(unknown)}; choose among those it lists")
    console = console or Console(quiet=True)
    make_specimens(cabinet_of(emulation), kinds_shown(emulation), console)
    exporter = _Exporter(config, emulation, thickness)
    make_folder(into)
    images: list[AnnotatedImage] = []
    annotations: list[Annotation] = []
    rows: list[dict[str, Any]] = []
    places = [(slide, field) for slide in slides for field in range(1, fields + 1)]
    for slide, field in follow(places, len(places), "fields", console):
        picture, objects, plane_of = exporter.field(into, slide, field, number=len(images) + 1)
        images.append(picture)
        stack = None if picture.stack is None else picture.stack.file_name
        for seen in visible(objects, frame_px, true_pixel_um(config.instrument)):
            plane, display_plane = plane_of(seen.true.z_um), plane_of(seen.true.display_z_um)
            number = None
            if not seen.true.junk and seen.true.class_name in names:
                number = len(annotations) + 1
                category = names.index(seen.true.class_name) + 1
                annotations.append(_annotation(number, picture.id, category, seen, (plane, display_plane)))
            place = {
                "image": picture.file_name, "stack": stack, "slide": slide, "field": field,
                "annotation": number, "to_be_found": seen.to_be_found, "plane": plane, "display_plane": display_plane,
            }  # fmt: skip
            rows.append(truth_table.row(seen.true, place))
    categories = tuple(Category(id=k, name=name) for k, name in enumerate(names, start=1))
    dataset = AnnotationFile(images=tuple(images), annotations=tuple(annotations), categories=categories)
    truth_table.write(into, rows, emulation.model_dump_json())
    with replacing(into / CVAT_FILE) as stream:
        stream.write(cvat.to_xml(dataset, SOURCE))
    make_folder((into / COCO_LAYOUT).parent)
    coco = to_json(dataset)
    for name in (COCO_LAYOUT, COCO_FILE):
        with replacing(into / name) as stream:
            stream.write(coco)


class _Exporter:
    """Exposes single stacks of a virtual slide, without a stage."""

    def __init__(self, config: NightConfig, emulation: Emulation, thickness: bool) -> None:
        self._thickness = thickness
        self._instrument, self._scan, self._seed = config.instrument, config.scan, emulation.seed
        self._world = zlib.crc32(emulation.model_dump_json().encode())
        self._margin_um = config.scan.pattern.margin_um
        self._pixel_um = true_pixel_um(self._instrument)
        self._virtual = virtual_slide(self._instrument, config.scan.slides)
        self._stack: NDArray[np.uint16] = np.empty(
            (len(self._scan.polarizations), self._scan.planes, *self._instrument.frame_px), np.uint16
        )

    def field(
        self, into: Path, slide: int, field: int, number: int
    ) -> tuple[AnnotatedImage, tuple[TrueObject, ...], Callable[[float], float]]:
        """Write one field's stack; with it come what lies in it, and the fractional plane at a height."""
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
        name = field_file(slide, field)
        stack, shown = f"{STACKS}/{name}", view_name(name, self._world)
        self._write(into / stack)
        make_folder((into / PICTURES / shown).parent)
        with replacing(into / PICTURES / shown) as stream:
            stream.write(draw_field(self._stack, self._scan.polarizations, self._pixel_um))
        if self._thickness:
            with replacing(into / stack.replace(".ome.tif", ".thickness.tif")) as stream:
                tifffile.imwrite(stream, self._virtual.thickness_um(slide, x, y), compression="zlib")
        truth = self._virtual.truth(slide, x, y)
        height, width = self._instrument.frame_px
        info = StackInfo(
            slide=slide,
            field=field,
            seed=self._seed,
            planes=self._scan.planes,
            step_um=step,
            pixel_um=self._pixel_um,
            polarizations=self._scan.polarizations,
            junk=sum(o.junk for o in truth),
            file_name=stack,
        )
        picture = AnnotatedImage(id=number, file_name=shown, width=width, height=height, stack=info)
        return picture, truth, lambda z_um: (z_um - first) / step

    def _write(self, path: Path) -> None:
        make_folder(path.parent)
        metadata = {
            "axes": "CZYX",
            "PhysicalSizeX": self._pixel_um,
            "PhysicalSizeY": self._pixel_um,
            "PhysicalSizeZ": self._scan.step_um,
            "Channel": {"Name": list(self._scan.polarizations)},
        }
        with replacing(path) as stream:
            tifffile.imwrite(stream, self._stack, ome=True, photometric="minisblack", metadata=metadata)


def _annotation(number: int, image: int, category: int, seen: Visible, planes: tuple[float, float]) -> Annotation:
    (x0, y0, x1, y1), true = seen.box, seen.true
    x, y = seen.outline.T
    return Annotation(
        id=number,
        image_id=image,
        category_id=category,
        bbox=(x0, y0, x1 - x0, y1 - y0),
        area=float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2,
        iscrowd=int(not seen.to_be_found),
        segmentation=(tuple(seen.outline.round(2).ravel().tolist()),),
        attributes={
            "touching": true.touching,
            "whole": true.whole,
            "plane": round(planes[0], 3),
            "display_plane": round(planes[1], 3),
            "kind": true.kind,
            "taxon": true.taxon,
            "view": true.view,
            "face": true.face,
            "completeness": true.completeness,
            "units": true.units,
            "fragment": true.fragment,
            "buried": true.buried,
            "length_um": round(true.length_um, 3),
            "width_um": round(true.width_um, 3),
            "contrast_to_noise": round(true.contrast_to_noise, 2),
            "clear_contrast_to_noise": round(true.clear_contrast_to_noise, 2),
        },
    )


def emulation_of(config: NightConfig) -> Emulation:
    """Give the settings of the emulated microscope.

    Raises
    ------
    Refused
        The configuration has none.
    """
    if config.instrument.emulation is None:
        raise Refused("instrument.emulation is missing; add it to export emulated fields")
    return config.instrument.emulation
