"""A classifier in the laboratory's own format: a folder with an ONNX file and network_info.xml, for its own programs.

Those give it squares of one size, grey from 0 to 1, and take probabilities. They tell no sizes, so that only a
classifier of pictures that learnt without sizes can be written so.
"""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from inference.classification.encoder import from_file
from inference.classification.encoder_file import EncoderFile
from inference.classification.figures import TaxonFigures
from inference.classification.head import Head
from inference.classification.onnx_encoder import OPSET
from inference.classification.sight import BESIDE
from inference.errors import RuntimeRefused

MODEL, INFO = "model.onnx", "network_info.xml"
INPUT, OUTPUT = "input", "output"
VERSION = "2.1"
PREPARED = (
    "grey from 0 to 1; a square padded with the median of the border, bilinear. 16-bit images must be made 8 bits "
    "before, with one window for all."
)


class _PicturesToTaxa(nn.Module):
    """From pictures to probabilities, at once."""

    def __init__(self, encoder: EncoderFile, head: Head) -> None:
        super().__init__()
        self.encoder = from_file(encoder)
        self.register_buffer("beside", torch.zeros(1, len(BESIDE)))
        self.register_buffer("weights", torch.from_numpy(head.weights / head.temperature))
        self.register_buffer("bias", torch.from_numpy(head.bias / head.temperature))
        self.beside: Tensor
        self.weights: Tensor
        self.bias: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        """Give probabilities (N, K) of pictures (N, 1, side, side)."""
        features = self.encoder(pictures, self.beside.expand(pictures.shape[0], -1))
        return torch.softmax(features @ self.weights + self.bias, dim=1)


def write_model(path: Path, encoder: EncoderFile, head: Head) -> None:
    """Write the ONNX file.

    Raises
    ------
    RuntimeRefused
        The classifier is for stacks, or learnt with sizes; or it cannot be exported.
    """
    head.check(encoder.sha256)
    if encoder.sight.kind != "picture" or encoder.sight.sized:
        why = "looks at stacks" if encoder.sight.kind != "picture" else "was told the sizes of objects"
        raise RuntimeRefused(
            f"the laboratory's format holds classifiers of pictures alone, and this one {why}; train one of pictures, "
            "without sizes"
        )
    side = encoder.sight.side_px
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                _PicturesToTaxa(encoder, head).eval(),
                (torch.zeros(2, 1, side, side),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RuntimeRefused(f"the classifier's model cannot be exported ({error})") from error
    assert program is not None
    program.model.metadata_props.update({"encoder_sha256": encoder.sha256, "head_sha256": head.sha256})
    program.save(path, external_data=False)


def information(
    encoder: EncoderFile,
    head: Head,
    name: str,
    counts: Mapping[str, int],
    figures: Mapping[str, TaxonFigures],
    source: str,
    day: datetime.date,
) -> bytes:
    """Give the XML file that describes the model.

    Parameters
    ----------
    counts
        examples that each taxon was learnt from.
    figures
        of taxa that were judged.
    source
        what it was learnt from, in words.
    """
    network = ET.Element("network", version=VERSION)
    side = str(encoder.sight.side_px)
    _texts(
        network,
        name=name,
        description=f"lamelle, encoder {encoder.sha256[:12]}, head {head.sha256[:12]}",
        type=encoder.network,
        date=day.isoformat(),
        protobuf=MODEL,
    )
    seen = ET.SubElement(ET.SubElement(network, "inputs"), "input")
    _texts(seen, name=INPUT, operation=INPUT, height=side, width=side, channels="1")
    said = ET.SubElement(ET.SubElement(network, "outputs"), "output")
    _texts(said, name=OUTPUT, operation=OUTPUT, height="1", width="1", channels=str(len(head.taxa)))
    _texts(network, source_data=source, source_size=str(sum(counts.values())))
    labels = ET.SubElement(network, "labels")
    for taxon in head.taxa:
        label = ET.SubElement(labels, "label")
        judged = figures.get(taxon)
        _texts(
            label,
            code=taxon,
            count=str(counts.get(taxon, 0)),
            precision=_share(None if judged is None else judged.precision),
            recall=_share(None if judged is None else judged.recall),
            f1score=_share(None if judged is None else judged.f1),
            support=str(judged.n if judged else 0),
        )
    _texts(network, prepro=PREPARED)
    ET.indent(network)
    return bytes(ET.tostring(network, encoding="utf-8", xml_declaration=True))


def _texts(parent: ET.Element, **texts: str) -> None:
    for name, text in texts.items():
        ET.SubElement(parent, name).text = text


def _share(value: float | None) -> str:
    return "0" if value is None else f"{value:.4f}"
