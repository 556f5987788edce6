"""The detector as an ONNX file for one size of views: exported once, kept in the user's cache, with what it must find.

What is kept is found by everything it depends on: weights, size, batch, precision, the code of the graph and the
versions of torch and torchvision. Beside the model lie views and what torch's own network found in them, so that
whatever runs the model later can be tried against them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import RuntimeRefused
from inference.network.trained import Trained
from inference.runtimes.cache import cabinet, keep, source_of
from inference.runtimes.reference import Reference

if TYPE_CHECKING:
    from inference.network.detected import Precision

MODEL, REFERENCE = "model.onnx", "reference.safetensors"
OPSET = 20
EXPORTERS = "torch", "torchvision", "onnx", "onnxscript"
_MADE_BY = tuple(f"inference.network.{name}" for name in ("static_graph", "detected", "folding", "winograd"))
"""Modules that decide what a graph is like; looked up, not imported, as torch and torchvision take seconds."""


@dataclass(frozen=True)
class Form:
    """What a graph is made for.

    Attributes
    ----------
    size
        height, width of the views, px.
    batch
        views at once.
    precision
        of convolutions and products.
    winograd
        whether large convolutions are done with fewer multiplications: for processors, in fp32 only.
    """

    size: tuple[int, int]
    batch: int = 1
    precision: Precision = "fp32"
    winograd: bool = False

    def __str__(self) -> str:
        by = ", for processors" if self.winograd else ""
        return f"{self.size[0]}x{self.size[1]}, batch {self.batch}, {self.precision}{by}"


@dataclass(frozen=True)
class OnnxModel:
    """An exported detector.

    Attributes
    ----------
    path
        of the ONNX file. Input `views`, float32 (batch, 3, height, width); outputs as `static_graph.Detected`.
    weights_sha256
        hex, of the weights that it was made of.
    """

    path: Path
    form: Form
    weights_sha256: str

    def reference(self) -> Reference:
        """Give views and what is to be found in them."""
        return Reference.load(self.path.with_name(REFERENCE))


def onnx_model(trained: Trained, form: Form, kept_in: Path | None = None) -> OnnxModel:
    """Give the model of a network, exported first if it is not kept or was changed; half a minute then.

    Parameters
    ----------
    trained
        its network on the CPU.
    kept_in
        folder instead of the user's cache.

    Raises
    ------
    RuntimeRefused
        It cannot be exported, or not be kept.
    """
    described = describe(trained, form)
    root = cabinet("detectors", kept_in)
    folder = root / _key(described, form)

    def make(beside: Path) -> None:
        _export(trained, form, described, beside / MODEL)
        Reference.of(trained.network, form.size).save(beside / REFERENCE)

    try:
        keep(folder, make)
    except OSError as error:
        raise RuntimeRefused(
            f"the detector's model cannot be kept in {str(root)!r} ({error}); make the folder writable, with "
            "500 MB free"
        ) from error
    return OnnxModel(folder / MODEL, form, trained.weights.sha256)


def describe(trained: Trained, form: Form) -> dict[str, str]:
    """Metadata of an exported model; classes and versions are JSON."""
    return {
        "weights_sha256": trained.weights.sha256,
        "architecture": trained.architecture,
        "classes": json.dumps(trained.classes),
        "size": f"{form.size[0]}x{form.size[1]}",
        "batch": str(form.batch),
        "precision": form.precision,
        "winograd": json.dumps(form.winograd),
        "versions": json.dumps({name: version(name) for name in ("lamelle", *EXPORTERS)}),
    }


def _key(described: dict[str, str], form: Form) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in (*described.values(), str(OPSET), *map(source_of, _MADE_BY)):
        digest.update(part.encode() + b"\0")
    height, width = form.size
    return f"{height}x{width}-{digest.hexdigest()}"


def _export(trained: Trained, form: Form, described: dict[str, str], path: Path) -> None:
    # Where a model is kept nothing of torch is imported.
    import torch

    from inference.network.detected import Detected
    from inference.network.static_graph import StaticDetector

    detector = StaticDetector(trained.network, form.size, form.batch, form.precision, winograd=form.winograd)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                detector.eval(),
                (torch.zeros(form.batch, 3, *form.size),),
                input_names=["views"],
                output_names=list(Detected._fields),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RuntimeRefused(
            f"the detector's model cannot be exported ({error}); set detector.runtime to 'torch'"
        ) from error
    assert program is not None
    program.model.metadata_props.update(described)
    program.save(path, external_data=False)
