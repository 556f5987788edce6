"""Rooms that outlive a graphics card, or work without one, import nothing of what only the detector needs."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
import tomllib
from importlib import import_module
from typing import Any

import pytest

from tests.support.places import ROOT

WITH_TORCH = {"daemon.training"}
"""Rooms of the daemon that run in a process of their own, where torch is wanted."""


def contract() -> dict[str, Any]:
    """The contract of import-linter, which looks at imports as they are written."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return next(one for one in contracts if one["name"] == "rooms without torch")


def modules_of(package: str) -> list[str]:
    folder = getattr(import_module(package), "__path__", [])  # a room whose modules stand apart names them
    return [package, *(found.name for found in pkgutil.walk_packages(folder, f"{package}."))]


def test_every_room_of_the_daemon_is_with_torch_or_without() -> None:
    import daemon

    rooms = {f"daemon.{found.name}" for found in pkgutil.iter_modules(daemon.__path__) if found.ispkg}
    assert rooms - {*contract()["source_modules"]} == WITH_TORCH


@pytest.mark.slow
def test_what_is_imported_with_these_rooms_is_none_of_it() -> None:
    rooms = [module for room in contract()["source_modules"] for module in modules_of(room)]
    code = (
        f"import sys, json, importlib\nfor name in {[one for one in rooms if not one.endswith('__main__')]!r}:\n"
        "    importlib.import_module(name)\nprint(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*contract()["forbidden_modules"]} & {*json.loads(done.stdout)} == set()
