"""TensorRT's engines: built of an ONNX file, and kept in the user's cache.

TensorRT for RTX builds ahead of time, on any computer, for the graphics cards of several generations; TensorRT builds
on the card that will run the engine. Either may be installed; both are used through the same few calls.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import torch

from inference.errors import RuntimeRefused
from inference.network.detected import Precision
from inference.runtimes.cache import cabinet, is_whole, keep
from inference.runtimes.onnx_model import OnnxModel

LIBRARIES = ("tensorrt_rtx", "tensorrt")
AHEAD_OF_TIME = "compute capability 8.0, 8.6, 8.9, 12.0"
"""What TensorRT for RTX builds for when it is not told."""
ENGINE, CARD = "engine.plan", "engine.json"


class EngineCard(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is of, as it is kept beside it; size in px, `built_s` is how long it took."""

    weights_sha256: str
    size: tuple[int, int]
    batch: int
    precision: Precision
    library: str
    version: str
    gpu: str
    built_s: float


@dataclass(frozen=True)
class Engine:
    """A serialized engine on disk. Its inputs and outputs are those of the ONNX file it was built of."""

    path: Path
    card: EngineCard

    def sha256(self) -> str:
        """Hex sha256 of its bytes."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def library() -> ModuleType:
    """Import TensorRT for RTX, or else TensorRT.

    Raises
    ------
    RuntimeRefused
        Neither is installed, or it cannot be loaded.
    """
    for name in LIBRARIES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as error:
            raise RuntimeRefused(f"{name} cannot be loaded ({error}); reinstall it") from error
    raise RuntimeRefused("neither TensorRT for RTX nor TensorRT is installed; 'pip install lamelle[rtx]'")


def engine(model: OnnxModel, kept_in: Path | None = None) -> Engine:
    """Give the engine of a model, built first if it is not kept or was changed; seconds then, or some ten.

    Parameters
    ----------
    kept_in
        folder instead of the user's cache.

    Raises
    ------
    RuntimeRefused
        No library is installed, the model cannot be built, or the engine not be kept.
    """
    tensorrt = library()
    gpu = _built_for(tensorrt)
    root = cabinet("engines", kept_in)
    folder = root / _key(model, tensorrt, gpu)

    def make(beside: Path) -> None:
        begun = time.monotonic()
        (beside / ENGINE).write_bytes(build(model.path))
        card = EngineCard(
            weights_sha256=model.weights_sha256,
            size=model.form.size,
            batch=model.form.batch,
            precision=model.form.precision,
            library=tensorrt.__name__,
            version=tensorrt.__version__,
            gpu=gpu,
            built_s=round(time.monotonic() - begun, 1),
        )
        (beside / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))

    try:
        keep(folder, make)
        return _read(folder)
    except OSError as error:
        raise RuntimeRefused(
            f"an engine cannot be kept in {str(root)!r} ({error}); make the folder writable, with 200 MB free"
        ) from error


def kept_engines(kept_in: Path | None = None) -> Iterator[tuple[Engine, bool]]:
    """Every engine that is kept, and whether its files are as they were written."""
    for path in sorted(cabinet("engines", kept_in).glob(f"*/{CARD}")):
        yield _read(path.parent), is_whole(path.parent)


def build(onnx: Path) -> memoryview:
    """Build the serialized engine of an ONNX file, every tensor in the type that it has there.

    Raises
    ------
    RuntimeRefused
        It cannot be read, or not be built.
    """
    tensorrt = library()
    what, log = f"{tensorrt.__name__} {tensorrt.__version__}", logger(tensorrt)
    builder = tensorrt.Builder(log)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        said = parser.get_error(0).desc() if parser.num_errors else "it does not say why"
        raise RuntimeRefused(f"{what} cannot read {str(onnx)!r} ({said}); export it again with 'lamelle export'")
    log.errors.clear()
    serialized = builder.build_serialized_network(network, builder.create_builder_config())
    if serialized is None:
        raise RuntimeRefused(f"{what} cannot build {str(onnx)!r} ({log.reason()}); set detector.runtime to 'auto'")
    return memoryview(serialized)


def load(path: Path) -> Any:
    """Load a serialized engine onto the graphics card: an `ICudaEngine`, which needs its library to stay imported.

    Raises
    ------
    RuntimeRefused
        No library is installed, or it does not take the engine.
    """
    tensorrt = library()
    log = logger(tensorrt)
    runtime = tensorrt.Runtime(log)
    log.errors.clear()
    # Without a card, and of another version, it is None; nothing is raised.
    loaded = runtime.deserialize_cuda_engine(path.read_bytes())
    if loaded is None:
        raise RuntimeRefused(
            f"{tensorrt.__name__} {tensorrt.__version__} cannot load {str(path)!r} ({log.reason()}): an engine of "
            "another graphics card or version, or no card here; build it again with 'lamelle engine build'"
        )
    return loaded


@cache
def logger(tensorrt: ModuleType) -> Any:
    """Make the logger of a library, the same one for everything: it keeps the first that it is given."""

    class Errors(tensorrt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps the errors; the rest, tens of thousands of lines, is not worth a log."""

        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= tensorrt.ILogger.ERROR:
                self.errors.append(message)

        def reason(self) -> str:
            return self.errors[0] if self.errors else "it does not say why"

    return Errors()


def _built_for(tensorrt: ModuleType) -> str:
    """Graphics cards that an engine built here and now runs on."""
    if tensorrt.__name__ == "tensorrt_rtx":
        return AHEAD_OF_TIME
    if not torch.cuda.is_available():
        raise RuntimeRefused(
            "TensorRT builds engines on the graphics card that will run them, and none answers here; build there, or "
            "'pip install lamelle[rtx]'"
        )
    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()}, compute capability {major}.{minor}"


def _key(model: OnnxModel, tensorrt: ModuleType, gpu: str) -> str:
    """Name of an engine's folder: the model's, which stands for weights and form, and what else it depends on."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (model.path.parent.name, model.weights_sha256, str(model.form), tensorrt.__version__, gpu):
        digest.update(part.encode() + b"\0")
    height, width = model.form.size
    return f"{height}x{width}-{tensorrt.__name__}-{digest.hexdigest()}"


def _read(folder: Path) -> Engine:
    return Engine(folder / ENGINE, msgspec.json.decode((folder / CARD).read_bytes(), type=EngineCard))
