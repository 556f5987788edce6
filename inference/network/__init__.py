"""The network itself: Faster R-CNN in torch, as one static graph, with its weights.

Face: `detected`, `device`, `folding`, `network`, `static_graph`, `trained`, `weights_file`, `weights_proof`,
`winograd`.
"""
