"""What is told of pictures unlike the library, and what is found that looks like one, on days that taught nothing.

python -m benchmarks.unlike FOLDER [--kept FILE] [--threads N]

FOLDER is the time series of PWSSC, as for `benchmarks.names_real`, whose --kept may be used. The days are divided into
five parts; each is held out in turn. Printed: how often an ordinary held-out day is told, and one whose pictures were
blurred, darkened by a gamma, halved in scale or made noisy; how well a taxon that was never taught is told from others,
object by object; and how many of the first ten that look like an object are of its taxon.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.names_real import Seen, look_at_all, read_series
from inference.classification.encoder import fitted, from_published, to_file
from inference.classification.reference import FEWEST, JudgedTogether, LibraryReference, reference_of
from inference.classification.specimens import Example, SpecimenStack
from inference.classifier_training.learning import fitting_sight, project, see, set_threads
from inference.classifier_training.settings import LearningSettings

PARTS = 5
FIRST = 10
COMMON = 40
"""Pictures of a taxon from which on it is held out as one that was never taught."""
SHIFTED_DAYS = 14
DAY = 60, 160
"""Pictures of a day that is shifted: fewest and most."""
Grey = NDArray[np.float32]
SHIFTS: dict[str, Callable[[Grey], Grey]] = {
    "blur, 2 px": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), np.float32),
    "gamma 2": lambda image: np.asarray(255 * (image / 255) ** 2, np.float32),
    "half the scale": lambda image: np.asarray(
        cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32
    ),
    "noise, 8 %": lambda image: image + np.random.default_rng(1).normal(0, 0.08 * 255, image.shape).astype(np.float32),
}


class Day(NamedTuple):
    """A day that taught nothing, as it was or shifted."""

    kind: str
    judged: JudgedTogether


def parts_of(days: NDArray[np.str_], seed: int) -> NDArray[np.intp]:
    """Give the part of each picture; a day lies in one."""
    names, index = np.unique(days, return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(names)) % PARTS)[index], np.intp)


def shifted(example: Example, shift: Callable[[Grey], Grey]) -> Example:
    """Give a picture as another instrument would have taken it."""
    return replace(example, read=partial(_shifted, example, shift))


def _shifted(example: Example, shift: Callable[[Grey], Grey]) -> SpecimenStack:
    specimen = example.read()
    image = specimen.stack[0, 0].astype(np.float32) * (255 / specimen.white_dn)
    made = np.clip(shift(image) * (specimen.white_dn / 255), 0, specimen.white_dn).astype(specimen.stack.dtype)
    factor = len(made) / len(image)
    length, width = (None if um is None else um * factor for um in (specimen.length_um, specimen.width_um))
    return replace(specimen, stack=made[None, None], length_um=length, width_um=width)


class Held(NamedTuple):
    """What was learnt without a part of the days: vectors of all, and the library."""

    out: NDArray[np.bool_]
    vectors: NDArray[np.float16]
    reference: LibraryReference
    project: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float16]]


def hold_out(
    seen: Seen, taxa: NDArray[np.str_], days: NDArray[np.str_], out: NDArray[np.bool_], settings: LearningSettings
) -> Held:
    """Learn what a library looks like from the days that are not held out."""
    network = from_published(settings.sight)
    file = to_file(fitted(network, seen.pooled[~out], seen.beside[~out]), settings.network, settings.sight)
    vectors = project(file, seen.pooled, seen.beside)
    return Held(out, vectors, _library(vectors[~out], taxa[~out], days[~out]), partial(project, file))


def _library(vectors: NDArray[np.float16], taxa: NDArray[np.str_], days: NDArray[np.str_]) -> LibraryReference:
    parts, numbers = parts_of(days, 1), np.unique(taxa, return_inverse=True)[1]
    return reference_of(vectors, numbers, days.tolist(), [parts == part for part in range(PARTS)])


def judge_days(held: Held, days: NDArray[np.str_]) -> list[Day]:
    """Judge the days that are held out, as they were."""
    judged = [held.reference.judge(held.vectors[days == day]) for day in np.unique(days[held.out])]
    return [Day("as it was", one) for one in judged if one is not None]


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Give the chance that one of the first is larger than one of the second."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)].sum()
    return float((ranks - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def never_taught(
    held: Held, days: NDArray[np.str_], taxa: NDArray[np.str_], taxon: str
) -> tuple[list[float], list[float]]:
    """Give the distances, on days held out, of a taxon that was never taught, and of the others."""
    teach = ~held.out & (taxa != taxon)
    distances = _library(held.vectors[teach], taxa[teach], days[teach]).distances(held.vectors[held.out])
    of = taxa[held.out] == taxon
    return distances[of].tolist(), distances[~of].tolist()


def likeness(held: Held, taxa: NDArray[np.str_]) -> NDArray[np.float64]:
    """Give the share of its own taxon among the first ten that look like each picture held out."""
    unit = held.vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    asked, others = np.flatnonzero(held.out), np.flatnonzero(~held.out)
    first = np.argpartition(-(unit[asked] @ unit[others].T), FIRST, axis=1)[:, :FIRST]
    return np.asarray((taxa[others][first] == taxa[asked][:, None]).mean(axis=1), np.float64)


def show_days(days: Sequence[Day]) -> None:
    """Print how often days of each kind are told."""
    print("\n| a day that taught nothing | days | told | times as usual: median (10 % to 90 %) | objects far |")
    print("|---|---|---|---|---|")
    for kind in dict.fromkeys(day.kind for day in days):
        own = [day.judged for day in days if day.kind == kind]
        low, middle, high = np.quantile([one.times for one in own], (0.1, 0.5, 0.9))
        far = sum(one.far for one in own) / sum(one.objects for one in own)
        told = sum(one.odd for one in own)
        print(f"| {kind} | {len(own)} | {told} | {middle:.1f} ({low:.1f} to {high:.1f}) | {far:.1%} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    examples = read_series(given.folder).examples
    settings = LearningSettings()
    settings = LearningSettings(settings.network, fitting_sight(examples, settings.sight))
    seen = look_at_all(examples, settings, given.kept)
    days, taxa = np.array([one.day for one in examples]), np.array([one.taxon for one in examples])
    parts = parts_of(days, 0)
    held = [hold_out(seen, taxa, days, parts == part, settings) for part in range(PARTS)]
    shares = np.concatenate([likeness(one, taxa) for one in held])
    true = np.concatenate([taxa[one.out] for one in held])
    each = [shares[true == taxon].mean() for taxon in np.unique(true) if (true == taxon).sum() >= FIRST]
    print(
        f"of the first {FIRST} that look like one, {shares.mean():.3f} are of its taxon; "
        f"mean over taxa {np.mean(each):.3f}"
    )
    print(f"\n| never taught (one of {PARTS} parts held out, in turn) | objects | AUROC |\n|---|---|---|")
    names, counts = np.unique(taxa, return_counts=True)
    areas = []
    for taxon in names[counts >= COMMON].tolist():
        told = [never_taught(one, days, taxa, taxon) for one in held]
        own, others = (np.array([value for pair in told for value in pair[k]], np.float32) for k in (0, 1))
        areas.append(auroc(own, others))
        print(f"| {taxon} | {len(own)} | {areas[-1]:.2f} |", flush=True)
    print(f"| mean | | {np.mean(areas):.2f} |")
    judged = [day for one in held for day in judge_days(one, days)]
    sizes = {day: int((days == day).sum()) for day in np.unique(days)}
    chosen = [day for day, count in sizes.items() if DAY[0] <= count <= DAY[1]][:SHIFTED_DAYS]
    rows = np.flatnonzero(np.isin(days, chosen))
    for kind, shift in SHIFTS.items():
        some = [shifted(examples[row], shift) for row in rows]
        both = see(
            some, from_published(settings.sight), settings.network, settings.sight, given.threads, lambda *_: None
        )
        for one in held:
            for day in chosen:
                mine = (days[rows] == day) & one.out[rows]
                said = one.reference.judge(one.project(both[0][mine], both[1][mine]))
                judged += [] if said is None else [Day(kind, said)]
    show_days(judged)
    print(f"\na day is judged from {FEWEST} pictures on")


if __name__ == "__main__":
    main()
