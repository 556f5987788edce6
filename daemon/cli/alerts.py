"""Commands that watch over a night from outside: `guard`, `try-alerts`, `service`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from daemon.cli.arguments import ConfigFile, interruptible

app = typer.Typer()
console = Console()
PANEL = "Alerts"


@app.command(rich_help_panel=PANEL)
def guard(run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder of the night")]) -> None:
    """Watch a night, and tell whom its `alerts:` name. `scan` starts this by itself; one watches at a time."""
    from daemon.alerts.guard import guard as watch

    stop = threading.Event()
    with interruptible():
        watch(run, _say, stop)


@app.command("try-alerts", rich_help_panel=PANEL)
def try_alerts(config: ConfigFile) -> None:
    """Send a trial message to everyone whom `alerts:` of a configuration name."""
    from daemon.alerts.guard import try_alerts as attempt
    from daemon.config.loading import load

    raise typer.Exit(0 if attempt(load(config).alerts, _say) else 1)


@app.command(rich_help_panel=PANEL)
def service(
    config: ConfigFile,
    run: Annotated[Path, typer.Option(help="run folder of the night")],
    into: Annotated[Path | None, typer.Option(help="folder for the file; the present one if left out")] = None,
    system: Annotated[
        Literal["systemd", "windows"] | None, typer.Option("--for", help="whose file; this computer's if left out")
    ] = None,
) -> None:
    """Write the file by which the system runs a night, and goes on with it after a crash or a restart."""
    from daemon.config.loading import load
    from daemon.system.service_files import write_service

    load(config, equip=True)
    _say(write_service(config, run, into or Path(), system))


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
