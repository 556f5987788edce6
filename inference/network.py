"""Faster R-CNN as torchvision builds it, in the two sizes that are used here, and its weights on disk."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from inference.errors import WeightsRefused
from inference.weights_file import Weights, check_weights

Architecture = Literal["slim", "resnet50"]

SLIM_WIDTH = 32
SLIM_PYRAMID = 64
SLIM_HEAD = 128
SLIM_ANCHORS = ((20, 32), (52, 90), (150, 280))
ASPECT_RATIOS = (0.4, 1.0, 2.5)


class NativeScale(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Pads and batches, but leaves values and scale alone: `channels` has already chosen both."""

    def __init__(self) -> None:
        super().__init__(min_size=0, max_size=0, image_mean=[0.0] * 3, image_std=[1.0] * 3)

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return image and target as they are."""
        return image, target


class SlimBackbone(nn.Module):
    """ResNet-18 of width 32 with a feature pyramid of 64 channels on strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        body = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2])
        widths = [SLIM_WIDTH * 2**k for k in range(4)]
        body.inplanes = SLIM_WIDTH
        body.conv1 = nn.Conv2d(3, SLIM_WIDTH, kernel_size=7, stride=2, padding=3, bias=False)
        body.bn1 = nn.BatchNorm2d(SLIM_WIDTH)
        for k, width in enumerate(widths):
            setattr(body, f"layer{k + 1}", body._make_layer(resnet.BasicBlock, width, 2, stride=1 if k == 0 else 2))
        self.body = IntermediateLayerGetter(body, {"layer2": "0", "layer3": "1", "layer4": "2"})
        self.fpn = FeaturePyramidNetwork(widths[1:], SLIM_PYRAMID)
        self.out_channels = SLIM_PYRAMID

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Pyramid of a batch, float32 NCHW."""
        pyramid: OrderedDict[str, Tensor] = self.fpn(self.body(images))
        return pyramid


def build(architecture: Architecture, classes: Sequence[str]) -> FasterRCNN:
    """Faster R-CNN with fresh weights; label 0 is background, label k is `classes[k - 1]`.

    Takes and returns what `torchvision.models.detection.FasterRCNN` does, but neither rescales nor standardises: images
    are float32 (3, H, W) as `inference.channels` makes them.
    """
    if architecture == "resnet50":
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=5)
        network = FasterRCNN(backbone, len(classes) + 1, box_detections_per_img=300, box_score_thresh=0.01)
    else:
        anchors = AnchorGenerator(SLIM_ANCHORS, (ASPECT_RATIOS,) * len(SLIM_ANCHORS))
        network = FasterRCNN(
            SlimBackbone(),
            rpn_anchor_generator=anchors,
            rpn_pre_nms_top_n_train=500,
            rpn_post_nms_top_n_train=250,
            rpn_pre_nms_top_n_test=400,
            rpn_post_nms_top_n_test=300,
            rpn_batch_size_per_image=128,
            box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
            box_head=TwoMLPHead(SLIM_PYRAMID * 7 * 7, SLIM_HEAD),
            box_predictor=FastRCNNPredictor(SLIM_HEAD, len(classes) + 1),
            box_batch_size_per_image=96,
            box_score_thresh=0.01,
            box_detections_per_img=300,
        )
    network.transform = NativeScale()
    return network


def load(weights: Weights, architecture: Architecture, classes: Sequence[str]) -> FasterRCNN:
    """Network in evaluation mode, float32, with the weights of a file.

    Raises
    ------
    WeightsRefused
        The weights are of another architecture or other classes.
    """
    check_weights(weights.path, architecture, classes)
    network = build(architecture, classes)
    state = safetensors.torch.load_file(weights.path)
    try:
        network.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    except RuntimeError as error:
        message = f"detector.weights {str(weights.path)!r} does not fit architecture {architecture!r}: {error}"
        raise WeightsRefused(message) from error
    return network.eval()


def to_bytes(network: FasterRCNN, architecture: Architecture, classes: Sequence[str]) -> bytes:
    """Safetensors of a network, fp16, with architecture and classes in the header."""
    state = {
        name: (t.half() if t.is_floating_point() else t).contiguous().cpu() for name, t in network.state_dict().items()
    }
    return safetensors.torch.save(state, {"architecture": architecture, "classes": json.dumps(list(classes))})


def cuda_answers() -> bool:
    """Whether there is a CUDA device."""
    return torch.cuda.is_available()


def pick_device(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Torch device of a setting; `auto` takes the GPU where there is one.

    Raises
    ------
    WeightsRefused
        CUDA was asked for and is not there.
    """
    if device == "cuda" and not cuda_answers():
        raise WeightsRefused("detector.device is 'cuda' but no CUDA device answers; set it to 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and cuda_answers() else "cpu")
