"""What the modules of the command line share: arguments, and how Ctrl-C ends a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from daemon.system.errors import Refused


def _told_apart(classes: list[str] | None) -> list[str] | None:
    from inference.settings import told_apart

    try:
        told_apart(tuple(classes or ()))
    except ValueError as error:
        raise Refused(f"--class: {error}") from error
    return classes


ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="configuration of the night (YAML)")]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="a class to tell apart; repeat the option for each class", callback=_told_apart),
]
Workers = Annotated[int | None, typer.Option(min=1, help="processes side by side; one per core if left out")]


@contextmanager
def interruptible() -> Iterator[None]:
    """End the command with status 130 on Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
