"""How good the shipped detector is, in both modes, on emulated fields whose specimens and places no training saw.

python -m benchmarks.worlds [--world NAME ...] [--seed S] [--stacks DIR] [--weights FILE] [--json FILE]

Rows named `any` take all classes as one, as a detector of microfossils does; recall at a precision of 0.72 is theirs.
`easy`, `trap` and `coccolith` differ in what lies on the slides; `strange` is `easy` in a mounting medium, with an
aperture of the illumination and at a density that no training had. Stacks are kept in DIR, if given, and used again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from daemon.config.loading import load
from daemon.emulation.export import COCO_FILE, export, override
from inference.annotations.stacks import AnnotatedStack, find_stacks
from inference.evaluation.figures import Evaluation, compare, find, of_one_class

CONFIG = Path(__file__).parents[1] / "configs" / "emulated.yaml"
SLIDES = (2, 5)
PRECISION = 0.72
"""At which the laboratory's own detector was published (Godbillot 2024, JGR Biogeosciences 129)."""
UNSEEN = (91, 92, 93)
"""Collections of specimens that no training may use; several, as one has only a dozen shards or quartz grains."""


class World(NamedTuple):
    """What is exported to be judged on: fields a mini-slide and collection, settings of emulation and mounting."""

    fields: int
    emulation: dict[str, object]
    mounting: dict[str, object]


WORLDS = {
    "easy": World(14, {"profile": "easy"}, {}),
    "trap": World(40, {"profile": "trap"}, {}),
    "coccolith": World(4, {"profile": "coccolith"}, {}),
    "strange": World(4, {"profile": "easy", "density": 3.0}, {"medium_index": 1.66, "condenser_na": 0.85}),
}


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
        f"{f.recall_at(PRECISION):>8.2f}{text(f.plane_error)}{f.cpu_seconds_per_field:>7.2f}  {classes}"
    )


def stacks_of(name: str, seed: int, into: Path) -> list[AnnotatedStack]:
    """Export a world's fields, unless they are there."""
    config, world = load(CONFIG), WORLDS[name]
    folders = [into / f"collection-{collection}" for collection in UNSEEN]
    for number, (collection, folder) in enumerate(zip(UNSEEN, folders, strict=True)):
        if not (folder / COCO_FILE).exists():
            places = seed + 10 * number
            changed = override(config, world.mounting, seed=places, collection=collection, **world.emulation)
            export(changed, folder, SLIDES, world.fields)
    return find_stacks(folders, config.detector.classes).stacks


def main() -> None:
    """Export, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", action="append", choices=WORLDS)
    parser.add_argument("--mode", action="append", choices=("fused", "planes"))
    parser.add_argument("--seed", type=int, default=9101)
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    config = load(CONFIG)
    print(
        f"{'world':<14}{'mode':<8}{'n':>4}{'obj':>6}{'touch':>7}{'junk':>6}{'AP50':>8}{'AP75':>8}{'AP':>8}"
        f"{'prec':>8}{'recall':>8}{'touch.':>8}{'r@.72':>8}{'plane':>8}{'cpu s':>7}  AP50 of each class"
    )
    results: dict[str, Evaluation] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(given.world or WORLDS):
            stacks = stacks_of(name, given.seed + number, (given.stacks or Path(folder)) / name)
            for mode in given.mode or ("fused", "planes"):
                detector = config.detector.model_copy(update={"mode": mode, "weights": given.weights or "slim"})
                found = find(stacks, detector, config.focus, tell)
                results[f"{name} {mode}"] = compare(stacks, found, detector)
                show(name, results[f"{name} {mode}"])
                one_class = detector.model_copy(update={"classes": ("fossil",)})
                results[f"{name} {mode} any"] = compare(*of_one_class(stacks, found, "fossil"), one_class)
                show(f"{name} any", results[f"{name} {mode} any"])
    for mode in given.mode or ("fused", "planes"):
        known, strange = (results.get(f"{name} {mode}") for name in ("easy", "strange"))
        if known and strange and known.figures.ap50 is not None and strange.figures.ap50 is not None:
            gap = known.figures.ap50 - strange.figures.ap50
            print(f"gap in AP50 between easy and strange, {mode}: {gap:.3f}")
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode({k: r.figures for k, r in results.items()})))


if __name__ == "__main__":
    main()
