"""What naming costs: milliseconds an object, renaming, memory.

python -m benchmarks.names [--threads 2] [--objects 40] [--names 100000]

Fields of so many objects, drawn by chance, go through the whole way from crop to taxon: what a classifier knows
changes nothing of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from inference.classification.classifier import Classifier
from inference.classification.encoder import fitted, fresh, rounded, to_file, width_of
from inference.classification.head import Head
from inference.classification.sight import BESIDE, STACK, ClassifierSight, look
from inference.classification.specimens import SpecimenStack
from inference.classifier_training.learning import set_threads

TAXA = 60
SIDES_PX = (48, 260)
"""Of crops: coccoliths to diatoms, most of them small."""
PLANES = 12
FIELDS = 5


def untaught(sight: ClassifierSight) -> tuple[Any, Head]:
    """Give an encoder and a head with weights by chance."""
    network = rounded(fresh("small", sight)).eval()
    random = np.random.default_rng(0)
    pooled = random.normal(size=(600, width_of("small"))).astype(np.float32)
    encoder = to_file(
        fitted(network, pooled, random.normal(size=(600, len(BESIDE))).astype(np.float32)), "small", sight
    )
    share = np.full(TAXA, 1 / TAXA, np.float32)
    weights = random.normal(size=(encoder.width, TAXA)).astype(np.float32)
    names = tuple(f"taxon {k}" for k in range(TAXA))
    parents = {name: f"genus {k // 5}" for k, name in enumerate(names)}
    return encoder, Head(names, parents, {}, encoder.sha256, weights, share * 0, 1.0, share, 0.5)


def crops(count: int, seed: int) -> list[SpecimenStack]:
    """Draw crops of noise, as large as those of a night."""
    random = np.random.default_rng(seed)
    sides = np.exp(random.triangular(np.log(SIDES_PX[0]), np.log(SIDES_PX[0] * 1.3), np.log(SIDES_PX[1]), (count, 2)))
    return [
        SpecimenStack(
            random.integers(5000, 30000, (2, PLANES, int(height), int(width)), np.uint16),
            ("crossed", "parallel"), 0.059, 0.5, 5.5, width * 0.059, height * 0.059,
        )
        for height, width in sides
    ]  # fmt: skip


def cost(threads: int, objects: int, names: int) -> None:
    """Print what naming costs."""
    encoder, head = untaught(STACK)
    # Threads of OpenCV cost more than they bring with pictures as small as these.
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        classifier = Classifier(encoder, head, threads, Path(folder))
        print(f"{classifier.runtime}, {threads} threads; {PLANES} planes of 2 states, {objects} objects a field")
        fields = [crops(objects, seed) for seed in range(FIELDS + 1)]
        classifier.name(fields[0])
        walls, cpus, looking = [], [], []
        for field in fields[1:]:
            wall, cpu = time.perf_counter(), time.process_time()
            classifier.name(field)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            cpu = time.process_time()
            for one in field:
                look(one, STACK)
            looking.append(time.process_time() - cpu)
        of_one = 1000 / objects
        print(f"an object: {min(walls) * of_one:.2f} ms at best, {np.median(walls) * of_one:.2f} ms in the median")
        print(f"of the processor {min(cpus) * of_one:.2f} ms at best, of which looking {min(looking) * of_one:.2f} ms")
        vectors = np.random.default_rng(1).normal(size=(names, encoder.width)).astype(np.float16)
        start = time.perf_counter()
        head.answers(vectors)
        print(f"{names} kept vectors renamed in {time.perf_counter() - start:.1f} s")
        print(f"memory of the process: {psutil.Process().memory_info().rss / 1e6:.0f} MB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--names", type=int, default=100_000)
    given = parser.parse_args()
    set_threads(given.threads)
    cost(given.threads, given.objects, given.names)


if __name__ == "__main__":
    main()
