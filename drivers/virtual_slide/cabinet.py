"""The cabinet: the light and the description of every specimen, made once and kept on disk.

What is kept is found by everything it depends on: specimen, mount, and the source of the code that made it. A drawer is
a folder with the light, memory-mapped, and a card; it is written beside and renamed, so that processes may share it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from platformdirs import user_cache_path

from drivers.virtual_slide.collection import KINDS
from drivers.virtual_slide.matter import Body
from drivers.virtual_slide.optics import Light, Mount, illuminate
from drivers.virtual_slide.specimen import (
    Specimen,
    collect,
    length_and_width_um,
    mask_at,
    mass_pg,
    outline_um,
    visible_mass_pg,
)

LARGEST = 32767
DISPLAY_WITHIN_UM = 1.0
_SOURCES = Path(__file__).parent
Key = tuple[str, int]
"""Name of a kind and number of the variant."""
Report = Callable[[int, int], None]
"""Takes how many of how many are made."""


class Card(msgspec.Struct, frozen=True):
    """What is true of a specimen, lying along x, lengths from its centre and its reference plane.

    Attributes
    ----------
    outline_um : border in the slide's plane. display_outline_um : of what is in focus at its display plane.
    length_um, width_um : greatest and least Feret diameter of the outline.
    depth_um : lowest and highest z of its matter.
    display_um : z at which it is shown best: where its light differs most, on the side where it is darker; of what
        turns polarized light the reference plane.
    thickness_um : mean thickness where there is matter.
    mass_pg, visible_mass_pg : of its calcite, and what bidirectional circular polarization sees of it at best.
    kept_contrast, flipped_contrast : root mean square inside the outline, in the best plane, over the parallel light
        of an empty field.
    """

    fragment: bool
    pixel_um: float
    planes_um: tuple[float, ...]
    scale: tuple[float, ...]
    outline_um: tuple[tuple[float, float], ...]
    display_outline_um: tuple[tuple[float, float], ...]
    length_um: float
    width_um: float
    depth_um: tuple[float, float]
    display_um: float
    thickness_um: float
    mass_pg: float
    visible_mass_pg: float
    kept_contrast: float
    flipped_contrast: float


@dataclass(frozen=True)
class Drawer:
    """A specimen's card and its light.

    Attributes
    ----------
    light : (Z, H, W, K) int16, times `card.scale`: |k|^2 - 1 and, if it is birefringent, |f|^2, Re and Im of f k*.
    """

    card: Card
    light: NDArray[np.int16]


class Cabinet:
    """Specimens of one collection in one mount.

    Parameters
    ----------
    folder : where to keep them; the user's cache folder unless given.
    """

    def __init__(self, collection: int, mount: Mount, folder: Path | None = None) -> None:
        self._collection = collection
        self._mount = mount
        root = folder or user_cache_path("lamelle", "lamelle") / "virtual-slide"
        self.folder = root / f"{_code()}-{_digest(repr((collection, mount)))}"
        self._open: dict[Key, Drawer] = {}
        self._cards: dict[Key, Card] = {}

    def card(self, kind: str, variant: int) -> Card:
        """Describe a specimen; it is made first if need be."""
        key = (kind, variant)
        if key not in self._cards:
            self._make_missing(key)
            self._cards[key] = msgspec.json.decode((self._drawer(key) / "card.json").read_bytes(), type=Card)
        return self._cards[key]

    def drawer(self, kind: str, variant: int) -> Drawer:
        """Give a specimen's card and light; they are made first if need be."""
        key = (kind, variant)
        if key not in self._open:
            card = self.card(kind, variant)
            light = np.load(self._drawer(key) / "light.npy", mmap_mode="r").view(np.ndarray)
            self._open[key] = Drawer(card, light)
        return self._open[key]

    def missing(self, kinds: Sequence[str]) -> list[Key]:
        """Which specimens of some kinds are not yet made."""
        every = [(kind, variant) for kind in kinds for variant in range(KINDS[kind].variants)]
        return [key for key in every if not self._drawer(key).is_dir()]

    def fill(self, kinds: Sequence[str], report: Report, workers: int | None = None) -> None:
        """Make every missing specimen of some kinds, on all cores; the costly ones first.

        Parameters
        ----------
        report : told how many of the missing ones are made, 0 first; not called if none is missing.
        """
        missing = sorted(self.missing(kinds), key=lambda key: -KINDS[key[0]].sizes.high_um)
        if not missing:
            return
        report(0, len(missing))
        with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(_make, self._collection, self._mount, key, self._drawer(key)) for key in missing]
            try:
                for done, job in enumerate(as_completed(jobs), start=1):
                    job.result()
                    report(done, len(missing))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def _make_missing(self, key: Key) -> None:
        if not self._drawer(key).is_dir():
            _make(self._collection, self._mount, key, self._drawer(key))

    def _drawer(self, key: Key) -> Path:
        return self.folder / f"{key[0]}-{key[1]}"


def describe(specimen: Specimen, light: Light, scale: Sequence[float]) -> Card:
    """Write the card of a specimen from its body and its light."""
    body = specimen.body
    outline = outline_um(body)
    length, width = length_and_width_um(outline)
    kept = np.array([np.sqrt(np.mean((plane[body.mask] - 1) ** 2)) for plane in light.kept])
    display = _display_um(body, light, kept)
    thickness = np.sum([layer.thickness for layer in body.slices], axis=0)
    there = thickness > 0.01
    flipped = 0.0
    if light.flipped is not None:
        flipped = max(float(np.sqrt(np.mean(plane[body.mask] ** 2))) for plane in light.flipped)
    return Card(
        fragment=specimen.fragment,
        pixel_um=body.pixel_um,
        planes_um=tuple(light.planes_um.tolist()),
        scale=tuple(scale),
        outline_um=_points(outline),
        display_outline_um=_points(outline_um(body, mask_at(body, display))),
        length_um=length,
        width_um=width,
        depth_um=body.depth_um,
        display_um=display,
        thickness_um=float(thickness[there].mean()) if there.any() else 0.0,
        mass_pg=mass_pg(body),
        visible_mass_pg=visible_mass_pg(body) if body.birefringent else 0.0,
        kept_contrast=float(kept.max()),
        flipped_contrast=flipped,
    )


def _display_um(body: Body, light: Light, contrast: NDArray[np.float64]) -> float:
    if body.birefringent:
        return 0.0
    low, high = body.depth_um
    near = (light.planes_um >= low - DISPLAY_WITHIN_UM) & (light.planes_um <= high + DISPLAY_WITHIN_UM)
    darker = np.array([float(plane[body.mask].mean()) <= 1 for plane in light.kept])
    allowed = near & darker if (near & darker).any() else near
    return float(light.planes_um[int(np.argmax(np.where(allowed, contrast, -1)))])


def _points(outline: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((round(x, 3), round(y, 3)) for x, y in outline.tolist())


def _make(collection: int, mount: Mount, key: Key, drawer: Path) -> None:
    """Make one specimen's drawer; whoever is first keeps it."""
    specimen = collect(KINDS[key[0]], collection, key[1])
    light = illuminate(specimen.body, mount)
    channels = [light.kept - 1]
    if light.flipped is not None and light.coherence is not None:
        channels += [light.flipped, light.coherence.real, light.coherence.imag]
    scale = [max(float(np.abs(channel).max()), 1e-9) / LARGEST for channel in channels]
    drawer.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=drawer.parent))
    try:
        kept = open_memmap(beside / "light.npy", "w+", np.int16, (*channels[0].shape, len(channels)))
        for number, (channel, step) in enumerate(zip(channels, scale, strict=True)):
            kept[..., number] = np.rint(channel / step)
        kept.flush()
        del kept
        card = describe(specimen, light, scale)
        (beside / "card.json").write_bytes(msgspec.json.encode(card))
        for path in beside.iterdir():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        beside.rename(drawer)
    except OSError:
        if not drawer.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@cache
def _code() -> str:
    """Digest of the code that makes specimens and their light."""
    made_by = ["matter", "canvas", "optics", "specimen", "kinds", "cabinet", "seeds"]
    paths = [_SOURCES / f"{name}.py" for name in made_by] + sorted((_SOURCES / "specimens").glob("*.py"))
    return _digest(sys.byteorder, *(path.read_text() for path in paths))


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=6).hexdigest()
