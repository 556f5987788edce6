"""Torchvision's own weights for COCO as a beginning; a file of the same layout stands for the one it publishes."""

import pickle
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn

from inference.errors import WeightsRefused
from inference.network import network

CLASSES = ("coccolith", "diatom")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / "coco.pth"
    torch.save(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), path)
    return path


def test_everything_but_the_last_layer_is_taken_over(published: Path) -> None:
    begun = network.from_coco("resnet50", CLASSES, published).state_dict()
    for name, tensor in torch.load(published, weights_only=True).items():
        if name.startswith("roi_heads.box_predictor"):
            assert begun[name].shape != tensor.shape
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(begun[name], tensor), name


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save(network.build("slim", CLASSES).state_dict(), tmp_path / "slim.pth")
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 no weights")
    for name, why in (("slim", "of another network"), ("damaged", "cannot be read"), ("missing", "cannot be read")):
        with pytest.raises(WeightsRefused, match=f"{name}.pth.*{why}|{why}.*{name}.pth"):
            network.from_coco("resnet50", CLASSES, tmp_path / f"{name}.pth")
    with pytest.raises(WeightsRefused, match="'slim' has no weights for COCO"):
        network.from_coco("slim", CLASSES)


def test_weights_that_cannot_be_fetched_are_asked_for_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(WeightsRefused, match=r"cannot be fetched from https://.*\.pth .* name it as the start"):
        network.from_coco("resnet50", CLASSES)


class _Opens:
    """Makes a file as soon as it is read by a pickle that runs what it finds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._path), "w")


@pytest.mark.parametrize("given", [True, False])
def test_nothing_in_a_file_of_weights_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    run = tmp_path / "run"
    # Where torch keeps what it fetched, and looks first.
    file = tmp_path / "hub" / "checkpoints" / FasterRCNN_ResNet50_FPN_Weights.COCO_V1.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save({"weight": _Opens(run)}, file, pickle_module=pickle)
    with pytest.raises(WeightsRefused, match="cannot be"):
        network.from_coco("resnet50", CLASSES, file if given else None)
    assert not run.exists()
