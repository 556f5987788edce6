"""Make a classifier from labelled specimens, and say how good it is: its file, its card and a page with curves."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from daemon.system.durable_files import replacing, sha256_of
from daemon.system.errors import Refused
from daemon.training.card_files import refuse_strangers, write_card_files
from daemon.training.lock import only_training
from daemon.training.names_card import By, NamesCard, markdown
from daemon.training.training_page import TrainingCurve, write_training_page
from inference.classification.classifier import Classifier
from inference.classification.encoder_file import to_bytes
from inference.classification.figures import JudgedNames, NamesFigures, figures
from inference.classification.head import Head, Rule
from inference.classification.reference import finite
from inference.classification.sight import look
from inference.classification.specimens import Example
from inference.classifier_training.few_labels import LABELS, FewLabels, with_few_labels
from inference.classifier_training.fitting import Fitted, fit
from inference.classifier_training.learning import Learnt, learn
from inference.classifier_training.settings import LearningSettings
from inference.training.checkpoint import History
from inference.training.train import Progress, Report
from inference.wording import counted

Vectors = NDArray[np.float16]
RULES: tuple[Rule, ...] = ("plain", "even")
VERSIONS = "lamelle", "torch", "numpy", "scipy", "opencv-python-headless"
FEWEST_JUDGED = 5
"""Objects of a taxon from which on it counts for means over taxa."""
_AT_ONCE = 16


def train_names(
    learning: Sequence[Example],
    judging: Sequence[Example],
    into: Path,
    settings: LearningSettings,
    parents: Mapping[str, str | None],
    by: By,
    source: str,
    command: str,
    report: Report,
    split_sha256: str | None = None,
    print_line: Callable[[str], None] | None = None,
) -> NamesCard:
    """Learn from labelled specimens; write the classifier to `into`, its card and a page with curves beside it.

    Parameters
    ----------
    learning
        what teaches.
    judging
        what only judges; may be empty.
    by
        what is held out as a whole.
    source
        what the examples are from, in words, for the card.

    Raises
    ------
    Refused
        Something would both teach and judge; the card would be written over a file that is none; another training
        writes `into`.
    SpecimenRefused
        Fewer than two taxa can be learnt, or an example cannot be looked at.
    WeightsRefused
        There are no published weights for the network, or the checkpoint beside is of another training.
    """
    refuse_strangers(into)
    _refuse_leaks(learning, judging, by)
    start = time.monotonic()
    with only_training(into):
        follower = _DiskFollower(into, settings, learning, print_line)
        groups = _groups(learning, by)
        learnt, history = learn(learning, groups, settings, parents, report, follower, follower.kept, source)
        vectors = np.zeros((0, learnt.encoder.width), np.float16)
        if judging:
            vectors = vectors_of(Classifier(learnt.encoder, learnt.fitted.head, settings.threads), judging, report)
        learnt = _with_reference(learnt, vectors, _groups(judging, by))
        head = learnt.fitted.head
        with replacing(into) as stream:
            stream.write(to_bytes(learnt.encoder, head))
        card = NamesCard(
            weights=into.name,
            sha256=sha256_of(into),
            encoder_sha256=learnt.encoder.sha256,
            head_sha256=head.sha256,
            network=settings.network,
            sight=asdict(learnt.encoder.sight),
            learnt=_counts(learning, head),
            not_known=dict(head.not_known),
            parents=dict(parents),
            source=source,
            examples_sha256=sha256_of_examples(learning),
            judged_sha256=sha256_of_examples(judging),
            split_by=by,
            split_sha256=split_sha256,
            temperature=head.temperature,
            threshold=head.threshold,
            strength=learnt.fitted.strength,
            seed=settings.seed,
            command=command,
            utc=time.time(),
            versions={name: version(name) for name in VERSIONS},
            losses=tuple(history.losses),
            judged=tuple(history.judged),
            started_from=None if settings.start is None else settings.start.sha256,
            **_judgements(learnt, learning, judging, vectors, settings, by),
            seconds=time.monotonic() - start,
        )
        write_card_files(card, markdown(card), into)
        follower.finish(history)
        return card


def _counts(learning: Sequence[Example], head: Head) -> dict[str, int]:
    counts = Counter(one.taxon for one in learning)
    return {taxon: counts[taxon] for taxon in head.taxa}


class _Judgements(TypedDict):
    held_out: tuple[NamesFigures, ...]
    in_turn: NamesFigures
    at_random: NamesFigures
    few_labels: tuple[FewLabels, ...]


def _judgements(
    learnt: Learnt,
    learning: Sequence[Example],
    judging: Sequence[Example],
    vectors: Vectors,
    settings: LearningSettings,
    by: By,
) -> _Judgements:
    """Judge what was learnt: by what did not teach, each group in turn, at random, and with few labels."""
    head, taxa = learnt.fitted.head, [one.taxon for one in learning]
    random = fit(learnt.features, taxa, [one.key for one in learning], head.parents, "", settings.fewest)
    return {
        "held_out": tuple(judge(head, vectors, judging, by, rule) for rule in RULES) if judging else (),
        "in_turn": _held_in_turn(learnt.fitted, learning, by, f"each {by} in turn"),
        "at_random": _held_in_turn(random, learning, by, "at random"),
        "few_labels": _few_labels(learnt, learning, judging, vectors, by) if judging else (),
    }


def _with_reference(learnt: Learnt, vectors: Vectors, groups: Sequence[str]) -> Learnt:
    """Let what taught nothing say how far from the library others lie, where it is enough.

    A network that learnt to see from these very examples sees them better than any others.
    """
    head = learnt.fitted.head
    judged = head.reference.judged_by(vectors, groups) if head.reference is not None and finite(vectors).any() else None
    if judged is None or not judged.judges:
        return learnt
    return replace(learnt, fitted=replace(learnt.fitted, head=head.with_reference(judged)))


def judge(head: Head, vectors: Vectors, examples: Sequence[Example], by: By, rule: Rule) -> NamesFigures:
    """Judge the most probable names of vectors by what the examples are."""
    return _judged(head.taxa, head.probabilities(vectors, rule), examples, by, f"each {by} new, {rule}")


def vectors_of(classifier: Classifier, examples: Sequence[Example], report: Report) -> Vectors:
    """Give what a classifier sees of examples, float16 (N, F); there must be some."""
    show = Progress.reporter("judging", report)
    vectors = []
    for first in range(0, len(examples), _AT_ONCE):
        some = examples[first : first + _AT_ONCE]
        vectors.append(classifier.features_of([look(one.read(), classifier.sight) for one in some]))
        show(first + len(some), len(examples))
    return np.concatenate(vectors)


def sha256_of_examples(examples: Sequence[Example]) -> str:
    """Hex, of which pictures there are and what each is called."""
    said = sorted((one.key, one.sha256, one.taxon) for one in examples)
    return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()


def _judged(
    taxa: Sequence[str], probabilities: NDArray[np.float32], examples: Sequence[Example], by: By, judged_by: str
) -> NamesFigures:
    named = [taxa[best] for best in probabilities.argmax(axis=1)]
    samples = [one.sample for one in examples]
    true = [one.taxon for one in examples]
    return figures(
        JudgedNames(true, named, probabilities.max(axis=1), _groups(examples, by), samples), judged_by, FEWEST_JUDGED
    )


def _held_in_turn(fitted: Fitted, examples: Sequence[Example], by: By, judged_by: str) -> NamesFigures:
    """Judge by what taught, as heads said of it that had not seen it."""
    return _judged(fitted.head.taxa, fitted.held_out, examples, by, judged_by)


def _groups(examples: Sequence[Example], by: By) -> list[str]:
    return [str(getattr(one, by)) for one in examples]


def _refuse_leaks(learning: Sequence[Example], judging: Sequence[Example], by: By) -> None:
    for what in (by, "sha256", "key"):
        both = {getattr(one, what) for one in learning} & {getattr(one, what) for one in judging}
        if both:
            raise Refused(f"{what} {min(both)!r} is both in what teaches and in what judges; draw the split again")


def _few_labels(
    learnt: Learnt, learning: Sequence[Example], judging: Sequence[Example], vectors: Vectors, by: By
) -> tuple[FewLabels, ...]:
    rows = [row for row, one in enumerate(learning) if one.taxon in learnt.fitted.head.taxa]
    some = [learning[row] for row in rows]
    taxa, true = [one.taxon for one in some], [one.taxon for one in judging]
    features, groups = learnt.features[rows], _groups(some, by)
    return tuple(with_few_labels(features, taxa, groups, vectors, true, labels, FEWEST_JUDGED) for labels in LABELS)


class _DiskFollower:
    """Keeps the checkpoint of a training on disk, whole or not at all, and its page."""

    def __init__(
        self,
        into: Path,
        settings: LearningSettings,
        learning: Sequence[Example],
        print_line: Callable[[str], None] | None,
    ) -> None:
        self._into, self._print_line = into, print_line
        self.kept = into.with_suffix(".checkpoint")
        steps = max(1, settings.epochs * len(learning) // settings.batch)
        seen = counted(len(learning), "specimen"), f"a share of {settings.held_out:.0%} of them, in whole groups"
        self._curve = TrainingCurve(settings.network, settings.seed, steps, *seen, "probability of what is right")

    def checkpoint(self, content: bytes) -> None:
        with replacing(self.kept) as stream:
            stream.write(content)

    def judged(self, history: History) -> None:
        write_training_page(self._into, history, self._curve, going_on=True)
        if self._print_line is not None and history.judged:
            step, probability = history.judged[-1]
            best = ", the best so far" if history.judgements_since_best() == 0 else ""
            self._print_line(f"step {step}: probability of what is right {probability:.3f}{best}")

    def finish(self, history: History) -> None:
        if history.judged:
            write_training_page(self._into, history, self._curve, going_on=False)
        self.kept.unlink(missing_ok=True)
