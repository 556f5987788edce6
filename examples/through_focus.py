"""The best object through focus, as animated GIF: python examples/through_focus.py DATASET [GIF]."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import lamelle

if len(sys.argv) < 2:
    sys.exit(__doc__)
into = Path(sys.argv[2] if len(sys.argv) > 2 else "through-focus.gif")
nights = lamelle.open(sys.argv[1])
objects = nights.objects()
if not objects.num_rows:
    sys.exit(f"{sys.argv[1]} holds no objects; name a night that has found some")
best = objects.sort_by([("score", "descending")]).slice(0, 1).to_pylist()[0]
stack = nights.stack(best)
channels = stack.pixels.astype(float)
darkest, brightest = (np.percentile(channels, share, axis=(1, 2, 3), keepdims=True) for share in (0.1, 99.9))
grey = (255 * np.clip((channels - darkest) / np.maximum(brightest - darkest, 1), 0, 1)).astype(np.uint8)
frames = [Image.fromarray(np.hstack(list(grey[:, z]))) for z in range(grey.shape[1])]
frames[0].save(into, save_all=True, append_images=frames[1:], duration=150, loop=0)
print(f"{into}: {best['class_name']}, {' | '.join(stack.polarizations)}, z {stack.z_um[0]:g} to {stack.z_um[-1]:g} um")
