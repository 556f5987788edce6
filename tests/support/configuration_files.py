"""Configurations for tests: the shipped emulated one, with some keys changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from daemon.config.loading import load
from daemon.config.model import NightConfig
from tests.support.places import CONFIGS

REMOVED = object()


def shipped() -> dict[str, Any]:
    """What stands in configs/emulated.yaml, but for names of objects, which few tests need."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / "emulated.yaml").read_text(encoding="utf-8"))
    for key in ("taxonomy", "classifier"):
        content.pop(key, None)
    return content


def write(folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write configs/emulated.yaml with dotted keys set, or taken out; numbers in a key are places in a list."""
    content = shipped()
    content["instrument"]["hardware"] = str(CONFIGS / "emulated.cfg")
    content["scan"]["samples"] = str(CONFIGS / "samples.csv")
    for key, value in changes.items():
        *path, last = (int(part) if part.isdecimal() else part for part in key.split("."))
        place: Any = content
        for part in path:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    file = folder / "night.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def night(folder: Path, changes: Mapping[str, Any] | None = None) -> NightConfig:
    """Load the shipped emulated configuration with dotted keys changed."""
    return load(write(folder, changes or {}))
