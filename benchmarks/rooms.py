"""The house as docs/architecture.md shows it: floors as the import contracts have them, and how much lies in each room.

python -m benchmarks.rooms

Writes the two tables of that page anew, each between its markers.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
FACE = re.compile(r"(?m)^Face: (.+(?:\n.+)*)$")


@dataclass(frozen=True)
class Room:
    """A folder of modules.

    Attributes
    ----------
    name
        dotted, as it is imported.
    purpose
        what it is for: the first paragraph of its docstring; empty where it says nothing.
    face
        modules that other rooms may import, as its docstring names them.
    modules
        all of them.
    lines
        in all of them.
    """

    name: str
    purpose: str
    face: tuple[str, ...]
    modules: tuple[str, ...]
    lines: int


def packages() -> list[str]:
    """Name the packages that the contracts are about."""
    roots: list[str] = _import_linter()["root_packages"]
    return roots


def floors() -> dict[str, list[list[str]]]:
    """For each package with a contract of floors, what stands on them, from the roof down."""
    house: dict[str, list[list[str]]] = {}
    for contract in _import_linter()["contracts"]:
        if contract["type"] == "layers":
            levels = [re.findall(r"\w+", layer) for layer in contract["layers"]]
            house.update(dict.fromkeys(contract.get("containers", ["the packages"]), levels))
    return house


def rooms() -> list[Room]:
    """Give every room, those of a package below it."""
    folders = {path.parent for package in packages() for path in (ROOT / package).rglob("__init__.py")}
    return [_room(folder) for folder in sorted(folders)]


def floors_table() -> str:
    """Markdown of the floors: those of the daemon one a row, those of the libraries in a row each."""
    house = floors()
    daemon = house.pop("daemon")
    lines = ["| floor | rooms of `daemon` |", "|---|---|"]
    lines += [f"| {number} | {_together(level)} |" for number, level in enumerate(daemon, 1)]
    lines += ["", "| of | from the roof down |", "|---|---|"]
    lines += [f"| {_code(name)} | {' / '.join(map(_together, levels))} |" for name, levels in house.items()]
    return "\n".join(lines)


def rooms_table() -> str:
    """Markdown of the rooms: what each is for, its modules and its lines."""
    all_rooms = rooms()
    largest = max(all_rooms, key=lambda room: len(room.modules))
    lines = ["| room | for | modules | lines |", "|---|---|--:|--:|"]
    lines += [f"| `{room.name}` | {room.purpose} | {len(room.modules)} | {room.lines} |" for room in all_rooms]
    modules, total = sum(len(room.modules) for room in all_rooms), sum(room.lines for room in all_rooms)
    lines += [f"| all | | {modules} | {total} |", ""]
    lines += [f"The largest folder is `{largest.name}` with {len(largest.modules)} modules."]
    return "\n".join(lines)


def between(text: str, marker: str) -> str:
    """Return what stands between the two markers of a name."""
    return _apart(text, marker)[1]


def main() -> None:
    """Write the tables of the page anew."""
    write_between(PAGE, {"floors": floors_table(), "rooms": rooms_table()})


def write_between(page: Path, tables: Mapping[str, str]) -> None:
    """Write tables anew into a page, each between the two markers of its name."""
    text = page.read_text("utf-8")
    for marker, table in tables.items():
        before, _, after = _apart(text, marker)
        text = f"{before}\n{table}\n{after}"
    page.write_text(text, "utf-8", newline="\n")


def _room(folder: Path) -> Room:
    files = sorted(folder.glob("*.py"))
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    face = FACE.search(said)
    return Room(
        name=".".join(folder.relative_to(ROOT).parts),
        purpose=said.partition("\n\n")[0].replace("\n", " "),
        face=tuple(re.findall(r"`(\w+)`", face[1])) if face else (),
        modules=tuple(path.stem for path in files if path.stem != "__init__"),
        lines=sum(len(path.read_text("utf-8").splitlines()) for path in files),
    )


def _apart(text: str, marker: str) -> tuple[str, str, str]:
    """Return what stands before, between and behind the two markers of a name; they stay with what is around them."""
    match = re.fullmatch(rf"(?s)(.*<!-- {marker} -->)(.*)(<!-- /{marker} -->.*)", text)
    if match is None:
        raise SystemExit(
            f"the page has no table {marker!r}: put <!-- {marker} --> and <!-- /{marker} --> around its place"
        )
    return match[1], match[2].strip(), match[3]


def _together(level: list[str]) -> str:
    return ", ".join(map(_code, level))


def _code(name: str) -> str:
    return name if " " in name else f"`{name}`"


def _import_linter() -> dict[str, Any]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    settings: dict[str, Any] = content["tool"]["importlinter"]
    return settings


if __name__ == "__main__":
    main()
