"""What naming costs: milliseconds an object, renaming, memory; and what a stack tells that a picture does not.

python -m benchmarks.names cost [--threads 2] [--objects 40] [--names 100000]
python -m benchmarks.names stacks FOLDER... [--judge FOLDER...] [--epochs 12] [--each 200]

`cost` names fields of so many objects, drawn by chance, through the whole way from crop to taxon: what a classifier
knows changes nothing of it. `stacks` learns twice from folders of `lamelle emulate specimens`, from the stack and from
its fused picture, and judges both by other folders, or by mini-slides held out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow.parquet as pq
import tifffile
from numpy.typing import NDArray

from inference.classification.classifier import Classifier
from inference.classification.encoder import fitted, fresh, rounded, to_file, width_of
from inference.classification.figures import JudgedNames, NamesFigures, figures
from inference.classification.head import Head
from inference.classification.sight import BESIDE, STACK, ClassifierSight, look
from inference.classification.specimens import Example, SpecimenStack
from inference.classifier_training.learning import learn, set_threads
from inference.classifier_training.settings import LearningSettings
from inference.training.checkpoint import History
from inference.training.train import Progress

TAXA = 60
SIDES_PX = (48, 260)
"""Of crops: coccoliths to diatoms, most of them small."""
FUSED = ClassifierSight("fused", STACK.side_px, finest_um=STACK.finest_um)
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


class Silent:
    """Follows a training and keeps nothing."""

    def checkpoint(self, content: bytes) -> None:
        """Keep nothing."""

    def judged(self, history: History) -> None:
        """Print a judgement, where there was anything to judge by."""
        if history.judged:
            print(f"  step {history.judged[-1][0]}: {history.judged[-1][1]:.3f}", flush=True)


def read(path: Path, row: dict[str, Any]) -> SpecimenStack:
    """Read a stack of `lamelle emulate specimens`."""
    stack = np.asarray(tifffile.imread(path)).reshape(len(row["states"].split()), row["planes"], *_sides(path))
    return SpecimenStack(
        stack, tuple(row["states"].split()), row["pixel_um"], row["step_um"], row["focus_plane"],
        row["length_um"], row["width_um"], row["white_dn"],
    )  # fmt: skip


def _sides(path: Path) -> tuple[int, int]:
    with tifffile.TiffFile(path) as file:
        height, width = file.series[0].shape[-2:]
        return int(height), int(width)


def specimens(folders: Sequence[Path], each: int) -> list[Example]:
    """Give what lies in folders, at most so many of each taxon; junk is a taxon too."""
    found: list[Example] = []
    for folder in folders:
        counts: dict[str, int] = {}
        for row in pq.read_table(folder / "index.parquet").to_pylist():
            taxon = row["taxon"] or row["class_name"]
            counts[taxon] = counts.get(taxon, 0) + 1
            if counts[taxon] <= each:
                slide = f"{row['night']}/slide-{row['slide']}"
                path = folder.joinpath(*row["file"].split("/"))
                sample = f"collection {row['collection']}"
                found.append(Example(row["key"], row["sha256"], taxon, sample, slide, "", partial(read, path, row)))
    return found


def judge(taught: Sequence[Example], judging: Sequence[Example], settings: LearningSettings) -> NamesFigures:
    """Learn, and judge by other specimens, or by mini-slides held out in turn where there are none."""

    def show(progress: Progress) -> None:
        if progress.done % max(1, progress.total // 10) == 0:
            print(f"  {progress.stage}: {progress.done} of {progress.total}", flush=True)

    learnt, _ = learn(taught, [one.slide for one in taught], settings, {}, show, Silent())
    head = learnt.fitted.head
    known, probabilities = list(taught), learnt.fitted.held_out
    if judging:
        with tempfile.TemporaryDirectory() as folder:
            classifier = Classifier(learnt.encoder, head, settings.threads, Path(folder))
            known = list(judging)
            vectors: NDArray[np.float16] = np.concatenate(
                [classifier.features_of([look(one.read(), classifier.sight)]) for one in known]
            )
            probabilities = head.probabilities(vectors)
    named = [head.taxa[k] for k in probabilities.argmax(axis=1)]
    slides = [one.slide for one in known]
    made = JudgedNames([one.taxon for one in known], named, probabilities.max(axis=1), slides, slides)
    return figures(made, settings.sight.kind)


def stacks(taught: Sequence[Example], judging: Sequence[Example], epochs: int) -> None:
    """Print how good names are from stacks and from fused pictures."""
    usual = LearningSettings("small", STACK, epochs=epochs, judgements=min(15, epochs))
    both = [judge(taught, judging, settings) for settings in (usual, replace(usual, sight=FUSED))]
    print(
        f"{len(taught)} taught, {both[0].objects} judged\n\n"
        "| | accuracy | macro-F1 | calibration error |\n|---|---|---|---|"
    )
    for one in both:
        print(f"| {one.judged_by} | {one.accuracy:.3f} | {one.macro_f1:.3f} | {one.calibration_error:.3f} |")
    print("\n| taxon | n | F1 of the stack | F1 of the fused picture |\n|---|---|---|---|")
    of_fused = {one.taxon: one for one in both[1].taxa}
    for taxon in both[0].taxa:
        fused = of_fused.get(taxon.taxon)
        print(f"| {taxon.taxon} | {taxon.n} | {taxon.f1 or 0:.3f} | {(fused.f1 if fused else None) or 0:.3f} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    costs = commands.add_parser("cost")
    costs.add_argument("--objects", type=int, default=40)
    costs.add_argument("--names", type=int, default=100_000)
    learns = commands.add_parser("stacks")
    learns.add_argument("folders", type=Path, nargs="+")
    learns.add_argument("--judge", type=Path, nargs="*", default=[])
    learns.add_argument("--epochs", type=int, default=12)
    learns.add_argument("--each", type=int, default=200)
    given = parser.parse_args()
    set_threads(given.threads)
    if given.command == "cost":
        cost(given.threads, given.objects, given.names)
    else:
        stacks(specimens(given.folders, given.each), specimens(given.judge, given.each), given.epochs)


if __name__ == "__main__":
    main()
