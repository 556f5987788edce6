"""Faults of every part of the instrument, each through a night whose hours pass in no time: what becomes of it."""
