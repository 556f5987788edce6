"""Make a detector from annotated stacks, and say how good it is: what stands behind `lamelle train` and `evaluate`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from daemon.system.durable_files import replacing, sha256_of
from daemon.training.card_files import refuse_strangers, write_card_files
from daemon.training.lock import only_training
from daemon.training.training_page import TrainingCurve, write_training_page
from inference.annotations import splits
from inference.annotations.stacks import Annotated, AnnotatedStack
from inference.errors import AnnotationError
from inference.evaluation.figures import DetectorFigures, Evaluation, StackFindings, compare, find, of_one_class
from inference.network.weights_file import classes_of, find_weights
from inference.settings import DetectorSettings, FocusSettings
from inference.training.checkpoint import History
from inference.training.settings import TrainingSettings
from inference.training.train import Progress, Report
from inference.training.train import train as fit
from inference.wording import counted


class AnnotationOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where annotations came from: the folder's, zip's or file's name, and the sha256 of the file of annotations."""

    name: str
    sha256: str


class TrainingCard(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a weights file; lies beside it as JSON, and as Markdown for people.

    Attributes
    ----------
    problems
        what was not taken as it stands, and what was decided without being asked, a sentence each.
    """

    weights: str
    sha256: str
    architecture: str
    classes: tuple[str, ...]
    data: tuple[AnnotationOrigin, ...]
    problems: tuple[str, ...]
    trained_on: tuple[str, ...]
    held_out: tuple[str, ...]
    started_from: str | None
    seed: int
    steps: int
    command: str
    seconds: float
    utc: float
    versions: dict[str, str]
    split_sha256: str | None = None
    losses: tuple[tuple[int, float], ...]
    judged: tuple[tuple[int, float], ...]
    figures: tuple[DetectorFigures, ...]


PROBLEMS_SHOWN = 20
JUDGED_ON = 48
"""Of what is held out, so many stacks judge the weights while they are trained, spread evenly."""


def train(
    annotated: Annotated,
    into: Path,
    settings: TrainingSettings,
    focus: FocusSettings,
    command: str,
    report: Report,
    judged_by: Annotated | None = None,
    print_line: Callable[[str], None] | None = None,
) -> TrainingCard:
    """Train on annotated stacks; write the weights to `into`; its card, the split and a page with curves beside it.

    What judges gives the card's figures: `judged_by`, or what the subsets of the data name so, or whole slides that are
    held out. `command` is kept in the card as given. `print_line` is given what was decided, and a line after every
    judgement on the way.

    Raises
    ------
    Refused
        The card would be written over a file that is no card of these weights; another training writes `into`.
    AnnotationError
        There are no usable annotations, or only those of one slide, or something would both train and judge.
    WeightsRefused
        The weights to start from are none of a detector, or the checkpoint beside is of another training.
    """
    refuse_strangers(into)
    start = time.monotonic()
    others = _other_classes(settings)
    (learning, judging, split), decided = _split(annotated, judged_by, settings, report)
    decided += splits.copies([*split.trained, *split.held_out])
    if others:
        decided.append(
            f"the weights to start from are for {', '.join(others)}: all but their last layer is kept, that begins anew"
        )
    if print_line is not None:
        for line in decided:
            print_line(line)
    with only_training(into):
        with replacing(splits.split_file(into)) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(split), indent=1) + b"\n")
        keeper = _DiskKeeper(into, settings, split, print_line)
        judge_by = judging[:: max(1, len(judging) // JUDGED_ON)]

        def judge_some(weights: bytes) -> float | None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / into.name
                path.write_bytes(weights)
                detector = _detector(path, settings, "fused")
                return evaluate(judge_by, detector, focus, report).evaluation.figures.ap50

        sources = annotated.sources + (() if judged_by is None else judged_by.sources)
        problems = annotated.problems + (() if judged_by is None else judged_by.problems) + tuple(decided)
        history = fit(learning, settings, focus, report, judge_some, keeper, keeper.kept)
        card = TrainingCard(
            weights=into.name,
            sha256=find_weights(into).sha256,
            architecture=settings.architecture,
            classes=settings.classes,
            data=tuple(AnnotationOrigin(name=name, sha256=sha256) for name, sha256 in sources),
            problems=problems,
            trained_on=_sources(learning),
            held_out=_sources(judging),
            started_from=find_weights(settings.start).sha256 if isinstance(settings.start, Path) else settings.start,
            split_sha256=sha256_of(splits.split_file(into)),
            seed=settings.seed,
            steps=settings.steps,
            command=command,
            seconds=time.monotonic() - start,
            utc=time.time(),
            versions={name: version(name) for name in ("torch", "torchvision", "numpy", "opencv-python-headless")},
            losses=tuple(history.losses),
            judged=tuple(history.judged),
            figures=judge(judging, into, settings, focus, report),
        )
        write_card_files(card, _markdown(card), into)
        write_training_page(into, history, _curve(settings, split), going_on=False)
        keeper.finish()
        return card


def _split(
    annotated: Annotated, judged_by: Annotated | None, settings: TrainingSettings, report: Report
) -> tuple[splits.Parts, list[str]]:
    """Say what learns and what judges; and what in that a person may not expect, a sentence each."""
    looking = Progress.reporter("looking for copies", report)
    if judged_by is not None:
        known = splits.members([*annotated.stacks, *judged_by.stacks], looking)
        return splits.given(annotated.stacks, judged_by.stacks, known), []
    named = splits.as_named(annotated.stacks)
    if named is None:
        known = splits.members(annotated.stacks, looking)
        subsets = sorted({stack.picture.subset for stack in annotated.stacks} - {""})
        together = f"what judges is drawn from the subsets {', '.join(subsets)} together, as none is named for it"
        drawn = splits.draw(annotated.stacks, known, settings.held_out, settings.seed)
        return drawn, [together] if len(subsets) > 1 else []
    parts = splits.given(named.learning, named.judging, splits.members([*named.learning, *named.judging], looking))
    kept = f"; {len(named.kept)} of a test do neither" if named.kept else ""
    sides = f"of the pictures {len(parts.learning)} train and {len(parts.judging)} judge"
    return parts, [f"{sides}, as their subsets are named{kept}"]


def _curve(settings: TrainingSettings, split: splits.Split) -> TrainingCurve:
    seen = f"{len(split.trained)} pictures", f"{len(split.held_out)} others"
    return TrainingCurve(settings.architecture, settings.seed, settings.steps, *seen, "AP @0.50")


def _other_classes(settings: TrainingSettings) -> tuple[str, ...]:
    """Classes of the weights to start from, where they are not those to be learnt."""
    start = settings.goes_on()
    known = settings.classes if start is None else classes_of(find_weights(start).path, settings.classes)
    return () if known == settings.classes else known


class _DiskKeeper:
    """Keeps checkpoint and best weights of a training on disk, whole or not at all."""

    def __init__(
        self, into: Path, settings: TrainingSettings, split: splits.Split, print_line: Callable[[str], None] | None
    ) -> None:
        self._into, self._settings, self._split, self._print_line = into, settings, split, print_line
        self.kept = into.with_suffix(".checkpoint")

    def checkpoint(self, content: bytes) -> None:
        with replacing(self.kept) as stream:
            stream.write(content)

    def weights(self, content: bytes) -> None:
        with replacing(self._into) as stream:
            stream.write(content)

    def judged(self, history: History) -> None:
        write_training_page(self._into, history, _curve(self._settings, self._split), going_on=True)
        if self._print_line is not None and history.judged:
            step, ap50 = history.judged[-1]
            best = ", the best so far" if history.judgements_since_best() == 0 else ""
            self._print_line(f"step {step} of {self._settings.steps}: AP@0.50 {ap50:.3f}{best}")

    def finish(self) -> None:
        self.kept.unlink(missing_ok=True)


def _detector(weights: Path, settings: TrainingSettings, mode: Literal["fused", "planes"]) -> DetectorSettings:
    return DetectorSettings(
        architecture=settings.architecture,
        weights=weights,
        classes=settings.classes,
        mode=mode,
        threads=settings.threads,
        runtime="torch",
    )


def judge(
    stacks: Sequence[AnnotatedStack], weights: Path, settings: TrainingSettings, focus: FocusSettings, report: Report
) -> tuple[DetectorFigures, ...]:
    """Figures of some weights in both modes."""
    modes: tuple[Literal["fused", "planes"], ...] = ("fused", "planes")
    return tuple(
        evaluate(stacks, _detector(weights, settings, mode), focus, report).evaluation.figures for mode in modes
    )


class Unseen(NamedTuple):
    """What some weights were not trained on, and what a person should know of it, a sentence each."""

    stacks: Sequence[AnnotatedStack]
    told: list[str]


def unseen(annotated: Annotated, weights: Path, report: Report, *, only: bool) -> Unseen:
    """Give what some weights were not trained on, as far as is written down beside them.

    Parameters
    ----------
    only
        leave out what they were trained on, instead of refusing it.

    Raises
    ------
    AnnotationError
        They were trained on some of it, or on all of it, or a picture cannot be read.
    """
    split = splits.read_split(weights)
    known = splits.members(annotated.stacks, Progress.reporter("looking for copies", report))
    kept = splits.unseen(known, split)
    left = [stack for stack, new in zip(annotated.stacks, kept, strict=True) if new]
    if len(left) < len(known) and not (only and left):
        trained = len(known) - len(left)
        raise AnnotationError(
            f"{str(weights)!r} were trained on {trained} of these {counted(len(known), 'picture')}; "
            + ("judge only by the others, with --unseen" if left else "judge by others")
        )
    return Unseen(left, splits.copies([member for member, new in zip(known, kept, strict=True) if new]))


class Judgement(NamedTuple):
    """What was judged, what was found there, and how good that is."""

    stacks: Sequence[AnnotatedStack]
    found: Sequence[StackFindings]
    evaluation: Evaluation


def evaluate(
    stacks: Sequence[AnnotatedStack],
    detector: DetectorSettings,
    focus: FocusSettings,
    report: Report,
    one_class: bool = False,
) -> Judgement:
    """Find what there is in annotated stacks, and judge that.

    Parameters
    ----------
    one_class
        only finding counts, whatever a thing is taken for.

    Raises
    ------
    AnnotationError
        A stack cannot be read.
    WeightsRefused
        The weights do not fit the settings.
    """
    found: Sequence[StackFindings] = find(
        stacks, detector, focus, Progress.reporter(f"judging {detector.mode}", report)
    )
    if one_class:
        detector = detector.model_copy(update={"classes": detector.classes[:1]})
        stacks, found = of_one_class(stacks, found, detector.classes[0])
    return Judgement(stacks, found, compare(stacks, found, detector))


def _text(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"


def _sources(stacks: Sequence[AnnotatedStack]) -> tuple[str, ...]:
    return tuple(sorted({stack.picture.source for stack in stacks}))


def _markdown(card: TrainingCard) -> str:
    more = len(card.problems) - PROBLEMS_SHOWN
    versions = ", ".join(f"{name} {number}" for name, number in card.versions.items())
    lines = [
        f"# {card.weights}",
        "",
        f"Faster R-CNN, {card.architecture}, for {', '.join(card.classes)}. sha256 `{card.sha256}`.",
        "",
        f"Made with `{card.command}`: {card.steps} steps, seed {card.seed}, {card.seconds / 60:.0f} min, {versions}.",
        "",
        f"Started from {card.started_from or 'fresh weights'}.",
        "",
        *(f"- {problem}" for problem in card.problems[:PROBLEMS_SHOWN]),
        *([f"- and {more} more like these, in the JSON beside this"] if more > 0 else []),
        *([""] if card.problems else []),
        f"Trained on {', '.join(card.trained_on)}; judged on {', '.join(card.held_out)}, never seen in training.",
        "",
        "| mode | fields | objects | AP@0.50 | AP@0.75 | AP | precision | recall | best plane, median error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {f.mode} | {f.fields} | {f.objects} | {_text(f.ap50)} | {_text(f.ap75)} | {_text(f.ap)} "
        f"| {f.precision:.3f} | {f.recall:.3f} | {_text(f.plane_error)} planes |"
        for f in card.figures
    ]
    return "\n".join(lines) + "\n"
