"""What lies in a run folder is named once: a name that stands in two modules is misspelt in one of them some day."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from daemon.records import names
from daemon.run_folder import folder
from daemon.run_folder.folder import RunFolder
from tests.support.places import ROOT

PLACES = {
    name: getattr(RunFolder(Path()), name).name for name, kind in vars(RunFolder).items() if type(kind) is property
}


def spelt(tree: ast.AST) -> Iterator[ast.Constant]:
    """Strings of a module that name a file, or a folder by what is done with them."""
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str()) as name):
                yield name
            case ast.Call(func=ast.Attribute(attr="joinpath" | "with_name"), args=arguments):
                yield from (name for name in arguments if isinstance(name, ast.Constant))
            case ast.Constant(value=str() as text) if "." in text:
                yield node


def test_every_place_has_a_name_of_its_own() -> None:
    assert len(set(PLACES.values())) == len(PLACES) > 10
    assert [one.name for one in fields(RunFolder)] == ["path"]


@pytest.mark.slow
def test_no_other_module_spells_them() -> None:
    allowed = {Path(str(names.__file__)), Path(str(folder.__file__))}
    misplaced = [
        f"{path.relative_to(ROOT)}:{name.lineno} spells {name.value!r}"
        for path in sorted((ROOT / "daemon").rglob("*.py"))
        if path not in allowed
        for name in spelt(ast.parse(path.read_text("utf-8")))
        if name.value in PLACES.values()
    ]
    assert misplaced == []
