"""Commands of names: `taxonomy`, `train-names`, `evaluate-names`, `ordinary`; of libraries."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from daemon.cli.arguments import States, ends_in, interruptible

app = typer.Typer()
library_app = typer.Typer(help="Libraries of labelled specimens to learn names from.", no_args_is_help=True)
app.add_typer(library_app, name="library", rich_help_panel="Names")
console = Console()

Folder = Annotated[Path, typer.Argument(metavar="LIBRARY", help="folder of the library")]


@library_app.command("build")
def library_build(
    library: Folder,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SOURCE...", help="folders of pictures, labelled datasets, specimens that emulate wrote"
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="what the source is called in the library; its folder if left out")] = "",
    names: Annotated[
        str | None,
        typer.Option(help="what the names of pictures tell, such as '{sample}/{class}/*': class, sample, slide, day"),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="table that says what the pictures are: file, class, sample, slide, day, ...")
    ] = None,
    pixel_um: Annotated[
        float | None, typer.Option(min=1e-3, max=1e3, help="size of a pixel in um, where neither files nor table say")
    ] = None,
    polarization: States = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="table of the taxa; without one, new classes are added to the library's own")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="take the newest build back")] = False,
) -> None:
    """Take labelled specimens into a library; the same command again takes what is new, changed or gone."""
    from daemon.library.build import build, told
    from daemon.library.build import undo as take_back
    from daemon.library.sources.pictures import PictureSettings
    from daemon.library.sources.places import NamesPattern
    from daemon.library.sources.table import PictureTable
    from daemon.system.errors import Refused
    from drivers.recorded.file_names import Polarizations

    if undo:
        if sources:
            raise Refused("--undo takes the newest build back and builds from nothing; leave the sources out")
        console.print(f"build {take_back(library)} is taken back", markup=False, highlight=False)
        return
    if not sources:
        raise Refused("no source is named; name folders of pictures, datasets, or specimens of the virtual slide")
    settings = PictureSettings(
        source,
        None if names is None else NamesPattern.of(names),
        None if table is None else PictureTable(table),
        pixel_um,
        Polarizations.of(polarization or []),
    )
    told(build(library, sources, settings, taxonomy, console), console)


@library_app.command("check")
def library_check(
    library: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    page: Annotated[
        Path | None, typer.Option(help="also write a page with pictures (HTML)", callback=ends_in(".html"))
    ] = None,
    learn: Annotated[
        Literal["lite0", "small"] | None,
        typer.Option(
            help="also find what looks mislabelled, by a network: lite0 (pictures), or small, which takes long"
        ),
    ] = None,
) -> None:
    """List what is doubtful about a library before anything is learnt: duplicates, classes, days, odd pictures."""
    from daemon.library.check import check

    check(library, page, console, as_json=as_json, learn=learn)


@library_app.command("split")
def library_split(
    library: Folder,
    by: Annotated[Literal["sample", "slide", "day"], typer.Option(help="what is never on two sides")] = "sample",
    seed: Annotated[int, typer.Option(min=0, help="by which the sides are drawn")] = 1,
    judge: Annotated[float, typer.Option(min=0.01, max=0.9, help="share of the specimens that judges")] = 0.2,
) -> None:
    """Draw what learns and what judges, apart by sample, mini-slide or day, and record it."""
    from daemon.library.split import record

    record(library, by, seed, judge, console)


@library_app.command("show")
def library_show(
    library: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    taxon: Annotated[
        str | None, typer.Option(help="list the specimens of this taxon, and of what is part of it")
    ] = None,
) -> None:
    """Show what a library holds: its classes, sources, builds and splits."""
    from daemon.library.show import show

    show(library, taxon, console, as_json=as_json)


@app.command(rich_help_panel="Names")
def taxonomy(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="table of the taxa (CSV)")],
    counting: Annotated[Path | None, typer.Option(help="table of counting rules, checked and shown too")] = None,
    before: Annotated[Path | None, typer.Option(help="an earlier table, of which no identifier may be lost")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check a table of taxa in whole, and show it as a tree."""
    from daemon.library.taxa import show_taxonomy

    show_taxonomy(table, counting, before, console, as_json=as_json)


Split = Annotated[Path | None, typer.Option(help="recorded split; its side that judges is never learnt from")]
Threads = Annotated[int, typer.Option(min=1, help="threads of the processor")]


@app.command("train-names", rich_help_panel="Names")
def train_names(
    library: Folder,
    into: Annotated[Path, typer.Option(help="classifier to write (safetensors)", callback=ends_in(".safetensors"))],
    split: Split = None,
    by: Annotated[
        Literal["sample", "slide", "day"], typer.Option(help="without --split: what is never on two sides")
    ] = "sample",
    network: Annotated[
        Literal["lite0", "small"],
        typer.Option(help="lite0 has learnt to see, for pictures; small learns from the library, for stacks too"),
    ] = "lite0",
    epochs: Annotated[int, typer.Option(min=1, help="of small: how often as much is seen as there is")] = 30,
    start: Annotated[
        str | None, typer.Option(help="of small: classifier (safetensors, or species) to go on from")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the split that is drawn, and of the training")] = 1,
    threads: Threads = 2,
) -> None:
    """Learn names from a library; the same command goes on after an interruption."""
    from daemon.training.names_library import train_library
    from inference.settings import ClassifierSettings

    begins = None
    if start is not None:
        begins = ClassifierSettings(weights="species" if start == "species" else Path(start)).path
    command = shlex.join(["lamelle", *sys.argv[1:]])
    with interruptible():
        train_library(library, into, split, by, seed, network, epochs, threads, command, console, begins)


@app.command("evaluate-names", rich_help_panel="Names")
def evaluate_names(
    library: Folder,
    weights: Annotated[Path, typer.Option(help="classifier (safetensors)")],
    split: Split = None,
    page: Annotated[
        Path | None, typer.Option(help="also write a page with the worst mistakes (HTML)", callback=ends_in(".html"))
    ] = None,
    threads: Threads = 2,
) -> None:
    """Judge a classifier by a library: figures of new samples beside those of a random split, as JSON."""
    from daemon.training.names_library import evaluate_library

    evaluate_library(library, weights, split, page, threads, console)


@app.command(rich_help_panel="Names")
def ordinary(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="ordinary nights: datasets, run folders, or folders of these")
    ],
    weights: Annotated[str, typer.Option(help="classifier, or a head alone; species for the shipped one")],
    into: Annotated[Path, typer.Option(help="classifier to write (safetensors)", callback=ends_in(".safetensors"))],
) -> None:
    """Tell a classifier which nights are ordinary, so that it tells mini-slides which are unlike them."""
    from daemon.training.ordinary import learn_ordinary, show
    from inference.settings import ClassifierSettings

    command = shlex.join(["lamelle", *sys.argv[1:]])
    path = ClassifierSettings(weights="species" if weights == "species" else Path(weights)).path
    with interruptible():
        show(learn_ordinary(path, folders, into, command), into, console)
