"""Names objects: what a classifier looks at, the vector it makes of that, the taxa that a vector speaks for.

Face: `answers`, `classifier`, `encoder`, `encoder_file`, `figures`, `head`, `miso`, `onnx_encoder`, `reference`,
`sight`, `specimens`.
"""
