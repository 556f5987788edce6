"""Labelled stacks of single specimens of the virtual slide, each with what lies around it: to learn names from."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from rich.console import Console

from daemon.config.model import NightConfig
from daemon.emulation.export import ABOVE_SURFACE_UM, FOCUS_ERROR_UM, emulation_of
from daemon.emulation.specimen_index import INDEX, SpecimenRow, write_index
from daemon.planning.specimens import make_specimens
from daemon.records.names import LOCK, UNFINISHED, slide_folder
from daemon.system.durable_files import make_folder, replacing, sha256_of
from daemon.system.errors import Refused
from daemon.system.locks import sole
from daemon.system.progress import follow
from drivers.emulated.mechanics import true_pixel_um
from drivers.settings import Emulation
from drivers.virtual_slide.not_living import taxon_of
from drivers.virtual_slide.population import PlacedObject
from drivers.virtual_slide.profiles import kinds_shown, mean_number
from drivers.virtual_slide.slide import VirtualSlide, cabinet_of
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.truth import TrueObject, View
from drivers.virtual_slide.visibility import is_hidden

STACKS = "stacks"
FRAME_PX = (2048, 2048)
"""Of the camera that the specimens lie under; each stack is a part of its frame."""
BOX_ERROR_PX = 1.5
"""Standard deviation of the place of each side of the box that an object is cut out by, as a detector has it."""
TRIES = 20
"""Specimens that are looked at, at most, for one that can be seen."""


@dataclass(frozen=True)
class Wish:
    """Which specimens to write.

    Attributes
    ----------
    each
        specimens of each taxon, on each slide.
    natural
        take as many of each kind as the profile has at that slide, `each` being their mean over the taxa.
    junk
        pieces of junk on each slide, at natural shares.
    taxa
        only these; all of the profile where none is named.
    most_px
        longest side of a stack: pixels of what is larger are averaged in squares, which the index tells by `pixel_um`.
    """

    each: int = 20
    natural: bool = False
    junk: int = 0
    taxa: tuple[str, ...] = ()
    most_px: int = 512


def export_specimens(
    config: NightConfig, into: Path, slides: Sequence[int], wish: Wish, console: Console | None = None
) -> list[SpecimenRow]:
    """Write stacks of single specimens, cut out as a night cuts objects out, and the index of them.

    What lies around a specimen on its slide is seen in its stack too. Specimens that nobody could see are left out.
    Nothing is written over: a folder that has an index is refused. The same again goes on where it was interrupted.

    Parameters
    ----------
    console
        where to show progress.

    Raises
    ------
    Refused
        The configuration has no emulated microscope or no such slide, its profile no such taxon; the folder already
        has an index, or specimens that were begun otherwise; another program writes there.
    """
    emulation = emulation_of(config)
    console = console or Console(quiet=True)
    unknown = set(slides) - {slide.position for slide in config.scan.slides}
    if unknown:
        raise Refused(f"scan.slides has no position {min(unknown)}; choose among those it lists")
    shown = kinds_shown(emulation)
    absent = set(wish.taxa) - {KINDS[kind].taxon for kind in shown}
    if absent:
        raise Refused(f"profile {emulation.profile!r} has no taxon {min(absent)!r}; choose another profile or taxon")
    made_with = _made_with(config, slides, wish)
    make_folder(into)
    with sole(into / LOCK, f"another program writes specimens into {str(into)!r}; wait for it, or stop it"):
        _require_nothing_else(into, made_with)
        with replacing(into / UNFINISHED) as stream:
            stream.write(json.dumps(made_with, indent=1).encode())
        make_specimens(cabinet_of(emulation), shown, console)
        wanted = [one for slide in slides for one in _wanted(emulation, slide, wish)]
        total = sum(count for _, _, count in wanted)
        maker = _Maker(config, wish.most_px)
        rows = list(follow(maker.specimens(into, wanted), total, "specimens", console))
        write_index(into, rows, emulation.model_dump_json())
        (into / UNFINISHED).unlink()
    if len(rows) < total:
        console.print(f"{total - len(rows)} of {total} were not found on the slides, in sight and within a frame")
    return rows


def _made_with(config: NightConfig, slides: Sequence[int], wish: Wish) -> dict[str, Any]:
    """Say all that the stacks depend on: with the same, a stack that lies there is the one that would be made."""
    emulation = emulation_of(config)
    return {
        "slides": list(slides),
        "wish": asdict(wish) | {"taxa": list(wish.taxa)},
        "emulation": emulation.model_dump(mode="json"),
        "scan": config.scan.model_dump(mode="json", include={"slides", "planes", "step_um", "polarizations"}),
        "states": {name: one.model_dump(mode="json") for name, one in config.instrument.polarizations.items()},
        "pixel_um": true_pixel_um(config.instrument),
        "margin_um": config.crops.margin_um,
        "lamelle": f"{version('lamelle')}, {cabinet_of(emulation).folder.name}",
    }


def _require_nothing_else(into: Path, made_with: Mapping[str, Any]) -> None:
    """Refuse a folder with specimens, but for those that were begun in the same way and are not finished."""
    unfinished = into / UNFINISHED
    if not unfinished.exists():
        if any((into / name).exists() for name in (f"{INDEX}.parquet", f"{INDEX}.csv", STACKS)):
            raise Refused(f"{str(into)!r} already has specimens; name another folder with --into")
        return
    try:
        begun = json.loads(unfinished.read_bytes())
        other = [name for name, value in made_with.items() if begun[name] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{unfinished} cannot be read ({error}); name another folder with --into") from error
    if other:
        raise Refused(
            f"{str(into)!r} holds specimens that were begun with other {' and '.join(other)}; give the same command "
            "again, or name another folder with --into"
        )


def _wanted(emulation: Emulation, slide: int, wish: Wish) -> list[tuple[int, str, int]]:
    """How many of each kind to write from a slide: slide, kind, number."""
    profile = emulation.profile
    often = {kind: mean_number(profile, kind, emulation.seed, slide, 1.0, 1.0) for kind in kinds_shown(emulation)}
    rest = {kind: n for kind, n in often.items() if KINDS[kind].junk}
    fossils = {kind: n for kind, n in often.items() if kind not in rest}
    if wish.taxa:
        fossils = {kind: n for kind, n in fossils.items() if KINDS[kind].taxon in wish.taxa}
    counts = _shares(fossils, wish.each, wish.natural) | _split(rest, wish.junk)
    return [(slide, kind, count) for kind, count in counts.items()]


def _shares(often: dict[str, float], each: int, natural: bool) -> dict[str, int]:
    """How many of each kind: as many of each taxon, shared out among its kinds, or at natural shares."""
    taxa = {KINDS[kind].taxon for kind in often}
    if natural:
        return _split(often, each * len(taxa))
    counts: dict[str, int] = {}
    for taxon in sorted(taxa):
        counts |= _split({kind: n for kind, n in often.items() if KINDS[kind].taxon == taxon}, each)
    return counts


def _split(often: dict[str, float], total: int) -> dict[str, int]:
    """Share out a number in proportion, by largest remainders."""
    if not often or not total:
        return {}
    whole = sum(often.values())
    exact = {kind: total * n / whole for kind, n in often.items()}
    counts = {kind: int(n) for kind, n in exact.items()}
    for kind in sorted(exact, key=lambda one: counts[one] - exact[one])[: total - sum(counts.values())]:
        counts[kind] += 1
    return counts


class _Maker:
    """Finds specimens on a virtual slide and exposes the part of a frame that each lies in."""

    def __init__(self, config: NightConfig, most_px: int) -> None:
        self._config = config
        self._most_px = most_px
        self._emulation = emulation_of(config)
        self._pixel_um = true_pixel_um(config.instrument)
        self._margin_px = round(config.crops.margin_um / self._pixel_um)
        self._virtual = VirtualSlide(self._emulation, config.scan.slides, FRAME_PX, self._pixel_um)
        self._night = f"emulated-{zlib.crc32(self._emulation.model_dump_json().encode()):08x}"

    def specimens(self, into: Path, wanted: Sequence[tuple[int, str, int]]) -> Iterator[SpecimenRow]:
        """Write so many of a kind from a slide, one after the other."""
        fields_made: dict[int, int] = {}
        for slide, kind, count in wanted:
            made = 0
            settled = self._virtual.settled(slide, kind, self._emulation.seed)
            for tried, placed in enumerate(settled):
                if made == count or tried >= TRIES * count:
                    break
                number = fields_made.get(slide, 0) + 1
                row = self._specimen(into, slide, number, placed)
                if row is not None:
                    made, fields_made[slide] = made + 1, number
                    yield row

    def _specimen(self, into: Path, slide: int, field: int, placed: PlacedObject) -> SpecimenRow | None:
        """Write one specimen's stack; None where it does not fit into the frame, or nobody could see it."""
        scan, instrument = self._config.scan, self._config.instrument
        random = np.random.default_rng([self._emulation.seed & 0xFFFFFFFF, slide, field])
        x0, y0, x1, y1 = np.array(self._virtual.box_um(placed)) + random.normal(0, BOX_ERROR_PX, 4) * self._pixel_um
        sides = [int(np.ceil(side / self._pixel_um)) + 2 * self._margin_px for side in (x1 - x0, y1 - y0)]
        binning = -(-max(sides) // self._most_px)
        width, height = (-(-side // binning) * binning for side in sides)
        if width > FRAME_PX[1] or height > FRAME_PX[0]:
            return None
        left, top = int(random.integers(FRAME_PX[1] - width + 1)), int(random.integers(FRAME_PX[0] - height + 1))
        part = self._virtual.part((slice(top, top + height), slice(left, left + width)))
        x, y = float(x0 + x1) / 2, float(y0 + y1) / 2
        true = next(one for one in part.truth(slide, x, y) if one.identifier == placed.identifier)
        if is_hidden(true):
            return None
        middle = self._virtual.surface_z_um(slide, x, y) + ABOVE_SURFACE_UM
        first = middle + float(random.uniform(-FOCUS_ERROR_UM, FOCUS_ERROR_UM)) - (scan.planes - 1) / 2 * scan.step_um
        taxon = taxon_of(true.taxon, true.class_name)
        name = f"{STACKS}/{slide_folder(slide)}/{taxon}/{field:06d}.ome.tif"
        key = f"{self._night}/slide-{slide}/field-{field:04d}/attempt-1/001"
        if (into / name).is_file():  # whole, as it was renamed, and the same, as it was begun with the same
            return self._row(true, slide, key, first, binning, name, sha256_of(into / name))
        size = len(scan.polarizations), scan.planes, height // binning, width // binning
        stack, frame = np.empty(size, np.uint16), np.empty((height, width), np.uint16)
        for c, state in enumerate(scan.polarizations):
            exposure_ms = instrument.polarizations[state].exposure_ms
            for z in range(scan.planes):
                part.render(View(slide, field, z, state, x, y, first + z * scan.step_um), exposure_ms, frame)
                stack[c, z] = frame if binning == 1 else _binned(frame, binning)
        digest = self._write(into / name, key, stack, self._pixel_um * binning)
        return self._row(true, slide, key, first, binning, name, digest)

    def _row(
        self, true: TrueObject, slide: int, key: str, first_um: float, binning: int, name: str, digest: str
    ) -> SpecimenRow:
        scan, box = self._config.scan, [edge / binning for edge in true.box]
        outline = (true.outline * self._pixel_um).astype(np.float32)
        return SpecimenRow(
            key=key,
            file=name,
            sha256=digest,
            taxon=taxon_of(true.taxon, true.class_name),
            class_name=true.class_name,
            junk=true.junk,
            night=self._night,
            collection=self._emulation.collection,
            seed=self._emulation.seed,
            slide=slide,
            kind=true.kind,
            variant=true.variant,
            place=true.identifier,
            view=true.view,
            face=true.face,
            completeness=true.completeness,
            units=true.units,
            length_um=true.length_um,
            width_um=true.width_um,
            area_um2=cv2.contourArea(outline),
            perimeter_um=cv2.arcLength(outline, closed=True),
            convex_area_um2=cv2.contourArea(cv2.convexHull(outline)),
            mass_pg=true.mass_pg,
            focus_plane=(true.display_z_um - first_um) / scan.step_um,
            reference_plane=(true.z_um - first_um) / scan.step_um,
            states=" ".join(scan.polarizations),
            planes=scan.planes,
            step_um=scan.step_um,
            pixel_um=self._pixel_um * binning,
            white_dn=(1 << self._emulation.sensor.bits) - 1,
            touching=true.touching,
            contrast_to_noise=true.contrast_to_noise,
            x0=box[0],
            y0=box[1],
            x1=box[2],
            y1=box[3],
        )

    def _write(self, path: Path, key: str, stack: NDArray[np.uint16], pixel_um: float) -> str:
        """Write a stack; sha256 of its file."""
        scan = self._config.scan
        metadata = {
            "axes": "CZYX",
            "PhysicalSizeX": pixel_um,
            "PhysicalSizeY": pixel_um,
            "PhysicalSizeZ": scan.step_um,
            "Channel": {"Name": list(scan.polarizations)},
            # Else chance takes it, and the same specimen would be another file every time.
            "UUID": str(uuid5(NAMESPACE_URL, key)),
        }
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, stack, ome=True, photometric="minisblack", metadata=metadata)
        make_folder(path.parent)
        with replacing(path) as stream:
            stream.write(buffer.getbuffer())
        return hashlib.sha256(buffer.getbuffer()).hexdigest()


def _binned(frame: NDArray[np.uint16], binning: int) -> NDArray[np.uint16]:
    """Mean of squares of pixels, rounded."""
    height, width = (side // binning for side in frame.shape)
    squares = frame.reshape(height, binning, width, binning)
    return np.asarray(np.rint(squares.mean(axis=(1, 3), dtype=np.float32)), np.uint16)
