"""Micro-Manager, in this process or over its bridge: core, hardware file, verification, exposures.

Face: `core`, `devices`, `hardware_file`, `hardware_text`, `presets`.
"""
