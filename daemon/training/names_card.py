"""The card of a classifier: what it learnt from, and how good it is on what it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from daemon.system.errors import Refused
from inference.classification.figures import NamesFigures
from inference.classifier_training.few_labels import FewLabels

By = Literal["sample", "slide", "day"]


class NamesCard(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a classifier; lies beside it as JSON, and as Markdown for people.

    Attributes
    ----------
    learnt
        examples of each taxon that it names.
    not_known
        examples of each taxon that had too few of them.
    examples_sha256
        of keys, pixels and taxa of what taught.
    judged_sha256
        of those of what judged.
    split_by
        what is never on both sides.
    split_sha256
        of the recorded split, where there was one.
    held_out
        figures of what judged: of the most probable names, and as if all taxa were equally common; none where nothing
        was held out.
    in_turn
        figures of what taught, by heads that had not seen their group.
    at_random
        the same by heads that had seen all but a fifth drawn at random: what lies between is what that flatters by.
    few_labels
        figures with fewer labels, of what judged.
    ordinary
        mini-slides by which others are measured as unlike the library; none where what judged did that.
    started_from
        sha256 of the encoder whose network it went on from; None where it learnt from nothing.
    """

    weights: str
    sha256: str
    encoder_sha256: str
    head_sha256: str
    network: str
    sight: dict[str, object]
    learnt: dict[str, int]
    not_known: dict[str, int]
    parents: dict[str, str | None]
    source: str
    examples_sha256: str
    judged_sha256: str
    split_by: By
    split_sha256: str | None
    temperature: float
    threshold: float
    strength: float
    seed: int
    command: str
    seconds: float
    utc: float
    versions: dict[str, str]
    losses: tuple[tuple[int, float], ...]
    judged: tuple[tuple[int, float], ...]
    held_out: tuple[NamesFigures, ...]
    in_turn: NamesFigures
    at_random: NamesFigures
    few_labels: tuple[FewLabels, ...]
    started_from: str | None = None
    ordinary: tuple[str, ...] = ()


def card_of(weights: Path) -> NamesCard | None:
    """Read the card beside a classifier; None where there is none.

    Raises
    ------
    Refused
        It cannot be read.
    """
    path = weights.with_suffix(".json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=NamesCard)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise Refused(f"the card {path} cannot be read ({error}); put back the one that was written") from error


def markdown(card: NamesCard) -> str:
    """Write a card for people."""
    versions = ", ".join(f"{name} {number}" for name, number in card.versions.items())
    best = max(card.held_out[:1] or (card.in_turn,), key=lambda one: one.objects)
    made_of = (
        f"Classifier of {len(card.learnt)} taxa; encoder `{card.encoder_sha256[:12]}` ({card.network}, "
        f"{card.sight['kind']}), head `{card.head_sha256[:12]}`. sha256 `{card.sha256}`."
    )
    learnt = (
        f"Learnt from {sum(card.learnt.values())} specimens of {card.source}, apart by {card.split_by}. Made with "
        f"`{card.command}`: seed {card.seed}, {card.seconds / 60:.0f} min, {versions}."
    )
    honest = (
        f"Probabilities divided by a temperature of {card.temperature:.2f}; what is less probable than "
        f"{card.threshold:.2f} is said of a group, or is unsure."
    )
    if card.started_from is not None:
        learnt += (
            f" Its network went on from that of encoder `{card.started_from[:12]}`, and knew what had taught that."
        )
    if card.ordinary:
        honest += f" Mini-slides are measured by {len(card.ordinary)} ordinary ones."
    too_few = ", ".join(f"{taxon} ({n})" for taxon, n in sorted(card.not_known.items())) or "nothing"
    lines = [
        f"# {card.weights}",
        "",
        made_of,
        "",
        learnt,
        "",
        honest,
        "",
        f"Not known, for too few specimens: {too_few}.",
        "",
        "| judged by | objects | accuracy | balanced | macro-F1 | calibration error | Bray-Curtis |",
        "|---|---|---|---|---|---|---|",
        *(_figures(one) for one in (*card.held_out, card.in_turn, card.at_random)),
        "",
        f"A random split flatters by {card.at_random.accuracy - card.in_turn.accuracy:+.3f} in accuracy.",
        "",
        f"Each taxon, {best.judged_by}:",
        "",
        "| taxon | learnt from | judged by | precision | recall | F1 |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.taxon} | {card.learnt.get(one.taxon, 0)} | {one.n} | {_share(one.precision, one.precision_interval)} "
        f"| {_share(one.recall, one.recall_interval)} | {_share(one.f1, one.f1_interval)} |"
        for one in best.taxa
    ]
    if card.few_labels:
        lines += ["", "| labels a taxon | accuracy | balanced |", "|---|---|---|"]
        lines += [f"| {few.labels} | {few.accuracy:.3f} | {_share(few.balanced, None)} |" for few in card.few_labels]
    return "\n".join(lines) + "\n"


def _figures(one: NamesFigures) -> str:
    return (
        f"| {one.judged_by} | {one.objects} | {_share(one.accuracy, one.accuracy_interval)} "
        f"| {_share(one.balanced, one.balanced_interval)} | {_share(one.macro_f1, one.macro_f1_interval)} "
        f"| {one.calibration_error:.3f} | {one.bray_curtis:.3f} |"
    )


def _share(value: float | None, interval: tuple[float, float] | None) -> str:
    told = "-" if value is None else f"{value:.3f}"
    return told if interval is None else f"{told} ({interval[0]:.3f} to {interval[1]:.3f})"
