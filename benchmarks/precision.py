"""What 16 bit cost: figures of the shipped detector in fp32 and fp16 on the same emulated fields, both by onnxruntime.

python -m benchmarks.precision [--world easy ...] [--threads N] [--stacks DIR] [--weights FILE]

The graph in fp16 is the one engines are made of. Fields are those of benchmarks/worlds.py; `gap` is fp16 less fp32.
Stacks are kept in DIR, if given, and used again.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.worlds import CONFIG, WORLDS, stacks_of, tell
from daemon.config.loading import load
from inference.analyser import Analyser
from inference.annotations.stacks import AnnotatedStack, read_stack
from inference.detector import ViewDetector
from inference.evaluation.figures import LOWEST_SCORE, StackFindings, compare
from inference.network.detected import Precision
from inference.runtimes.onnx_model import Form, onnx_model
from inference.runtimes.onnx_runtime import OnnxRuntime
from inference.runtimes.runtimes import Runtime
from inference.runtimes.torch_runtime import TorchRuntime
from inference.settings import CropSettings, DetectorSettings, FocusSettings

SEED = 9101


class Exported(ViewDetector):
    """A detector that runs the exported graph in a given precision."""

    def __init__(self, settings: DetectorSettings, precision: Precision, kept_in: Path) -> None:
        super().__init__(settings)
        self._precision = precision
        self._kept_in = kept_in

    def _open(self, size: tuple[int, int]) -> Runtime:
        model = onnx_model(self._trained, Form(size, 1, self._precision), self._kept_in)
        exact = partial(TorchRuntime, self._trained, self.device)
        return OnnxRuntime(model, exact, self._settings.threads, self.device)


def find(
    stacks: list[AnnotatedStack], settings: DetectorSettings, focus: FocusSettings, precision: Precision, kept_in: Path
) -> list[StackFindings]:
    """Analyse stacks, keeping detections of the lowest scores too."""
    settings = settings.model_copy(update={"keep_above": LOWEST_SCORE})
    first = stacks[0]
    analyser = Analyser(settings, CropSettings(), focus, first.pixel_um, first.polarizations, detects=False)
    analyser.detector = Exported(settings, precision, kept_in)
    found = []
    for number, stack in enumerate(stacks, start=1):
        found.append(StackFindings(analyser.analyse(read_stack(stack)).objects, 0.0))
        tell(number, len(stacks))
    return found


def main() -> None:
    """Find in both precisions, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", action="append", choices=WORLDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    config = load(CONFIG)
    settings = config.detector.model_copy(update={"weights": given.weights or "slim", "threads": given.threads})
    print(f"{'world':<12}{'objects':>8}  {'':<6}{'AP50':>9}{'AP75':>9}{'AP':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for world in given.world or ("easy",):
            stacks = stacks_of(world, SEED + list(WORLDS).index(world), (given.stacks or Path(folder)) / world)
            rows = []
            for precision in ("fp32", "fp16"):
                found = find(stacks, settings, config.focus, precision, Path(folder))
                figures = compare(stacks, found, settings).figures
                rows.append((figures.ap50 or 0, figures.ap75 or 0, figures.ap or 0))
                print(f"{world:<12}{figures.objects:>8}  {precision:<6}" + "".join(f"{x:>9.4f}" for x in rows[-1]))
            print(f"{world:<12}{'':>8}  {'gap':<6}" + "".join(f"{b - a:>+9.4f}" for a, b in zip(*rows, strict=True)))


if __name__ == "__main__":
    main()
