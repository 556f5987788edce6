"""Commands that say which fields are counted: `exclude DIR`, `include DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.cli.arguments import interruptible
from daemon.system.errors import Exit, Refused
from inference.wording import counted

app = typer.Typer()
console = Console()
PANEL = "What was recorded"

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="run folder or dataset")]
Slide = Annotated[int | None, typer.Option(help="position of the mini-slide")]
Fields = Annotated[str | None, typer.Option(help="numbers and ranges such as 3-9,12; or all")]
Reason = Annotated[str | None, typer.Option(help="why, in a few words")]
Who = Annotated[str | None, typer.Option(help="initials of who says so")]
Beside = Annotated[
    Path | None,
    typer.Option(help="folder where it is kept besides, of many nights; needed where DIR cannot be written to"),
]


@app.command(rich_help_panel=PANEL)
def exclude(
    folder: Folder,
    slide: Slide = None,
    fields: Fields = None,
    reason: Reason = None,
    who: Who = None,
    undo: Annotated[bool, typer.Option("--undo", help="take back what was said last of the fields")] = False,
    beside: Beside = None,
) -> None:
    """Do not count fields: their area and objects are left out of all numbers. Without --fields, show what stands.

    Whatever the rule of the night says, the newest word of a person stands. Nothing is deleted.
    """
    _say(folder, slide, fields, None if undo else True, reason, who, beside)


@app.command(rich_help_panel=PANEL)
def include(
    folder: Folder,
    slide: Slide = None,
    fields: Fields = None,
    reason: Reason = None,
    who: Who = None,
    beside: Beside = None,
) -> None:
    """Count fields that were excluded, by a person or by the rule of the night. Without --fields, show what stands."""
    _say(folder, slide, fields, False, reason, who, beside)


def _say(
    folder: Path,
    slide: int | None,
    fields: str | None,
    excluded: bool | None,
    reason: str | None,
    who: str | None,
    beside: Path | None,
) -> None:
    from daemon.counts.excluding import FieldsMeant, say_of_fields, show_exclusions

    if (slide is None) != (fields is None):
        absent = "--slide" if slide is None else "--fields"
        raise Refused(f"{absent} is missing; name a mini-slide and its fields, such as --slide 5 --fields 3-9")
    with interruptible():
        if slide is not None and fields is not None:
            count = say_of_fields(folder, FieldsMeant(slide, fields, excluded, reason, who), beside)
            deed = {True: "excluded", False: "included", None: "taken back what was said last"}[excluded]
            console.print(f"{counted(count, 'field')} of mini-slide {slide}: {deed}", highlight=False, soft_wrap=True)
        whole = show_exclusions(folder, console, beside)
    raise typer.Exit(Exit.COMPLETE if whole else Exit.SKIPPED)
