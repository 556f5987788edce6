"""What an emulated night's pixels are, in one number: computers that print the same one see the same slides.

python -m benchmarks.pixels

A line for each scene tells where they differ. Specimens are made first, where the user's cache does not hold them: some
minutes. On another processor, emulated: `qemu-x86_64 -cpu Nehalem python -m benchmarks.pixels`, with specimens at hand.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide.optics.immersion import Immersion
from drivers.virtual_slide.profiles import kinds_shown
from drivers.virtual_slide.slide import POLARIZATIONS, VirtualSlide, cabinet_of
from drivers.virtual_slide.truth import View

FIELDS, PLANES, SIDE_PX, PIXEL_UM = 3, 3, 512, 0.059
CENTRE_UM = (15000.0, 20000.0)
SIZE_UM = 10000.0
IN_OIL = Immersion()


@dataclass(frozen=True)
class Scene:
    """Something to see; `from_um` is where its first field lies, from the middle of the mini-slide."""

    name: str
    emulation: dict[str, Any]
    from_um: tuple[float, float] = (0.0, 0.0)
    immersion: Immersion = IN_OIL


SCENES = (
    *(Scene(profile, {"profile": profile}) for profile in ("coccolith", "reference", "easy", "trap")),
    Scene("edge of the cover slip", {"profile": "coccolith"}, (10 - SIZE_UM / 2, 0.0)),
    Scene("oil lost", {"profile": "coccolith"}, immersion=Immersion(oil=False)),
    Scene("bubble", {"profile": "coccolith"}, immersion=Immersion(bubble=True)),
    Scene("micrometer", {"micrometer": {"pitch_um": 7, "line_um": 1.5, "angle_deg": 12.3}}),
    Scene("plate", {"plate": {"retardation_nm": 100}}),
)


def tell(done: int, total: int) -> None:
    """Show how many specimens are made."""
    print(f"\r{done}/{total} ", end="", file=sys.stderr, flush=True)


def digest(scene: Scene) -> str:
    """Sha256 of some frames, hex."""
    window = Range(low=-60, high=60)
    mini = MiniSlide(position=1, centre_um=CENTRE_UM, size_um=(SIZE_UM, SIZE_UM), z_um=0, z_window_um=window)
    emulation = Emulation.model_validate(scene.emulation)
    cabinet_of(emulation).fill(kinds_shown(emulation), tell)
    slide = VirtualSlide(emulation, [mini], (SIDE_PX, SIDE_PX), PIXEL_UM)
    frame = np.empty((SIDE_PX, SIDE_PX), np.uint16)
    seen = hashlib.sha256()
    for field in range(FIELDS):
        x, y = CENTRE_UM[0] + scene.from_um[0] + 35 * field, CENTRE_UM[1] + scene.from_um[1]
        z = slide.surface_z_um(1, x, y)
        for polarization in POLARIZATIONS:
            for plane in range(PLANES):
                view = View(1, field, plane, polarization, x, y, z + 0.5 * (plane - 1))
                slide.render(view, 20.0, frame, scene.immersion)
                seen.update(frame.astype("<u2").tobytes())
    return seen.hexdigest()


def main() -> None:
    """Print the digests, and of what computer they are."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "opencv-python-headless"))
    print(f"{platform.platform()}, {platform.processor() or platform.machine()}, {versions}")
    every = hashlib.sha256()
    for scene in SCENES:
        one = digest(scene)
        every.update(one.encode())
        print(f"{one[:12]}  {scene.name}", flush=True)
    print(f"{every.hexdigest()[:12]}  all, {FIELDS * PLANES * len(POLARIZATIONS) * len(SCENES)} frames, seed 1")


if __name__ == "__main__":
    main()
