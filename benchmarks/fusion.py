"""How near fused crops come to the truth, every object rendered at its own height, beside other ways to fuse a stack.

python -m benchmarks.fusion [--profile NAME] [--collection C] [--seed S] [--fields N]

Fields of 1024 x 1024 px, 2 x 9 planes 0.5 um apart. For each detected object and state: PSNR of its fused crop against
the truth, a mean of 16 exposures (peak: the range of the truth in the crop), median and mean; the gradient beyond the
truth's where the plane index jumps, over all of the truth's gradient (0 is no seam; the guided filter has no index);
milliseconds a field. `best` is the best plane alone; `mean` has an index that is a mean weighted by sharpness, as crops
were fused before; `guided` mixes planes by weights that a guided filter evens out (S. Li, X. Kang and J. Hu 2013, IEEE
Trans. Image Process. 22, 2864); `now` is what crops are made of.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import CONFIG
from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.emulation.export import override
from drivers.emulated.mechanics import true_pixel_um
from drivers.settings import Emulation
from drivers.virtual_slide.population import PlacedObject
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View
from inference.analyser import Analyser
from inference.objects.objects import FoundObject
from inference.views import channels
from inference.views.fusing import crop_index

SLIDE = 2
EXPOSED = 16
EXPOSURE_MS = 20.0
ABOVE_UM = 0.5
GUIDE_RADIUS, GUIDE_ERROR = 12, 0.01
Floats = NDArray[np.float32]


class Level(VirtualSlide):
    """A virtual slide on which every object lies at height 0, so that all are in focus at once."""

    def _z(self, _slide: int, _placed: PlacedObject) -> float:
        return 0.0


def guided(planes: Floats, radius: int, error: float) -> Floats:
    """Mix planes (Z, h, w) by weights that follow the edges of the planes."""
    energy = np.stack([cv2.GaussianBlur(np.abs(cv2.Laplacian(one, cv2.CV_32F)), (0, 0), 5.0) for one in planes])
    sharpest = energy.argmax(axis=0)
    side = (2 * radius + 1, 2 * radius + 1)
    weights = []
    for number, plane in enumerate(planes):
        guide, asked = plane / max(float(plane.max()), 1.0), (sharpest == number).astype(np.float32)
        mean, mean_asked = cv2.boxFilter(guide, -1, side), cv2.boxFilter(asked, -1, side)
        variance = cv2.boxFilter(guide * guide, -1, side) - mean * mean
        slope = (cv2.boxFilter(guide * asked, -1, side) - mean * mean_asked) / (variance + error)
        level = mean_asked - slope * mean
        weights.append(cv2.boxFilter(slope, -1, side) * guide + cv2.boxFilter(level, -1, side))
    weight = np.clip(np.stack(weights), 0, None) + 1e-6
    return np.asarray((planes * weight).sum(axis=0) / weight.sum(axis=0), np.float32)


def psnr(image: Floats, truth: Floats) -> float:
    """Peak signal-to-noise ratio in dB; the peak is the range of the truth."""
    error = float(np.square(image - truth).mean())
    return 10 * float(np.log10(max(float(np.ptp(truth)) ** 2, 1.0) / max(error, 1e-9)))


def seam(image: Floats, truth: Floats, index: NDArray[np.intp]) -> float:
    """Gradient beyond the truth's where an index jumps, over all of the truth's gradient in the crop."""
    jumps = np.zeros(index.shape, np.bool_)
    jumps[:, 1:] |= index[:, 1:] != index[:, :-1]
    jumps[1:] |= index[1:] != index[:-1]
    there, true = (cv2.magnitude(cv2.Sobel(one, -1, 1, 0), cv2.Sobel(one, -1, 0, 1)) for one in (image, truth))
    return float(np.maximum(there - true, 0)[jumps].sum() / max(float(true.sum()), 1e-9))


class Field:
    """One emulated field: its stack, and each state with everything in focus."""

    def __init__(self, config: NightConfig, real: VirtualSlide, level: VirtualSlide, number: int) -> None:
        scan, frame_px = config.scan, config.instrument.frame_px
        mini = next(slide for slide in scan.slides if slide.position == SLIDE)
        emulation = config.instrument.emulation or Emulation()
        random = np.random.default_rng([emulation.seed, number])
        x, y = (float(centre + random.uniform(-3000, 3000)) for centre in mini.centre_um)
        first = real.surface_z_um(SLIDE, x, y) + ABOVE_UM - (scan.planes - 1) / 2 * scan.step_um
        self.stack = np.empty((len(scan.polarizations), scan.planes, *frame_px), np.uint16)
        self.truth = np.zeros((len(scan.polarizations), *frame_px), np.float32)
        frame = np.empty(frame_px, np.uint16)
        for c, state in enumerate(scan.polarizations):
            for z in range(scan.planes):
                real.render(
                    View(SLIDE, number, z, state, x, y, first + z * scan.step_um), EXPOSURE_MS, self.stack[c, z]
                )
            for again in range(EXPOSED):
                level.render(View(SLIDE, number, again, state, x, y, 0.0), EXPOSURE_MS, frame)
                self.truth[c] += frame / np.float32(EXPOSED)


def ways_of(found: FoundObject, sharpness: Floats, mean: NDArray[np.intp], binning: int) -> dict[str, NDArray[np.intp]]:
    """Plane indices of an object's crop by each way that has one."""
    x0, y0, x1, y1 = found.crop_box
    best = np.full((y1 - y0, x1 - x0), min(max(round(found.best_plane), 0), len(sharpness) - 1))
    median = crop_index(sharpness, found.crop_box, binning, found.best_plane)
    return {"best": best, "mean": mean[y0:y1, x0:x1], "now": median}


def main() -> None:
    """Render, detect, fuse, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="mixed")
    parser.add_argument("--collection", type=int, default=414)
    parser.add_argument("--seed", type=int, default=41900)
    parser.add_argument("--fields", type=int, default=6)
    given = parser.parse_args()
    config = override(load(CONFIG), None, seed=given.seed, collection=given.collection, profile=given.profile)
    instrument, states = config.instrument, config.scan.polarizations
    made = instrument.emulation or Emulation(), config.scan.slides, instrument.frame_px, true_pixel_um(instrument)
    real, level = VirtualSlide(*made), Level(*made)
    analyser = Analyser(config.detector, config.crops, config.focus, instrument.pixel_um, states)
    scale = channels.Scale.of(instrument.pixel_um, config.focus.sigma_um)
    nears: dict[tuple[str, str], list[float]] = defaultdict(list)
    seams: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for number in range(given.fields):
        field = Field(config, real, level, number)
        planes = channels.Planes(*field.stack.shape, scale)
        for c, z in np.ndindex(field.stack.shape[:2]):
            planes.add(field.stack[c, z], c, z)
        sharpness = planes.sharpness()
        begun = time.process_time()
        mean = channels.plane_index(channels.sharpest_plane(sharpness), *instrument.frame_px)
        seconds["mean"] += time.process_time() - begun
        for found in analyser.analyse(field.stack).objects:
            x0, y0, x1, y1 = found.crop_box
            begun = time.process_time()
            crop_index(sharpness, found.crop_box, scale.binning, found.best_plane)
            seconds["now"] += time.process_time() - begun
            for way, index in ways_of(found, sharpness, mean, scale.binning).items():
                fused = channels.gather(found.crop, index).astype(np.float32)
                for c, state in enumerate(states):
                    truth = field.truth[c, y0:y1, x0:x1]
                    nears[way, state].append(psnr(fused[c], truth))
                    seams[way, state].append(seam(fused[c], truth, index))
            for c, state in enumerate(states):
                begun = time.process_time()
                mixed = guided(found.crop[c].astype(np.float32), GUIDE_RADIUS, GUIDE_ERROR)
                seconds["guided"] += time.process_time() - begun
                nears["guided", state].append(psnr(mixed, field.truth[c, y0:y1, x0:x1]))
    print(
        f"{len(nears['now', states[0]])} objects\n{'':<10}"
        + "".join(f"{s:>8}{'mean':>7}{'seam':>8}" for s in states)
        + "  ms/field"
    )
    for way in ("best", "mean", "guided", "now"):
        told = "".join(
            f"{np.median(nears[way, s]):>8.2f}{np.mean(nears[way, s]):>7.2f}{np.mean(seams[way, s] or np.nan):>8.1%}"
            for s in states
        )
        print(f"{way:<10}{told}{seconds[way] / given.fields * 1000:>10.1f}")


if __name__ == "__main__":
    main()
