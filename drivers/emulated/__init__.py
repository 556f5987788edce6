"""The emulated microscope: Micro-Manager's core before the virtual slide, with faults on demand.

Face: `core`, `mechanics`.
"""
