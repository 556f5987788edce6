"""How many images a second `lamelle detect` goes through, everything included: start, reading, writing, syncing.

python -m benchmarks.archive [--images 200] [--pixel-um 0.118] [--workers N] [--stacks DIR]

Images are single planes of emulated fields of `easy` in crossed light, 1024 x 1024 of 16 bit, as PNG. At 0.118 um a
pixel the detector looks at them as they are, at 0.059 binned to half. The command runs twice, into a new dataset each
time: the first run exports the detector for their size if none has yet, which is done once for each weights and size.
The laboratory's own run, detection alone on a graphics card, takes 30 s for 200 fused images. Stacks are kept in DIR.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import cv2

from benchmarks.worlds import stacks_of
from daemon.dataset.reader import Dataset
from daemon.records.records import FieldSecured
from inference.annotations.stacks import AnnotatedStack, read_stack

LABORATORY = 200 / 30
"""Images a second."""
SEED = 9101


def write(stacks: list[AnnotatedStack], count: int, into: Path) -> None:
    """Write so many planes as pictures: of every stack the middle one, then those beside it."""
    planes = read_stack(stacks[0]).shape[1]
    names = ((number, planes // 2 + offset) for offset in (0, 1, -1, 2, -2) for number in range(len(stacks)))
    for number, plane in islice(names, count):
        crossed = read_stack(stacks[number])[0, plane]
        if not cv2.imwrite(str(into / f"field{number:03d} plane{plane}.png"), crossed):
            raise OSError(f"no picture can be written into {into}")


def main() -> None:
    """Write the pictures, run the command, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--pixel-um", default="0.118")
    parser.add_argument("--workers")
    parser.add_argument("--stacks", type=Path)
    given = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {versions}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        write(stacks_of("easy", SEED, (given.stacks or folder) / "easy"), given.images, images)
        for run in ("first run", "again"):
            into = folder / run
            command = [sys.executable, "-m", "daemon", "detect", str(images), "--into", str(into)]
            command += ["--pixel-um", given.pixel_um, "--polarization", "crossed"]
            command += ["--workers", given.workers] if given.workers else []
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - start
            with Dataset.open(into) as dataset:
                fields = [one for one in dataset.fields() if isinstance(one, FieldSecured)]
            objects = sum(len(one.objects) for one in fields)
            rate = len(fields) / seconds
            print(
                f"{run}: {len(fields)} images with {objects} objects in {seconds:.1f} s, {rate:.2f} a second, "
                f"{rate / LABORATORY:.2f} of the laboratory's"
            )


if __name__ == "__main__":
    main()
