"""An encoder in onnxruntime: exported once, kept in the user's cache, and tried against torch before it is used."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from inference.classification.encoder_file import EncoderFile
from inference.classification.sight import BESIDE, Floats
from inference.errors import InferenceError, RuntimeRefused
from inference.runtimes.cache import cabinet, keep, source_of

MODEL, REFERENCE = "model.onnx", "reference.safetensors"
OPSET = 20
EXPORTERS = "torch", "onnx", "onnxscript"
_MADE_BY = tuple(f"inference.classification.{name}" for name in ("encoder", "lite0", "small"))
TRIED = 8
"""Views that are looked at by torch and by onnxruntime."""
LARGEST_ERROR = 0.01
"""Of a number of a vector, whose spread over examples is about 1."""


class Encodes(Protocol):
    """Makes vectors float32 (N, F) of views (N, channels, side, side) and numbers beside them (N, 4)."""

    name: str

    def encode(self, views: Floats, beside: Floats) -> Floats:
        """Make them."""


class TorchEncoder:
    """The encoder in torch; what others are measured by."""

    def __init__(self, file: EncoderFile, threads: int) -> None:
        # It takes seconds to be imported, and a night whose model is kept does without.
        import torch

        from inference.classification.encoder import from_file

        torch.set_num_threads(threads)
        self.name = "torch"
        self._encoder = from_file(file)

    def encode(self, views: Floats, beside: Floats) -> Floats:
        """Give vectors (N, F)."""
        import torch

        with torch.inference_mode():
            return np.asarray(self._encoder(torch.from_numpy(views), torch.from_numpy(beside)).numpy())


class OnnxEncoder:
    """The exported encoder as a session of onnxruntime.

    Raises
    ------
    RuntimeRefused
        It cannot be exported, kept or loaded, or does not give what torch gives.
    """

    def __init__(self, file: EncoderFile, threads: int, kept_in: Path | None = None) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        self.name = "onnxruntime"
        folder = exported(file, kept_in)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait by turning round take the time of what looks at the next objects.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                folder / MODEL, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:
            raise RuntimeRefused(f"onnxruntime cannot load {str(folder / MODEL)!r} ({error}); delete it") from error
        kept = safetensors.numpy.load_file(folder / REFERENCE)
        wrong = float(np.abs(self.encode(kept["views"], kept["beside"]) - kept["features"]).max())
        if not wrong <= LARGEST_ERROR:
            raise RuntimeRefused(
                f"onnxruntime's vectors differ from torch's by {wrong:.3f}, more than {LARGEST_ERROR}; it is not used"
            )

    def encode(self, views: Floats, beside: Floats) -> Floats:
        """Give vectors (N, F)."""
        (features,) = self._session.run(None, {"views": views, "beside": beside})
        return np.asarray(features)


def open_encoder(file: EncoderFile, threads: int, kept_in: Path | None = None) -> tuple[Encodes, str | None]:
    """Open what makes vectors fastest and right, and why that is not onnxruntime where it is not.

    Parameters
    ----------
    kept_in
        folder of exported models, instead of the user's cache.
    """
    try:
        return OnnxEncoder(file, threads, kept_in), None
    except ImportError as error:
        reason = f"onnxruntime is not installed ({error})"
    except InferenceError as error:
        reason = str(error)
    return TorchEncoder(file, threads), reason


def exported(file: EncoderFile, kept_in: Path | None = None) -> Path:
    """Folder of an encoder's model and of what it must give, made first if it is not kept.

    Raises
    ------
    RuntimeRefused
        It cannot be exported, or not be kept.
    """
    root = cabinet("encoders", kept_in)
    made_of = [file.sha256, *(version(name) for name in EXPORTERS), str(OPSET), *map(source_of, _MADE_BY)]
    folder = root / hashlib.blake2b("\0".join(made_of).encode(), digest_size=8).hexdigest()

    def make(beside: Path) -> None:
        export(file, beside / MODEL)
        views, numbers = reference_views(file)
        features = TorchEncoder(file, 1).encode(views, numbers)
        safetensors.numpy.save_file({"views": views, "beside": numbers, "features": features}, beside / REFERENCE)

    try:
        keep(folder, make)
    except OSError as error:
        raise RuntimeRefused(
            f"the classifier's model cannot be kept in {str(root)!r} ({error}); make the folder writable"
        ) from error
    return folder


def reference_views(file: EncoderFile) -> tuple[Floats, NDArray[np.float32]]:
    """Make views of coarse noise, the same ones each time, with numbers beside them like those of examples."""
    random = np.random.default_rng(0)
    side = file.sight.side_px
    coarse = random.normal(0, 0.5, (TRIED, file.sight.channels, -(-side // 8), -(-side // 8))).astype(np.float32)
    views = np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3)[..., :side, :side]
    mean, spread = (np.asarray(file.tensors[name], np.float32) for name in ("beside_mean", "beside_spread"))
    return np.ascontiguousarray(views), random.normal(size=(TRIED, len(BESIDE))).astype(np.float32) * spread + mean


def export(file: EncoderFile, path: Path) -> None:
    """Write the ONNX file of an encoder: inputs `views`, `beside`, output `features`, any number at once.

    Raises
    ------
    RuntimeRefused
        It cannot be exported.
    """
    import torch

    from inference.classification.encoder import from_file

    side, channels = file.sight.side_px, file.sight.channels
    inputs = torch.zeros(2, channels, side, side), torch.zeros(2, len(BESIDE))
    many = torch.export.Dim.DYNAMIC
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                from_file(file),
                inputs,
                input_names=["views", "beside"],
                output_names=["features"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: many}, {0: many}),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RuntimeRefused(f"the classifier's model cannot be exported ({error}); torch runs it instead") from error
    assert program is not None
    program.model.metadata_props.update({"encoder_sha256": file.sha256, "beside": json.dumps(BESIDE)})
    program.save(path, external_data=False)
