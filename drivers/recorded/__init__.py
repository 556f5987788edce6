"""Stacks that lie in files: one reader of stacks and planes, and a microscope that replays them.

Face: `plane_files`, `replay`, `stack_files`.
"""
