"""The microscope: what moves, switches and exposes. Micro-Manager, emulated with its virtual slide, replay.

Face: `errors`, `limits`, `microscope`, `open`, `settings`.
"""
