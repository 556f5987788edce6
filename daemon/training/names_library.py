"""Classifiers from libraries: learnt from one side of a split, judged by the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from daemon.figures.html import write_html
from daemon.library.library import Library
from daemon.library.mislabelled import sight_of
from daemon.library.page import SpecimenPainter, Tile
from daemon.library.split import (
    SPLITS,
    By,
    LibrarySplit,
    draw,
    notes_of,
    read_split,
    recorded_splits,
    require_no_leak,
    write_split,
)
from daemon.system.errors import Refused
from daemon.system.progress import StageDisplay
from daemon.training.names import RULES, judge, sha256_of_examples, train_names, vectors_of
from daemon.training.names_card import NamesCard, card_of
from inference.classification.classifier import Classifier
from inference.classification.encoder_file import EncoderFile, Network, load_encoder
from inference.classification.figures import NamesFigures
from inference.classification.specimens import Example
from inference.classifier_training.settings import LearningSettings
from inference.wording import counted

MISTAKES = 48
"""Pictures of the surest mistakes on the page."""


class MistakenName(msgspec.Struct, frozen=True, kw_only=True):
    """A specimen that was called something else, and how sure the classifier was."""

    key: str
    true: str
    named: str
    probability: float


class NamesEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """How good a classifier is on what judges: by its most probable names, and as if all taxa were equally common.

    `in_turn` and `at_random` are of what taught (the card): what lies between them is what a random split flatters by.
    """

    weights: str
    judged: tuple[NamesFigures, ...]
    in_turn: NamesFigures | None
    at_random: NamesFigures | None
    mistakes: tuple[MistakenName, ...]
    notes: tuple[str, ...]


def train_library(
    folder: Path,
    into: Path,
    split: Path | None,
    by: By,
    seed: int,
    network: Network,
    epochs: int,
    threads: int,
    command: str,
    console: Console,
    start: Path | None = None,
) -> None:
    """Learn from a library; the classifier, its card and its page lie at `into`.

    Parameters
    ----------
    split
        a recorded one; without it, one is drawn by `by` and `seed`, and recorded.
    start
        classifier whose network is gone on from; None to learn from nothing.

    Raises
    ------
    Refused
        The split leaks, or cannot be drawn; what would judge has taught the classifier to start from; nothing can be
        gone on from with the network.
    SpecimenRefused
        Fewer than two taxa can be learnt.
    WeightsRefused
        There are no published weights for the network, or the classifier to start from looks in another way.
    """
    if start is not None and network != "small":
        raise Refused(f"--start goes with --network small; {network} has learnt to see, and is left as it is")
    library = Library.open(folder)
    drawn = draw(library, by, seed) if split is None else read_split(split)
    require_no_leak(library, drawn)
    if split is None:
        write_split(folder, drawn)
    for note in notes_of(library, drawn):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    learning, judging = library.examples(drawn.keys["learn"]), library.examples(drawn.keys["judge"])
    began: EncoderFile | None = None
    if start is not None:
        began = load_encoder(start)
        if (card := card_of(start)) is not None:
            _require_new(start, card, library, judging)
        else:
            note = f"note: {start} has no card beside it; what judges here may have taught it"
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    settings = LearningSettings(
        network=network, sight=sight_of(learning), epochs=epochs, seed=seed, threads=threads, start=began
    )
    source = f"library {folder.resolve().name} ({library.sha256[:12]})"
    with StageDisplay(console) as display:
        made = train_names(
            learning, judging, into, settings, library.parents, drawn.by, source, command, display.show,
            drawn.sha256, display.print_line,
        )  # fmt: skip
    for one in (*made.held_out, made.in_turn, made.at_random):
        console.print(_line(one), markup=False, highlight=False, soft_wrap=True)
    console.print(f"classifier in {into}, its card in {into.with_suffix('.md')}", markup=False, highlight=False)


def evaluate_library(
    folder: Path, weights: Path, split: Path | None, page: Path | None, threads: int, console: Console
) -> NamesEvaluation:
    """Judge a classifier by a library, and print the figures as JSON.

    Parameters
    ----------
    split
        whose side that judges is taken; all of the library if left out, which must be new to the classifier then.
    page
        HTML file; none if left out.

    Raises
    ------
    Refused
        The classifier learnt from what would judge it, or it knows none of the taxa.
    WeightsRefused
        It is no classifier.
    """
    library = Library.open(folder)
    drawn = None if split is None else read_split(split)
    if drawn is not None:
        require_no_leak(library, drawn)
    examples = library.examples(None if drawn is None else drawn.keys["judge"])
    classifier = Classifier.open(weights, threads)
    unknown = sum(one.taxon not in classifier.head.taxa for one in examples)
    if unknown == len(examples):
        raise Refused(f"{weights} knows none of the taxa that {folder} would judge it by; take another classifier")
    by: By = "sample" if drawn is None else drawn.by
    card = card_of(weights)
    if card is not None:
        _require_new(weights, card, library, examples)
    with StageDisplay(Console(stderr=True, quiet=console.quiet)) as display:
        vectors = vectors_of(classifier, examples, display.show)
    evaluation = NamesEvaluation(
        weights=weights.name,
        judged=tuple(judge(classifier.head, vectors, examples, by, rule) for rule in RULES),
        in_turn=None if card is None else card.in_turn,
        at_random=None if card is None else card.at_random,
        mistakes=_mistakes(classifier, vectors, examples),
        notes=tuple(_notes(weights, card, drawn, unknown)),
    )
    sys.stdout.write(json.dumps(msgspec.to_builtins(evaluation)) + "\n")
    if page is not None:
        painter = SpecimenPainter(library)
        tiles = [Tile(painter.source(one.key), _told(one)) for one in evaluation.mistakes]
        write_html(page, "names.html.j2", evaluation=evaluation, tiles=tiles)
    return evaluation


def _mistakes(
    classifier: Classifier, vectors: NDArray[np.float16], examples: Sequence[Example]
) -> tuple[MistakenName, ...]:
    """Give the mistakes of which the classifier was surest."""
    probabilities = classifier.head.probabilities(vectors)
    best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    named = [classifier.head.taxa[column] for column in best]
    wrong = [row for row, one in enumerate(examples) if named[row] != one.taxon]
    return tuple(
        MistakenName(key=examples[row].key, true=examples[row].taxon, named=named[row], probability=float(sure[row]))
        for row in sorted(wrong, key=lambda row: -sure[row])[:MISTAKES]
    )


def _require_new(weights: Path, card: NamesCard, library: Library, examples: Sequence[Example]) -> None:
    """Refuse to judge by what taught, as far as the card and the recorded splits of the library tell."""
    if card.examples_sha256 == sha256_of_examples(examples):
        raise Refused(f"{weights} learnt from just these specimens; judge it by others, with --split")
    for name, split in recorded_splits(library.folder).items():
        if split.sha256 != card.split_sha256:
            continue
        taught = {library.entries[key].sha256 for key in split.keys["learn"] if key in library.entries}
        both = sum(one.sha256 in taught for one in examples)
        if both:
            raise Refused(
                f"{weights} learnt from {both} of these {counted(len(examples), 'specimen')}; judge it by others, with "
                f"--split {library.folder / SPLITS / name}.json"
            )


def _notes(weights: Path, card: NamesCard | None, split: LibrarySplit | None, unknown: int) -> Iterator[str]:
    if card is None:
        yield f"{weights} has no card beside it, so it cannot be told what it learnt from"
    elif split is not None and card.split_sha256 != split.sha256:
        yield "the classifier was learnt by another split than the one that judges; what judges may have taught it"
    elif split is None:
        yield "all of the library judges; nothing of it may have taught the classifier"
    if unknown:
        yield f"{counted(unknown, 'specimen is', 'specimens are')} of taxa that it does not know, and never right"


def _told(one: MistakenName) -> str:
    return f"{one.true}, called {one.named} ({one.probability:.2f}): {one.key.rpartition('/')[2]}"


def _line(one: NamesFigures) -> str:
    balanced = "-" if one.balanced is None else f"{one.balanced:.3f}"
    return (
        f"{one.judged_by}: accuracy {one.accuracy:.3f}, balanced {balanced}, calibration error "
        f"{one.calibration_error:.3f}, of {counted(one.objects, 'specimen')}"
    )
