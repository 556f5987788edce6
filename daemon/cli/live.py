"""Commands that watch and steer a night that runs: `watch`, `monitor`, `status`, `pause`, `resume`, `skip`, `stop`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from daemon.cli.arguments import interruptible

if TYPE_CHECKING:
    from daemon.protocols.control import OrderName

app = typer.Typer()
console = Console()
PANEL = "While it runs"

Place = Annotated[str, typer.Argument(metavar="PLACE", help="run folder of the night, or its control endpoint")]
Who = Annotated[str | None, typer.Option(help="who gives the order, for the record; user@host if left out")]
Keys = Annotated[Path | None, typer.Option(help="YAML file that names the keys: public, secret, server")]


@app.command(rich_help_panel=PANEL)
def pause(place: Place, who: Who = None, keys: Keys = None) -> None:
    """Pause a night at the next field, light off, until someone resumes it.

    Exit status of pause, resume, skip, stop and status: 0 accepted, 1 not accepted, 2 refused or not answered.
    """
    _order(place, "pause", who, keys)


@app.command(rich_help_panel=PANEL)
def resume(place: Place, who: Who = None, keys: Keys = None) -> None:
    """Let a paused night go on."""
    _order(place, "resume", who, keys)


@app.command(rich_help_panel=PANEL)
def skip(
    place: Place,
    slide: Annotated[
        int | None, typer.Option(min=1, max=8, help="mini-slide; the one being scanned if left out")
    ] = None,
    who: Who = None,
    keys: Keys = None,
) -> None:
    """Leave the mini-slide that is being scanned; its remaining fields count as skipped."""
    _order(place, "skip", who, keys, slide)


@app.command(rich_help_panel=PANEL)
def stop(place: Place, who: Who = None, keys: Keys = None) -> None:
    """Stop a night safely at the next field, as one Ctrl-C does; `scan --resume` goes on with it."""
    _order(place, "stop", who, keys)


@app.command(rich_help_panel=PANEL)
def status(place: Place, who: Who = None, keys: Keys = None) -> None:
    """Ask a night how it stands."""
    _order(place, "status", who, keys)


@app.command(rich_help_panel=PANEL)
def watch(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="run folder of the night, or its endpoint for snapshots")
    ],
    once: Annotated[bool, typer.Option("--once", help="show it once, and end")] = False,
    keys: Keys = None,
) -> None:
    """Show a night in the terminal until it ends; whatever is done with this, the night takes no notice."""
    from daemon.config.loading import load_keys
    from daemon.monitor.terminal_watch import watch as follow
    from daemon.run_folder.endpoints import find_endpoint

    with interruptible():
        follow(find_endpoint(place), None if keys is None else load_keys(keys), console, once=once)


@app.command(rich_help_panel=PANEL)
def monitor(
    connect: Annotated[
        str, typer.Option(metavar="PLACE", help="run folder of the night, or its endpoint for snapshots")
    ],
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="where the page is served")] = "127.0.0.1:8642",
    token_file: Annotated[Path | None, typer.Option(help="file with the token that the page asks for")] = None,
    keys: Annotated[Path | None, typer.Option(help="YAML file that names the keys: public, secret, server")] = None,
    control: Annotated[bool, typer.Option("--control", help="let the page pause, resume, skip and stop")] = False,
) -> None:
    """Show a night in the browser while it runs, and what it found once it is over; until interrupted."""
    from daemon.monitor.command import monitor as serve
    from daemon.view.afterwards import MorningAfter

    with interruptible():
        serve(connect, http, token_file, keys, control=control, morning=MorningAfter, console=console)


def _order(place: str, name: OrderName, who: str | None, keys: Path | None, slide: int | None = None) -> None:
    from daemon.config.loading import load_keys
    from daemon.live.order_client import give_order, myself
    from daemon.run_folder.endpoints import find_endpoint

    where, curve = find_endpoint(place, "control"), None if keys is None else load_keys(keys)
    by = myself() if who is None else who
    if name == "skip" and slide is None:
        slide = give_order(where, curve, "status", by).slide
    answer = give_order(where, curve, name, by, slide)
    console.print(answer.message, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if answer.accepted else 1)
