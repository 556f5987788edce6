"""Settings of detection and cropping, as they stand in a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Architecture = Literal["slim", "resnet50"]


WORTH_EXPORTING = 100
"""Stacks of one size for which it pays to export the detector first; a few are looked at by torch in less time."""


class InferenceSettings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DetectorSettings(InferenceSettings):
    """Which network looks at the stack, and how.

    `weights` is a safetensors file, or `slim` for the ones shipped. Objects that score at least `threshold` are
    found; those between `keep_above` and `threshold` are kept, flagged. `runtime` is what runs the network: `auto`
    takes the fastest on the device that finds the same as torch.
    """

    architecture: Architecture = "slim"
    weights: Path | Literal["slim"] = "slim"
    classes: tuple[str, ...] = ("coccolith", "diatom", "silicoflagellate", "radiolarian", "spicule")
    mode: Literal["fused", "planes"] = "fused"
    threshold: Share = 0.5
    keep_above: Share = 0.2
    merge_iou: Share = 0.5
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runtime: Literal["auto", "tensorrt", "onnxruntime", "torch"] = "auto"
    threads: Annotated[int, Field(ge=1)] = 1


class CropSettings(InferenceSettings):
    """How much is kept around an object."""

    margin_um: Annotated[float, Field(ge=0)] = 0.6


class FocusSettings(InferenceSettings):
    """How sharpness is measured: Laplacian of Gaussian, its sigma in um on the sample."""

    sigma_um: Positive = 0.12
    blank_contrast: Positive = 1.15
