"""The microscope: what moves, switches and exposes. Micro-Manager, emulated with its virtual slide, replay.

Face: `backends`, `errors`, `limits`, `microscope`, `open`, `profile_names`, `settings`, `texts`.
"""
