"""The detector on an array: what a night does with a stack, in a script or a notebook."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from daemon.reprocessing.archive_stacks import SMALLEST_VIEW_PX
from daemon.system.errors import Refused
from daemon.system.extras import require
from drivers.recorded.file_names import BRIGHT, STATES
from inference.settings import CropSettings, DetectorSettings, FocusSettings, told_apart
from inference.views.channels import Scale

if TYPE_CHECKING:
    from inference.analyser import Analyser

Axes = Literal["YX", "ZYX", "CYX", "CZYX"]
LEAST_PIXEL_UM, MOST_PIXEL_UM = 0.005, 50.0


@dataclass(frozen=True, eq=False)
class FoundOnArray:
    """What was found on an array, the best first.

    Attributes
    ----------
    boxes
        x0, y0, x1, y1 in px of the array, half-open; int64 (N, 4).
    scores
        between 0 and 1, float64 (N,).
    classes
        a name each.
    best_planes
        plane of best focus along Z, fractional, from 0; float64 (N,).
    """

    boxes: NDArray[np.int64]
    scores: NDArray[np.float64]
    classes: tuple[str, ...]
    best_planes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.classes)


class Detector:
    """Faster R-CNN with its weights; needs `pip install "lamelle[detector]"`.

    Sets the number of threads of torch and OpenCV for the whole process.

    Parameters
    ----------
    pixel_um
        size of a pixel on the sample: objects are looked for at the scale that the network was trained at.
    weights
        a safetensors file, or `slim` for the shipped weights.
    architecture
        network of the weights.
    classes
        those that the weights were trained for; those of the shipped weights if None.
    threshold
        least score of what counts as found.
    mode
        whether the detector looks at the fused stack or at every plane.
    device
        what the network runs on; a graphics card where there is one if `auto`.

    Raises
    ------
    LamelleError
        The detector is not installed, or a value is none of those that it may have.
    inference.errors.WeightsRefused
        The weights are missing, or of another architecture or other classes.
    """

    def __init__(
        self,
        *,
        pixel_um: float,
        weights: str | Path = "slim",
        architecture: Literal["slim", "resnet50"] = "slim",
        classes: Sequence[str] | None = None,
        threshold: float = 0.5,
        mode: Literal["fused", "planes"] = "fused",
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        if not _is_number(pixel_um) or not LEAST_PIXEL_UM <= pixel_um <= MOST_PIXEL_UM:
            raise Refused(
                f"pixel_um is {pixel_um!r}; give the size of a pixel on the sample in um, "
                f"from {LEAST_PIXEL_UM:g} to {MOST_PIXEL_UM:g}"
            )
        if not _is_number(threshold) or not 0 <= threshold <= 1:
            raise Refused(f"threshold is {threshold!r}; give a score between 0 and 1")
        if not isinstance(weights, str | Path):
            raise Refused(f"weights is {weights!r}; give a safetensors file, or 'slim'")
        for name, value in (("architecture", architecture), ("mode", mode), ("device", device)):
            allowed = get_args(DetectorSettings.model_fields[name].annotation)
            if value not in allowed:
                raise Refused(f"{name} is {value!r}; choose from {', '.join(allowed)}")
        names = None if classes is None else _names("classes", classes)
        try:
            told_apart(names or ())
        except ValueError as error:
            raise Refused(f"classes: {error}") from error
        require("detector")
        from inference.analyser import Analyser

        settings = DetectorSettings(
            architecture=architecture,
            weights="slim" if weights == "slim" else Path(weights),
            classes=names or DetectorSettings().classes,
            mode=mode,
            threshold=threshold,
            keep_above=threshold,
            device=device,
            runtime="torch",  # the others export a model first, for each size: what pays for hundreds of stacks
            threads=os.cpu_count() or 1,
        )
        self._pixel_um = pixel_um
        self._focus = FocusSettings()
        self._analysers: dict[tuple[str, ...], Analyser] = {}
        self._first = Analyser(settings, CropSettings(margin_um=0), self._focus, pixel_um, (BRIGHT,))

    def detect(
        self,
        array: NDArray[np.uint8] | NDArray[np.uint16],
        polarizations: Sequence[str] = (),
        axes: Axes | None = None,
    ) -> FoundOnArray:
        """Find the objects on an image or in a focus stack.

        Parameters
        ----------
        array
            YX, ZYX, CYX or CZYX, of 8 or 16 bit without sign.
        polarizations
            the states along C, `crossed` and `parallel`; a single one is taken to be parallel, that is bright field.
        axes
            what the axes of the array are; must be said of three, which may be `ZYX` or `CYX`.

        Raises
        ------
        LamelleError
            The array is none of these, or its axes or polarizations are not said.
        """
        stack = _stack(np.asarray(array), axes)
        states = _states(stack.shape[0], _names("polarizations", polarizations))
        binning = Scale.of(self._pixel_um, self._focus.sigma_um).binning
        if min(stack.shape[2:]) // binning < SMALLEST_VIEW_PX:
            least = SMALLEST_VIEW_PX * binning
            raise Refused(
                f"the array has {stack.shape[3]} x {stack.shape[2]} px of {self._pixel_um:g} um, too small to find "
                f"anything in it; give at least {least} x {least} px"
            )
        if states not in self._analysers:
            self._analysers[states] = self._first.fitted(self._pixel_um, states)
        found = self._analysers[states].analyse(stack).objects
        return FoundOnArray(
            boxes=np.array([one.box for one in found], np.int64).reshape(-1, 4),
            scores=np.array([one.score for one in found], np.float64),
            classes=tuple(one.class_name for one in found),
            best_planes=np.array([one.best_plane for one in found], np.float64),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _names(what: str, given: object) -> tuple[str, ...]:
    """Give a list of names; a single text would be taken for a list of letters."""
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise Refused(f"{what} is {given!r}; give a list of names")
    return tuple(given)


def _stack(array: NDArray[np.generic], axes: Axes | None) -> NDArray[np.uint16]:
    """Give an array all of the axes CZYX."""
    if array.dtype not in (np.uint8, np.uint16):
        raise Refused(f"the array is {array.dtype}; give 8 or 16 bit without sign (uint8 or uint16)")
    fitting = [one for one in get_args(Axes) if len(one) == array.ndim]
    if not fitting or not array.size:
        raise Refused(f"the array has the shape {array.shape}; give pixels with the axes YX, ZYX, CYX or CZYX")
    if axes is None and len(fitting) > 1:
        raise Refused(
            f"the array has the shape {array.shape}; say its axes: axes={' or axes='.join(map(repr, fitting))}"
        )
    said = axes or fitting[0]
    if said not in fitting:
        raise Refused(
            f"axes is {axes!r} for an array of the shape {array.shape}; give {' or '.join(map(repr, fitting))}"
        )
    sizes = dict(zip(said, array.shape, strict=True))
    return array.astype(np.uint16, copy=False).reshape([sizes.get(axis, 1) for axis in "CZYX"])


def _states(count: int, given: tuple[str, ...]) -> tuple[str, ...]:
    states = given or ((BRIGHT,) if count == 1 else ())
    if len(states) != count or len(set(states)) != count or not set(states) <= set(STATES):
        raise Refused(
            f"polarizations is {given!r} for an array of {count} along C; name each of them, once: {', '.join(STATES)}"
        )
    return states
