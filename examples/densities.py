"""Densities of each class on each sample, of `lamelle tables`, with and without the fields that are not counted.

python examples/densities.py TABLES
"""

import sys

import pandas

if len(sys.argv) < 2:
    sys.exit(__doc__)
counts = pandas.read_parquet(f"{sys.argv[1]}/counts.parquet")
classes = counts[counts["kind"] == "class"].set_index(["night", "slide", "sample", "name"])
densities = classes[["objects", "objects_per_mm2", "low_per_mm2", "high_per_mm2"]]
with_all = classes[["excluded_share", "all_objects", "all_per_mm2", "all_low_per_mm2", "all_high_per_mm2"]]
densities.join(with_all).to_csv(sys.stdout)
