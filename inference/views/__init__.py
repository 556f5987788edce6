"""What the network looks at: corrected planes, fused views, sharpness of each object in each plane."""
