"""Settings of detection and cropping, as they stand in a configuration file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def told_apart(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Give the names of classes back if no two are the same, nor differ in case alone.

    Raises
    ------
    ValueError
        Two are; one of them would never be learnt, or be taken for the other by whoever reads the results.
    """
    known: dict[str, str] = {}
    for name in classes:
        folded = name.casefold()
        if folded in known:
            how = "twice" if name == known[folded] else f"beside {known[folded]!r}, which differs in case alone"
            raise ValueError(f"class {name!r} is named {how}; name each class once")
        known[folded] = name
    return classes


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Architecture = Literal["slim", "resnet50"]


SPECIES = Path(str(files("inference") / "weights" / "species.safetensors"))
"""The classifier that is shipped: species of the virtual slide."""
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
    classes: Annotated[tuple[str, ...], AfterValidator(told_apart)] = (
        "coccolith",
        "diatom",
        "silicoflagellate",
        "radiolarian",
        "spicule",
    )
    mode: Literal["fused", "planes"] = "fused"
    threshold: Share = 0.5
    keep_above: Share = 0.2
    merge_iou: Share = 0.5
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runtime: Literal["auto", "tensorrt", "onnxruntime", "torch"] = "auto"
    threads: Annotated[int, Field(ge=1)] = 1


class ClassifierSettings(InferenceSettings):
    """Which classifier names the objects.

    `weights` is a safetensors file, or `species` for the ones shipped. With the `rule` `even` all taxa that were learnt
    are thought equally common, with `plain` as common as in the library.
    """

    weights: Path | Literal["species"]
    rule: Literal["plain", "even"] = "plain"

    @property
    def path(self) -> Path:
        """File of the classifier."""
        return SPECIES if self.weights == "species" else self.weights


class CropSettings(InferenceSettings):
    """How much is kept around an object."""

    margin_um: Annotated[float, Field(ge=0)] = 0.6


class FocusSettings(InferenceSettings):
    """How sharpness is measured: Laplacian of Gaussian, its sigma in um on the sample."""

    sigma_um: Positive = 0.12
    blank_contrast: Positive = 1.15
