"""The detector as an ONNX file for one size of views: exported once, kept in the user's cache, with what it must find.

What is kept is found by everything it depends on: weights, size, batch, the code of the graph and the versions of torch
and torchvision. Beside the model lie views and what torch's own network found in them, so that whatever runs the model
later can be tried against them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

import msgspec
import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path
from torchvision.models.detection import FasterRCNN

from inference.errors import RuntimeRefused
from inference.merging import Detections
from inference.static_graph import Detected, StaticDetector
from inference.weights_file import Weights

SAMPLE = "sample.safetensors"
MODEL, REFERENCE, SUMS = "model.onnx", "reference.safetensors", "sha256.json"
OPSET = 20
_log = logging.getLogger(__name__)
_GRAPH = Path(__file__).with_name("static_graph.py")


@dataclass(frozen=True)
class OnnxModel:
    """An exported detector.

    Attributes
    ----------
    path : of the ONNX file. Input `views`, float32 (batch, 3, height, width); outputs as `static_graph.Detected`.
    """

    path: Path
    batch: int

    def reference(self) -> tuple[NDArray[np.float32], Detections]:
        """Give views (1, 3, height, width), and what is to be found in them."""
        kept = safetensors.numpy.load_file(self.path.with_name(REFERENCE))
        return kept["views"].astype(np.float32), Detections(
            kept["boxes"], kept["scores"], kept["labels"], np.zeros(len(kept["scores"]), np.int64)
        )


def onnx_model(
    network: FasterRCNN, weights: Weights, size: tuple[int, int], batch: int, kept_in: Path | None = None
) -> OnnxModel:
    """Give the model of a network, exported first if it is not kept or was changed; half a minute then.

    Parameters
    ----------
    network : on the CPU, with these weights. size : height, width of the views.
    kept_in : folder of all models, instead of the user's cache.

    Raises
    ------
    RuntimeRefused
        It cannot be exported, or not be kept.
    """
    root = user_cache_path("lamelle") / "detectors" if kept_in is None else kept_in
    folder = root / _key(weights, size, batch)
    try:
        _keep(network, size, batch, folder)
    except (OSError, torch.onnx.OnnxExporterError) as error:
        raise RuntimeRefused(
            f"the detector's model cannot be made or kept in {str(root)!r} ({error}); make the folder writable, with "
            "200 MB free"
        ) from error
    return OnnxModel(folder / MODEL, batch)


def _keep(network: FasterRCNN, size: tuple[int, int], batch: int, folder: Path) -> None:
    """Export into a folder, unless a whole model lies there."""
    if folder.is_dir() and not _is_whole(folder):
        _log.warning("the detector's model in %s was changed by somebody; it is made again", folder)
        shutil.rmtree(folder)
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        _export(network, size, batch, beside / MODEL)
        _refer(network, size, beside / REFERENCE)
        (beside / SUMS).write_bytes(msgspec.json.encode(_sums(beside)))
        for path in beside.iterdir():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        beside.rename(folder)
    except OSError:
        # Another process may have been faster.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        return bool(msgspec.json.decode((folder / SUMS).read_bytes()) == _sums(folder))
    except (OSError, msgspec.DecodeError):
        return False


def _sums(folder: Path) -> dict[str, str]:
    """Compute the sha256 of model and reference."""
    sums = {}
    for name in (MODEL, REFERENCE):
        with (folder / name).open("rb") as stream:
            sums[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return sums


def _key(weights: Weights, size: tuple[int, int], batch: int) -> str:
    versions = [version(name) for name in ("torch", "torchvision", "onnx", "onnxscript")]
    digest = hashlib.blake2b(digest_size=8)
    for part in (weights.sha256, *map(str, (*size, batch, OPSET)), *versions, _GRAPH.read_text("utf-8")):
        digest.update(part.encode() + b"\0")
    return f"{size[0]}x{size[1]}-{digest.hexdigest()}"


def _export(network: FasterRCNN, size: tuple[int, int], batch: int, path: Path) -> None:
    detector = StaticDetector(network, size, batch).eval()
    with torch.no_grad():
        torch.onnx.export(
            detector,
            (torch.zeros(batch, 3, *size),),
            path,
            input_names=["views"],
            output_names=list(Detected._fields),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _refer(network: FasterRCNN, size: tuple[int, int], path: Path) -> None:
    """Lay the shipped sample over the whole view, again and again, and keep what the network finds there."""
    with as_file(files("inference") / "weights" / SAMPLE) as shipped:
        sample = safetensors.torch.load_file(shipped)["views"]
    height, width = size
    views = sample.repeat(1, 1, -(-height // sample.shape[2]), -(-width // sample.shape[3]))[:, :, :height, :width]
    with torch.no_grad():
        (found,) = network([views[0].float()])
    kept = {"views": views.contiguous(), **{name: values.contiguous() for name, values in found.items()}}
    safetensors.torch.save_file(kept, path)
