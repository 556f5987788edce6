"""How well the virtual slide's species are named: from stacks and fused pictures, turned over, as rare as in nature.

python -m benchmarks.names_species fused FOLDER... --into fused.safetensors [--epochs 12]
python -m benchmarks.names_species judge WEIGHTS FOLDER... [--fused FUSED] [--turned FOLDER...]
python -m benchmarks.names_species needle WEIGHTS FOLDER... [--share 0.0025]

Folders are those of `lamelle emulate specimens`, of collections that taught nothing where they judge. `fused` learns
from the fused picture alone what `lamelle train-names` learns from the stack. `judge` compares both, asks of each pair
of taxa that only the stack tells which of the two it is, and of what is turned over whether it keeps its name. `needle`
weighs taxa and junk as they are in nature.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.species import PAIRS, ceiling
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.dataset.objects_table import read_parquet
from daemon.emulation.specimen_index import INDEX
from daemon.system.durable_files import replacing
from drivers.virtual_slide.not_living import taxon_of
from drivers.virtual_slide.profiles import PROFILES
from drivers.virtual_slide.specimens.collection import KINDS
from inference.classification.classifier import Classifier
from inference.classification.encoder_file import to_bytes
from inference.classification.figures import JudgedNames, NamesFigures, figures, wilson
from inference.classification.sight import STACK, ClassifierSight, look
from inference.classification.specimens import Example, SpecimenStack
from inference.classifier_training.learning import learn, set_threads
from inference.classifier_training.settings import LearningSettings
from inference.training.checkpoint import History
from inference.training.train import Progress

FUSED = ClassifierSight("fused", STACK.side_px, finest_um=STACK.finest_um, fine=True)
TAXONOMY = Path(__file__).parents[1] / "configs" / "taxonomy.csv"
AT_ONCE = 32
DRAWS = 1000
FOUND = 0.9
"""Share of a rare taxon that a person wants to find."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """Specimens, and the probabilities (N, K) of taxa that a classifier gave them."""

    rows: Sequence[Mapping[str, Any]]
    taxa: tuple[str, ...]
    probabilities: NDArray[np.float32]

    @property
    def true(self) -> list[str]:
        """Give the taxon of each, of junk too."""
        return [_taxon(row) for row in self.rows]

    @property
    def named(self) -> list[str]:
        """Give the most probable taxon of each."""
        return [self.taxa[k] for k in self.probabilities.argmax(axis=1)]

    def only(self, wanted: Sequence[bool]) -> Judged:
        """Give some of the specimens."""
        kept = [k for k, one in enumerate(wanted) if one]
        return replace(self, rows=[self.rows[k] for k in kept], probabilities=self.probabilities[kept])

    def figures(self, judged_by: str) -> NamesFigures:
        """Judge the names by what the specimens are."""
        slides = [_slide(row) for row in self.rows]
        return figures(JudgedNames(self.true, self.named, self.probabilities.max(axis=1), slides, slides), judged_by)


class Silent:
    """Follows a training and keeps nothing."""

    def checkpoint(self, content: bytes) -> None:
        """Keep nothing."""

    def judged(self, history: History) -> None:
        """Print a judgement, where there was anything to judge by."""
        if history.judged:
            print(f"  step {history.judged[-1][0]}: {history.judged[-1][1]:.3f}", flush=True)


def rows_of(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the indices of folders; each row knows its folder."""
    return [
        row | {"folder": folder}
        for folder in folders
        for row in read_parquet(folder / f"{INDEX}.parquet").to_pylist()
    ]  # fmt: skip


def _taxon(row: Mapping[str, Any]) -> str:
    return taxon_of(row["taxon"], row["class_name"])


def _slide(row: Mapping[str, Any]) -> str:
    return f"{row['night']}/slide-{row['slide']}"


def read(row: Mapping[str, Any]) -> SpecimenStack:
    """Read a stack of `lamelle emulate specimens`."""
    with tifffile.TiffFile(row["folder"].joinpath(*row["file"].split("/"))) as file:
        height, width = file.series[0].shape[-2:]
        stack = np.asarray(file.asarray()).reshape(len(row["states"].split()), row["planes"], height, width)
    return SpecimenStack(
        stack, tuple(row["states"].split()), row["pixel_um"], row["step_um"], row["focus_plane"],
        row["length_um"], row["width_um"], row["white_dn"],
    )  # fmt: skip


def judged(weights: Path, rows: Sequence[Mapping[str, Any]], threads: int) -> Judged:
    """Let a classifier look at specimens."""
    classifier = Classifier.open(weights, threads=threads)
    vectors = []
    for first in range(0, len(rows), AT_ONCE):
        some = rows[first : first + AT_ONCE]
        vectors.append(classifier.features_of([look(read(row), classifier.sight) for row in some]))
        print(f"\r{weights.name}: {first + len(some)} of {len(rows)} looked at", end="", flush=True)
    print()
    head = classifier.head
    return Judged(rows, head.taxa, np.asarray(head.probabilities(np.concatenate(vectors)), np.float32))


def learn_fused(folders: Sequence[Path], into: Path, epochs: int, threads: int) -> None:
    """Learn from fused pictures alone; whole collections are held out on the way."""
    examples = [
        Example(
            row["key"], row["sha256"], _taxon(row), f"collection {row['collection']}", _slide(row), "",
            partial(read, row),
        )
        for row in rows_of(folders)
    ]  # fmt: skip
    settings = LearningSettings("small", FUSED, epochs=epochs, judgements=min(15, epochs), threads=threads)
    parents = {one.identifier: one.parent or None for one in read_taxonomy(TAXONOMY).taxa}

    def show(progress: Progress) -> None:
        print(f"\r{progress.stage}: {progress.done} of {progress.total}   ", end="", flush=True)

    learnt, _ = learn(examples, [one.sample for one in examples], settings, parents, show, Silent())
    with replacing(into) as stream:
        stream.write(to_bytes(learnt.encoder, learnt.fitted.head))
    print(f"\nclassifier in {into}")


def compare(stack: Judged, fused: Judged | None) -> None:
    """Print how good names are, and where the stack tells what its fused picture does not."""
    in_pairs = {taxon for pair in PAIRS for taxon in pair}
    of_all = ceiling()
    shown = {_taxon(row) for row in stack.rows}
    highest = np.mean([of_all.get(taxon, 1.0) for taxon in sorted(shown)])
    print(
        f"\n{len(stack.rows)} specimens of {len(shown)} taxa, {len({_slide(row) for row in stack.rows})} mini-slides; "
    )
    print(f"ceiling of the overlap: mean recall {highest:.3f}\n")
    print("| from | accuracy | macro-F1 (interval over mini-slides) | macro-F1 without the pairs | calibration error |")
    print("|---|---|---|---|---|")
    for name, one in (("stack", stack), ("fused picture", fused)):
        if one is not None:
            all_, rest = one.figures(name), one.only([taxon not in in_pairs for taxon in one.true]).figures(name)
            low, high = all_.macro_f1_interval or (np.nan, np.nan)
            print(
                f"| {name} | {all_.accuracy:.3f} | {all_.macro_f1:.3f} ({low:.3f} to {high:.3f}) | {rest.macro_f1:.3f} "
                f"| {all_.calibration_error:.3f} (by chance {all_.calibration_by_chance:.3f}) |"
            )
    if fused is not None:
        others = [taxon not in in_pairs for taxon in stack.true]
        low, middle, high = _gain(stack.only(others), fused.only(others))
        print(f"\nmacro-F1 of the stack less that of the fused picture, without the pairs: {middle:+.3f}", end="")
        print(f" ({low:+.3f} to {high:+.3f}, {DRAWS} draws of mini-slides)")
    print("\n| pair | n | stack | fused picture |\n|---|---|---|---|")
    for pair in PAIRS:
        told = [_told(one, pair) if one is not None else None for one in (stack, fused)]
        shares = [f"{right / n:.2f} ({_range(right, n)})" if n else "" for right, n in (one or (0, 0) for one in told)]
        print(f"| {' / '.join(pair)} | {(told[0] or (0, 0))[1]} | {' | '.join(shares)} |")
    print("\n| taxon | n | precision | recall | F1 | F1, fused |\n|---|---|---|---|---|---|")
    of_fused = {one.taxon: one for one in fused.figures("fused").taxa} if fused is not None else {}
    for taxon in stack.figures("stack").taxa:
        other = of_fused.get(taxon.taxon)
        cells = [taxon.precision, taxon.recall, taxon.f1, other.f1 if other is not None else None]
        print(f"| {taxon.taxon} | {taxon.n} | {' | '.join('' if x is None else f'{x:.3f}' for x in cells)} |")


def _told(one: Judged, pair: tuple[str, str]) -> tuple[int, int]:
    """How many whole specimens seen on their faces are told right, if it must be one of the two, and of how many."""
    columns = [one.taxa.index(taxon) for taxon in pair]
    whole = [row["view"] == "face" and row["completeness"] == "whole" for row in one.rows]
    asked = one.only([taxon in pair and seen for taxon, seen in zip(one.true, whole, strict=True)])
    said = [pair[k] for k in asked.probabilities[:, columns].argmax(axis=1)]
    return sum(name == taxon for name, taxon in zip(said, asked.true, strict=True)), len(said)


def _range(right: float, of: float) -> str:
    low, high = wilson(right, of) or (np.nan, np.nan)
    return f"{low:.2f} to {high:.2f}"


def _gain(stack: Judged, fused: Judged, seed: int = 1) -> tuple[float, float, float]:
    """Difference of macro-F1, and its interval where mini-slides are drawn again, the same for both."""
    slides = sorted({_slide(row) for row in stack.rows})
    of_slide = [np.flatnonzero([_slide(row) == slide for row in stack.rows]) for slide in slides]
    random = np.random.default_rng(seed)
    true = np.array(stack.true)
    said = [np.array(one.named) for one in (stack, fused)]
    differences = []
    for draw in range(DRAWS + 1):
        chosen = range(len(slides)) if draw == 0 else random.integers(len(slides), size=len(slides))
        rows = np.concatenate([of_slide[k] for k in chosen])
        of_stack, of_fused = (_macro_f1(true[rows], names[rows]) for names in said)
        differences.append(of_stack - of_fused)
    low, high = np.percentile(differences[1:], (2.5, 97.5))
    return float(low), differences[0], float(high)


def _macro_f1(true: NDArray[np.str_], named: NDArray[np.str_]) -> float:
    scores = []
    for taxon in np.unique(true):
        both = np.sum((true == taxon) & (named == taxon))
        scores.append(2 * both / (np.sum(true == taxon) + np.sum(named == taxon)))
    return float(np.mean(scores))


def turned(before: Judged, after: Judged) -> None:
    """Print whether individuals keep their names on their other face."""
    place = {_place(row): k for k, row in enumerate(after.rows)}
    faced = [k for k, row in enumerate(before.rows) if row["face"] and not row["junk"]]
    pairs = [(k, place[_place(before.rows[k])]) for k in faced if _place(before.rows[k]) in place]
    if not pairs:
        print("\nnothing lies there on both faces; write the same mini-slides with and without --turned-over")
        return
    names = [(before.named[one], after.named[other], before.true[one]) for one, other in pairs]
    same = sum(one == other for one, other, _ in names)
    print(
        f"\nturned over: {same} of {len(names)} keep their name, {same / len(names):.3f} ({_range(same, len(names))})"
    )
    lost = Counter(true for one, other, true in names if one != other)
    print("most often another name:", ", ".join(f"{taxon} {n}" for taxon, n in lost.most_common(6)))


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["collection"], row["seed"], row["slide"], row["place"]


def needle(one: Judged, share: float) -> None:
    """Print precision and recall at the shares of nature, and what a person would look at to find the rare ones."""
    natural = {KINDS[kind].taxon: 0.0 for kind in PROFILES["species"] if not KINDS[kind].junk}
    for kind, often in PROFILES["species"].items():
        if not KINDS[kind].junk:
            natural[KINDS[kind].taxon] += often
    fossils = [not row["junk"] for row in one.rows]
    true, named = np.array(one.true), np.array(one.named)
    counts = Counter(true[fossils].tolist())
    total = sum(natural[taxon] for taxon in counts)
    junk = np.flatnonzero(~np.array(fossils))
    if not len(junk):
        raise SystemExit("no junk lies in these folders; write them with --junk")
    weight = np.where(fossils, 0.0, (1 - share) / len(junk))
    for taxon, n in counts.items():
        weight[true == taxon] = share * natural[taxon] / total / n
    print(f"\n{sum(fossils)} specimens and {len(junk)} pieces of junk, weighed so that {share:.2%} are specimens\n")
    print("| taxon | n | share | recall | precision | taken for it, of junk | to look at for 90 % |")
    print("|---|---|---|---|---|---|---|")
    for taxon in sorted(counts):
        of_it, said = true == taxon, named == taxon
        right, wrong = int((of_it & said).sum()), int(said[junk].sum())
        precision = _precision(weight, of_it, said)
        looked = _looked_at(one, taxon, weight)
        print(
            f"| {taxon} | {counts[taxon]} | {share * natural[taxon] / total:.1e} | {right / counts[taxon]:.2f} "
            f"({_range(right, counts[taxon])}) | {precision} | {wrong} of {len(junk)} | {looked} |"
        )
    real = np.array(fossils)
    kinds = {taxon for taxon in one.taxa if taxon in natural}
    said = np.isin(named, sorted(kinds))
    print(
        f"\nany taxon: recall {weight[real & said].sum() / share:.3f}, precision {_precision(weight, real, said)}; "
        f"of a million crops {1e6 * share:.0f} are specimens and {1e6 * weight[said].sum():.0f} are called so"
    )


def _precision(weight: Floats, of_it: NDArray[np.bool_], said: NDArray[np.bool_], seed: int = 1) -> str:
    """Weighed precision, with an interval from specimens and junk drawn again."""
    random = np.random.default_rng(seed)
    chosen = np.flatnonzero(said)
    if not len(chosen):
        return "none named so"
    exact = weight[of_it & said].sum() / weight[said].sum()
    drawn = []
    for _ in range(DRAWS):
        times = random.poisson(1.0, len(chosen))
        whole = (weight[chosen] * times).sum()
        if whole:
            drawn.append((weight[chosen] * times * of_it[chosen]).sum() / whole)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{exact:.2f} ({low:.2f} to {high:.2f})"


def _looked_at(one: Judged, taxon: str, weight: Floats) -> str:
    """How many of a million crops lie above the probability above which nine tenths of a taxon's specimens lie."""
    if taxon not in one.taxa:
        return "not known"
    sure = one.probabilities[:, one.taxa.index(taxon)]
    of_it = np.array(one.true) == taxon
    least = np.quantile(sure[of_it], 1 - FOUND)
    above = sure >= least
    return f"{1e6 * weight[above].sum():.0f}, of which {1e6 * weight[above & of_it].sum():.0f} are"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("fused", "judge", "needle"):
        command = commands.add_parser(name)
        if name != "fused":
            command.add_argument("weights", type=Path)
        command.add_argument("folders", type=Path, nargs="+")
        if name == "fused":
            command.add_argument("--into", type=Path, required=True)
            command.add_argument("--epochs", type=int, default=12)
        elif name == "judge":
            command.add_argument("--fused", type=Path)
            command.add_argument("--turned", type=Path, nargs="*", default=[])
        else:
            command.add_argument("--share", type=float, default=0.0025)
    given = parser.parse_args()
    set_threads(given.threads)
    if given.command == "fused":
        learn_fused(given.folders, given.into, given.epochs, given.threads)
        return
    rows = rows_of(given.folders)
    stack = judged(given.weights, rows, given.threads)
    if given.command == "needle":
        needle(stack, given.share)
        return
    fossils = [not row["junk"] for row in rows]
    fused = judged(given.fused, rows, given.threads).only(fossils) if given.fused else None
    compare(stack.only(fossils), fused)
    if given.turned:
        turned(stack, judged(given.weights, rows_of(given.turned), given.threads))


if __name__ == "__main__":
    main()
