"""An endless, deterministic mini-slide with known truth, seen through an emulated microscope.

Face: `population`, `profiles`, `scene`, `seeds`, `slide`, `truth`, `visibility`.
"""
