"""A classifier of stacks that has learnt nothing: it says something of everything, the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from inference.classification import encoder_file
from inference.classification.encoder import Encoder, fresh, to_file, width_of
from inference.classification.head import Head
from inference.classification.sight import BESIDE, ClassifierSight

SIGHT = ClassifierSight("stack", 32, (-0.5, 0.0, 0.5), 0.118)
TAXA = ("emiliania-huxleyi", "florisphaera", "thalassionema")
COMPONENTS = 6


def write_classifier(path: Path, seed: int = 1) -> Head:
    """Write one to a file; returns its head."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network, width = fresh("small", SIGHT), width_of("small")
    encoder = Encoder(network, width, COMPONENTS)
    encoder.projection.copy_(torch.from_numpy(random.normal(size=(width, COMPONENTS)).astype(np.float32)))
    file = to_file(encoder.eval(), "small", SIGHT)
    head = Head(
        taxa=TAXA,
        parents={"emiliania-huxleyi": "emiliania"},
        not_known={},
        encoder_sha256=file.sha256,
        weights=random.normal(size=(COMPONENTS + len(BESIDE), len(TAXA))).astype(np.float32),
        bias=np.zeros(len(TAXA), np.float32),
        temperature=1.0,
        share=np.full(len(TAXA), 1 / len(TAXA), np.float32),
        threshold=0.4,
    )
    path.write_bytes(encoder_file.to_bytes(file, head))
    return head
