"""Counts per sample, with their 95 % interval: python examples/counts_per_sample.py DATASET."""

import sys

import lamelle

if len(sys.argv) < 2:
    sys.exit(__doc__)
for row in lamelle.open(sys.argv[1]).samples().to_pylist():
    interval = "nothing searched" if row["low"] is None else f"{row['low']:.0f} to {row['high']:.0f}"
    print(f"{row['sample']}: {row['objects']} objects ({interval})")
