"""Commands of names: `taxonomy`, and of libraries `library build`, `check`, `split`, `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from daemon.cli.arguments import States, ends_in

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
    from daemon.library.pictures import PictureSettings
    from daemon.library.places import PlacePattern
    from daemon.library.table import PictureTable
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
        None if names is None else PlacePattern.of(names),
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
) -> None:
    """List what is doubtful about a library before anything is learnt: duplicates, classes, days, odd pictures."""
    from daemon.library.check import check

    check(library, page, console, as_json=as_json)


@library_app.command("split")
def library_split(
    library: Folder,
    by: Annotated[Literal["sample", "slide", "day"], typer.Option(help="what is never on two sides")] = "sample",
    seed: Annotated[int, typer.Option(min=0, help="by which the sides are drawn")] = 1,
    judge: Annotated[float, typer.Option(min=0.01, max=0.9, help="share of the specimens that judges")] = 0.2,
    choose: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="share on which training stops, and thresholds are chosen")
    ] = 0.1,
) -> None:
    """Draw what learns, what chooses and what judges, apart by sample, mini-slide or day, and record it."""
    from daemon.library.split import record

    record(library, by, seed, judge, choose, console)


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
