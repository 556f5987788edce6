"""Names of a field's objects, from their crops, behind a fence: what goes wrong leaves them unnamed, and is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import full_scale
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.features import Features
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import NAMED, ObjectRow
from daemon.system import crash_points
from daemon.system.errors import last_line
from inference.classification.answers import UNSURE, TaxonAnswer
from inference.classification.encoder_file import require_for_stacks
from inference.classification.head import Head, Rule, check_taxa, load_head
from inference.classification.specimens import SpecimenStack
from inference.errors import InferenceError, SpecimenRefused
from inference.settings import ClassifierSettings

if TYPE_CHECKING:
    from inference.classification.classifier import Classifier, NamedSpecimen

Pixels = NDArray[np.uint16]
_log = logging.getLogger(__name__)
_UNNAMED = dict.fromkeys(NAMED)
BITS = 16
"""Of a camera that says nothing of its bits."""


class HeadRecorded(TypedDict):
    """What is kept of a classifier, once for all that it names: sha256 of head and encoder, and its library."""

    named_by: str
    encoder: str
    reference: str


class FieldNames(NamedTuple):
    """Objects of a field with their names.

    Attributes
    ----------
    rows
        in their order.
    features
        of those that were looked at; None where none was.
    fault
        why some have no name; empty where all have, or none is wanted.
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

    def of(self, answer: TaxonAnswer) -> dict[str, str | float | None]:
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
    """Names the objects of one field after another; without a classifier it leaves them as they are."""

    def __init__(
        self,
        classifier: Classifier | None = None,
        words: Words | None = None,
        rule: Rule = "plain",
        fault: str = "",
    ) -> None:
        self._classifier = classifier
        self._words = words or Words(None, "")
        self._rule = rule
        self.fault = fault

    @classmethod
    def open(cls, settings: ClassifierSettings | None, taxonomy: Taxonomy | None, threads: int) -> Naming:
        """Load a classifier; one that cannot be loaded, or is of other taxa, gives no names, and `fault` says why.

        Parameters
        ----------
        settings
            None: no names are wanted.
        taxonomy
            of the night; None: the classifier's own identifiers are said.
        threads
            of the processor.
        """
        if settings is None:
            return cls()
        # The supervisor imports this module and must load neither onnxruntime nor torch.
        from inference.classification.classifier import Classifier

        try:
            classifier = Classifier.open(settings.path, threads)
            if taxonomy is not None:
                check_taxa(classifier.head, taxonomy.identifiers)
        except (InferenceError, OSError, RuntimeError) as error:
            _log.exception("the classifier cannot be loaded")
            return cls(fault=str(error))
        return cls(classifier, Words(taxonomy, classifier.head.sha256), settings.rule)

    def only(self, named_by: str) -> Naming:
        """Give no names where the classifier is another one than that which a night began with."""
        if self.named_by in ("", named_by):
            return self
        return Naming(
            fault=f"the classifier is {self.named_by[:12]}, and the night began with {named_by[:12] or 'none'}; "
            "put that one back"
        )

    @property
    def named_by(self) -> str:
        """Sha256 of the classifier that gives names; empty where none does."""
        return self._words.named_by

    def name(
        self,
        rows: tuple[ObjectRow, ...],
        crops: Sequence[Pixels],
        provenance: FieldProvenance,
        begins: Callable[[], None] = lambda: None,
    ) -> FieldNames:
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
            return FieldNames(unnamed, fault=self.fault)
        begins()
        try:
            crash_points.reach("naming", provenance.slide, provenance.field)
            return self._named(unnamed, crops, provenance, self._classifier)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the field stands
            _log.exception("objects cannot be named", extra={"slide": provenance.slide, "field": provenance.field})
            return FieldNames(unnamed, fault=last_line(error))

    def _named(
        self, rows: tuple[ObjectRow, ...], crops: Sequence[Pixels], provenance: FieldProvenance, classifier: Classifier
    ) -> FieldNames:
        answered = name_objects(classifier, rows, crops, provenance, self._rule)
        vectors = {
            row.number: one.features for row, one in zip(rows, answered, strict=True) if one.features is not None
        }
        named = tuple(
            row if one.answer is None else replace(row, **self._words.of(one.answer))
            for row, one in zip(rows, answered, strict=True)
        )
        features = (
            Features(classifier.encoder_sha256, tuple(vectors), np.stack(list(vectors.values()))) if vectors else None
        )
        return FieldNames(named, features, next((one.fault for one in answered if one.fault is not None), ""))


def recorded(head: Head | None) -> HeadRecorded:
    """Give what the records of a night, or of a later naming, keep of a classifier."""
    if head is None:
        return {"named_by": "", "encoder": "", "reference": ""}
    reference = "" if head.reference is None else head.reference.to_text()
    return {"named_by": head.sha256, "encoder": head.encoder_sha256, "reference": reference}


def fitting_head(settings: ClassifierSettings, taxonomy: Taxonomy | None) -> Head:
    """Give the head of a classifier that names the objects of nights.

    Raises
    ------
    WeightsRefused
        It cannot be read, looks at pictures, or speaks of taxa that the taxonomy does not have.
    """
    head = load_head(settings.path)
    require_for_stacks(settings.path)
    if taxonomy is not None:
        check_taxa(head, taxonomy.identifiers)
    return head


def told_nameless(why: str) -> str:
    """Say that objects get no names, and what becomes of them."""
    return f"{why}; objects without a name are counted as such, and `lamelle classify` names them later"


def name_objects(
    classifier: Classifier,
    rows: Sequence[ObjectRow],
    crops: Sequence[Pixels],
    provenance: FieldProvenance,
    rule: Rule = "plain",
) -> list[NamedSpecimen]:
    """Name objects of a field from their crops; one that cannot be looked at is told, and costs no other its name."""
    # As the classifier itself.
    from inference.classification.classifier import NamedSpecimen

    seen = [_specimen_of(row, crop, provenance) for row, crop in zip(rows, crops, strict=True)]
    named = iter(classifier.name([one for one in seen if isinstance(one, SpecimenStack)], rule))
    return [next(named) if isinstance(one, SpecimenStack) else NamedSpecimen(None, None, one) for one in seen]


def _specimen_of(row: ObjectRow, crop: Pixels, provenance: FieldProvenance) -> SpecimenStack | str:
    """Give what a classifier looks at of an object: its crop, where it is shown best; or say why there is none."""
    planes = row.display_plane, row.focus_plane, row.best_plane
    try:
        return SpecimenStack(
            stack=crop,
            states=provenance.polarizations,
            pixel_um=provenance.pixel_um,
            step_um=provenance.step_um,
            focus_plane=next(plane for plane in planes if plane is not None),
            length_um=row.length_um,
            width_um=row.width_um,
            white_dn=full_scale(provenance.bits or BITS),
        )
    except SpecimenRefused as error:
        return str(error)
