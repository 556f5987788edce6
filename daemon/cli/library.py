"""Commands of libraries of labelled specimens: `library build`, `check`, `split`, `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
    )
    told(build(library, sources, settings, taxonomy, console), console)
