"""The cabinet: the light and the description of every specimen, made once and kept on disk.

What is kept is found by everything it depends on: specimen, mount, and the source of the code that made it. A drawer is
a folder with the light, memory-mapped, and a card; it is written beside and renamed, so that processes may share it.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import os
import shutil
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import msgspec
import numpy as np
from platformdirs import user_cache_path

from drivers.errors import SettingRefused
from drivers.virtual_slide import matter, seeds
from drivers.virtual_slide.optics import body_light
from drivers.virtual_slide.optics.body_light import Mount
from drivers.virtual_slide.specimens import (
    canvas,
    coccoliths,
    collection,
    crystals,
    debris,
    diatoms,
    drawer,
    kinds,
    relief,
    siliceous,
    specimen,
    turning,
    wear,
)
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.drawer import Drawer, SpecimenCard, make_drawer
from drivers.virtual_slide.specimens.in_use import hold, take_away
from drivers.virtual_slide.specimens.specimen import Specimen, collect
from drivers.virtual_slide.specimens.taxa import plans

MAKING = ".making-"
UNUSED_S = 86400.0
"""What other versions of the code made is deleted when it was not used for so long."""
KEPT_BYTES = 20_000_000_000
"""Of all collections together, which is ten whole ones; beyond it those that were used longest ago are deleted."""
RECENT_S = 3600.0
"""What was used within this time stays, whoever used it: on a disk of a network not everybody's use is seen."""
_MADE_BY = (
    matter,
    body_light,
    seeds,
    canvas,
    kinds,
    specimen,
    drawer,
    relief,
    coccoliths,
    crystals,
    debris,
    diatoms,
    siliceous,
    collection,
    wear,
    *plans.MODULES,
    plans,
)
"""Modules that decide what a specimen and its light are like."""
Key = tuple[str, int]
"""Name of a kind and number of the variant."""
Report = Callable[[int, int], None]
"""Takes how many of how many are made."""


class _Lying(NamedTuple):
    """Of which collection specimens are, and how they lie."""

    collection: int
    mount: Mount
    turned_over: bool

    @property
    def digest(self) -> str:
        turning_over = (_gist(inspect.getsource(turning)),) if self.turned_over else ()
        return _digest(repr((self.collection, self.mount)), *turning_over)

    def specimen(self, key: Key) -> Specimen:
        specimen = collect(KINDS[key[0]], self.collection, key[1])
        return turning.turned_over(specimen) if self.turned_over else specimen


class Cabinet:
    """Specimens of one collection in one mount.

    Parameters
    ----------
    folder
        where to keep them; the user's cache folder unless given.
    turned_over
        whether they lie on their other face.
    """

    def __init__(self, collection: int, mount: Mount, folder: Path | None = None, turned_over: bool = False) -> None:
        self._lying = _Lying(collection, mount, turned_over)
        root = folder or user_cache_path("lamelle", "lamelle") / "virtual-slide"
        self.folder = root / f"{_code()}-{self._lying.digest}"
        self._held = False
        self._open: dict[Key, Drawer] = {}
        self._cards: dict[Key, SpecimenCard] = {}

    def specimen(self, kind: str, variant: int) -> Specimen:
        """Draw a specimen as it lies."""
        return self._lying.specimen((kind, variant))

    def card(self, kind: str, variant: int) -> SpecimenCard:
        """Describe a specimen; it is made first if need be."""
        key = (kind, variant)
        if key not in self._cards:
            self._hold()
            self._make_missing(key)
            self._cards[key] = msgspec.json.decode((self._drawer(key) / "card.json").read_bytes(), type=SpecimenCard)
        return self._cards[key]

    def drawer(self, kind: str, variant: int) -> Drawer:
        """Give a specimen's card and light; they are made first if need be."""
        key = (kind, variant)
        if key not in self._open:
            card = self.card(kind, variant)
            os.utime(self.folder)
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
        report
            told how many of the missing ones are made, 0 first; not called if none is missing.

        Raises
        ------
        Refused
            They cannot be kept: the folder cannot be written to, or its disk is full.
        """
        missing = sorted(self.missing(kinds), key=lambda key: -KINDS[key[0]].sizes.high_um)
        if not missing:
            return
        self._hold()
        try:
            self._tidy()
            self._make_all(missing, report, workers)
        except OSError as error:
            raise SettingRefused(
                f"the specimens of the virtual slide cannot be kept in {str(self.folder)!r} ({error}); "
                "make the folder writable, with 1 GB free"
            ) from error

    def _make_all(self, missing: Sequence[Key], report: Report, workers: int | None) -> None:
        report(0, len(missing))
        children = set(active_children())
        with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn"), _serve) as pool:
            jobs = [pool.submit(_make, self._lying, key, self._drawer(key)) for key in missing]
            try:
                for done, job in enumerate(as_completed(jobs), start=1):
                    job.result()
                    report(done, len(missing))
            except BaseException:
                for worker in set(active_children()) - children:
                    worker.terminate()
                pool.shutdown(cancel_futures=True)
                raise

    def size_bytes(self) -> int:
        """Bytes on disk."""
        return _size_bytes(self.folder)

    def _hold(self) -> None:
        """Keep other processes from taking the folder away."""
        if not self._held:
            with contextlib.suppress(OSError):  # where nothing can be written, nothing is taken away either
                weakref.finalize(self, hold(self.folder).close)
                self._held = True

    def _tidy(self) -> None:
        """Delete what nobody uses: half-made drawers, what other code made, and of this code's what is too much.

        Another process may tidy at the same time.
        """
        now = time.time()
        for path in self.folder.glob(f"{MAKING}*"):
            if _used(path) < now - UNUSED_S:
                shutil.rmtree(path, ignore_errors=True)
        of_this_code: list[Path] = []
        for path in sorted(self.folder.parent.glob("*"), key=_used):
            if path.name.startswith(_code()):
                of_this_code.append(path)
            elif _used(path) < now - UNUSED_S:
                take_away(path)
        sizes = {path: _size_bytes(path) for path in of_this_code}
        total = sum(sizes.values())
        for path in of_this_code:
            if total > KEPT_BYTES and path != self.folder and _used(path) < now - RECENT_S and take_away(path):
                total -= sizes[path]

    def _make_missing(self, key: Key) -> None:
        if not self._drawer(key).is_dir():
            _make(self._lying, key, self._drawer(key))

    def _drawer(self, key: Key) -> Path:
        return self.folder / f"{key[0]}-{key[1]}"


def _used(path: Path) -> float:
    """When something was used last, as `Cabinet.drawer` notes it; of what is gone, now."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _serve() -> None:
    """Make a worker leave Ctrl-C, which reaches every process of a terminal, to its parent, but not outlive that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(lying: _Lying, key: Key, drawer: Path) -> None:
    """Make one specimen's drawer; whoever is first keeps it."""
    made = make_drawer(lying.specimen(key), lying.mount)
    drawer.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=MAKING, dir=drawer.parent))
    try:
        np.save(beside / "light.npy", made.light)
        (beside / "card.json").write_bytes(msgspec.json.encode(made.card))
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
    """Digest of the code that makes specimens and their light, without comments, docstrings, layout and imports."""
    return _digest(sys.byteorder, *(_gist(inspect.getsource(module)) for module in _MADE_BY))


def _gist(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _says_nothing(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _says_nothing(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=6).hexdigest()
