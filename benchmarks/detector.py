"""How good the shipped detector is: emulated fields of a seed and a slide that no training saw, in both modes.

python -m benchmarks.detector [--fields N] [--seed S] [--slide N] [--weights FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from daemon.emulate import export, override
from daemon.loading import load
from inference.annotated import AnnotatedStack, find_stacks
from inference.evaluation import Evaluation, compare, find

CONFIG = Path(__file__).parents[1] / "configs" / "emulated.yaml"
DENSITIES = (0.5, 1.0, 2.0)


def tell(done: int, total: int) -> None:
    """Show how far the analysis is."""
    print(f"\r{done}/{total} ", end="", file=sys.stderr, flush=True)


def text(figure: float | None) -> str:
    """Format a figure."""
    return f"{'-':>8}" if figure is None else f"{figure:>8.3f}"


def show(name: str, result: Evaluation) -> None:
    """Print one row."""
    f = result.figures
    classes = "  ".join(f"{key} {text(value)}" for key, value in f.ap50_of_class.items())
    print(
        f"{name:<14}{f.mode:<8}{f.fields:>4}{f.objects:>6}{f.touching_share:>7.0%}{f.junk_share:>6.0%}"
        f"{text(f.ap50)}{text(f.ap75)}{text(f.ap)}{f.precision:>8.3f}{f.recall:>8.3f}{f.recall_touching:>8.3f}"
        f"{text(f.plane_error)}{f.cpu_seconds_per_field:>7.2f}  {classes}"
    )


def main() -> None:
    """Export, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=8, help="of each density")
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--slide", type=int, default=8)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    config = load(CONFIG)
    print(
        f"{'density':<14}{'mode':<8}{'n':>4}{'obj':>6}{'touch':>7}{'junk':>6}{'AP50':>8}{'AP75':>8}{'AP':>8}"
        f"{'prec':>8}{'recall':>8}{'touch.':>8}{'plane':>8}{'cpu s':>7}  AP50 of each class"
    )
    results: dict[str, Evaluation] = {}
    with tempfile.TemporaryDirectory() as folder:
        stacks: list[AnnotatedStack] = []
        for number, density in enumerate(DENSITIES):
            into = Path(folder) / f"{density}"
            export(override(config, seed=given.seed + number, density=density), into, [given.slide], given.fields)
            stacks += find_stacks([into], config.detector.classes)
        parts = {f"{d}": slice(k * given.fields, (k + 1) * given.fields) for k, d in enumerate(DENSITIES)}
        for mode in ("fused", "planes"):
            detector = config.detector.model_copy(update={"mode": mode, "weights": given.weights or "slim"})
            found = find(stacks, detector, config.focus, tell)
            for name, part in {**parts, "all": slice(None)}.items():
                results[f"{name} {mode}"] = compare(stacks[part], found[part], detector)
                show(name, results[f"{name} {mode}"])
    fused, planes = results["all fused"].found, results["all planes"].found
    print(
        f"found by both {len(fused & planes)}, by planes alone {len(planes - fused)}, "
        f"by fused alone {len(fused - planes)}"
    )
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode({k: r.figures for k, r in results.items()})))


if __name__ == "__main__":
    main()
