"""Counts from known truth, without pixels: how often intervals hold it, and how far numbers are off: docs/counting.md.

python -m benchmarks.counting [--runs N]

Fields are drawn evenly, or in clumps of two kinds: rich and poor fields (negative binomial), and groups that settle
together (Neyman's type A). Writes the tables of that page anew, each between its markers.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.counting.abundance import Abundance, Limits, divided_by_unsure, summed, times, times_unsure
from calibration.counting.density import FEW_FIELDS, counted_density
from calibration.counting.poisson import weighted_interval
from calibration.counting.shares import share_interval
from calibration.counting.validated import corrected, validated_share

PAGE = Path(__file__).parents[1] / "docs" / "counting.md"
SEED = 23
CONFUSION = np.array(
    [
        [0.85, 0.08, 0.02, 0.00, 0.05],
        [0.06, 0.88, 0.03, 0.00, 0.03],
        [0.02, 0.05, 0.90, 0.00, 0.03],
        [0.01, 0.00, 0.00, 0.90, 0.09],
        [0.004, 0.004, 0.004, 0.002, 0.986],
    ]
)
"""P(predicted | true): three common taxa, a rare one, and what is none."""
SEASON = np.array([2000.0, 1200.0, 600.0, 50.0, 16_150.0])
"""How many of each are expected in 20 samples; the rare one is 0.25 % of all."""
SAMPLES = 20

Kind = str
Row = list[str]
Random = np.random.Generator


def fields_of(random: Random, mean: float, phi: float, shape: tuple[int, ...], kind: Kind) -> NDArray[np.int64]:
    """Draw counts of fields of this mean, and this ratio of variance to mean."""
    if phi == 1:
        return random.poisson(mean, shape)
    if kind == "rich and poor fields":
        return random.poisson(random.gamma(mean / (phi - 1), phi - 1, shape))
    return random.poisson(random.poisson(mean / (phi - 1), shape) * (phi - 1))


def holds(limits: Limits, truth: NDArray[np.float64] | float) -> float:
    """Give the share of runs whose interval holds the truth."""
    return float(((limits[0] <= truth) & (truth <= limits[1])).mean())


def stop_at_number(
    random: Random, per_field: float, phi: float, number: int, runs: int, kind: Kind
) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """Count fields in turn until so many objects are counted, on `FEW_FIELDS` at least; whether the number ended it."""
    most = int(4 * number / per_field + 2 * FEW_FIELDS)
    for _ in range(runs):
        counts = fields_of(random, per_field, phi, (most,), kind)
        reached = int(np.argmax(counts.cumsum() >= number)) + 1
        yield counts[: max(reached, FEW_FIELDS)], reached > FEW_FIELDS


def all_fields(random: Random, runs: int) -> Iterator[Row]:
    """Count a planned number of fields: coverage for kinds of settling, and of plain Poisson's interval beside it."""
    yield ["settling", "phi", "expected", "fields", "interval holds", "Poisson's holds", "bias"]
    for kind, phi in CLUMPED:
        for expected in (3, 10, 20, 50, 200, 1000):
            for fields in (30, 200):
                counts = fields_of(random, expected / fields, phi, (runs, fields), kind)
                found = times(counted_density(counts, np.ones(fields)), fields)
                plain = weighted_interval(found.value, found.value, 1.0)
                yield [
                    kind, f"{phi}", f"{expected}", f"{fields}", f"{holds(found.counting, expected):.3f}",
                    f"{holds(plain, expected):.3f}", f"{100 * (found.value.mean() / expected - 1):+.1f} %",
                ]  # fmt: skip


def stopped(random: Random, runs: int) -> Iterator[Row]:
    """Stop at a number of objects: coverage and bias of (n - phi) / A, and the bias of n / A beside it."""
    yield ["settling", "phi", "stops at", "a field", "fields", "interval holds", "bias", "bias of n / A"]
    for kind, phi in CLUMPED:
        for number in (50, 200, 500):
            for per_field in (0.5, 5.0):
                said, plain, held, taken = [], [], [], []
                for counts, ended in stop_at_number(random, per_field, phi, number, runs, kind):
                    found = counted_density(counts, np.ones(len(counts)), stopped=ended)
                    said.append(float(found.value))
                    plain.append(float(counts.mean()))
                    low, high = found.counting
                    held.append(low <= per_field <= high)
                    taken.append(len(counts))
                yield [
                    kind, f"{phi}", f"{number}", f"{per_field:g}", f"{np.mean(taken):.0f}", f"{np.mean(held):.3f}",
                    f"{100 * (np.mean(said) / per_field - 1):+.1f} %",
                    f"{100 * (np.mean(plain) / per_field - 1):+.1f} %",
                ]  # fmt: skip


def checked(random: Random, runs: int) -> Iterator[Row]:
    """Divide by a recall and multiply by a precision, each known by 100 checks only."""
    yield ["expected", "precision", "recall", "total holds", "counting holds", "plain count holds", "bias"]
    for expected in (20, 50, 200, 1000):
        for precision, recall in ((0.9, 0.9), (0.5, 0.8), (0.95, 0.6)):
            counts = random.poisson(expected * recall / precision / 60, (runs, 60))
            plain = times(counted_density(counts, np.ones(60)), 60)
            right, seen = random.binomial(100, precision, runs), random.binomial(100, recall, runs)
            found = times_unsure(plain, right / 100, *share_interval(right, 100), "precision")
            found = divided_by_unsure(found, seen / 100, *share_interval(seen, 100), "recall")
            yield [
                f"{expected}", f"{precision}", f"{recall}", f"{holds(found.total, expected):.3f}",
                f"{holds(found.counting, expected):.3f}", f"{holds(plain.counting, expected):.3f}",
                f"{100 * (found.value.mean() / expected - 1):+.1f} %",
            ]  # fmt: skip


def cups(random: Random, runs: int) -> Iterator[Row]:
    """Sum 26 cups that share one recall, known by 100 spiked specimens."""
    yield ["expected a cup", "recall", "sum holds", "as if each had a recall of its own"]
    for expected in (0.5, 5, 50, 500):
        for recall in (0.6, 0.9):
            truth = expected * random.lognormal(0, 1, (26, runs))
            seen = random.binomial(100, recall, runs)
            counts = random.poisson(truth * recall).astype(np.float64)
            shares = [
                holds(summed(divided(counts, seen, names)).total, truth.sum(axis=0))
                for names in (["recall"] * 26, [f"recall {cup}" for cup in range(26)])
            ]
            yield [f"{expected}", f"{recall}", *(f"{share:.3f}" for share in shares)]


def divided(counts: NDArray[np.float64], seen: NDArray[np.int64], names: list[str]) -> list[Abundance]:
    """Divide the count of each cup by the recall that 100 spiked specimens say, which goes by this name."""
    parts = (Abundance(one, one, np.ones(len(one))) for one in counts)
    limits = share_interval(seen, 100)
    return [divided_by_unsure(one, seen / 100, *limits, name) for one, name in zip(parts, names, strict=True)]


def validated(random: Random, runs: int) -> Iterator[Row]:
    """Correct a sample by checks of its season, drawn by the square root of what was predicted of each class."""
    yield [
        "checks",
        "interval holds",
        "of the rare one",
        "bias of the common",
        "of the rare one",
        "plain: common",
        "rare",
    ]
    for checks in (50, 100, 300, 1000):
        held, said, plain = (np.zeros((runs, len(SEASON))) for _ in range(3))
        for run in range(runs):
            season, here = (random.poisson(SEASON * share) for share in (1 - 1 / SAMPLES, 1 / SAMPLES))
            others, mine = (
                np.array([random.multinomial(n, row) for n, row in zip(true, CONFUSION, strict=True)])
                for true in (season, here)
            )
            joint = (others + mine).T
            predicted = joint.sum(axis=1)
            roots = np.sqrt(predicted)
            each = np.minimum(predicted, np.maximum(np.round(checks * roots / roots.sum()), 1)).astype(int)
            looked = np.array([random.multivariate_hypergeometric(row, n) for row, n in zip(joint, each, strict=True)])
            counts = [Abundance(np.asarray(n), np.asarray(n), np.asarray(1.0)) for n in mine.sum(axis=0).astype(float)]
            found = corrected(counts, validated_share(looked, predicted), "checks")
            truth = SEASON / SAMPLES
            held[run] = [one.total[0] <= true <= one.total[1] for one, true in zip(found, truth, strict=True)]
            said[run] = [float(one.value) for one in found]
            plain[run] = [float(one.value) for one in counts]
        off, off_plain = (100 * (what.mean(axis=0) / (SEASON / SAMPLES) - 1) for what in (said, plain))
        yield [
            f"{checks}", f"{held[:, :3].mean():.3f}", f"{held[:, 3].mean():.3f}",
            ", ".join(f"{value:+.1f}" for value in off[:3]) + " %", f"{off[3]:+.1f} %",
            ", ".join(f"{value:+.0f}" for value in off_plain[:3]) + " %", f"{off_plain[3]:+.0f} %",
        ]  # fmt: skip


CLUMPED = (
    ("even", 1.0),
    ("rich and poor fields", 3.0),
    ("groups", 3.0),
    ("rich and poor fields", 10.0),
    ("groups", 10.0),
)
TABLES = {"all fields": all_fields, "stopped": stopped, "checked": checked, "cups": cups, "validated": validated}


def table_of(rows: Iterator[Row]) -> str:
    """Write rows as a table of Markdown; the first one is its head."""
    head, *others = rows
    lines = [head, ["--:"] * len(head), *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Simulate, and write the page's tables anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000, help="of each cell")
    runs = parser.parse_args().runs
    text = PAGE.read_text(encoding="utf-8")
    for at, (name, make) in enumerate(TABLES.items()):
        print(f"{name}: table {at + 1} of {len(TABLES)}", flush=True)
        made = table_of(make(np.random.default_rng([SEED, at]), runs))
        mark = f"<!-- {name} -->"
        text = re.sub(f"{mark}\n.*?<!-- /{name} -->", f"{mark}\n{made}\n<!-- /{name} -->", text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
