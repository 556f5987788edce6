"""Light on its way from lamp to sensor, with the errors of polarizers, immersion and camera.

Face: `body_light`, `camera`, `illumination`, `immersion`, `polarizers`.
"""
