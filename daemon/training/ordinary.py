"""What is ordinary: nights that a person looked through tell a classifier how far mini-slides may lie from its library.

Which taxa are common, how objects lie and are cut, and how much mini-slides differ is otherwise known from the library
alone, whose groups are seldom as nature's: specimens one by one, as many of each taxon. Only kept features are read, so
neither crops nor torch are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console

from daemon.counts.unlike import vectors_of
from daemon.dataset.features import KeptFeatures, Vectors
from daemon.dataset.reader import Dataset
from daemon.places.nights import look_through
from daemon.records.records import NightStarted
from daemon.system.durable_files import replacing, sha256_of
from daemon.system.errors import Refused
from daemon.training.card_files import refuse_strangers, write_card_files
from daemon.training.lock import only_training
from daemon.training.names_card import card_of, markdown
from inference.classification.encoder_file import holds_encoder, load_encoder, to_bytes
from inference.classification.head import Head, load_head
from inference.classification.reference import FEWEST, GROUPS, JudgedTogether, LibraryReference, finite
from inference.wording import counted


@dataclass(frozen=True)
class Ordinary:
    """What nights tell of what is ordinary.

    Attributes
    ----------
    slides
        mini-slides that told, each with what would have been said of it by the others.
    too_few
        mini-slides with too few objects to tell anything.
    notes
        nights that were left out, a sentence each.
    """

    slides: dict[str, JudgedTogether | None]
    too_few: tuple[str, ...]
    notes: tuple[str, ...]


def learn_ordinary(weights: Path, places: Sequence[Path], into: Path, command: str) -> Ordinary:
    """Write a classifier that says the same names, and measures mini-slides by those of ordinary nights.

    Parameters
    ----------
    weights
        of the classifier, or a head alone; its card is taken along where it has one.
    places
        datasets, run folders, or folders that hold some; objects that do not count are left out.

    Raises
    ------
    Refused
        There are too few mini-slides, or objects; the file is the classifier's own, or its card would replace others.
    WeightsRefused
        It cannot be read, or does not keep what its library looked like.
    """
    if into.resolve() == weights.resolve():
        raise Refused(f"{into} is the classifier itself; name another file with --into")
    refuse_strangers(into)
    head = load_head(weights)
    known = head.reference
    if known is None:
        raise Refused(f"{weights} does not keep what its library looked like; train it again")
    found: dict[str, Vectors] = {}

    def look(dataset: Dataset, started: NightStarted) -> None:
        here = _slides(dataset, started, head)
        if not here:
            raise Refused(
                f"{dataset.folder} keeps no features of encoder {head.encoder_sha256[:12]}; `lamelle classify` with "
                "this classifier makes them"
            )
        found.update(here)

    seen = look_through(places, look)
    telling = {name: vectors for name, vectors in found.items() if finite(vectors).sum() >= FEWEST}
    if len(telling) < GROUPS:
        raise Refused(
            f"{counted(len(telling), 'mini-slide has', 'mini-slides have')} {FEWEST} objects or more, and {GROUPS} are "
            "needed; name more nights"
        )
    reference = _of(known, telling)
    said = {name: _of(known, telling, without=name).judge(vectors) for name, vectors in telling.items()}
    _write(weights, into, head.with_reference(reference), tuple(sorted(telling)), command)
    return Ordinary(said, tuple(sorted({*found} - {*telling})), seen.notes)


def _slides(dataset: Dataset, started: NightStarted, head: Head) -> dict[str, Vectors]:
    kept = KeptFeatures(dataset.folder, head.encoder_sha256)
    vectors = {held.slide: vectors_of(dataset, held.slide, kept) for held in dataset.slides()}
    return {f"{started.night}/slide-{slide}": of_it for slide, of_it in vectors.items() if len(of_it)}


def _of(known: LibraryReference, slides: dict[str, Vectors], without: str = "") -> LibraryReference:
    others = {name: vectors for name, vectors in slides.items() if name != without}
    groups = [name for name, vectors in others.items() for _ in vectors]
    return known.judged_by(np.concatenate(list(others.values())), groups)


def _write(weights: Path, into: Path, head: Head, slides: tuple[str, ...], command: str) -> None:
    card = card_of(weights)
    with only_training(into):
        with replacing(into) as stream:
            stream.write(to_bytes(load_encoder(weights), head) if holds_encoder(weights) else head.to_bytes())
        if card is not None:
            told = {"sha256": sha256_of(into), "head_sha256": head.sha256, "weights": into.name}
            further = f"{card.command}; {command}"
            card = msgspec.structs.replace(card, **told, command=further, ordinary=slides)
            write_card_files(card, markdown(card), into)


def show(ordinary: Ordinary, into: Path, console: Console) -> None:
    """Print what was learnt, and which of the mini-slides are unlike the others."""
    for note in ordinary.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    odd = {name: said for name, said in ordinary.slides.items() if said is not None and said.odd}
    for name, said in odd.items():
        told = (
            f"note: {name} is unlike the others, {said.times:.0f} times as much as usual; look whether it is ordinary"
        )
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    for count, what in (
        (len(ordinary.too_few), f"nothing, with fewer than {FEWEST} objects"),
        (len(ordinary.slides), f"what is ordinary; classifier in {into}"),
    ):
        if count:
            line = f"{counted(count, 'mini-slide tells', 'mini-slides tell')} {what}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
