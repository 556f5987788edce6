"""Names of a field's objects, from their crops, behind a fence: what goes wrong leaves them unnamed, and is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from inference.classification.answers import UNSURE, Answer
from inference.classification.specimens import Specimen
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import full_scale
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.features import Features
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import NAMED, ObjectRow
from daemon.system import crash_points
from daemon.system.errors import last_line
from inference.errors import InferenceError

if TYPE_CHECKING:
    from inference.classification.classifier import Classifier

Pixels = NDArray[np.uint16]
_log = logging.getLogger(__name__)
_UNNAMED = dict.fromkeys(NAMED)
BITS = 16
"""Of a camera that says nothing of its bits."""


class Named(NamedTuple):
    """Objects of a field with their names.

    Attributes
    ----------
    rows
        in their order.
    features
        of those that were looked at; None where none was.
    fault
        why objects have no names; empty where all have.
    """

    rows: tuple[ObjectRow, ...]
    features: Features | None = None
    fault: str = ""


@dataclass(frozen=True)
class Words:
    """What a classifier's answers are in the words of a taxonomy.

    Attributes
    ----------
    taxonomy
        None: the classifier's own.
    named_by
        sha256 of the head that answers.
    """

    taxonomy: Taxonomy | None
    named_by: str

    def of(self, answer: Answer) -> dict[str, str | float | None]:
        """Give the columns that an answer becomes: nothing finer than light microscopy tells."""
        return {
            "taxon": self._said(answer.taxon),
            "taxon_probability": answer.probability,
            "runner_up": self._said(answer.runner_up),
            "named_by": self.named_by,
        }

    def _said(self, taxon: str) -> str:
        if self.taxonomy is None or taxon == UNSURE:
            return taxon
        return self.taxonomy.answer(taxon).identifier


class Naming:
    """Names the objects of one field after another.

    Parameters
    ----------
    open_classifier
        loads it; None where objects get no names. What it raises, or a field, leaves objects unnamed.
    taxonomy
        of the night; None: the classifier's own identifiers are said.
    """

    def __init__(self, open_classifier: Callable[[], Classifier] | None, taxonomy: Taxonomy | None) -> None:
        self._classifier: Classifier | None = None
        self._taxonomy = taxonomy
        self.fault = ""
        if open_classifier is not None:
            try:
                self._classifier = open_classifier()
            except (InferenceError, OSError, RuntimeError) as error:
                _log.exception("the classifier cannot be loaded")
                self.fault = last_line(error)

    @property
    def named_by(self) -> str:
        """Sha256 of the classifier that gives names; empty where none does."""
        return "" if self._classifier is None else self._classifier.sha256

    def name(
        self,
        rows: Sequence[ObjectRow],
        crops: Sequence[Pixels],
        provenance: FieldProvenance,
        begins: Callable[[], None] = lambda: None,
    ) -> Named:
        """Name the objects of a field; what they were called before is forgotten.

        Parameters
        ----------
        crops
            uint16 CZYX, one of each row.
        begins
            called before the first look at a crop.
        """
        unnamed = tuple(replace(row, **_UNNAMED) for row in rows)
        if self._classifier is None or not rows:
            return Named(unnamed, fault=self.fault if rows else "")
        begins()
        crash_points.reach("naming", provenance.slide, provenance.field)
        try:
            return self._named(unnamed, crops, provenance, self._classifier)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the field stands
            _log.exception("objects cannot be named", extra={"slide": provenance.slide, "field": provenance.field})
            return Named(unnamed, fault=last_line(error))

    def _named(
        self, rows: tuple[ObjectRow, ...], crops: Sequence[Pixels], provenance: FieldProvenance, classifier: Classifier
    ) -> Named:
        specimens = [specimen_of(row, crop, provenance) for row, crop in zip(rows, crops, strict=True)]
        vectors = classifier.features(specimens)
        words = Words(self._taxonomy, classifier.sha256)
        answers = classifier.head.answers(vectors)
        features = Features(classifier.encoder_sha256, tuple(row.number for row in rows), vectors)
        named = tuple(replace(row, **words.of(answer)) for row, answer in zip(rows, answers, strict=True))
        return Named(named, features)


def specimen_of(row: ObjectRow, crop: Pixels, provenance: FieldProvenance) -> Specimen:
    """Give what a classifier looks at of an object: its crop (uint16 CZYX), its focus and its size."""
    plane = row.best_plane if row.focus_plane is None else row.focus_plane
    return Specimen(
        stack=crop,
        states=provenance.polarizations,
        pixel_um=provenance.pixel_um,
        step_um=provenance.step_um,
        focus_plane=plane,
        length_um=row.length_um,
        width_um=row.width_um,
        white_dn=full_scale(provenance.bits or BITS),
    )
