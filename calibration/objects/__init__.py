"""What an object is: outline, length, thickness, mass.

Face: `birefringence`, `mass`, `shape`, `thickness`.
"""
