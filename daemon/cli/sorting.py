"""Commands that put nights and objects before a person: `view`, `similar`, `look-first`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.cli.arguments import ends_in, interruptible

app = typer.Typer()
console = Console()

Page = Annotated[Path | None, typer.Option(help="also write a page with pictures (HTML)", callback=ends_in(".html"))]


@app.command(rich_help_panel="What was recorded")
def view(
    places: Annotated[
        list[Path], typer.Argument(metavar="DATASET...", help="datasets, run folders, or folders of these")
    ],
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="where the page is served")] = "127.0.0.1:8643",
    token_file: Annotated[Path | None, typer.Option(help="file with the token that the page asks for")] = None,
) -> None:
    """Look at nights in the browser: how they stand, every field, every object through focus; until interrupted."""
    from daemon.view.command import view as serve

    with interruptible():
        serve(places, http, token_file, console)


@app.command(rich_help_panel="Names")
def similar(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="run folder or dataset of the object")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="OBJECT", help="NIGHT/slide-S/field-FFFF/attempt-A/NNN, or mini-slide, field and number: 3/17/4"
        ),
    ],
    places: Annotated[
        list[Path] | None,
        typer.Option("--in", help="further nights: dataset, run folder, or a folder of these; may be repeated"),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="how many to show")] = 24,
    page: Page = None,
) -> None:
    """Find what looks like an object, in its own night and in others, by the features that were kept."""
    from daemon.sorting.similar import find_similar, show, write_similar_page

    with interruptible():
        found = find_similar(folder, name, places or [], most, console)
        show(found, console)
        if page is not None:
            write_similar_page(found, page)
            console.print(str(page), markup=False, highlight=False, soft_wrap=True)


@app.command("look-first", rich_help_panel="Names")
def look_first(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="datasets, run folders, or folders of these")],
    most: Annotated[int, typer.Option(min=1, help="how many to show")] = 60,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="also write them as a table (CSV)", callback=ends_in(".csv"))
    ] = None,
    page: Page = None,
) -> None:
    """List the objects that want a person most: unlike the library, rarely named, unsure, not named, in turn."""
    from daemon.sorting.look_first import find_first, show, write_first_page, write_first_sheet

    with interruptible():
        first = find_first(folders, most, console)
        show(first, console)
        if csv is not None:
            write_first_sheet(first, csv)
        if page is not None:
            write_first_page(first, page)
    for path in (csv, page):
        if path is not None:
            console.print(str(path), markup=False, highlight=False, soft_wrap=True)
