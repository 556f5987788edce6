"""Engines are built without a graphics card, kept, and refused where they cannot run."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("tensorrt_rtx", reason="there is no wheel of TensorRT for RTX for this platform")

from inference.errors import RuntimeRefused
from inference.network.network import build as build_network
from inference.network.trained import Trained
from inference.network.weights_file import Weights
from inference.runtimes.choice import RuntimeName, open_runtime
from inference.runtimes.engine_runtime import EngineRuntime
from inference.runtimes.engines import AHEAD_OF_TIME, Engine, build, engine, kept_engines, load
from inference.runtimes.onnx_model import Form, OnnxModel, onnx_model
from inference.runtimes.onnx_runtime import OnnxRuntime
from inference.runtimes.runtimes import check_runtime
from inference.runtimes.torch_runtime import TorchRuntime
from inference.settings import DetectorSettings

SLIM = Form((160, 192), precision="fp16")
LARGE = Form((128, 160), precision="fp16")


@pytest.fixture(scope="module")
def kept_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def slim() -> Trained:
    return Trained.of(DetectorSettings())


@pytest.fixture(scope="module")
def slim_model(slim: Trained, kept_in: Path) -> OnnxModel:
    exported = onnx_model(slim, SLIM).path.parent
    shutil.copytree(exported, kept_in / "detectors" / exported.name)
    return onnx_model(slim, SLIM, kept_in)


@pytest.fixture(scope="module")
def slim_engine(slim_model: OnnxModel, kept_in: Path) -> Engine:
    return engine(slim_model, kept_in)


def resnet50() -> Trained:
    """As large as a trained one; what it finds is nothing."""
    torch.manual_seed(1)
    return Trained(
        Weights(Path("fresh"), "f" * 64), "resnet50", ("fossil",), build_network("resnet50", ("fossil",)).eval
    )


def inspect(model: OnnxModel) -> dict[str, tuple[int, list[int]]]:
    graph = onnx.load(model.path).graph
    return {
        value.name: (value.type.tensor_type.elem_type, [d.dim_value for d in value.type.tensor_type.shape.dim])
        for value in (*graph.input, *graph.output)
    }


def test_a_graph_in_fp16_takes_and_gives_fp32(slim: Trained, slim_model: OnnxModel) -> None:
    number, whole, truth = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
    assert inspect(slim_model) == {
        "views": (number, [1, 3, 160, 192]),
        "boxes": (number, [1, 300, 4]),
        "scores": (number, [1, 300]),
        "labels": (whole, [1, 300]),
        "found": (whole, [1]),
        "converged": (truth, [1]),
    }
    model = onnx.load(slim_model.path)
    kinds = {weight.name: weight.data_type for weight in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 20
    assert {kinds[node.input[1]] for node in convolutions} == {onnx.TensorProto.FLOAT16}
    assert next(slim.network.parameters()).dtype == torch.float32, "the caller's network is left as it was"


def test_a_model_says_what_it_was_made_of(slim: Trained, slim_model: OnnxModel) -> None:
    said = {entry.key: entry.value for entry in onnx.load(slim_model.path).metadata_props}
    assert said["weights_sha256"] == slim.weights.sha256
    assert (said["architecture"], said["size"], said["batch"], said["precision"]) == ("slim", "160x192", "1", "fp16")
    assert tuple(json.loads(said["classes"])) == DetectorSettings().classes
    assert json.loads(said["versions"]).keys() >= {"lamelle", "torch", "torchvision", "onnx"}


def test_fp16_finds_what_torch_finds(slim: Trained, slim_model: OnnxModel) -> None:
    reference = slim_model.reference()
    runtime = OnnxRuntime(slim_model, partial(TorchRuntime, slim, "cpu"), 1, "cpu")
    check_runtime(runtime, reference)
    (found,) = runtime.detect(reference.views)
    assert (found.scores > 0.1).sum() == (reference.expected.scores > 0.1).sum() > 5
    assert not np.array_equal(found.scores[:10], reference.expected.scores[:10]), "it ran in fp32"


@pytest.mark.slow
def test_an_engine_is_built_without_a_graphics_card_and_kept(
    slim: Trained, slim_model: OnnxModel, slim_engine: Engine, kept_in: Path
) -> None:
    card = slim_engine.card
    assert (card.weights_sha256, card.size, card.batch, card.precision) == (slim.weights.sha256, (160, 192), 1, "fp16")
    assert (card.library, card.gpu) == ("tensorrt_rtx", AHEAD_OF_TIME)
    assert slim_engine.path.stat().st_size > 6_000_000
    assert slim_engine.sha256() == hashlib.sha256(slim_engine.path.read_bytes()).hexdigest()
    written = slim_engine.path.stat().st_mtime_ns
    assert engine(slim_model, kept_in) == slim_engine
    assert slim_engine.path.stat().st_mtime_ns == written
    assert list(kept_engines(kept_in)) == [(slim_engine, True)]


@pytest.mark.slow
def test_an_engine_that_somebody_changed_is_built_again(
    slim_model: OnnxModel, slim_engine: Engine, kept_in: Path
) -> None:
    slim_engine.path.write_bytes(b"changed")
    assert list(kept_engines(kept_in)) == [(slim_engine, False)]
    again = engine(slim_model, kept_in)
    assert again.path == slim_engine.path
    assert again.path.stat().st_size > 6_000_000


@pytest.mark.long
def test_the_large_network_becomes_an_engine_too(exported_models: Path, tmp_path: Path) -> None:
    model = onnx_model(resnet50(), LARGE, exported_models)
    assert inspect(model)["views"] == (onnx.TensorProto.FLOAT, [1, 3, 128, 160])
    built = engine(model, tmp_path)
    assert built.path.stat().st_size > 80_000_000
    assert built.card.size == (128, 160)


def test_where_an_engine_cannot_run_the_next_runtime_is_taken(
    slim: Trained, slim_engine: Engine, kept_in: Path
) -> None:
    # What other tests have exported already.
    in_fp32 = onnx_model(slim, Form(SLIM.size, winograd=True)).path.parent
    shutil.copytree(in_fp32, kept_in / "detectors" / in_fp32.name)
    names: tuple[RuntimeName, ...] = ("tensorrt", "onnxruntime", "torch")
    runtime, refusals = open_runtime(slim, SLIM.size, names, "cpu", 1, kept_in)
    assert runtime.name == "onnxruntime on cpu"
    (refusal,) = refusals
    assert "cannot load" in refusal
    assert "build it again with 'lamelle engine build'" in refusal
    assert "\n" not in refusal


def test_a_file_that_is_no_engine_is_refused(slim: Trained, slim_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "engine.plan").write_bytes(b"no engine" * 100)
    with pytest.raises(RuntimeRefused, match=r"cannot load .*lamelle engine build"):
        load(tmp_path / "engine.plan")
    with pytest.raises(RuntimeRefused, match="cannot load"):
        EngineRuntime(Engine(tmp_path / "engine.plan", slim_engine.card), partial(TorchRuntime, slim, "cpu"))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(RuntimeRefused, match=r"cannot read .*lamelle export"):
        build(tmp_path / "model.onnx")


def test_where_no_library_is_installed_the_remedy_is_told(
    slim_model: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeRefused, match=r"'pip install lamelle\[rtx\]'"):
        engine(slim_model, tmp_path)
