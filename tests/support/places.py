"""Where things lie that tests use."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""Of the repository."""
CONFIGS = ROOT / "configs"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Images that others made, where they are at hand beside the repository; tests that need them skip elsewhere."""
