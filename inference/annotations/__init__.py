"""What people say is in images: CVAT and COCO, read whole, and split for training and judging.

Face: `coco`, `cvat`, `known_stacks`, `sources`, `splits`, `stacks`.
"""
