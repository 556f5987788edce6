"""How well real plankton is named on days that taught nothing, beside the figure that a random split flatters with.

python -m benchmarks.names_real FOLDER [--splits 5] [--kept FILE] [--json FILE]

FOLDER is the time series of PWSSC: folders of classes, and labels.csv with file, label, time_utc, width_px, height_px.
Pictures under two labels are listed and left out, of those twice under one label one is kept. Each split holds out
whole days, drawn by its number, until a fifth of the pictures is out; all splits are shown, nothing is chosen by them.
How far weights are held back, temperature and threshold come from the days that teach, held out in turn. What the
network says of the pictures is kept in --kept, so that a second run takes minutes less.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.classification import figures as judging
from inference.classification.encoder import from_published
from inference.classification.figures import NamesFigures
from inference.classification.head import Head, Rule
from inference.classification.sight import Floats
from inference.classification.specimens import Example, SpecimenStack, picture
from inference.classifier_training.few_labels import LABELS, FewLabels, with_few_labels
from inference.classifier_training.learning import Learnt, fitting_sight, learn_head, project, see, set_threads
from inference.classifier_training.settings import LearningSettings

OUT = 0.2
FEWEST_JUDGED = 5
COPEPODS = "Calanus", "Neocalanus", "Metridia", "Pseudocalanus", "Oithona", "Acartia", "Paraeuchaeta"
TAXONOMY: dict[str, str | None] = {
    **dict.fromkeys(COPEPODS, "Copepod"),
    **dict.fromkeys(("Pleurobrachia", "Beroe", "Bolinopsis"), "Ctenophora"),
    "Parasagitta": "Chaetognatha",
}
"""What is a part of what."""


class Series(NamedTuple):
    """The pictures that may teach and judge, and those that may not."""

    examples: list[Example]
    two_labels: list[tuple[str, ...]]
    copies: int


def read_series(folder: Path) -> Series:
    """Read the time series; a picture's identity is its bytes."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    same: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        path = folder / row["file"]
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        day = row["time_utc"][:10]
        read = partial(_read, path, int(row["width_px"]), int(row["height_px"]))
        same[sha256].append(Example(row["file"], sha256, row["label"], day, "PWSSC", day, read))
    two = [tuple(one.key for one in alike) for alike in same.values() if len({one.taxon for one in alike}) > 1]
    kept = [alike[0] for alike in same.values() if len({one.taxon for one in alike}) == 1]
    copies = sum(len(alike) - 1 for alike in same.values() if len({one.taxon for one in alike}) == 1)
    return Series(kept, two, copies)


def _read(path: Path, width_px: int, height_px: int) -> SpecimenStack:
    """Read one; its sides are those of the original, of which large ones were made smaller."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    length, width = max(width_px, height_px), min(width_px, height_px)
    return picture(image, None, float(length), float(width))


def split_days(examples: Sequence[Example], seed: int) -> NDArray[np.bool_]:
    """Whether each is held out: whole days."""
    days = sorted({one.day for one in examples})
    counts = Counter(one.day for one in examples)
    out: set[str] = set()
    for number in np.random.default_rng(seed).permutation(len(days)):
        if sum(counts[day] for day in out) >= OUT * len(examples):
            break
        out.add(days[number])
    return np.array([one.day in out for one in examples])


def split_at_random(examples: Sequence[Example], seed: int) -> NDArray[np.bool_]:
    """Whether each is held out: any."""
    out = np.zeros(len(examples), bool)
    out[np.random.default_rng(seed).permutation(len(examples))[: round(OUT * len(examples))]] = True
    return out


class Seen(NamedTuple):
    """What the network says of every picture."""

    pooled: Floats
    beside: Floats


class Result(NamedTuple):
    """Figures of one split: of the most probable names, of those as if all taxa were equally common, of sure ones."""

    plain: NamesFigures
    even: NamesFigures
    sure: NamesFigures
    head: Head
    strength: float


def look_at_all(examples: Sequence[Example], settings: LearningSettings, kept: Path | None) -> Seen:
    """Let the network look at every picture, or read what it said before."""
    key = hashlib.sha256(repr((settings.sight, [one.sha256 for one in examples])).encode()).hexdigest()
    if kept is not None and kept.is_file():
        with np.load(kept) as archive:
            if str(archive["key"]) == key:
                return Seen(archive["pooled"], archive["beside"])
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        print(f"\rlooked at {done} of {total}, {time.monotonic() - start:.0f} s", end="", flush=True)

    seen = Seen(
        *see(examples, from_published(settings.sight), settings.network, settings.sight, settings.threads, show)
    )
    print()
    if kept is not None:
        np.savez(kept, key=np.array(key), **seen._asdict())
    return seen


class Split(NamedTuple):
    """What was learnt of the examples in `teach`, and the vectors of those held out, in `out`."""

    learnt: Learnt
    teach: list[int]
    out: list[int]
    features: NDArray[np.float16]


def learn(examples: Sequence[Example], seen: Seen, held_out: NDArray[np.bool_], settings: LearningSettings) -> Split:
    """Learn from what is not held out; days among it are held out in turn."""
    teach, out = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    some = [examples[int(row)] for row in teach]
    learnt = learn_head(
        some,
        [one.day for one in some],
        seen.pooled[teach],
        seen.beside[teach],
        from_published(settings.sight),
        settings.network,
        settings.sight,
        TAXONOMY,
        settings.fewest,
    )
    return Split(learnt, teach.tolist(), out.tolist(), project(learnt.encoder, seen.pooled[out], seen.beside[out]))


def judge(examples: Sequence[Example], split: Split, judged_by: str) -> Result:
    """Judge by what was held out."""
    head = split.learnt.fitted.head
    true = [examples[row].taxon for row in split.out]
    days = [examples[row].day for row in split.out]

    def by(rule: Rule) -> NamesFigures:
        probabilities = head.probabilities(split.features, rule)
        named = [head.taxa[best] for best in probabilities.argmax(axis=1)]
        made = judging.JudgedNames(true, named, probabilities.max(axis=1), days, days)
        return judging.figures(made, judged_by, FEWEST_JUDGED)

    sure = judging.figures(judging.judged(true, head.answers(split.features), days, days), judged_by, FEWEST_JUDGED)
    return Result(by("plain"), by("even"), sure, head, split.learnt.fitted.strength)


def learning_curve(examples: Sequence[Example], split: Split) -> list[FewLabels]:
    """Figures with few labels of each taxon that can be learnt."""
    taxa = [examples[row].taxon for row in split.teach]
    rows = [k for k, taxon in enumerate(taxa) if taxon in split.learnt.fitted.head.taxa]
    days = [examples[split.teach[k]].day for k in rows]
    true = [examples[row].taxon for row in split.out]
    known, vectors = [taxa[k] for k in rows], split.learnt.features[rows]
    return [with_few_labels(vectors, known, days, split.features, true, n, FEWEST_JUDGED) for n in LABELS]


HEADING = (
    "| split | objects | days | accuracy | even: accuracy | balanced | even: balanced | taxa | calibration error "
    "| by chance "
    "| even: Bray-Curtis | Bray-Curtis | unsure | threshold | strength | temperature |"
)


def row(name: str, result: Result) -> str:
    """One line of the table."""
    plain, even, head = result.plain, result.even, result.head
    low, high = plain.accuracy_interval or (0, 0)
    judged = sum(one.n >= FEWEST_JUDGED for one in plain.taxa)
    cells = (
        name,
        plain.objects,
        plain.groups,
        f"{plain.accuracy:.3f} ({low:.3f} to {high:.3f})",
        f"{even.accuracy:.3f}",
        f"{plain.balanced:.3f}",
        f"{even.balanced:.3f}",
        judged,
        f"{plain.calibration_error:.3f}",
        f"{plain.calibration_by_chance:.3f}",
        f"{even.bray_curtis:.3f}",
        f"{plain.bray_curtis:.3f}",
        f"{result.sure.unsure:.3f}",
        head.threshold,
        result.strength,
        f"{head.temperature:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def means(results: Sequence[Result]) -> NDArray[np.float64]:
    """Accuracy, balanced accuracy by the even rule, calibration error: means over splits."""
    figures = [(one.plain.accuracy, one.even.balanced or 0.0, one.plain.calibration_error) for one in results]
    return np.asarray(np.array(figures).mean(axis=0))


def pooled_calibration(results: Sequence[Result]) -> float:
    """Calibration error of the names of all splits together, in which chance weighs less."""
    bins = np.zeros((judging.BINS, 3))
    for sure, share, n in (one for result in results for one in result.plain.curve):
        bins[min(int(sure * judging.BINS), judging.BINS - 1)] += sure * n, share * n, n
    return float(np.abs(bins[:, 0] - bins[:, 1]).sum() / bins[:, 2].sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge by every split, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    series = read_series(given.folder)
    examples = series.examples
    print(
        f"{len(examples)} pictures, {len(series.two_labels)} groups under two labels left out, {series.copies} copies"
    )
    for keys in series.two_labels:
        print("  two labels: " + ", ".join(keys))
    settings = LearningSettings()
    settings = LearningSettings(settings.network, fitting_sight(examples, settings.sight))
    seen = look_at_all(examples, settings, given.kept)
    print(f"\n{HEADING}\n{'|---' * (HEADING.count('|') - 1)}|")
    splits: dict[str, list[Split]] = {}
    mean: dict[str, NDArray[np.float64]] = {}
    written: dict[str, object] = {}
    for kind, hold_out in (("days", split_days), ("random", split_at_random)):
        splits[kind], results = [], []
        for seed in range(given.splits):
            splits[kind].append(learn(examples, seen, hold_out(examples, seed), settings))
            results.append(judge(examples, splits[kind][-1], f"{kind} {seed}"))
            print(row(f"{kind} {seed}", results[-1]), flush=True)
        mean[kind] = means(results)
        accuracy, balanced, calibration = mean[kind]
        together = f"{calibration:.3f}, all together {pooled_calibration(results):.3f}"
        print(f"| **{kind}, mean** | | | **{accuracy:.3f}** | | | **{balanced:.3f}** | | **{together}** |", flush=True)
        written[kind] = [[msgspec.to_builtins(one) for one in (r.plain, r.even, r.sure)] for r in results]
    gap = mean["random"] - mean["days"]
    print(
        f"\nA random split flatters: accuracy {gap[0]:+.3f}, balanced {gap[1]:+.3f}, calibration error {gap[2]:+.3f}."
    )
    print("\n| labels a taxon | " + " | ".join(f"days {seed}" for seed in range(given.splits)) + " | mean |")
    print("|---" * (given.splits + 2) + "|")
    curves = [learning_curve(examples, split) for split in splits["days"]]
    for of_labels in zip(*curves, strict=True):
        both = [(one.accuracy, math.nan if one.balanced is None else one.balanced) for one in of_labels]
        both.append((float(np.mean([a for a, _ in both])), float(np.mean([b for _, b in both]))))
        print(f"| {of_labels[0].labels} | " + " | ".join(f"{a:.3f} / {b:.3f}" for a, b in both) + " |")
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=1))


if __name__ == "__main__":
    main()
