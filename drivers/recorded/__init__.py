"""Stacks that lie in files: one reader of stacks and planes, and a microscope that replays them.

Face: `file_names`, `held`, `images`, `likely_planes`, `listing`, `reading`, `recording`, `replay`, `stacks`.
"""
