"""The suite itself: tests stand alone, lie where what they test lies, and no deadline of theirs hides another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadlines import DEADLINE_S, END_S, NIGHT_S
from tests.support.places import ROOT

TESTS = ROOT / "tests"
ROOMS = {"browser", "documents", "long", "nights", "unit"}
FILES = sorted(TESTS.rglob("test_*.py"))


def imported(file: Path) -> Iterator[str]:
    """Modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_no_test_imports_another() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in TESTS.rglob("*.py")
        for module in imported(file)
        if module.startswith("tests.") and not module.startswith("tests.support")
    ]
    assert wrong == []


def test_every_test_lies_in_a_room_of_the_suite() -> None:
    assert {file.relative_to(TESTS).parts[0] for file in FILES} <= ROOMS


def test_a_unit_test_lies_where_the_room_that_it_tests_lies() -> None:
    folders = {file.parent.relative_to(TESTS / "unit") for file in FILES if TESTS / "unit" in file.parents}
    assert [str(room) for room in sorted(folders) if not (ROOT / room / "__init__.py").exists()] == []


def test_the_deadline_of_a_test_lies_above_those_within_it(pytestconfig: pytest.Config) -> None:
    assert float(pytestconfig.getini("timeout")) >= 3 * max(DEADLINE_S, END_S, NIGHT_S)


def test_waits_have_one_of_the_few_deadlines() -> None:
    """A number of seconds that somebody found long enough is not, on a busy computer."""
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("until", "wait", "run"):
                given = [*node.args[2:], *(word.value for word in node.keywords if word.arg in ("timeout", "within_s"))]
                for one in given:
                    value = one.value if isinstance(one, ast.Constant) else None
                    if isinstance(value, int | float) and value >= 1:
                        found.append(f"{file.relative_to(ROOT)}:{one.lineno}")
    assert not found, f"deadlines of their own: {', '.join(found)}"
