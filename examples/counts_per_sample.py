"""Counts per sample, with their 95 % interval: python examples/counts_per_sample.py DATASET."""

import sys

import lamelle

for row in lamelle.open(sys.argv[1]).samples().to_pylist():
    print(f"{row['sample']}: {row['objects']} objects ({row['low']:.0f} to {row['high']:.0f})")
