"""How well the virtual slide's species can be told: the ceiling of their overlap, size, shape, and pairs.

python -m benchmarks.species                    the ceiling, from what the species are drawn by, and what size and
                                                shape of outlines tell
python -m benchmarks.species FOLDER FOLDER      also what fused views and stacks tell of pairs, from what
                                                `lamelle emulate specimens` wrote; the first folder is learnt from, the
                                                second one judged, so let their collections differ

Figures are recalls averaged over taxa, so that chance is one over their number.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
import pyarrow.parquet as pq
import tifffile
from numpy.typing import NDArray

from drivers.virtual_slide.specimens.specimen import collect, length_and_width_um, outline_um
from drivers.virtual_slide.specimens.taxa.plan import Plan, Spread
from drivers.virtual_slide.specimens.taxa.plans import KINDS, PLANS
from inference.settings import FocusSettings
from inference.views.channels import Planes, Scale
from inference.views.fusing import crop_index

DRAWN = 2000
"""Individuals of each taxon that the ceiling is worked out from."""
SPIKE = 1e-3
"""Width that stands for that of a single value, in the unit of a character."""
COLLECTIONS = 4
"""Of which outlines are learnt, and as many others asked."""
NEIGHBOURS = 15
RINGS, WAVES, SIDE_PX = 8, 8, 96
PAIRS = (
    ("cyclotella-striata", "cyclotella-litoralis"),
    ("coscinodiscus-radiatus", "coscinodiscus-oculus-iridis"),
    ("actinocyclus-octonarius", "actinoptychus-senarius"),
)
"""Flat against folded, flat against vaulted, six sectors in one plane against six raised and sunken by turns."""

Floats = NDArray[np.float64]
Names = NDArray[np.str_]


def ceiling(drawn: int = DRAWN, seed: int = 1) -> dict[str, float]:
    """Recall of each taxon where all its characters are known without error and the likeliest taxon is named.

    Taxa that are not drawn alike (by one `build`) count as told apart for sure.
    """
    random = np.random.default_rng(seed)
    recalls = {}
    for taxon, plan in PLANS.items():
        rivals = [other for other in PLANS.values() if other.build is plan.build]
        lengths = np.array([plan.sizes.quantile(float(share)) for share in random.uniform(0.001, 0.999, drawn)])
        grown = [plan.grow(random) for _ in range(drawn)]
        likelihoods = np.array([_log_likelihood(rival, lengths, grown) for rival in rivals])
        best = np.argmax(likelihoods + random.uniform(0, 1e-9, likelihoods.shape), axis=0)
        recalls[taxon] = float(np.mean([rivals[k].taxon == taxon for k in best]))
    return recalls


def _log_likelihood(plan: Plan, lengths: Floats, grown: Sequence[Mapping[str, float]]) -> Floats:
    """Logarithm of how likely individuals (N,) are to be of a taxon."""
    sizes = plan.sizes
    normal = NormalDist(float(np.log(sizes.median_um)), sizes.spread)
    total = np.log([normal.pdf(float(np.log(length))) / length for length in lengths])
    total = np.where((lengths < sizes.low_um) | (lengths > sizes.high_um), -np.inf, total)
    for name, spread in plan.characters.items():
        total = total + np.log(np.maximum([_density(spread, one[name]) for one in grown], 1e-300))
    return np.asarray(total)


def _density(spread: Spread, value: float) -> float:
    if spread.deviation == 0:
        return 1 / SPIKE if abs(value - spread.mean) < SPIKE else 0.0
    normal = NormalDist(spread.mean, spread.deviation)
    if value < spread.low or value > spread.high:
        return 0.0
    if value == spread.low:
        return normal.cdf(value) / SPIKE
    return (1 - normal.cdf(value)) / SPIKE if value == spread.high else normal.pdf(value)


@dataclass(frozen=True, eq=False)
class Set:
    """Specimens that were written: their index by column, and their folder."""

    folder: Path
    columns: Mapping[str, NDArray[np.generic]]

    @classmethod
    def read(cls, folder: Path) -> Set:
        """Read an index; junk is left out."""
        table = pq.read_table(folder / "index.parquet")
        columns = {name: np.asarray(table[name].to_pylist()) for name in table.column_names}
        kept = ~columns["junk"].astype(bool)
        return cls(folder, {name: column[kept] for name, column in columns.items()})

    def only(self, taxa: Sequence[str]) -> Set:
        """Keep whole specimens of some taxa that lie flat."""
        whole = (self.columns["completeness"] == "whole") & (self.columns["view"] == "face")
        kept = whole & np.isin(self.columns["taxon"], taxa)
        return Set(self.folder, {name: column[kept] for name, column in self.columns.items()})

    @property
    def taxa(self) -> Names:
        """Taxon of each, (N,)."""
        return np.asarray(self.columns["taxon"], np.str_)

    def pictures(self, features: Callable[[NDArray[np.uint16], float], Floats]) -> Floats:
        """Give what a function makes of every stack and the plane of its focus, (N, features)."""
        made = [
            features(tifffile.imread(self.folder / str(name)), float(plane))
            for name, plane in zip(self.columns["file"], self.columns["focus_plane"], strict=True)
        ]
        return np.array(made)


def fused_features(stack: NDArray[np.uint16], plane: float) -> Floats:
    """Texture of the fused crop in rings, whatever the specimen's turn."""
    scale = Scale.of(0.059, FocusSettings().sigma_um)
    sharpness = Planes.of(stack, scale).sharpness()
    height, width = stack.shape[2:]
    index = crop_index(sharpness, (0, 0, width, height), scale.binning, plane)
    fused = np.take_along_axis(stack[-1], index[None], axis=0)[0].astype(np.float32)
    return _rings(fused / np.median(fused))


def stack_features(stack: NDArray[np.uint16], plane: float) -> Floats:
    """Which plane is sharpest in rings, beside the texture of the fused crop."""
    small = [cv2.resize(one, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32) for one in stack[-1]]
    energies = []
    for one in small:
        bent = cv2.Laplacian(cv2.GaussianBlur(one / np.median(one), (0, 0), 0.8), cv2.CV_32F)
        energies.append(cv2.GaussianBlur(bent * bent, (0, 0), 4.0))
    energy = np.array(energies)
    weight = (energy / energy.max(axis=0)) ** 8
    best = (weight * np.arange(len(weight))[:, None, None]).sum(axis=0) / weight.sum(axis=0)
    return np.concatenate([_rings(best.astype(np.float32) - np.float32(np.median(best))), fused_features(stack, plane)])


def _rings(image: NDArray[np.float32]) -> Floats:
    """Mean, scatter, fine structure and waves around the middle, ring by ring."""
    square = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    middle = (SIDE_PX / 2, SIDE_PX / 2)
    polar = cv2.warpPolar(square, (RINGS * 6, 128), middle, SIDE_PX / 2, cv2.WARP_POLAR_LINEAR)
    fine = polar - cv2.GaussianBlur(polar, (0, 0), 1.5)
    told = []
    for ring in range(RINGS):
        part = polar[:, ring * 6 : ring * 6 + 6]
        waves = np.abs(np.fft.rfft(part.mean(axis=1)))[1 : WAVES + 1] / 128
        told += [part.mean(), part.std(), fine[:, ring * 6 : ring * 6 + 6].std(), *waves]
    return np.array(told, np.float64)


def balanced(truth: Names, named: Names) -> float:
    """Recall averaged over taxa."""
    return float(np.mean([np.mean(named[truth == taxon] == taxon) for taxon in np.unique(truth)]))


def nearest(known: Floats, taxa: Names, asked: Floats) -> Names:
    """Name by the taxon that is most frequent among the nearest; features are scaled by scatter, taxa count alike."""
    middle, scatter = known.mean(axis=0), known.std(axis=0) + 1e-9
    a, b = (known - middle) / scatter, (asked - middle) / scatter
    every, number = np.unique(taxa, return_inverse=True)
    rarity = 1 / np.bincount(number)
    named = []
    for one in b:
        close = np.argsort(((a - one) ** 2).sum(axis=1))[:NEIGHBOURS]
        named.append(every[np.argmax(np.bincount(number[close], rarity[number[close]], len(every)))])
    return np.array(named)


def quadratic(known: Floats, taxa: Names, asked: Floats) -> Names:
    """Name by a normal distribution for each taxon."""
    every = np.unique(taxa)
    scores = []
    for taxon in every:
        own = known[taxa == taxon]
        spread = np.cov(own.T).reshape(own.shape[1], -1) + 1e-4 * np.eye(own.shape[1])
        away = asked - own.mean(axis=0)
        scores.append(-0.5 * (away @ np.linalg.inv(spread) * away).sum(axis=1) - 0.5 * np.linalg.slogdet(spread)[1])
    return np.asarray(every[np.argmax(scores, axis=0)])


def linear(known: Floats, taxa: Names, asked: Floats) -> Names:
    """Name by Fisher's discriminant, with a ridge of a tenth of the features' scatter."""
    middle, scatter = known.mean(axis=0), known.std(axis=0) + 1e-9
    a, b = (known - middle) / scatter, (asked - middle) / scatter
    every = np.unique(taxa)
    means = np.array([a[taxa == taxon].mean(axis=0) for taxon in every])
    rest = a - means[np.searchsorted(every, taxa)]
    inverse = np.linalg.inv(rest.T @ rest / len(a) + 0.3 * np.eye(a.shape[1]))
    scores = b @ inverse @ means.T - 0.5 * (means @ inverse * means).sum(axis=1)
    return np.asarray(every[np.argmax(scores, axis=1)])


def outlines(collections: Sequence[int]) -> tuple[Floats, Names]:
    """Length, width, area, roundness and solidity (N, 5) of every specimen of some collections, and their taxa."""
    told, taxa = [], []
    for kind in KINDS:
        for collection, variant in product(collections, range(kind.variants)):
            outline = outline_um(collect(kind, collection, variant).body)
            length, width = length_and_width_um(outline)
            shape = outline.astype(np.float32)
            area, around = cv2.contourArea(shape), cv2.arcLength(shape, closed=True)
            convex = cv2.contourArea(cv2.convexHull(shape))
            round_ = np.log(4 * np.pi * area / around**2)
            told.append([np.log(length), np.log(width), np.log(area), round_, area / convex])
            taxa.append(kind.taxon)
    return np.array(told), np.array(taxa)


def by_outlines(learnt: tuple[Floats, Names], asked: tuple[Floats, Names], columns: slice) -> float:
    """Best of two simple ways to name by some of the measures of outlines."""
    (known, taxa), (new, truth) = learnt, asked
    return max(balanced(truth, way(known[:, columns], taxa, new[:, columns])) for way in (nearest, quadratic))


def of_pair(learnt: Set, asked: Set, pair: Sequence[str]) -> tuple[float, float, int]:
    """Recall of a pair by fused views and by stacks, of whole specimens that lie flat, and how many were asked."""
    one, other = learnt.only(pair), asked.only(pair)
    found = [
        balanced(other.taxa, linear(one.pictures(features), one.taxa, other.pictures(features)))
        for features in (fused_features, stack_features)
    ]
    return found[0], found[1], len(other.taxa)


def main() -> None:
    """Print what can be told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    folders = parser.parse_args().folders
    if len(folders) not in (0, 2):
        parser.error("name two folders, one to learn from and one to judge, or none")
    recalls = ceiling()
    print(
        f"{len(recalls)} taxa; ceiling of the overlap, mean recall {np.mean(list(recalls.values())):.3f}; below 0.98:"
    )
    for taxon, recall in sorted(recalls.items(), key=lambda item: item[1]):
        if recall < 0.98:
            print(f"  {taxon:40} {recall:.3f}")
    known, new = outlines(range(101, 101 + COLLECTIONS)), outlines(range(201, 201 + COLLECTIONS))
    size, both = (by_outlines(known, new, columns) for columns in (slice(1), slice(None)))
    print(f"length alone {size:.3f}, size and shape {both:.3f}; of {len(new[1])}, fragments and all views among them")
    if not folders:
        return
    learnt, asked = (Set.read(folder) for folder in folders)
    for pair in PAIRS:
        fused, stack, count = of_pair(learnt, asked, pair)
        print(f"{' / '.join(pair):60} fused {fused:.2f}, stack {stack:.2f} (n {count})")


if __name__ == "__main__":
    main()
