"""What the modules of the command line share: arguments, and how Ctrl-C ends a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from daemon.system.errors import Refused
from drivers.profile_names import Profile


def _told_apart(classes: list[str] | None) -> list[str] | None:
    from inference.settings import told_apart

    try:
        told_apart(tuple(classes or ()))
    except ValueError as error:
        raise Refused(f"--class: {error}") from error
    return classes


def ends_in(*endings: str) -> Callable[[typer.CallbackParam, Path | None], Path | None]:
    """Refuse, before anything is worked out, to write over a folder or a file of another kind.

    Parameters
    ----------
    *endings
        of what the option's file is written as, with their dots.
    """

    def checked(option: typer.CallbackParam, path: Path | None) -> Path | None:
        if path is not None and (path.suffix.lower() not in endings or path.is_dir()):
            raise Refused(
                f"{option.opts[0]} {str(path)!r} is not a file that ends in {' or '.join(endings)}; name one that does"
            )
        return path

    return checked


ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="configuration of the night (YAML)")]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--polarization",
        help="what a channel is: crossed, in their order, or crossed=LR for the one named LR; may be repeated",
    ),
]
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


VirtualProfile = Annotated[Profile | None, typer.Option(help="what lies on the mini-slides")]
