"""Commands that record, and that show, cut, measure and report what was recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console

from daemon.cli.arguments import Classes, Workers, ends_in, interruptible
from daemon.system.errors import Exit, Refused
from inference.wording import counted

if TYPE_CHECKING:
    from daemon.figures.choice import ObjectChoice

app = typer.Typer()
console = Console()
PANEL = "What was recorded"
REASONS = 10
"""So many reasons are told of what could not be looked at."""

Slides = Annotated[list[int] | None, typer.Option("--slide", help="mini-slide; may be repeated")]
ClassNames = Annotated[list[str] | None, typer.Option("--class", help="class; may be repeated")]
Samples = Annotated[list[str] | None, typer.Option("--sample", help="sample id; may be repeated")]
Taxa = Annotated[
    list[str] | None,
    typer.Option(
        "--taxon", help="taxon, with those below it; unsure, not named, discarded are some too; may be repeated"
    ),
]
Score = Annotated[float, typer.Option("--score", help="lowest score")]
Least = Annotated[float | None, typer.Option("--min-um", min=0, help="shortest length that was measured, um")]
Most = Annotated[float | None, typer.Option("--max-um", min=0, help="greatest length that was measured, um")]
Sort = Annotated[
    Literal["place", "score", "size", "taxon"],
    typer.Option("--sort", help="what comes first: by place, the surest, the largest, or taxon by taxon"),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="run folder or dataset")]


@app.command(rich_help_panel=PANEL)
def record(
    listen: Annotated[str, typer.Option(help="endpoint, such as tcp://127.0.0.1:5990")],
    into: Annotated[Path, typer.Option(help="folder of the dataset")],
    keys: Annotated[Path | None, typer.Option(help="YAML file that names the keys: public, secret, clients")] = None,
) -> None:
    """Record a night that runs elsewhere, until interrupted."""
    from daemon.config.loading import load_keys
    from daemon.recorder.process import record as run_recorder

    with interruptible():
        run_recorder(listen, into, None if keys is None else load_keys(keys), console)


@app.command(rich_help_panel=PANEL)
def inspect(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="also draw a contact sheet (PNG)", callback=ends_in(".png"))
    ] = None,
    slide: Slides = None,
    class_name: ClassNames = None,
    sample: Samples = None,
    taxon: Taxa = None,
    score: Score = 0.0,
    least_um: Least = None,
    most_um: Most = None,
    sort: Sort = "place",
    every: Annotated[
        bool, typer.Option("--all", help="draw all objects, on as many sheets as it takes: sheet-01.png and so on")
    ] = False,
) -> None:
    """Say what a dataset holds: slides, fields, objects, gaps, duplicates.

    What follows --sheet says which objects are on it, and in which order.
    """
    from daemon.dataset.summary import show, summarise

    choice = _choice(slide, class_name, sample, taxon, score, least_um, most_um, sort)
    if sheet is None and (every or choice != _choice()):
        raise Refused("these options say which objects are on a contact sheet; name its file with --sheet")
    summary = summarise(folder)
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(summary)) + "\n")
    else:
        show(summary, console)
    if sheet is not None:
        from daemon.figures.contact_sheet import draw_sheet

        # JSON alone goes to the output where it was asked for.
        drawn = draw_sheet(folder, sheet, choice, console=Console(stderr=True), every=every)
        if every and not as_json:
            on = f"{counted(drawn.objects, 'object')} on {counted(len(drawn.paths), 'sheet')}"
            console.print(f"{on}, {drawn.paths[0]} the first", markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def extract(
    folder: Folder,
    into: Annotated[Path, typer.Option(help="folder for the files")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="tiff, png, composite, gallery or gif; may be repeated; tiff if left out"),
    ] = None,
    slide: Slides = None,
    class_name: ClassNames = None,
    sample: Samples = None,
    taxon: Taxa = None,
    score: Score = 0.0,
    least_um: Least = None,
    most_um: Most = None,
    sort: Sort = "place",
    limit: Annotated[int | None, typer.Option(min=1, help="at most this many objects")] = None,
) -> None:
    """Write objects as single OME-TIFF stacks, PNG, animated GIF, composites with scale bar, or a gallery by taxon."""
    from daemon.exchange.objects import FORMATS
    from daemon.exchange.objects import extract as write

    choice = _choice(slide, class_name, sample, taxon, score, least_um, most_um, sort)
    asked = formats or ["tiff"]
    if unknown := set(asked) - set(FORMATS):
        raise Refused(f"--format {unknown.pop()!r} is unknown; choose from {', '.join(FORMATS)}")
    count = write(folder, into, choice, [one for one in FORMATS if one in asked], limit, console)
    page = " (open gallery.html)" if "gallery" in asked else ""
    console.print(f"{counted(count, 'object')} in {into}{page}", markup=False, highlight=False)


def _choice(
    slide: list[int] | None = None,
    class_name: list[str] | None = None,
    sample: list[str] | None = None,
    taxon: list[str] | None = None,
    score: float = 0.0,
    least_um: float | None = None,
    most_um: float | None = None,
    sort: str = "place",
) -> ObjectChoice:
    """Say which objects are meant by the options for it."""
    from daemon.dataset.selection import Selection
    from daemon.figures.choice import ObjectChoice, ObjectOrder

    selection = Selection(
        slides=frozenset(slide) if slide else None,
        samples=frozenset(sample) if sample else None,
        classes=frozenset(class_name) if class_name else None,
        min_score=score,
    )
    return ObjectChoice(selection, frozenset(taxon) if taxon else None, least_um, most_um, ObjectOrder(sort))


@app.command(rich_help_panel=PANEL)
def report(
    folder: Folder,
    into: Annotated[
        Path | None,
        typer.Option(
            help="HTML or PDF file, the other beside it; report.html in the dataset if left out",
            callback=ends_in(".html", ".pdf"),
        ),
    ] = None,
) -> None:
    """Report a night, complete or not, as an HTML page and a PDF: what was done and found, what needs a person."""
    from daemon.report.report import report as write

    written = write(folder, into, console)
    console.print(f"{written.page}\n{written.paper}", markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def plot(
    folder: Folder,
    into: Annotated[
        Path | None, typer.Option(help="folder for the pictures; plots beside the catalog if left out")
    ] = None,
    measured: Annotated[
        int | None, typer.Option(min=0, help="number of a measurement; 0: the night's own; the newest if left out")
    ] = None,
) -> None:
    """Draw lengths, masses, focus, places, scores and thickness of a dataset as PNG files."""
    from daemon.figures.plots import plot as draw

    pictures = draw(folder, into, measured, console)
    console.print(
        f"{counted(len(pictures), 'picture')} in {pictures[0].parent}", markup=False, highlight=False, soft_wrap=True
    )


@app.command(rich_help_panel=PANEL)
def tables(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="datasets, run folders, or folders of these")],
    into: Annotated[Path, typer.Option(help="folder for the tables")],
    beside: Annotated[Path | None, typer.Option(help="folder where labels are kept besides, of many nights")] = None,
) -> None:
    """Write fields, samples, counts and objects of nights as CSV and Parquet, with a dictionary of their columns.

    What cannot be read is named and left out: status 3.
    """
    from daemon.tables.written import write_tables

    with interruptible():
        written = write_tables(folders, into, console, beside)
    rows = ", ".join(f"{count} {name}" for name, count in written.rows.items())
    for line in (*written.missing, *written.notes, f"{rows}, in {into}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(Exit.SKIPPED if written.missing else Exit.COMPLETE)


@app.command(rich_help_panel=PANEL)
def measure(
    folder: Folder,
    calibrations: Annotated[
        Path | None,
        typer.Option(help="folder whose newest valid calibrations count; those that the night names if left out"),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="folder for the tables; beside the old ones, where they are found, if left out")
    ] = None,
) -> None:
    """Measure the objects of a recorded night again, from their crops, into new tables beside the old ones."""
    from daemon.reprocessing.measure import measure_again

    with interruptible():
        again = measure_again(folder, console, calibrations, into)
    told = f"{counted(again.objects, 'object')}, {counted(again.rows, 'row')} with those that do not count"
    console.print(
        f"{told}, in {again.folder}/slide-*/measured-{again.number:03d}.parquet",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command(rich_help_panel=PANEL)
def analyse(
    folder: Folder,
    into: Annotated[Path | None, typer.Option(help="another dataset, for all raw stacks analysed again")] = None,
    weights: Annotated[Path | None, typer.Option(help="weights; those of the night if left out")] = None,
    architecture: Annotated[Literal["slim", "resnet50"] | None, typer.Option(help="network; needs --into")] = None,
    classes: Classes = None,
    mode: Annotated[Literal["fused", "planes"] | None, typer.Option(help="what it looks at; needs --into")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="lowest score that counts as found; needs --into")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(help="classifier that names the objects, or species for the shipped one; the night's if left out"),
    ] = None,
    rule: Annotated[
        Literal["plain", "even"] | None,
        typer.Option(help="taxa as common as in the library, or all equally common; needs --into"),
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="table of the taxa; that of the night if left out; needs --into")
    ] = None,
    workers: Workers = None,
) -> None:
    """Find the objects in raw stacks that were kept because a night had lost its detector.

    With --into: analyse all fields that were kept raw or fused, with other weights or settings, into another dataset.
    """
    from daemon.config.taxonomy_sheet import read_taxonomy
    from daemon.dataset.summary import show, summarise
    from daemon.reprocessing.analyse import analyse_anew, catch_up
    from inference.settings import ClassifierSettings

    given: dict[str, Any] = {"architecture": architecture, "classes": classes, "mode": mode, "threshold": threshold}
    changed = {name: value for name, value in given.items() if value is not None}
    naming: dict[str, Any] = {"weights": classifier, "rule": rule}
    names = {name: value for name, value in naming.items() if value is not None}
    asked = [*changed, *(["rule"] if rule else []), *(["taxonomy"] if taxonomy else [])]
    if into is None and asked:
        raise Refused(f"another {asked[0]} makes a different dataset; name a folder for it with --into")
    with interruptible():
        if into is None:
            lies = None if classifier is None else ClassifierSettings.model_validate({"weights": classifier})
            status = catch_up(folder, weights, workers, console, lies)
        else:
            changed |= {} if weights is None else {"weights": weights}
            taxa = None if taxonomy is None else read_taxonomy(taxonomy)
            status = analyse_anew(folder, into, changed, workers, console, names, taxa)
        show(summarise(into or folder), console)
    raise typer.Exit(status)


@app.command(rich_help_panel=PANEL)
def propose(
    folder: Folder,
    into: Annotated[
        Path,
        typer.Option(
            help="annotations to write: .zip for CVAT with pictures, .xml for CVAT, .json for COCO",
            callback=ends_in(".zip", ".xml", ".json"),
        ),
    ],
    score: Annotated[float, typer.Option(min=0, max=1, help="lowest score")] = 0.5,
    images: Annotated[
        Path | None,
        typer.Option(help="folder of the archive that was looked through: its stacks are drawn, its pictures taken"),
    ] = None,
) -> None:
    """Write what a detector found as annotations that nobody has validated, for a person to correct.

    Pictures of stacks are drawn into images/, in the zip or beside the file; single pictures come into the zip as they
    are. Of an archive both need --images.
    """
    from daemon.exchange.annotations import is_zip
    from daemon.exchange.annotations import propose as write

    proposed = write(folder, into, score, images, console)
    drawn, undrawn, absent = proposed.drawn, proposed.undrawn, proposed.absent
    lines = [f"{counted(proposed.boxes, 'box', 'boxes')} on {counted(proposed.pictures, 'picture')} in {into}"]
    if drawn and not is_zip(into):
        lines.append(f"{counted(drawn, 'picture')} drawn in {into.parent / 'images'}")
    if undrawn:
        what = counted(undrawn, "of these is a stack", "of these are stacks")
        lines.append(f"{what} of an archive, not drawn; name the archive's folder with --images to draw pictures")
    if absent:
        what = counted(absent, "of these pictures is", "of these pictures are")
        lines.append(f"{what} not in the zip; name the folder of the images with --images to put them in")
    if proposed.left_out:
        what = counted(proposed.left_out, "field")
        lines.append(f"{what} left out: not analysed yet, or neither with a raw stack nor read from images")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def classify(
    folder: Folder,
    weights: Annotated[str, typer.Option(help="classifier, or a head alone; species for the shipped one")],
    rule: Annotated[
        Literal["plain", "even"], typer.Option(help="taxa as common as in the library, or all equally common")
    ] = "plain",
    taxonomy: Annotated[
        Path | None, typer.Option(help="taxonomy whose names are given; the night's if left out")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="folder for the tables; beside the old ones, where they are found, if left out")
    ] = None,
) -> None:
    """Name the objects of a recorded night again, from features or crops, into new tables beside the old names."""
    from daemon.config.taxonomy_sheet import read_taxonomy
    from daemon.reprocessing.classify import classify_again
    from inference.settings import ClassifierSettings

    settings = ClassifierSettings(weights="species" if weights == "species" else Path(weights), rule=rule)
    names = None if taxonomy is None else read_taxonomy(taxonomy)
    with interruptible():
        again = classify_again(folder, settings, console, names, into)
    seen = f"; the crops of {counted(again.looked_at, 'object')} were looked at" if again.looked_at else ""
    number = sum(one.objects for one in again.unseen)
    unseen = f"; {counted(number, 'object')} could not be looked at, and {'stay' if number > 1 else 'stays'} unnamed"
    tables = f"{again.folder}/slide-*/named-{again.number:03d}.parquet"
    lines = [f"{counted(again.rows, 'object')}{seen}{unseen if number else ''}, in {tables}"]
    lines += [f"{count:>8}  {taxon or 'not named'}" for taxon, count in again.taxa.most_common()]
    for one in again.unseen[:REASONS]:
        lines.append(f"not looked at: {one.objects}, such as {one.first}: {one.why}")
    if others := again.unseen[REASONS:]:
        lines.append(f"not looked at: {sum(one.objects for one in others)}, for {counted(len(others), 'other reason')}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
