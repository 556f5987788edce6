"""What installs lamelle says the same everywhere: the extras, and the versions that pip and uv take."""

from __future__ import annotations

import re
import tomllib

from daemon.system.extras import EXTRAS
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GRAPHICS = {"cuda", "tensorrt", "rtx"}
"""They exclude each other, so they are in no other extra."""


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_pip_and_uv_take_the_same_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert PROJECT["tool"]["uv"]["constraint-dependencies"] == [line for line in lines if not line.startswith("#")]


def test_whatever_may_be_installed_has_a_version() -> None:
    constrained = {name_of(line) for line in PROJECT["tool"]["uv"]["constraint-dependencies"]}
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    asked += [one for extra, ones in extras.items() if extra not in GRAPHICS for one in ones]
    assert {name_of(one) for one in asked} - constrained == {"lamelle"}


def test_the_whole_is_every_extra_but_those_of_one_graphics_card() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {*EXTRAS, *GRAPHICS, "all"}
    assert extras["all"] == [f"lamelle[{','.join(EXTRAS)}]"]


def test_a_missing_package_of_an_extra_is_known_by_its_import() -> None:
    """Packages that only show that an extra is there are not looked for: pycromanager is not imported."""
    extras = PROJECT["project"]["optional-dependencies"]
    for extra, imported in EXTRAS.items():
        assert {name_of(one).replace("-", "_") for one in extras[extra]} - {"pycromanager"} <= set(imported)
