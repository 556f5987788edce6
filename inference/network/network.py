"""Faster R-CNN as torchvision builds it, in the two sizes that are used here, and its weights on disk."""

from __future__ import annotations

import io
import json
import textwrap
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from inference.errors import WeightsRefused
from inference.network.anchors import Anchors
from inference.network.weights_file import DIGEST, Weights, check_weights, digest_tensors
from inference.settings import Architecture

PREDICTOR = "roi_heads.box_predictor."

SLIM_WIDTH = 32
SLIM_PYRAMID = 64
SLIM_HEAD = 128
ANCHORS: dict[Architecture, Anchors] = {
    "slim": Anchors(((20, 32), (52, 90), (150, 280)), (0.4, 1.0, 2.5)),
    "resnet50": Anchors(((32,), (64,), (128,), (256,), (512,)), (0.5, 1.0, 2.0)),
}


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


def build(architecture: Architecture, classes: Sequence[str], anchors: Anchors | None = None) -> FasterRCNN:
    """Faster R-CNN with fresh weights; label 0 is background, label k is `classes[k - 1]`.

    Anchors are those of the architecture if left out, and as many. Takes and returns what
    `torchvision.models.detection.FasterRCNN` does, but neither rescales nor standardises: images are float32 (3, H, W)
    as `inference.views.channels` makes them.
    """
    generator = (anchors or ANCHORS[architecture]).generator()
    if architecture == "resnet50":
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=5)
        network = FasterRCNN(
            backbone,
            len(classes) + 1,
            rpn_anchor_generator=generator,
            box_detections_per_img=300,
            box_score_thresh=0.01,
        )
    else:
        network = FasterRCNN(
            SlimBackbone(),
            rpn_anchor_generator=generator,
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
    header = check_weights(weights.path, architecture, classes)
    return of_state(safetensors.torch.load_file(weights.path), header, architecture, classes, weights.path)


def of_state(
    state: Mapping[str, Tensor],
    header: Mapping[str, str],
    architecture: Architecture,
    classes: Sequence[str],
    path: Path,
) -> FasterRCNN:
    """Network in evaluation mode, float32, with tensors and anchors that were read from the weights at `path`.

    Raises
    ------
    WeightsRefused
        The tensors are of another network.
    """
    anchors = Anchors.from_json(header["anchors"]) if "anchors" in header else None
    network = build(architecture, classes, anchors)
    try:
        network.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    except RuntimeError as error:
        # Torch tells of every tensor.
        first = textwrap.shorten(str(error).partition("\n")[2].partition("\n")[0], 200, placeholder=" ...")
        raise WeightsRefused(
            f"detector.weights {str(path)!r} does not fit architecture {architecture!r} ({first}); name other weights"
        ) from error
    return network.eval()


def with_new_head(known: FasterRCNN, architecture: Architecture, classes: Sequence[str]) -> FasterRCNN:
    """Network with the weights and anchors of one for other classes, all but its last layer, which is fresh."""
    begun = build(architecture, classes, Anchors.of(known.rpn.anchor_generator))
    kept = {name: tensor for name, tensor in known.state_dict().items() if not name.startswith(PREDICTOR)}
    begun.load_state_dict(kept, strict=False)
    return begun


def from_coco(
    architecture: Architecture, classes: Sequence[str], file: Path | None = None, anchors: Anchors | None = None
) -> FasterRCNN:
    """Network that knows the objects of COCO, all but its last layer, which is fresh.

    Parameters
    ----------
    file
        what torchvision publishes as `FasterRCNN_ResNet50_FPN_Weights.COCO_V1`; fetched if left out.

    Raises
    ------
    WeightsRefused
        There are none for the architecture, they cannot be fetched, or the file holds others.
    """
    published = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    if architecture != "resnet50":
        raise WeightsRefused(
            f"architecture {architecture!r} has no weights for COCO; train 'resnet50', or from nothing"
        )
    try:
        if file is None:
            state = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        what = f"cannot be fetched from {published.url}" if file is None else f"cannot be read from {str(file)!r}"
        raise WeightsRefused(
            f"the weights for COCO {what} ({error}); fetch that file elsewhere and name it as the start"
        ) from error
    network = build(architecture, classes, anchors)
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(PREDICTOR)}
    try:
        missing, unknown = network.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise WeightsRefused(f"{str(file)!r} holds the weights of another network ({error})") from error
    strange = [*unknown, *(name for name in missing if not name.startswith(PREDICTOR))]
    if strange:
        raise WeightsRefused(f"{str(file)!r} holds the weights of another network ({strange[0]}); name {published.url}")
    return network


def to_bytes(network: FasterRCNN, architecture: Architecture, classes: Sequence[str]) -> bytes:
    """Safetensors of a network, fp16, with architecture, classes, anchors and a digest of the tensors in the header."""
    state = {
        name: (t.half() if t.is_floating_point() else t).contiguous().cpu() for name, t in network.state_dict().items()
    }
    anchors = Anchors.of(network.rpn.anchor_generator).to_json()
    header = {"architecture": architecture, "classes": json.dumps(list(classes)), "anchors": anchors}
    header[DIGEST] = digest_tensors(io.BytesIO(safetensors.torch.save(state, header)))
    return safetensors.torch.save(state, header)
