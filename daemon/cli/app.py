"""The command line of lamelle."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from daemon.cli import alerts, detector, emulation, live, night, results
from daemon.system.errors import LamelleError
from drivers.errors import DriverError
from inference.errors import InferenceError

app = typer.Typer(
    name="lamelle",
    help="Scan mini-slides through the night, find every microfossil in every focus stack, record it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lamelle {version('lamelle')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of lamelle itself; each command has its own."""


for part in (night, live, alerts, results, detector, emulation):
    app.add_typer(part.app)


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit status 2."""
    try:
        app()
    except (LamelleError, DriverError, InferenceError) as error:
        Console(stderr=True).print(f"lamelle: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
