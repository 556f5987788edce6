"""What an emulated night's pixels are, in one number: computers that print the same one see the same slide.

python -m benchmarks.pixels

Specimens are made first, where the user's cache does not hold them: a minute or two.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib.metadata import version

import numpy as np

from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide.profiles import kinds_of
from drivers.virtual_slide.slide import POLARIZATIONS, VirtualSlide, cabinet_of
from drivers.virtual_slide.truth import View

PROFILE = "coccolith"
FIELDS, PLANES, SIDE_PX, PIXEL_UM = 3, 3, 512, 0.059
CENTRE_UM = (15000.0, 20000.0)


def tell(done: int, total: int) -> None:
    """Show how many specimens are made."""
    print(f"\r{done}/{total} ", end="", file=sys.stderr, flush=True)


def digest() -> str:
    """Sha256 of some frames, hex."""
    window = Range(low=-60, high=60)
    mini = MiniSlide(position=1, centre_um=CENTRE_UM, size_um=(10000, 10000), z_um=0, z_window_um=window)
    emulation = Emulation.model_validate({"profile": PROFILE})
    cabinet_of(emulation).fill(kinds_of(PROFILE), tell)
    slide = VirtualSlide(emulation, [mini], (SIDE_PX, SIDE_PX), PIXEL_UM)
    slide.prepare()
    frame = np.empty((SIDE_PX, SIDE_PX), np.uint16)
    seen = hashlib.sha256()
    for field in range(FIELDS):
        x, y = CENTRE_UM[0] + 35 * field, CENTRE_UM[1]
        z = slide.surface_z_um(1, x, y)
        for polarization in POLARIZATIONS:
            for plane in range(PLANES):
                view = View(1, field, plane, polarization, x, y, z + 0.5 * (plane - 1))
                slide.render(view, 20.0, frame)
                seen.update(frame.astype("<u2").tobytes())
    return seen.hexdigest()


def main() -> None:
    """Print the digest, and of what computer it is."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "opencv-python-headless"))
    print(f"{platform.platform()}, {platform.processor() or platform.machine()}, {versions}")
    print(f"{digest()}  {FIELDS * PLANES * len(POLARIZATIONS)} frames of {PROFILE!r}, seed {Emulation().seed}")


if __name__ == "__main__":
    main()
