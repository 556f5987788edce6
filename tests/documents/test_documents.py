"""What the documents tell a reader to type, and where they send him, exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
from typer.core import TyperArgument, TyperGroup

from daemon.cli.app import app
from tests.support.places import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"(?m)^(?: {4,}|`{3}\n)(lamelle [a-z].*)$|`(lamelle [a-z][^`]*)`")
REMARK = re.compile(r"  +\S.*$|  +#.*$")
MODULE = re.compile(r"python -m ((?:benchmarks|tests|daemon|drivers|inference)[\w.]*)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = typer.main.get_command(app)
HEADING = re.compile(r"(?m)^#+ (.*)$")


def commands(text: str) -> list[str]:
    return [REMARK.sub("", indented or inline) for indented, inline in COMMAND.findall(text)]


def complaint(line: str) -> str | None:
    """Say what is wrong with a command line; None if it could be typed."""
    command = COMMANDS
    words = shlex.split(line.replace("|", " ; ").partition(";")[0])[1:]
    while isinstance(command, TyperGroup) and words:
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command = command.commands[words.pop(0)]
        if isinstance(command, TyperGroup):  # what a group is told before its command
            words = words[sum(isinstance(one, TyperArgument) for one in command.params) :]
    known = {name for option in command.params for name in option.opts}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {unknown[0]!r}" if unknown else None


def anchors(page: Path) -> set[str]:
    """Names by which headings of a page are linked, as they are made where the project is shown."""
    headings = HEADING.findall(page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_modules_of_a_document_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    wrong = {line: why for line in commands(text) if (why := complaint(line)) is not None}
    assert wrong == {}
    named = [ROOT.joinpath(*module.rstrip(".").split(".")) for module in MODULE.findall(text)]
    assert [path.name for path in named if not (path.with_suffix(".py").exists() or path.is_dir())] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path) if path else document
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_a_command_that_does_not_exist_is_found() -> None:
    text = (
        "Say `lamelle scam x`.\n\n    lamelle scan night.yaml --ran b   go\n    lamelle scan night.yaml --run b   go\n"
    )
    assert [complaint(line) for line in commands(text)] == ["no command 'scam'", "no option '--ran'", None]
