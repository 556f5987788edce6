"""One stack's way from frames to objects: as planes land, then all at once when the last one has."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.detector import ViewDetector
from inference.network.weights_file import find_weights
from inference.objects import cropping
from inference.objects.merging import NOTHING, Detections
from inference.objects.objects import FoundObject, StackAnalysis
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from inference.stopwatch import Stopwatch
from inference.views import channels
from inference.views import sharpness as focusing
from inference.views.channels import ENERGY_BINNING, Floats, Planes, Scale, ViewArray
from inference.views.fixed_pattern import FixedPattern
from inference.views.fusing import crop_index
from inference.views.overview import overview

if TYPE_CHECKING:
    from inference.views.device_planes import DevicePlanes

Stack = NDArray[np.uint16]
MOST_DN = 65535
"""Intensity that 16 bits hold at most."""
_log = logging.getLogger(__name__)


class StackSession:
    """The analysis of one stack; ends with `finish`. Made by `Analyser.open`."""

    def __init__(self, analyser: Analyser, stack: Stack, planes: Planes | DevicePlanes) -> None:
        self._analyser = analyser
        self._stack = stack
        self._planes = planes
        self._landed = np.zeros(stack.shape[:2], bool)
        self._watch = Stopwatch()

    def add(self, c: int, z: int) -> None:
        """Plane (c, z) has landed in the stack; may be called again after it was exposed again."""
        with self._watch.time("landing"):
            self._planes.add(self._stack[c, z], c, z)
            self._landed[c, z] = True

    def finish(self) -> StackAnalysis:
        """Find, cut out and measure; the result holds copies only, so the stack's memory is free again.

        Raises
        ------
        ValueError
            A plane has not been added.
        """
        if not self._landed.all():
            c, z = np.argwhere(~self._landed)[0]
            raise ValueError(f"plane {z} of polarization {c} was not added; add every plane before finish")
        return self._analyser.finish(self._stack, self._planes, self._watch)


class Analyser:
    """Finds the objects in a stack and cuts them out.

    One session is open at a time: sessions share their buffers. The same stack gives the same result. Sets the number
    of threads of OpenCV, and of torch where that computes, for the whole process.

    Parameters
    ----------
    detector
        settings of detection.
    crops
        settings of cropping.
    focus
        settings of focus.
    pixel_um
        size of a camera pixel on the sample.
    polarizations
        names of the states along C.
    detects
        where false no network is loaded: a stack is focused, and nothing is looked for in it.
    pattern
        what camera and light do to every frame, where that is known; taken off before anything is looked for, while
        crops keep the pixels as they were exposed.

    Attributes
    ----------
    detector
        what looks at the views; None where nothing does.

    Raises
    ------
    WeightsRefused
        The weights are missing, or of another architecture or other classes than the settings name.
    """

    def __init__(
        self,
        detector: DetectorSettings,
        crops: CropSettings,
        focus: FocusSettings,
        pixel_um: float,
        polarizations: tuple[str, ...],
        detects: bool = True,
        pattern: FixedPattern | None = None,
    ) -> None:
        cv2.setNumThreads(detector.threads)
        self._settings = detector
        self._crops = crops
        self._focus = focus
        self.detector = ViewDetector(detector) if detects else None
        self._fit(pixel_um, polarizations, pattern)

    def _fit(self, pixel_um: float, polarizations: tuple[str, ...], pattern: FixedPattern | None = None) -> None:
        self._scale = Scale.of(pixel_um, self._focus.sigma_um)
        self._pattern = None if pattern is None else pattern.binned(self._scale.binning)
        self._margin_px = round(self._crops.margin_um / pixel_um)
        self._polarizations = polarizations
        self._planes: Planes | DevicePlanes | None = None

    def fitted(self, pixel_um: float, polarizations: tuple[str, ...], pattern: FixedPattern | None = None) -> Analyser:
        """Give an analyser with the same network for stacks of another scale, other polarizations or another camera."""
        other = copy.copy(self)
        other._fit(pixel_um, polarizations, pattern)
        return other

    @property
    def weights_sha256(self) -> str:
        """Hex sha256 of the weights file."""
        return find_weights(self._settings.weights).sha256 if self.detector is None else self.detector.weights_sha256

    @property
    def device(self) -> Literal["cpu", "cuda", "none"]:
        """What the network runs on; none where there is no network."""
        return "none" if self.detector is None else self.detector.device

    def sharpness(self, frame: NDArray[np.uint16]) -> float:
        """Laplacian-of-Gaussian energy of one frame (H, W) of the first state, to compare planes of one field."""
        root = channels.binned_root(frame, self._scale, self._pattern)
        return float(channels.log_energy(root, self._scale).mean())

    def analyse(self, stack: Stack) -> StackAnalysis:
        """Analyse a whole stack, CZYX."""
        session = self.open(stack)
        for c, z in np.ndindex(stack.shape[:2]):
            session.add(c, z)
        return session.finish()

    def open(self, stack: Stack) -> StackSession:
        """Begin with a stack, CZYX, whose planes are still to land in it.

        Raises
        ------
        ValueError
            C is not the number of polarizations, or the fixed pattern is of frames of another size.
        """
        count, planes, height, width = stack.shape
        if count != len(self._polarizations):
            raise ValueError(f"the stack has {count} polarizations, not {', '.join(self._polarizations)}")
        if self._planes is None or self._planes.shape != stack.shape:
            self._planes = self._make_planes(count, planes, height, width)
        return StackSession(self, stack, self._planes)

    def _make_planes(self, count: int, planes: int, height: int, width: int) -> Planes | DevicePlanes:
        n, pattern = self._scale.binning, self._pattern
        if pattern is not None and pattern.gains.shape != (count, height // n, width // n):
            raise ValueError(
                f"the fixed pattern {pattern.gains.shape} is not of frames of {count} x {height} x {width}"
            )
        if self.detector is None or self.detector.device == "cpu":
            return Planes(count, planes, height, width, self._scale, self._pattern)
        # With it comes torch, of which nights on a processor may do without.
        from inference.views.device_planes import DevicePlanes

        return DevicePlanes(count, planes, height, width, self._scale, self.detector.device, self._pattern)

    def finish(self, stack: Stack, planes: Planes | DevicePlanes, watch: Stopwatch) -> StackAnalysis:
        """Everything that needs the whole stack; `StackSession.finish` calls it."""
        with watch.time("channels"):
            every_plane = self._settings.mode == "planes" and self.detector is not None
            seen = planes.look(self._polarizations, every_plane=every_plane)
            stack_focus = focusing.stack_focus(seen.sharpness, self._focus.blank_contrast)
        with watch.time("detection"):
            found = self._detect(seen.views)
        with watch.time("crops"):
            objects = tuple(
                self._fenced(stack, seen.sharpness, found.boxes[k], int(found.labels[k]), float(found.scores[k]))
                for k in range(len(found))
            )
            picture = overview(seen.fused)
            fused = np.rint(np.square(seen.roots)).clip(0, MOST_DN).astype(np.uint16)
        return StackAnalysis(
            objects=objects,
            focus=stack_focus,
            backgrounds_dn=planes.backgrounds_dn(),
            overview=picture,
            fused=fused,
            taken_from=seen.taken_from,
            seconds=watch.seconds,
        )

    def _detect(self, views: ViewArray) -> Detections:
        if self.detector is None:
            return NOTHING
        found = self.detector.detect(views)
        return found.take((found.scores >= self._settings.keep_above) & np.isfinite(found.boxes).all(axis=1))

    def _fenced(
        self,
        stack: Stack,
        sharpness: Floats,
        found: NDArray[np.float32],
        label: int,
        score: float,
    ) -> FoundObject:
        """Cut out an object; where that raises an error it is cut out all the same, and not looked at."""
        try:
            return self._object(stack, sharpness, found, label, score)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the field stands
            _log.exception("an object cannot be looked at")
            fault = f"{type(error).__name__}: {error}"
        planes, height, width = stack.shape[1:]
        box = cropping.pixel_box(found * self._scale.binning, height, width)
        crop_box = cropping.with_margin(box, self._margin_px, height, width)
        crop = cropping.crop(stack, crop_box)
        return FoundObject(
            box=box,
            crop_box=crop_box,
            class_name=self._settings.classes[label - 1],
            score=score,
            below_threshold=score < self._settings.threshold,
            best_plane=float(planes // 2),
            best_plane_at_edge=False,
            sharpness=np.zeros(planes, np.float32),
            touches_edge=cropping.touches_edge(box, height, width),
            crop=crop,
            fused=crop[:, planes // 2].copy(),
            fault=fault,
        )

    def _object(
        self,
        stack: Stack,
        sharpness: Floats,
        found: NDArray[np.float32],
        label: int,
        score: float,
    ) -> FoundObject:
        height, width = stack.shape[2:]
        box = cropping.pixel_box(found * self._scale.binning, height, width)
        crop_box = cropping.with_margin(box, self._margin_px, height, width)
        curve = focusing.box_sharpness(sharpness, box, self._scale.binning * ENERGY_BINNING)
        plane, at_edge = focusing.best_plane(curve)
        crop = cropping.crop(stack, crop_box)
        index = crop_index(sharpness, crop_box, self._scale.binning, plane)
        fused = channels.gather(crop, index).astype(np.uint16, copy=False)
        return FoundObject(
            box=box,
            crop_box=crop_box,
            class_name=self._settings.classes[label - 1],
            score=score,
            below_threshold=score < self._settings.threshold,
            best_plane=plane,
            best_plane_at_edge=at_edge,
            sharpness=curve,
            touches_edge=cropping.touches_edge(box, height, width),
            crop=crop,
            fused=fused,
        )
