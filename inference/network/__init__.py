"""The network itself: Faster R-CNN in torch, as one static graph, with its weights.

Face: `detected`, `device`, `network`, `static_graph`, `trained`, `weights_file`, `weights_proof`.
"""
