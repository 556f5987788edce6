"""From detections to objects: merged across planes, cut out of the stack, outlined.

Face: `cropping`, `merging`, `objects`, `outline`.
"""
