"""Which mini-slides look unlike all that the classifier learnt from, by the features that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.features import KeptFeatures, Vectors, encoder_of_the_night
from daemon.dataset.later_tables import Given, TableOrigin, later_tables, named_with
from daemon.dataset.reader import Dataset
from daemon.records.records import FieldSecured
from daemon.system.errors import DamagedFile
from inference.classification.reference import FEWEST, GROUPS, JudgedTogether, LibraryReference, finite
from inference.errors import WeightsRefused
from inference.wording import counted


@dataclass(frozen=True)
class Unlike:
    """What is said of the objects of each mini-slide together.

    Attributes
    ----------
    slides
        by number, those that can be judged.
    without
        why mini-slides cannot be judged, a clause; empty where all are that have enough objects.
    not_numbers
        how many objects are left out, as their features hold values that are not numbers.
    """

    slides: dict[int, JudgedTogether]
    without: str = ""
    not_numbers: int = 0


class NamedFrom(NamedTuple):
    """What names rest on: sha256 of the encoder of the features, and what the library looked like, as a text."""

    encoder: str
    reference: str


def named_from(dataset: Dataset, named: TableOrigin) -> NamedFrom | None:
    """Say which encoder and library names rest on; None where no features are kept of the night's own.

    Parameters
    ----------
    named
        where the names come from.

    Raises
    ------
    DamagedFile
        A table cannot be read.
    """
    if named.number:
        later = named_with(later_tables(dataset.folder, Given.NAMED)[named.number][0])
        return NamedFrom(later.encoder, later.reference)
    started, encoder = dataset.night(), encoder_of_the_night(dataset)
    return NamedFrom(encoder, started.reference) if started is not None and encoder else None


def unlike(dataset: Dataset, named: TableOrigin) -> Unlike:
    """Judge the mini-slides of a night; objects that do not count are left out.

    Parameters
    ----------
    named
        where the names come from: that classifier's library is what they are compared with.
    """
    try:
        known = named_from(dataset, named)
        if known is None:
            return Unlike({}, "no features of their objects are kept")
        reference = LibraryReference.from_text(known.reference)
        if reference is None:
            return Unlike(
                {}, "an earlier version trained the classifier, and did not keep what its library looked like"
            )
        if not reference.judges:
            known_groups = counted(reference.groups, "group")
            return Unlike({}, f"its library has {known_groups} of {FEWEST} objects or more, and {GROUPS} are needed")
        kept = KeptFeatures(dataset.folder, known.encoder)
        judged, not_numbers = {}, 0
        for held in dataset.slides():
            vectors = vectors_of(dataset, held.slide, kept)
            judged[held.slide] = reference.judge(vectors)
            not_numbers += int((~finite(vectors)).sum())
    except (DamagedFile, WeightsRefused) as error:  # the night is reported all the same
        return Unlike({}, str(error))
    return Unlike({slide: one for slide, one in judged.items() if one is not None}, not_numbers=not_numbers)


def vectors_of(dataset: Dataset, slide: int, kept: KeptFeatures) -> Vectors:
    """Give the features of a mini-slide's objects that count, (N, F)."""
    found, exclusions = [], standing_exclusions(dataset)
    for one in dataset.fields(slide):
        if not isinstance(one, FieldSecured) or not exclusions.counted(slide, one.field):
            continue
        if numbers := {row.number for row in one.objects if row.counted}:
            found += [vector for number, vector in kept.of(one).items() if number in numbers]
    return np.stack(found) if found else np.zeros((0, 0), np.float16)
