"""Commands that put objects before a person: `similar`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.cli.arguments import ends_in, interruptible

app = typer.Typer()
console = Console()

Page = Annotated[Path | None, typer.Option(help="also write a page with pictures (HTML)", callback=ends_in(".html"))]


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
