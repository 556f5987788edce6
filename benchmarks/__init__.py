"""How fast, how exact and how safe lamelle is: programs that measure it, run by hand (docs/performance.md)."""
