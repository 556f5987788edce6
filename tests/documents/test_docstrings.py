"""Docstrings say what is there: each parameter on a line of its own, none that does not exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.rooms import packages
from tests.support.places import ROOT

FILES = [path for package in (*packages(), "benchmarks") for path in sorted((ROOT / package).rglob("*.py"))]
SECTION = re.compile(r"(?ms)^(Parameters|Attributes)\n-+\n(.*?)(?=^\w[^\n]*\n-+$|\Z)")
ENTRY = re.compile(r"(?m)^\S.*$")
Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def entries(tree: ast.AST) -> Iterator[tuple[Documented, str, str]]:
    """Whose docstring, which section, and each line that ought to be a name."""
    for node in ast.walk(tree):
        if isinstance(node, Documented):
            for section, text in SECTION.findall(ast.get_docstring(node) or ""):
                yield from ((node, section, line) for line in ENTRY.findall(text))


def attributes_of(node: Documented) -> set[str]:
    """Names that instances of a class have by its own text."""
    names: set[str] = set()
    for inner in ast.walk(node):
        match inner:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.AnnAssign(target=ast.Attribute(attr=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in targets}
            case ast.FunctionDef(name=name) | ast.arg(arg=name):
                names.add(name)
    return names


def complaints(text: str) -> list[str]:
    return [
        f"{node.name}: {line}"
        for node, section, line in entries(ast.parse(text))
        if not re.fullmatch(r"\*{0,2}\w+", line) or (section == "Attributes" and line not in attributes_of(node))
    ]


@pytest.mark.slow
def test_each_parameter_has_a_line_of_its_own_and_each_attribute_exists() -> None:
    wrong = {path.relative_to(ROOT).as_posix(): complaints(path.read_text("utf-8")) for path in FILES}
    assert {path: told for path, told in wrong.items() if told} == {}


def test_two_on_a_line_and_one_that_does_not_exist_are_found() -> None:
    said = """
        Attributes
        ----------
        x, y
            two.
        z
            none.
        w
            one.
    """
    assert complaints(f"class A:\n    {said!r}\n    w: int\n") == ["A: x, y", "A: z"]


@pytest.mark.slow
def test_numpydoc_finds_nothing_to_mend() -> None:
    files = [str(path.relative_to(ROOT)) for path in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "numpydoc", "lint", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
