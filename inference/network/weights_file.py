"""Weights on disk, as far as they are known without torch: where they lie, their hash, what they were trained for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Literal

import numpy as np
import safetensors

from inference.errors import WeightsRefused

SHIPPED = "slim.safetensors"
PUBLISHED = (".pth", ".pt")
"""Endings of files as torchvision publishes them; read without running anything in them."""
HEADER_SIZE = Struct("<Q")
CLASS_LAYER = "roi_heads.box_predictor.cls_score.weight"
DIGEST = "sha256"
"""Of the tensors' bytes, in the header: safetensors has no checksum of its own."""


@dataclass(frozen=True)
class Weights:
    """A weights file: where it lies and the sha256 (hex) of its bytes."""

    path: Path
    sha256: str


def find_weights(weights: Path | Literal["slim"]) -> Weights:
    """Locate a weights file, or the shipped one.

    Raises
    ------
    WeightsRefused
        There is no such file.
    """
    if weights == "slim":
        with as_file(files("inference") / "weights" / SHIPPED) as shipped:
            path = shipped
    else:
        path = Path(weights)
    if not path.is_file():
        raise WeightsRefused(f"detector.weights {str(path)!r} is not a file; name a .safetensors file or 'slim'")
    with path.open("rb") as stream:
        return Weights(path, hashlib.file_digest(stream, "sha256").hexdigest())


def digest_tensors(stream: BinaryIO) -> str:
    """Sha256 (hex) of all that follows the header of safetensors."""
    stream.seek(HEADER_SIZE.size + HEADER_SIZE.unpack(stream.read(HEADER_SIZE.size))[0])
    return hashlib.sha256(stream.read()).hexdigest()


def check_weights(path: Path, architecture: str, classes: Sequence[str]) -> dict[str, str]:
    """Refuse damaged weights, those that are no numbers, and those of another architecture or other classes.

    Returns
    -------
    What the file's header says.

    Raises
    ------
    WeightsRefused
        With both values and the remedy.
    """
    metadata, trained = _header(path)
    if DIGEST in metadata:
        with path.open("rb") as stream:
            if digest_tensors(stream) != metadata[DIGEST]:
                raise WeightsRefused(
                    f"detector.weights {str(path)!r} is damaged: its tensors are not those it was written with; "
                    "fetch it again"
                )
    if (name := _without_numbers(path)) is not None:
        raise WeightsRefused(
            f"detector.weights {str(path)!r} holds values that are not numbers, in {name}; train them again"
        )
    named = _named(metadata)
    if trained != len(classes) or (named and named != tuple(classes)):
        found = ", ".join(named) if named else "unnamed ones"
        raise WeightsRefused(
            f"detector.classes has {len(classes)} ({', '.join(classes)}) but the weights {str(path)!r} were trained "
            f"for {trained} ({found}); set detector.classes (--class) to these or name other weights"
        )
    if metadata.get("architecture", architecture) != architecture:
        raise WeightsRefused(
            f"detector.architecture is {architecture!r} but the weights {str(path)!r} are of "
            f"{metadata['architecture']!r}; set detector.architecture to it or name other weights"
        )
    return metadata


def classes_of(path: Path, assumed: Sequence[str]) -> tuple[str, ...]:
    """Name the classes that some weights were trained for.

    Parameters
    ----------
    assumed
        names for weights whose file gives none, where they are for as many; else they have numbers.

    Raises
    ------
    WeightsRefused
        It holds no weights of a detector.
    """
    metadata, trained = _header(path)
    numbers = map(str, range(1, trained + 1))
    return _named(metadata) or tuple(assumed if len(assumed) == trained else numbers)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Read what a file says of itself, and for how many classes its last layer is."""
    try:
        with safetensors.safe_open(path, framework="np") as archive:
            metadata: dict[str, str] = archive.metadata() or {}
            if CLASS_LAYER not in archive.keys():  # noqa: SIM118 - an archive is no mapping
                raise WeightsRefused(
                    f"detector.weights {str(path)!r} holds no {CLASS_LAYER}; name a detector's weights"
                )
            trained = archive.get_slice(CLASS_LAYER).get_shape()[0] - 1
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsRefused(
            f"detector.weights {str(path)!r} is not a safetensors file ({error}); name a detector's weights"
        ) from error
    return metadata, trained


def _named(metadata: dict[str, str]) -> tuple[str, ...]:
    return tuple(json.loads(metadata.get("classes", "[]")))


def _without_numbers(path: Path) -> str | None:
    """Name the first tensor that holds an infinity or what is no number."""
    with safetensors.safe_open(path, framework="np") as archive:
        for name in archive.keys():  # noqa: SIM118 - an archive is no mapping
            # Numpy knows no bfloat16, and whole numbers are numbers.
            if (
                archive.get_slice(name).get_dtype() in ("F16", "F32")
                and not np.isfinite(archive.get_tensor(name)).all()
            ):
                return str(name)
    return None
