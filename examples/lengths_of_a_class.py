"""A histogram of lengths, as CSV: python examples/lengths_of_a_class.py DATASET [CLASS]; coccoliths if left out."""

import sys

import numpy as np
import pyarrow.compute as pc

import lamelle

if len(sys.argv) < 2:
    sys.exit(__doc__)
name = sys.argv[2] if len(sys.argv) > 2 else "coccolith"
objects = lamelle.open(sys.argv[1]).objects()
if not objects.num_rows:
    sys.exit(f"{sys.argv[1]} holds no objects; name a night that has found some")
usable = objects.filter(pc.and_(pc.equal(objects["class_name"], name), objects["usable_for_size"]))
lengths_um = usable["length_um"].drop_null().to_numpy()
counts, edges = np.histogram(lengths_um, bins=np.arange(0, lengths_um.max(initial=0) + 0.5, 0.5))
print("from_um,to_um,objects")
for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
    print(f"{low:g},{high:g},{count}")
