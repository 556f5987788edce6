"""From a feature vector to probabilities of taxa: a linear layer that belongs to one encoder. No torch.

A better head renames every object whose vector was kept, with no image left.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from inference.classification.answers import TaxonAnswer, Tree
from inference.classification.reference import LibraryReference
from inference.errors import WeightsRefused

Floats = NDArray[np.float32]
Rule = Literal["plain", "even"]
"""How probabilities become names: as what was learnt from was composed, or as if all taxa were equally common."""
KIND = "lamelle head"
_WHOLE = "head_sha256"
"""Key of a head's own hash in files; those of earlier versions have that of its arrays alone."""
_TENSORS = ("weights", "bias", "share")


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer over taxa, with what turns its outputs into honest probabilities.

    Attributes
    ----------
    taxa
        identifiers, in the order of the columns.
    parents
        of each taxon and of all above it the one above.
    not_known
        taxa that were in the library with too few objects to be learnt, and how many.
    encoder_sha256
        of the encoder whose vectors it is for.
    weights
        float32 (F, K).
    bias
        float32 (K,).
    temperature
        what outputs are divided by, so that probabilities of objects not learnt from are right as often as they say
        (Guo 2017, arXiv 1706.04599).
    share
        float32 (K,), of each taxon among what it learnt from.
    threshold
        least probability of what is said; lower ones are said of a genus or group, or are unsure.
    reference
        what the library looked like as a whole; None of heads of earlier versions.
    """

    taxa: tuple[str, ...]
    parents: Mapping[str, str | None]
    not_known: Mapping[str, int]
    encoder_sha256: str
    weights: Floats
    bias: Floats
    temperature: float
    share: Floats
    threshold: float
    reference: LibraryReference | None = None

    @cached_property
    def sha256(self) -> str:
        """Hex, of all that decides what is said of vectors, `reference` too; names are known by it."""
        return hashlib.sha256(json.dumps(self.described(), sort_keys=True).encode()).hexdigest()

    def outputs(self, features: NDArray[np.floating]) -> Floats:
        """Give the logarithms of probabilities (N, K), up to a constant of each row, of vectors (N, F).

        Raises
        ------
        WeightsRefused
            The vectors are of another length than those of the encoder.
        """
        if features.ndim != 2 or features.shape[1] != len(self.weights):
            raise WeightsRefused(
                f"features of shape {features.shape} are none of this head's encoder, whose vectors have "
                f"{len(self.weights)} numbers; make them with encoder {self.encoder_sha256[:12]}"
            )
        return np.asarray((np.asarray(features, np.float32) @ self.weights + self.bias) / np.float32(self.temperature))

    def probabilities(self, features: NDArray[np.floating], rule: Rule = "plain") -> Floats:
        """Give probabilities (N, K) of vectors (N, F).

        Parameters
        ----------
        rule
            `even`: divided by the share of each taxon in what was learnt from, as if all were equally common there.
        """
        outputs = self.outputs(features)
        return softmax(outputs - np.log(self.share) if rule == "even" else outputs)

    def answers(self, features: NDArray[np.floating], rule: Rule = "plain") -> list[TaxonAnswer]:
        """Say what the objects of vectors (N, F) are."""
        return Tree(self.taxa, self.parents).answers(self.probabilities(features, rule), self.threshold)

    def with_reference(self, reference: LibraryReference) -> Head:
        """Give the same head with another reference."""
        return replace(self, reference=reference)

    def with_threshold(self, threshold: float) -> Head:
        """Give the same head with another threshold."""
        return replace(self, threshold=threshold)

    def tensors(self) -> dict[str, Floats]:
        """Arrays of a head by their names in files."""
        return {f"head.{name}": np.asarray(getattr(self, name), np.float32) for name in _TENSORS}

    def described(self) -> dict[str, str]:
        """Give what a head is, as texts; its arrays by their digest."""
        return {
            "head": KIND,
            "encoder_sha256": self.encoder_sha256,
            "taxa": json.dumps(self.taxa),
            "parents": json.dumps(dict(self.parents)),
            "not_known": json.dumps(dict(self.not_known)),
            "temperature": repr(self.temperature),
            "threshold": repr(self.threshold),
            "sha256": digest(self.tensors()),
        } | ({} if self.reference is None else {"reference": self.reference.to_text()})

    def metadata(self) -> dict[str, str]:
        """Give what a file says of a head: what it is, and the hash of that."""
        return {**self.described(), _WHOLE: self.sha256}

    def to_bytes(self) -> bytes:
        """Safetensors of a head alone."""
        return safetensors.numpy.save(self.tensors(), self.metadata())

    def check(self, encoder_sha256: str) -> None:
        """Refuse vectors of another encoder.

        Raises
        ------
        WeightsRefused
            With both hashes and the remedy.
        """
        if encoder_sha256 != self.encoder_sha256:
            raise WeightsRefused(
                f"the head is for encoder {self.encoder_sha256[:12]}, but the features are of {encoder_sha256[:12]}; "
                "take a head that was learnt with that encoder, or make the features anew from the crops"
            )


@contextmanager
def reading(path: Path) -> Iterator[str]:
    """Give what a classifier's file is called, and refuse it where what is read of it is none.

    Raises
    ------
    WeightsRefused
        It cannot be read.
    """
    named = f"classifier {str(path)!r}"
    try:
        yield named
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightsRefused(f"{named} cannot be read ({error}); name a classifier's safetensors file") from error


def load_head(path: Path) -> Head:
    """Read the head of a file, whether an encoder lies in it too or not.

    Raises
    ------
    WeightsRefused
        There is none in it, it is damaged, or it holds what are no numbers.
    """
    with reading(path) as named, safetensors.safe_open(path, framework="np") as archive:
        said: dict[str, str] = archive.metadata() or {}
        if said.get("head") != KIND:
            raise WeightsRefused(f"{named} holds no head of a classifier; name a file that lamelle made as one")
        arrays = {name: np.asarray(archive.get_tensor(f"head.{name}"), np.float32) for name in _TENSORS}
        taxa = tuple(json.loads(said["taxa"]))
        head = Head(
            taxa=taxa,
            parents=dict(json.loads(said["parents"]).items()),
            not_known=dict(json.loads(said["not_known"]).items()),
            encoder_sha256=said["encoder_sha256"],
            temperature=float(said["temperature"]),
            threshold=float(said["threshold"]),
            reference=LibraryReference.from_text(said.get("reference", "")),
            **arrays,
        )
    if digest(head.tensors()) != said.get("sha256") or said.get(_WHOLE, head.sha256) != head.sha256:
        raise WeightsRefused(f"{named} is damaged: its head is not the one it was written with; fetch it again")
    if not all(np.isfinite(values).all() for values in arrays.values()) or not (
        math.isfinite(head.temperature) and head.temperature > 0
    ):
        raise WeightsRefused(f"{named} holds values that are not numbers; train it again")
    if head.weights.ndim != 2 or not len(taxa) == head.weights.shape[1] == len(head.bias) == len(head.share) > 0:
        raise WeightsRefused(f"{named} has weights of shape {head.weights.shape} for {len(taxa)} taxa; fetch it again")
    if head.reference is not None and len(head.reference.spread) != len(head.weights):
        raise WeightsRefused(f"{named} tells of a library whose vectors are of another length; train it again")
    return head


def check_taxa(head: Head, known: Sequence[str]) -> None:
    """Refuse a head that may say what a taxonomy does not have, be it a taxon that it learnt or one above it.

    Parameters
    ----------
    known
        identifiers of the taxonomy.

    Raises
    ------
    WeightsRefused
        With the first of them.
    """
    strange = sorted({*Tree(head.taxa, head.parents).nodes} - {*known})
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise WeightsRefused(
            f"the classifier names taxon {strange[0]!r}{more}, which the taxonomy does not have; name the taxonomy "
            "that it was trained with, or train it again"
        )


def softmax(outputs: NDArray[np.floating]) -> Floats:
    """Probabilities of outputs, along the last axis."""
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


def digest(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """Sha256 (hex) of arrays with their names, types and shapes, in the order of their names."""
    summed = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        summed.update(f"{name} {values.dtype.str} {values.shape}\0".encode())
        summed.update(values.tobytes())
    return summed.hexdigest()
