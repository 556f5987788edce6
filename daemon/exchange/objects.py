"""Single objects of a dataset as files for other programs: OME-TIFF stacks, PNG, composites, animated GIF.

`slide-3_SAMPLE/field-0017_object-0004_CLASS` and then `.ome.tif` (the stack, and the fused crop as second series),
`_fused_C_POLARIZATION.png` (8 bit), `_composite.png` (the polarizations side by side, with a scale bar) or `_focus.gif`
(through the stack and back, polarizations side by side). A gallery is a page of the composites, taxon by taxon. The
pictures of one call have one contrast a polarization; numbers are in the OME-TIFF alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np
from PIL import Image
from rich.console import Console

from daemon.dataset.field_file import write_field_file
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, LoadedObject, load, spread
from daemon.exchange.gallery import GALLERY, write_gallery
from daemon.figures.choice import ObjectChoice, choose_objects
from daemon.figures.composites import draw_composite
from daemon.figures.pixels import Contrast, contrasts
from daemon.records.names import safe_name
from daemon.system.durable_files import make_folder, refusing, replacing
from daemon.system.errors import Refused
from daemon.system.progress import follow

Format = Literal["tiff", "png", "composite", "gallery", "gif"]
FORMATS: tuple[Format, ...] = get_args(Format)
CONTRAST_OBJECTS = 64
GIF_FRAME_MS = 120
_COMPOSITE = "_composite.png"


def extract(
    folder: Path,
    into: Path,
    choice: ObjectChoice,
    formats: Sequence[Format] = ("tiff",),
    limit: int | None = None,
    console: Console | None = None,
) -> int:
    """Write the selected objects of a dataset, one by one, below `into`; returns how many there were.

    Parameters
    ----------
    folder
        a dataset, or the run folder it lies in.
    into
        made if missing. A file that is there already is replaced, each whole or not at all.
    choice
        which objects, and in which order a gallery has those of a taxon.
    formats
        what to write of each; of a gallery composites too.
    limit
        at most so many, evenly over slides and classes.
    console
        where to tell how far it is, once it takes longer than two seconds.

    Raises
    ------
    Refused
        There is no dataset or no such taxon, or `into` lies inside it, is a file or cannot be written.
    DamagedFile
        A file of the dataset is missing or damaged.
    """
    with Dataset.open(folder) as dataset, dataset.unchanging():
        if into.resolve().is_relative_to(dataset.folder.resolve()):
            raise Refused(f"{into} lies inside the dataset {dataset.folder}; write to a folder outside of it")
        found, started = choose_objects(dataset, choice), dataset.night()
    chosen = found.objects
    if limit is not None:
        chosen = spread(chosen, limit)
    if into.exists() and not into.is_dir():
        raise Refused(f"{into} is a file; name a folder")
    contrast = _contrast(chosen) if set(formats) != {"tiff"} else []
    by_place = sorted(chosen, key=lambda one: (one.slide, one.field, one.row.number))  # a file is opened once
    for one in follow(load(by_place), len(chosen), "extract", console or Console(quiet=True)):
        path = into / _stem(one.chosen)
        with refusing(path.parent):
            make_folder(path.parent)
            if "tiff" in formats:
                _write_tiff(path, one)
            if "png" in formats:
                _write_png(path, one, contrast)
            if {"composite", "gallery"} & set(formats):
                _write_composite(path, one, contrast)
            if "gif" in formats:
                _write_gif(path, one, contrast)
    if "gallery" in formats:
        tiles = [(found.name_of(one), f"{_stem(one)}{_COMPOSITE}", one) for one in chosen]
        write_gallery(into / GALLERY, "" if started is None else started.night, tiles)
    return len(chosen)


def _stem(chosen: Chosen) -> str:
    row, folder = chosen.row, f"slide-{chosen.slide}_{safe_name(chosen.sample)}"
    return f"{folder}/field-{chosen.field:04d}_object-{row.number:04d}_{safe_name(row.class_name)}"


def _contrast(chosen: Sequence[Chosen]) -> list[Contrast]:
    return contrasts([one.fused for one in load(spread(chosen, CONTRAST_OBJECTS))]) if chosen else []


def _write_tiff(path: Path, one: LoadedObject) -> None:
    row = msgspec.structs.replace(one.chosen.row, series=0)
    with replacing(_with(path, ".ome.tif")) as stream:
        write_field_file(stream, one.provenance, [(row, one.crop, one.fused)])


def _write_png(path: Path, one: LoadedObject, contrast: Sequence[Contrast]) -> None:
    for channel, name in enumerate(one.provenance.polarizations):
        with replacing(_with(path, f"_fused_{channel}_{safe_name(name)}.png")) as stream:
            Image.fromarray(contrast[channel].apply(one.fused[channel])).save(stream, format="PNG")


def _write_composite(path: Path, one: LoadedObject, contrast: Sequence[Contrast]) -> None:
    image = draw_composite(one.fused, one.provenance.polarizations, contrast, one.provenance.pixel_um)
    with replacing(_with(path, _COMPOSITE)) as stream:
        image.save(stream, format="PNG")


def _write_gif(path: Path, one: LoadedObject, contrast: Sequence[Contrast]) -> None:
    planes = one.crop.shape[1]
    views = [np.hstack([c.apply(one.crop[k, plane]) for k, c in enumerate(contrast)]) for plane in range(planes)]
    there, *more = [Image.fromarray(view) for view in views + views[-2:0:-1]]
    with replacing(_with(path, "_focus.gif")) as stream:
        there.save(stream, format="GIF", save_all=True, append_images=more, duration=GIF_FRAME_MS, loop=0)


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
