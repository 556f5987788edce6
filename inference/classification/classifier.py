"""Names specimens: the way from a crop's stack to a taxon, with the vector that is kept of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.classification.answers import TaxonAnswer
from inference.classification.encoder_file import EncoderFile, load_encoder
from inference.classification.head import Head, Rule, load_head
from inference.classification.onnx_encoder import Encodes, open_encoder
from inference.classification.reference import finite
from inference.classification.sight import SeenSpecimen, look
from inference.classification.specimens import SpecimenStack
from inference.errors import SpecimenRefused

AT_ONCE = 16
GREATEST = float(np.finfo(np.float16).max)
NO_NUMBERS = "what the encoder says of it is no number"
Vector = NDArray[np.float16]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NamedSpecimen:
    """What became of one specimen.

    Attributes
    ----------
    answer
        None where it could not be looked at.
    features
        its vector; None there too.
    fault
        why not, in a sentence.
    """

    answer: TaxonAnswer | None
    features: Vector | None
    fault: str | None = None


class Classifier:
    """An encoder and a head, ready for specimens.

    Parameters
    ----------
    head
        another one than the encoder was learnt with.
    threads
        of the processor.
    kept_in
        folder of exported models, instead of the user's cache.

    Attributes
    ----------
    not_fastest
        why onnxruntime does not run it, where it does not.

    Raises
    ------
    WeightsRefused
        The head is for another encoder, or the encoder's tensors are not its network's.
    """

    def __init__(self, encoder: EncoderFile, head: Head, threads: int = 1, kept_in: Path | None = None) -> None:
        head.check(encoder.sha256)
        self.head = head
        self.sight = encoder.sight
        self.encoder_sha256 = encoder.sha256
        opened: tuple[Encodes, str | None] = open_encoder(encoder, threads, kept_in)
        self._encodes = opened[0]
        self.not_fastest = opened[1]

    @classmethod
    def open(cls, path: Path, threads: int = 1, kept_in: Path | None = None) -> Classifier:
        """Open a classifier's file.

        Raises
        ------
        WeightsRefused
            It is none, or is damaged.
        """
        return cls(load_encoder(path), load_head(path), threads, kept_in)

    @property
    def runtime(self) -> str:
        """What runs the encoder."""
        return self._encodes.name

    def name(self, specimens: Sequence[SpecimenStack], rule: Rule = "plain") -> list[NamedSpecimen]:
        """Name specimens; one that cannot be looked at is told, and keeps no other from its name."""
        looks, faults = zip(*(self._fenced(one) for one in specimens), strict=True) if specimens else ((), ())
        seen = [one for one in looks if one is not None]
        vectors = self.features_of(seen)
        whole = finite(vectors)
        answers = iter(self.head.answers(vectors[whole], rule))
        named = iter(
            NamedSpecimen(next(answers), vector) if known else NamedSpecimen(None, None, NO_NUMBERS)
            for vector, known in zip(vectors, whole, strict=True)
        )
        return [next(named) if fault is None else NamedSpecimen(None, None, fault) for fault in faults]

    def features_of(self, looks: Sequence[SeenSpecimen]) -> Vector:
        """Give the vectors (N, F) of what was seen, as they are kept."""
        vectors = [np.zeros((0, self.width), np.float16)]
        for first in range(0, len(looks), AT_ONCE):
            some = looks[first : first + AT_ONCE]
            views, beside = np.stack([one.view for one in some]), np.stack([one.beside for one in some])
            # Names given from kept vectors must be those given at once: both are of what float16 holds.
            vectors.append(self._encodes.encode(views, beside).clip(-GREATEST, GREATEST).astype(np.float16))
        return np.concatenate(vectors)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return len(self.head.weights)

    def _fenced(self, specimen: SpecimenStack) -> tuple[SeenSpecimen | None, str | None]:
        try:
            return look(specimen, self.sight), None
        except SpecimenRefused as error:
            return None, str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the others are named
            _log.exception("a specimen cannot be looked at")
            return None, f"{type(error).__name__}: {error}"
