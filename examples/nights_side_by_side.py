"""Several nights side by side, as CSV: python examples/nights_side_by_side.py DATASET... (or a pattern, quoted)."""

import sys

import pyarrow.csv

import lamelle

if len(sys.argv) < 2:
    sys.exit(__doc__)
samples = lamelle.open(sys.argv[1:]).samples()
columns = ["night", "slide", "sample", "recorded", "skipped", "objects", "low", "high", "objects_per_mm2"]
pyarrow.csv.write_csv(samples.select(columns), sys.stdout.buffer)
