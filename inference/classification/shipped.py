"""Where a classifier's file lies: the one named, or the shipped one."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from inference.errors import WeightsRefused

SHIPPED = "species.safetensors"


def find_classifier(weights: Path | Literal["species"]) -> Path:
    """Locate a classifier's file, or the shipped one.

    Raises
    ------
    WeightsRefused
        There is no such file.
    """
    if weights == "species":
        with as_file(files("inference") / "weights" / SHIPPED) as shipped:
            path = shipped
    else:
        path = Path(weights)
    if not path.is_file():
        raise WeightsRefused(f"classifier {str(path)!r} is not a file; name a .safetensors file or 'species'")
    return path
