"""Commands for labels: `labels DIR show`, `import`, `export`, `merge`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from daemon.cli.arguments import ends_in, interruptible
from daemon.system.errors import Exit
from inference.wording import counted

app = typer.Typer()
labels_app = typer.Typer(help="Who says what an object is: labels beside a dataset.", no_args_is_help=True)
app.add_typer(labels_app, name="labels", rich_help_panel="What was recorded")
console = Console()

Beside = Annotated[
    Path | None,
    typer.Option(help="folder where labels are kept besides, of many nights; needed where DIR cannot be written to"),
]


@labels_app.callback()
def labels(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="run folder or dataset")],
) -> None:
    """Who says what an object is: labels beside a dataset."""
    context.obj = folder


@labels_app.command("show")
def labels_show(
    context: typer.Context,
    beside: Beside = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say how many objects are named what, by whom, and where two persons do not agree.

    What cannot be read is named: status 3.
    """
    from daemon.labels.overview import overview, show

    found = overview(context.obj, beside)
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        show(found, console)
    raise typer.Exit(Exit.SKIPPED if found.unread else Exit.COMPLETE)


@labels_app.command("import")
def labels_import(
    context: typer.Context,
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="CSV or Parquet")],
    who: Annotated[str | None, typer.Option(help="initials, for rows that have none")] = None,
    utc: Annotated[
        str | None, typer.Option(help="when labels were given, such as 2026-03-14T21:05Z, for rows that do not say it")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="predicted, dubious, validated or discarded, for rows that do not say it")
    ] = None,
    beside: Beside = None,
) -> None:
    """Bring in labels; the same ones again add nothing. What fits no object is named and left out: status 3."""
    from daemon.labels.overview import tell
    from daemon.labels.rows import said_for_all
    from daemon.labels.transfer import import_labels

    with interruptible():
        brought = import_labels(context.obj, tables, console, said_for_all(who, utc, status), beside)
    tell(brought, console)
    raise typer.Exit(Exit.SKIPPED if brought.refused else Exit.COMPLETE)


@labels_app.command("export")
def labels_export(
    context: typer.Context,
    into: Annotated[
        Path, typer.Option(help="table to write: .csv, .tsv or .parquet", callback=ends_in(".csv", ".tsv", ".parquet"))
    ],
    standing: Annotated[bool, typer.Option("--standing", help="only the labels that stand, one an object")] = False,
    beside: Beside = None,
) -> None:
    """Write all that was ever said, or what stands of it."""
    from daemon.labels.transfer import export_labels

    count = export_labels(context.obj, into, standing, beside)
    console.print(f"{counted(count, 'label')} in {into}", markup=False, highlight=False, soft_wrap=True)


@labels_app.command("merge")
def labels_merge(
    context: typer.Context,
    others: Annotated[
        list[Path], typer.Argument(metavar="OTHER...", help="other copies of the night, or folders of their labels")
    ],
    beside: Beside = None,
) -> None:
    """Bring in the labels of other copies of the same night, which stay as they are."""
    from daemon.labels.overview import tell
    from daemon.labels.transfer import merge_labels

    with interruptible():
        brought = merge_labels(context.obj, others, console, beside)
    tell(brought, console)
    raise typer.Exit(Exit.SKIPPED if brought.refused or not brought.whole else Exit.COMPLETE)
