"""The command line of lamelle."""

from __future__ import annotations

import errno
import io
import sqlite3
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from daemon.cli import alerts, detector, emulation, exclusions, labels, library, live, night, results, sorting
from daemon.system.durable_files import disk_full
from daemon.system.errors import LamelleError, Refused
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


for part in (night, live, alerts, results, exclusions, labels, detector, library, sorting, emulation):
    app.add_typer(part.app)


_PLACES = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR}
"""Errors that are of a place that a person named, not of the program."""


def main() -> None:
    """Run the command line; what a person can mend, such as bad input, ends with one sentence and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        # What a console cannot show, say a Greek letter in the name of a sample, must not end a night.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
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
    except (OSError, sqlite3.OperationalError) as error:
        if isinstance(error, OSError) and error.errno in _PLACES and error.filename is not None:
            told = Refused(f"{error.filename} cannot be used ({error.strerror}); name another place, or make it usable")
        elif disk_full(error):
            told = Refused(
                f"a disk is full ({error}); make room, also where temporary files lie, or name another place"
            )
        else:
            raise
    Console(stderr=True).print(f"lamelle: {told}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)
