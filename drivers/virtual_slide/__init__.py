"""An endless, deterministic mini-slide with known truth, seen through an emulated microscope.

Face: `not_living`, `population`, `profiles`, `scene`, `seeds`, `slide`, `truth`, `visibility`.
"""
