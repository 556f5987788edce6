"""What the network looks at: corrected planes, fused views, sharpness of each object in each plane.

Face: `channels`, `device_planes`, `fixed_pattern`, `fusing`, `object_focus`, `overview`, `sharpness`.
"""
