"""Names objects: what a classifier looks at, the vector it makes of that, the taxa that a vector speaks for.

Face: `answers`, `classifier`, `encoder_file`, `few_labels`, `figures`, `fitting`, `head`, `learning`, `miso`,
`onnx_encoder`, `settings`, `shipped`, `sight`, `specimens`, `training`.
"""
