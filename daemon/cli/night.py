"""Commands before and for a night: `demo`, `check`, `scan`, `calibrate`, `keys`."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.cli.arguments import ConfigFile, VirtualProfile, interruptible
from daemon.system.errors import Refused

app = typer.Typer()
console = Console()
PANEL = "The night"


@app.command(rich_help_panel=PANEL)
def demo(
    run: Annotated[Path | None, typer.Option(help="run folder; a new one below ./runs if left out")] = None,
    fields: Annotated[int | None, typer.Option(min=1, help="fields per mini-slide")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the virtual slides")] = None,
    profile: VirtualProfile = None,
) -> None:
    """Run an emulated night, end to end, in minutes on a laptop."""
    from daemon.cli.demo import demo as run_demo

    folder = run or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    raise typer.Exit(run_demo(folder, fields, seed, profile, console))


@app.command(rich_help_panel=PANEL)
def check(config: ConfigFile) -> None:
    """Validate a configuration; print fields, frames, bytes, duration; touches nothing."""
    from daemon.config.loading import load
    from daemon.planning.check import check as look
    from daemon.planning.estimate import render

    console.print(render(look(load(config, equip=True), None)), markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def scan(
    config: ConfigFile,
    run: Annotated[Path, typer.Option(help="run folder of this night")],
    resume: Annotated[bool, typer.Option("--resume", help="go on with the night of this run folder")] = False,
    unattended: Annotated[
        bool,
        typer.Option(
            "--unattended", help="begin, or go on after a crash or restart; a night that has ended stays ended"
        ),
    ] = False,
    redo: Annotated[
        str | None,
        typer.Option(
            help="take fields again into the night of this run folder, complete or not: skipped, slide 5, "
            "slide 5 fields 3-9, 12; several with ; between them"
        ),
    ] = None,
) -> None:
    """Run the night. What faults kept from being recorded is taken again in the end.

    Exit status: 0 complete, 1 stopped by a fault, 2 refused, 3 with skipped fields, 130 interrupted.
    """
    from daemon.config.loading import load
    from daemon.dataset.summary import show, summarise
    from daemon.night.scan import scan as run_scan
    from daemon.run_folder.folder import RunFolder
    from daemon.run_folder.unattended import why_not
    from daemon.verdict.afterwards import typed, where_kept

    night = load(config, equip=True)
    if unattended:
        if (reason := why_not(run)) is not None:
            console.print(reason, markup=False, highlight=False, soft_wrap=True)
            return
        resume = RunFolder(run).journal.exists()
    status = run_scan(night, run, resume=resume or redo is not None, console=console, redo=redo)
    if night.recorder.endpoint is None:
        show(summarise(run), console)
        told = f"look at what it found, in the browser:  lamelle view {typed(run)}"
    else:
        told = where_kept(run, night.recorder.endpoint, platform.node())
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status)


@app.command(rich_help_panel=PANEL)
def calibrate(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="routine, such as dark, camera, flat")] = None,
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="configuration of the night (YAML)")] = None,
    slide: Annotated[int | None, typer.Option(help="mini-slide it is carried out on; the first if left out")] = None,
    keep_frames: Annotated[bool, typer.Option("--keep-frames", help="keep the raw frames beside the record")] = False,
    list_records: Annotated[
        bool, typer.Option("--list", help="list the records of CONFIG instead; without CONFIG, the routines")
    ] = False,
) -> None:
    """Calibrate the instrument, and keep a record that nights use: `calibrate NAME CONFIG`, `calibrate --list CONFIG`.

    Exit status: 0 usable, 1 not usable, 2 refused, 130 interrupted.
    """
    from daemon.config.loading import load

    if list_records:
        from daemon.calibration_runs.listing import render, routines

        if name is None:
            told = routines()
        else:
            told = render(load(Path(name)), None) if config is None else render(load(config), name)
        console.print(told, markup=False, highlight=False, soft_wrap=True)
        return
    from daemon.calibration_runs.run import calibrate as run_calibration

    if name is None or config is None:
        raise Refused("NAME or CONFIG is missing; run `lamelle calibrate NAME CONFIG`; --list shows the names")
    with interruptible():
        status = run_calibration(load(config, equip=True), name, slide, keep_frames=keep_frames, console=console)
    raise typer.Exit(status)


@app.command("keys", rich_help_panel=PANEL)
def make_keys(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder for the two files")]) -> None:
    """Make this computer's CURVE keys, which an endpoint beyond loopback needs."""
    from daemon.protocols.keys import make_keys as make

    public, secret = make(folder)
    console.print(
        f"public key, for other computers to know: {public}\nsecret key, to stay here: {secret}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
