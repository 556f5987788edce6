from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from inference.errors import WeightsRefused
from inference.network import network
from inference.network.weights_file import Weights, check_weights, classes_of, find_weights
from inference.settings import DetectorSettings

CLASSES = ("coccolith", "diatom")


@pytest.fixture
def slim() -> FasterRCNN:
    torch.manual_seed(3)
    return network.build("slim", CLASSES).eval()


def written(folder: Path, detector: FasterRCNN) -> Weights:
    path = folder / "some.safetensors"
    path.write_bytes(network.to_bytes(detector, "slim", CLASSES))
    return find_weights(path)


def test_output_is_that_of_torchvision_at_the_images_own_scale(slim: FasterRCNN) -> None:
    stock = GeneralizedRCNNTransform(min_size=192, max_size=256, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    images = [torch.rand(3, 192, 256), torch.rand(3, 192, 256)]
    with torch.inference_mode():
        ours = slim(images)
        slim.transform = stock
        theirs = slim(images)
    assert len(ours[0]["boxes"]) > 0
    for mine, other in zip(ours, theirs, strict=True):
        for key in ("boxes", "scores", "labels"):
            torch.testing.assert_close(mine[key], other[key])


def test_images_of_different_sizes_keep_their_own_pixels(slim: FasterRCNN) -> None:
    with torch.inference_mode():
        outputs = slim([torch.rand(3, 96, 160), torch.rand(3, 160, 96)])
    assert outputs[0]["boxes"][:, 2].max() <= 160
    assert outputs[0]["boxes"][:, 3].max() <= 96


def test_resnet50_takes_the_state_of_torchvisions_own() -> None:
    theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    ours = network.build("resnet50", CLASSES)
    assert {k: v.shape for k, v in ours.state_dict().items() if "num_batches" not in k} == {
        k: v.shape for k, v in theirs.state_dict().items() if "num_batches" not in k
    }


def test_weights_come_back_as_written(tmp_path: Path, slim: FasterRCNN) -> None:
    weights = written(tmp_path, slim)
    loaded = network.load(weights, "slim", CLASSES)
    assert not loaded.training
    for name, value in slim.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("classes", [("coccolith",), ("coccolith", "diatom", "silicoflagellate"), ("diatom", "shell")])
def test_weights_of_other_classes_are_refused(tmp_path: Path, slim: FasterRCNN, classes: tuple[str, ...]) -> None:
    with pytest.raises(WeightsRefused, match=r"detector\.classes has .*coccolith, diatom.*set detector\.classes"):
        network.load(written(tmp_path, slim), "slim", classes)


def test_a_new_head_is_on_all_that_was_learnt_before(slim: FasterRCNN) -> None:
    begun = network.with_new_head(slim, "slim", ("fossil",))
    assert begun.rpn.anchor_generator.sizes == slim.rpn.anchor_generator.sizes
    known, state = slim.state_dict(), begun.state_dict()
    new = {name for name, tensor in state.items() if not torch.equal(tensor, known[name])}
    assert new == {name for name in state if name.startswith("roi_heads.box_predictor.")}
    assert state["roi_heads.box_predictor.cls_score.weight"].shape[0] == 2


def test_classes_are_those_of_the_file_or_the_assumed_ones_or_numbers(tmp_path: Path, slim: FasterRCNN) -> None:
    weights = written(tmp_path, slim)
    assert classes_of(weights.path, ("a", "b")) == CLASSES
    path = tmp_path / "unnamed.safetensors"
    safetensors.torch.save_file(slim.state_dict(), path)
    assert classes_of(path, ("a", "b")) == ("a", "b")
    assert classes_of(path, ("a",)) == ("1", "2")


def test_weights_of_another_architecture_are_refused(tmp_path: Path, slim: FasterRCNN) -> None:
    with pytest.raises(WeightsRefused, match=r"architecture is 'resnet50'.*'slim'"):
        network.load(written(tmp_path, slim), "resnet50", CLASSES)


@pytest.mark.parametrize("where", [0.1, 0.5, 1.0])
def test_weights_with_a_bit_turned_over_are_refused(tmp_path: Path, slim: FasterRCNN, where: float) -> None:
    weights = written(tmp_path, slim)
    content = bytearray(weights.path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    weights.path.write_bytes(content)
    with pytest.raises(WeightsRefused, match=r"some\.safetensors' is damaged.*fetch it again"):
        network.load(find_weights(weights.path), "slim", CLASSES)


def test_a_pickle_and_a_missing_file_are_refused(tmp_path: Path, slim: FasterRCNN) -> None:
    torch.save(slim.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(WeightsRefused, match=r"weights\.pt"):
        network.load(find_weights(tmp_path / "weights.pt"), "slim", CLASSES)
    with pytest.raises(WeightsRefused, match="is not a file"):
        find_weights(tmp_path / "none.safetensors")


def test_the_shipped_weights_are_small_and_fit_the_default_settings() -> None:
    settings = DetectorSettings()
    shipped = find_weights(settings.weights)
    assert shipped.path.stat().st_size < 10_000_000
    check_weights(shipped.path, settings.architecture, settings.classes)
    assert shipped.path.with_suffix(".json").is_file()
