"""An encoder as a file holds it, known without torch: which network, how it looks, its tensors, its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from inference.classification.head import Head, digest, reading
from inference.classification.sight import BESIDE, ClassifierSight
from inference.errors import WeightsRefused

Network = Literal["lite0", "small"]
KIND = "lamelle encoder"


@dataclass(frozen=True, eq=False)
class EncoderFile:
    """An encoder's tensors, with what must be known to use them.

    Attributes
    ----------
    tensors
        by the names of `encoder.Encoder`.
    """

    network: Network
    sight: ClassifierSight
    tensors: Mapping[str, NDArray[np.generic]]

    @cached_property
    def sha256(self) -> str:
        """Hex, of all that decides what a vector is; features are named by it."""
        said = json.dumps({"network": self.network, "sight": asdict(self.sight)}, sort_keys=True)
        return digest({**self.tensors, said: np.zeros(0)})

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.tensors["projection"].shape[1]) + len(BESIDE)


def holds_encoder(path: Path) -> bool:
    """Whether an encoder lies in a classifier's file, or a head alone; see `load_encoder` for errors."""
    with reading(path), safetensors.safe_open(path, framework="np") as archive:
        return (archive.metadata() or {}).get("encoder") == KIND


def to_bytes(encoder: EncoderFile, head: Head) -> bytes:
    """Safetensors of a classifier: its encoder and its head."""
    tensors = {f"encoder.{name}": np.asarray(value) for name, value in encoder.tensors.items()} | head.tensors()
    described = {
        "encoder": KIND,
        "network": encoder.network,
        "sight": json.dumps(asdict(encoder.sight)),
        **head.metadata(),
    }
    return safetensors.numpy.save(tensors, described)


def require_for_stacks(path: Path) -> None:
    """Refuse a classifier that looks at pictures alone: an object of a night is a stack. A head alone is not refused.

    Raises
    ------
    WeightsRefused
        It looks at pictures; see `load_encoder` for others.
    """
    if holds_encoder(path) and load_encoder(path).sight.kind == "picture":
        raise WeightsRefused(
            f"classifier {str(path)!r} looks at pictures, and the objects of a night are stacks; name one that learnt "
            "from stacks"
        )


def load_encoder(path: Path) -> EncoderFile:
    """Read the encoder of a classifier's file.

    Raises
    ------
    WeightsRefused
        There is none in it, it is damaged, or it holds what are no numbers.
    """
    with reading(path) as named, safetensors.safe_open(path, framework="np") as archive:
        said: dict[str, str] = archive.metadata() or {}
        if said.get("encoder") != KIND:
            what = "a head alone" if "head" in said else "no classifier"
            raise WeightsRefused(f"{named} holds {what}; name a file that lamelle made as a classifier")
        tensors = {
            name.removeprefix("encoder."): archive.get_tensor(name)
            for name in archive.keys()  # noqa: SIM118 - an archive is no mapping
            if name.startswith("encoder.")
        }
        sight = json.loads(said["sight"])
        sight["offsets_um"] = tuple(sight["offsets_um"])
        if said["network"] not in ("lite0", "small"):
            raise WeightsRefused(
                f"{named} is of network {said['network']!r}, which this lamelle does not know; update it"
            )
        network: Network = "lite0" if said["network"] == "lite0" else "small"
        encoder = EncoderFile(network, ClassifierSight(**sight), tensors)
        if encoder.sha256 != said["encoder_sha256"]:
            raise WeightsRefused(f"{named} is damaged: its encoder is not the one it was written with; fetch it again")
    strange = next((name for name, value in tensors.items() if not np.isfinite(value).all()), None)
    if strange is not None:
        raise WeightsRefused(f"{named} holds values that are not numbers, in {strange}; train it again")
    return encoder
