"""Back-ends of other packages, installed into a folder as an installer would, and the one that the documents show."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.configuration_files import shipped
from tests.support.places import CONFIGS, ROOT

PAGE = ROOT / "docs" / "adding-a-microscope.md"
FILE = re.compile(r"(?ms)^`([\w./]+)`:\n\n```\w+\n(.*?)^```$")
SETTINGS = re.compile(r"(?ms)^```yaml\n(.*?)^```$")


def install(folder: Path, name: str, version: str, offers: Mapping[str, str], files: Mapping[str, str]) -> None:
    """Write a distribution's files and metadata; one of the same name and another version is replaced.

    Parameters
    ----------
    folder
        where modules are looked for.
    name
        name of the distribution.
    version
        its version.
    offers
        back-ends by name, and where each lies.
    files
        contents by path.
    """
    for old in folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
        shutil.rmtree(old)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    entries = "".join(f"{offer} = {where}\n" for offer, where in offers.items())
    (metadata / "entry_points.txt").write_text(f"[lamelle.microscopes]\n{entries}", encoding="utf-8")


def shown_files() -> dict[str, str]:
    """Files of the package that the page shows."""
    return dict(FILE.findall(PAGE.read_text(encoding="utf-8")))


def install_shown(folder: Path, version: str | None = None) -> None:
    """Install the package that the page shows, in its own version unless another is named."""
    files = shown_files()
    project: dict[str, Any] = tomllib.loads(files.pop("pyproject.toml"))["project"]
    offers = project["entry-points"]["lamelle.microscopes"]
    install(folder, project["name"], version or project["version"], offers, files)


def write_shown_configuration(folder: Path, **changes: Any) -> Path:
    """Write a night of one mini-slide on the microscope that the page shows; dotted names are not taken."""
    text = next(block for block in SETTINGS.findall(PAGE.read_text(encoding="utf-8")) if "backend" in block)
    config = shipped()
    config["instrument"] = yaml.safe_load(text)["instrument"] | {"name": f"pretended {folder}"} | changes
    config["scan"] |= {"samples": str(CONFIGS / "samples.csv"), "fields": 2, "slides": config["scan"]["slides"][:1]}
    config["focus"] = {"search_um": 4}
    config["retention"] = {"raw": "all"}
    config["report"] = {"make": "never"}
    path = folder / "night.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
