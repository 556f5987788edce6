"""A large archive of small images with all that goes wrong in archives, every file of which is to be accounted for.

python -m benchmarks.troubled_archive [--images 10000] [--workers 2] [--kills 1] [--into DIR]

Writes a tree of folders with images of 64 x 64 px and, spread over it, each kind of trouble below; then `lamelle look`
and `lamelle detect` go through it, the latter killed with all its processes on the way and told the same again. Prints
rates and memory (unique, of all its processes, first and second half), and compares what is recorded, skipped, left out
and counted with what was written. Ends with status 1 where anything is not as it was written.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from numpy.typing import NDArray
from PIL import Image

from daemon.dataset.catalog import Catalog
from daemon.dataset.summary import summarise
from daemon.records.events import EventName

SIDE_PX = 64
GIVEN = ("--pixel-um", "0.118", "--step-um", "0.5")
AS_NOBODY = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)
"""Without it rights do not hold for root."""
Pixels = NDArray[np.generic]


def grey(seed: int) -> NDArray[np.uint16]:
    """Make a small picture with something in it."""
    y, x = np.indices((SIDE_PX, SIDE_PX))
    ring = np.abs(np.hypot(x - 20 - seed % 24, y - 20 - seed % 19) - 8) < 2
    return np.asarray(300 + 4000 * ring + np.random.default_rng(seed).normal(0, 9, ring.shape), np.uint16)


def encoded(pixels: Pixels, kind: str, **options: Any) -> bytes:
    """Write a picture as bytes."""
    stream = io.BytesIO()
    if kind == "tif":
        tifffile.imwrite(stream, pixels, **{"photometric": "minisblack", **options})
    else:
        Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def eight(seed: int) -> NDArray[np.uint8]:
    """Make one of 8 bits."""
    return np.asarray(grey(seed) // 20, np.uint8)


def turned(seed: int) -> bytes:
    """Make a JPEG that says it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(eight(seed), "jpeg", exif=exif)


READ: dict[str, Callable[[int], bytes]] = {
    "usual.tif": lambda n: encoded(grey(n), "tif"),
    "usual.png": lambda n: encoded(eight(n), "png"),
    "usual.jpg": lambda n: encoded(eight(n), "jpeg"),
    "turned.jpg": turned,
    "other suffix.tif": lambda n: encoded(eight(n), "png"),
    "CAPITALS.TIFF": lambda n: encoded(grey(n), "tif", compression="zlib"),
    "big endian.tif": lambda n: encoded(grey(n), "tif", byteorder=">"),
    "stack.tif": lambda n: encoded(np.stack([grey(n)] * 3), "tif"),
    "decomposed e\u0301 and\u00a0odd spaces.tif": lambda n: encoded(grey(n), "tif"),
}
SKIPPED: dict[str, Callable[[int], bytes]] = {
    "cut.tif": lambda n: encoded(grey(n), "tif")[:4000],
    "cut.png": lambda n: encoded(eight(n), "png")[:900],
    "cut.jpg": lambda n: encoded(eight(n), "jpeg")[:500],
    "a table.tif": lambda _: b"x;y\n1;2\n",
    "empty.tif": lambda _: b"",
    "empty.png": lambda _: b"",
    "half precision.tif": lambda n: encoded(grey(n).astype(np.float16), "tif"),
    "too small.tif": lambda n: encoded(grey(n)[:8, :8], "tif"),
    "three without names.tif": lambda n: encoded(np.stack([grey(n)] * 3), "tif", imagej=True, metadata={"axes": "CYX"}),
}
LEFT_OUT: dict[str, Callable[[int], bytes]] = {
    "film.mp4": lambda _: b"\0\0\0\x18ftypmp42",
    "no suffix": lambda n: encoded(eight(n), "png"),
    "raw.dat": lambda n: grey(n).tobytes(),
    "packed.zip": lambda n: zipped(encoded(eight(n), "png")),
    "line\nbreak.png": lambda n: encoded(eight(n), "png"),
    os.fsdecode(b"caf\xe9.png"): lambda n: encoded(eight(n), "png"),
}
BESIDE = {
    ".hidden.png": "hidden",
    "Thumbs.db": "thumbnails",
    "metadata.txt": "sidecars",
    "usual.xml": "sidecars",
    "boxes.json": "sidecars",
    "table.csv": "sidecars",
    "notes.docx": "documents",
    "README": "documents",
}


def zipped(content: bytes) -> bytes:
    """Pack a picture."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("in.png", content)
    return stream.getvalue()


class Written:
    """What was written, and what is to become of it."""

    def __init__(self) -> None:
        self.read = 0
        self.skipped = 0
        self.left_out = 0
        self.beside: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Everything that lies there."""
        return self.read + self.skipped + self.left_out + self.beside.total()


def write(root: Path, outside: Path, images: int) -> Written:
    """Write the archive: folders of a hundred images, in every tenth one of each kind of trouble."""
    written = Written()
    for number in range(images):
        folder = root / f"core {number // 1000}" / f"sample {number // 100 % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        names = list(READ)
        name = names[number % 100] if number % 100 < len(names) else "usual.tif"
        (folder / f"{number} {name}").write_bytes(READ[name](number))
        written.read += 1
        if number % 1000 == 0:
            trouble(folder, root, outside, written)
    return written


def trouble(folder: Path, root: Path, outside: Path, written: Written) -> None:
    """Put one of each kind into a folder."""
    seed = written.read
    for name, make in SKIPPED.items():
        (folder / name).write_bytes(make(seed))
        written.skipped += 1
    for name, make in LEFT_OUT.items():
        (folder / name).write_bytes(make(seed))
        written.left_out += 1
    for name, kind in BESIDE.items():
        (folder / name).write_bytes(b"text")
        written.beside[kind] += 1
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(encoded(eight(seed), "png"))
    written.beside["hidden"] += 1
    # Links: inside, outside twice, to a folder above, to a file, to nowhere, round in a circle.
    there = outside / str(seed)
    there.mkdir(parents=True)
    (there / "linked.png").write_bytes(encoded(eight(seed), "png"))
    written.read += 1
    links = {
        "a link": there, "the same link": there, "up": root, "nowhere": outside / "gone",
        "circle": folder / "circle", "again.tif": next(folder.glob("*usual.tif")),
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    written.left_out += len(links) - 1
    os.mkfifo(folder / "pipe.tif")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # names of sockets are short
        listening.bind("socket.png")
        os.chdir(here)
    written.left_out += 2
    closed = folder / "closed"
    closed.mkdir()
    (closed / "in.png").write_bytes(encoded(eight(seed), "png"))
    unreadable = folder / "unreadable.png"
    unreadable.write_bytes(encoded(eight(seed), "png"))
    for path in (closed, unreadable):
        path.chmod(0)
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
    written.left_out += 1
    written.skipped += 1


def measured(command: list[str], until: Callable[[], bool] | None = None) -> tuple[int, list[tuple[float, int]]]:
    """Run a command; return its status and, each second, the unique memory of all its processes.

    Parameters
    ----------
    command
        what is run.
    until
        when all of it is killed; never if None.
    """
    used: list[tuple[float, int]] = []
    ended = threading.Event()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sample() -> None:
        while not ended.wait(1.0):
            with suppress(psutil.Error):
                every = [process, *process.children(recursive=True)]
                used.append((time.perf_counter(), sum(one.memory_full_info().uss for one in every)))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        while process.poll() is None:
            if until is not None and until():
                for one in [*process.children(recursive=True), process]:
                    with suppress(psutil.Error):
                        one.kill()
            time.sleep(0.2)
    finally:
        ended.set()
        sampler.join()
    return int(process.wait()), used


def done(into: Path) -> int:
    """Count the fields that are settled."""
    if not (into / "catalog.sqlite").exists():
        return 0
    with closing(Catalog(into)) as catalog:
        return len(catalog.states())


def compared(into: Path, written: Written) -> Iterator[tuple[str, object, object]]:
    """Give of each figure what was found and what was written."""
    summary = summarise(into)
    left_out = [name for event in summary.events if event.name is EventName.LEFT_OUT for name in event.names]
    (listed,) = (event.message for event in summary.events if event.name is EventName.LISTED)
    yield "recorded", summary.fields.recorded, written.read
    yield "skipped", summary.fields.skipped, written.skipped
    yield "left out by name", len(set(left_out)), written.left_out
    yield "listed", int(listed.split()[0]), written.total
    for kind, count in written.beside.items():
        yield kind, f"{kind} {count}" in listed, True
    yield "gaps and duplicates", (summary.gaps, summary.duplicates), (0, 0)


def main() -> None:
    """Write, look, detect, kill, detect, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.into) as name:
        root, outside, into = (Path(name) / part for part in ("archive", "outside", "into"))
        written = write(root, outside, given.images)
        print(f"{written.total} files, folders and links that count, {written.read} of them whole images")
        rights = [*AS_NOBODY] if os.getuid() == 0 and shutil.which("setpriv") else []
        lamelle = [*rights, sys.executable, "-m", "daemon"]
        began = time.perf_counter()
        status, used = measured([*lamelle, "look", str(root), *GIVEN])
        took = time.perf_counter() - began
        most = max((size for _, size in used), default=0) / 1e6
        print(f"look: {took:.1f} s, {written.total / took:.0f} a second, {most:.0f} MB at most, status {status}")
        command = [*lamelle, "detect", str(root), "--into", str(into), *GIVEN, "--workers", given.workers]
        for kill in range(given.kills):
            limit = (kill + 1) * given.images // (given.kills + 2)
            measured(command, lambda limit=limit: done(into) >= limit)  # type: ignore[misc]
            print(f"killed with {done(into)} fields settled")
        before, began = done(into), time.perf_counter()
        status, used = measured(command)
        took = time.perf_counter() - began
        halves = used[len(used) // 4 : len(used) // 2], used[len(used) // 2 :]
        early, late = (max((size for _, size in half), default=0) / 1e6 for half in halves)
        print(
            f"detect: {done(into) - before} fields in {took:.1f} s, {(done(into) - before) / took:.1f} a second, "
            f"{early:.0f} MB early and {late:.0f} MB late, status {status}"
        )
        wrong = 0
        for what, found, right in compared(into, written):
            wrong += found != right
            print(f"ok    {what}: {found}" if found == right else f"WRONG {what}: {found}, not {right}")
        for path in root.rglob("*"):
            if path.name == "closed":
                path.chmod(0o700)
    sys.exit(1 if wrong or status != 3 else 0)


if __name__ == "__main__":
    main()
