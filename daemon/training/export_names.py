"""A classifier for other programs: what stands behind `lamelle export-names`."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from daemon.system.durable_files import make_folder, refusing, replacing
from daemon.system.errors import Refused
from daemon.training.names_card import NamesCard
from inference.classification.encoder_file import load_encoder
from inference.classification.head import load_head
from inference.classification.miso import INFO, MODEL, information, write_model


def export_names(classifier: Path, into: Path) -> Path:
    """Write the folder of a classifier in the laboratory's format (MISO); its card beside it gives counts and figures.

    Raises
    ------
    Refused
        There is no card beside it, or the folder cannot be written.
    RuntimeRefused
        The classifier is for stacks, or learnt with sizes.
    WeightsRefused
        It is no classifier.
    """
    encoder, head = load_encoder(classifier), load_head(classifier)
    card = read_card(classifier)
    judged = (*card.held_out, card.in_turn)[0]
    day = datetime.datetime.fromtimestamp(card.utc, datetime.UTC).date()
    figures = {one.taxon: one for one in judged.taxa}
    with refusing(into):
        make_folder(into.resolve())
        beside = into / f".{MODEL}.part"
        try:
            write_model(beside, encoder, head)
            with replacing(into / MODEL) as stream:
                stream.write(beside.read_bytes())
        finally:
            beside.unlink(missing_ok=True)
        with replacing(into / INFO) as stream:
            stream.write(information(encoder, head, classifier.stem, card.learnt, figures, card.source, day))
    return into


def read_card(classifier: Path) -> NamesCard:
    """Read the card that lies beside a classifier.

    Raises
    ------
    Refused
        There is none, or it is another's.
    """
    path = classifier.with_suffix(".json")
    try:
        card = msgspec.json.decode(path.read_bytes(), type=NamesCard)
    except (OSError, msgspec.DecodeError) as error:
        raise Refused(f"the card {str(path)!r} cannot be read ({error}); lay it beside its classifier again") from error
    if card.head_sha256 != load_head(classifier).sha256:
        raise Refused(f"the card {str(path)!r} is of another classifier; lay its own beside {classifier.name!r}")
    return card
