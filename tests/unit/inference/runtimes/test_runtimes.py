"""What runs the network finds what torch finds, or is not taken."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from benchmarks.parity import judge, views_of
from inference.detector import ViewDetector
from inference.errors import RuntimeRefused
from inference.network import static_graph
from inference.network.detected import Detected
from inference.network.trained import Trained
from inference.objects.merging import Detections
from inference.runtimes.choice import RuntimeName, open_runtime
from inference.runtimes.onnx_model import MODEL, Form, OnnxModel, onnx_model
from inference.runtimes.onnx_runtime import OnnxRuntime
from inference.runtimes.reference import SAMPLE
from inference.runtimes.runtimes import check_runtime
from inference.runtimes.torch_runtime import TorchRuntime
from inference.settings import DetectorSettings
from inference.views.channels import ViewArray

SIZE = (160, 192)


@pytest.fixture(scope="module")
def slim() -> Trained:
    return Trained.of(DetectorSettings())


@pytest.fixture(scope="module")
def model(slim: Trained) -> OnnxModel:
    """From the user's cache, where the detector looks for it too."""
    return onnx_model(slim, Form(SIZE, winograd=True))


@pytest.fixture(scope="module")
def views() -> NDArray[np.float32]:
    sample = safetensors.numpy.load_file(str(files("inference") / "weights" / SAMPLE))["views"].astype(np.float32)
    height, width = SIZE
    return np.concatenate([sample[:, :, :height, :width], sample[:, :, -height:, -width:]])


def never() -> TorchRuntime:
    """Stand for torchvision's network where nothing asks for it."""
    raise AssertionError("it was asked")


def test_the_exported_model_says_what_goes_in_and_comes_out(model: OnnxModel) -> None:
    graph = onnx.load(model.path).graph
    shapes = {
        value.name: (value.type.tensor_type.elem_type, [d.dim_value for d in value.type.tensor_type.shape.dim])
        for value in (*graph.input, *graph.output)
    }
    number, whole, truth = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
    assert shapes == {
        "views": (number, [1, 3, *SIZE]),
        "boxes": (number, [1, 300, 4]),
        "scores": (number, [1, 300]),
        "labels": (whole, [1, 300]),
        "found": (whole, [1]),
        "converged": (truth, [1]),
    }
    assert tuple(value.name for value in graph.output) == Detected._fields
    assert not {"NonMaxSuppression", "RoiAlign", "Loop", "If"} & {node.op_type for node in graph.node}


def test_onnxruntime_finds_what_torch_finds(slim: Trained, model: OnnxModel, views: NDArray[np.float32]) -> None:
    exact = TorchRuntime(slim, "cpu")
    for one, other in zip(OnnxRuntime(model, never, 1, "cpu").detect(views), exact.detect(views), strict=True):
        assert len(one) == len(other) > 10
        assert np.abs(one.boxes - other.boxes).max() <= 0.05
        assert np.abs(one.scores - other.scores).max() <= 2e-4
        assert one.labels.tolist() == other.labels.tolist()
        assert one.planes.tolist() == other.planes.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_no_detection_of_the_shipped_weights_is_lost_or_moved(slim: Trained, batch: int) -> None:
    parities, _, _ = judge(slim, Form((512, 512), batch, winograd=batch == 1), 1, None)
    assert len(parities) == batch
    for parity in parities:
        assert parity.expected == parity.found == parity.matched > 50
        assert parity.box_error_px <= 0.05
        assert parity.score_error <= 1e-3


def test_views_that_do_not_fill_a_batch_are_seen(slim: Trained) -> None:
    model = onnx_model(slim, Form((512, 512), 2))
    views = views_of(slim, Form((512, 512), 3))
    exact = TorchRuntime(slim, "cpu")
    found = OnnxRuntime(model, never, 1, "cpu").detect(views)
    assert [one.planes.tolist() for one in found] == [[k] * len(one) for k, one in enumerate(found)]
    assert len(found) == 3
    (alone,) = exact.detect(views[2:])
    assert found[2].boxes == pytest.approx(alone.boxes, abs=0.05)


def test_where_suppression_does_not_converge_torch_is_asked(
    slim: Trained, views: NDArray[np.float32], exported_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_graph, "PROPOSAL_ROUNDS", 1)
    exported = onnx_model(slim, Form(SIZE), exported_models / "of-one-round")
    asked = Asked(TorchRuntime(slim, "cpu"))
    found = OnnxRuntime(exported, lambda: asked, 1, "cpu").detect(views)
    assert asked.views
    for one, other in zip(found, TorchRuntime(slim, "cpu").detect(views), strict=True):
        assert one.boxes == pytest.approx(other.boxes, abs=0.05)
        assert one.planes.tolist() == other.planes.tolist()


class Asked:
    """A runtime that counts what it is asked."""

    name = "torch"

    def __init__(self, runtime: TorchRuntime) -> None:
        self._runtime = runtime
        self.views = 0

    def detect(self, views: ViewArray) -> list[Detections]:
        self.views += len(views)
        return self._runtime.detect(views)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.take(np.arange(1, len(found))),
        lambda found: replace(found, boxes=found.boxes + np.float32(0.6)),
        lambda found: replace(found, scores=found.scores * np.float32(0.9)),
        lambda found: replace(found, labels=found.labels % 5 + 1),
    ],
    ids=["one missing", "elsewhere", "scored otherwise", "another class"],
)
def test_a_runtime_that_finds_anything_else_is_refused(slim: Trained, model: OnnxModel, change: object) -> None:
    reference = model.reference()
    exact = TorchRuntime(slim, "cpu")
    check_runtime(exact, reference)
    with pytest.raises(RuntimeRefused, match="torch on cpu does not reproduce a reference detection"):
        check_runtime(exact, replace(reference, expected=change(reference.expected)))  # type: ignore[operator]


def test_a_model_whose_weights_somebody_edited_is_refused(slim: Trained, model: OnnxModel, tmp_path: Path) -> None:
    edited = onnx.load(model.path)
    weights = max(edited.graph.initializer, key=lambda one: len(one.dims) == 4 and np.prod(one.dims))
    values = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.2), weights.name))
    onnx.save(edited, tmp_path / MODEL)
    runtime = OnnxRuntime(replace(model, path=tmp_path / MODEL), never, 1, "cpu")
    with pytest.raises(RuntimeRefused, match="onnxruntime on cpu does not reproduce a reference detection"):
        check_runtime(runtime, model.reference())


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this one has CUDA")
def test_an_onnxruntime_without_cuda_is_not_taken_for_a_card(slim: Trained, model: OnnxModel) -> None:
    with pytest.raises(RuntimeRefused, match=r"was built without CUDA; .*onnxruntime-gpu"):
        OnnxRuntime(model, never, 1, "cuda")


def test_a_file_that_is_no_model_is_refused(slim: Trained, tmp_path: Path) -> None:
    (tmp_path / MODEL).write_bytes(b"no model")
    with pytest.raises(RuntimeRefused, match=r"onnxruntime cannot load .*delete it"):
        OnnxRuntime(OnnxModel(tmp_path / MODEL, Form(SIZE), ""), never, 1, "cpu")


def test_the_detector_takes_the_fastest_and_says_so(
    views: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "inference.detector"):
        found = [ViewDetector(DetectorSettings(runtime=name)).detect(views) for name in ("auto", "torch")]
    told = [line.getMessage() for line in caplog.records if line.name == "inference.detector"]
    assert [line.split(" for ")[0] for line in told] == [
        "the detector runs on onnxruntime on cpu",
        "the detector runs on torch on cpu",
    ]
    assert len(found[0]) == len(found[1]) > 10
    assert found[0].boxes == pytest.approx(found[1].boxes, abs=0.05)


def test_where_no_model_can_be_kept_the_night_goes_on_with_torch(slim: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    names: tuple[RuntimeName, ...] = ("onnxruntime", "torch")
    runtime, refusals = open_runtime(slim, SIZE, names, "cpu", 1, tmp_path / "file")
    assert runtime.name == "torch on cpu"
    (refusal,) = refusals
    assert "make the folder writable" in refusal
    with pytest.raises(RuntimeRefused, match="to 'auto'"):
        open_runtime(slim, SIZE, names[:1], "cpu", 1, tmp_path / "file")


def test_a_network_that_looked_first_can_be_exported_later(views: NDArray[np.float32]) -> None:
    trained = Trained.of(DetectorSettings())
    TorchRuntime(trained, "cpu").detect(views[:1, :, :64, :64])
    assert not any(tensor.is_inference() for tensor in trained.network.parameters())


@pytest.mark.slow
def test_a_night_whose_model_is_kept_does_not_wait_for_torch(model: OnnxModel) -> None:
    """Nor takes the memory for it, where there is no graphics card: a whole stack, as in the analysis child."""
    height, width = SIZE
    code = (
        "import sys, numpy as np\n"
        "from inference.analyser import Analyser\n"
        "from inference.network import device\n"
        "from inference.settings import CropSettings, DetectorSettings, FocusSettings\n"
        "device.DRIVER = 'of-no-graphics-card'\n"
        "settings = DetectorSettings(keep_above=0.0), CropSettings(), FocusSettings()\n"
        "analyser = Analyser(*settings, 0.118, ('crossed', 'parallel'))\n"
        f"stack = np.random.default_rng(1).integers(0, 9999, (2, 3, {height}, {width})).astype(np.uint16)\n"
        "assert analyser.analyse(stack).objects and analyser.detector.runtimes[0].startswith('onnxruntime on cpu')\n"
        "print(sorted({'torch', 'torchvision', 'onnx', 'onnxscript', 'tensorrt', 'tensorrt_rtx'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.slow
def test_the_computer_is_not_told_of_to_anyone(tmp_path: Path) -> None:
    places = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    code = "import inference.runtimes.onnx_runtime, onnxruntime; onnxruntime.get_device()"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | places)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower() or path.name == "deviceid"]
