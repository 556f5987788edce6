"""The detector on an array: python examples/detector_on_an_array.py DATASET; needs `pip install "lamelle[detector]"`.

The array is the stack of the largest object, which the detector has seen before.
"""

import sys

import pyarrow.compute as pc

import lamelle

if len(sys.argv) < 2:
    sys.exit(__doc__)
nights = lamelle.open(sys.argv[1])
objects = nights.objects()
if not objects.num_rows:
    sys.exit(f"{sys.argv[1]} holds no objects; name a night that has found some")
sides_px = pc.min_element_wise(
    pc.subtract(objects["crop_box_x1"], objects["crop_box_x0"]),
    pc.subtract(objects["crop_box_y1"], objects["crop_box_y0"]),
)
largest = objects.slice(pc.index(sides_px, pc.max(sides_px)).as_py(), 1).to_pylist()[0]
stack = nights.stack(largest)
detector = lamelle.Detector(pixel_um=stack.pixel_um, device="cpu")
found = detector.detect(stack.pixels, stack.polarizations)
print(f"{stack.pixels.shape} {stack.pixels.dtype}, recorded as {largest['class_name']} {largest['score']:.2f}")
for box, score, name in zip(found.boxes.tolist(), found.scores, found.classes, strict=True):
    print(f"{name} {score:.2f} at {box}")
