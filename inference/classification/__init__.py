"""Names objects: what a classifier looks at, the vector it makes of that, and the taxa that a vector speaks for.

Face: `answers`, `card`, `classifier`, `figures`, `head`, `learning`, `onnx_encoder`, `settings`, `sight`, `specimens`.
"""
