"""The command line of lamelle."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from daemon.cli import alerts, detector, emulation, live, night, results
from daemon.system.errors import LamelleError
from daemon.system.extras import explained
from drivers.errors import DriverError
from inference.errors import InferenceError

app = typer.Typer(
    name="lamelle",
    help="Scan mini-slides through the night, find every microfossil in every focus stack, record it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (night, live, alerts, results, detector, emulation):
    app.add_typer(part.app)


def main() -> None:
    """Run the command line; bad input, and a part that is not installed, end with one sentence and exit status 2."""
    told: Exception
    try:
        app()
        return
    except (LamelleError, DriverError, InferenceError) as error:
        told = error
    except ModuleNotFoundError as error:
        missing = explained(error)
        if missing is None:
            raise
        told = missing
    Console(stderr=True).print(f"lamelle: {told}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)
