"""`lamelle report`: what a technician reads in the morning, as one HTML file and as a PDF of the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console

from daemon.counts.objects import Objects
from daemon.dataset.reader import Dataset
from daemon.records.names import CATALOG, REPORT
from daemon.report.charts import draw_night, draw_slides
from daemon.report.fields_shown import show_fields
from daemon.report.gather import gather
from daemon.report.methods import methods
from daemon.report.numbers import NightNumbers
from daemon.report.objects import ObjectShown, as_called_now, doubtful, finest, show, together
from daemon.report.page import write_page
from daemon.report.paper import write_paper
from daemon.report.sources import sources_of
from daemon.report.timing import time_night
from daemon.report.trust import about_masses
from daemon.report.verdict import run_of, standing_of, verdict_of
from daemon.report.words import NightReport
from daemon.run_folder.folder import RunFolder
from daemon.system.durable_files import refusing
from daemon.system.progress import CountDisplay

PAGE, PAPER = ".html", ".pdf"
STEPS = 6


@dataclass(frozen=True)
class Written:
    """Where a report lies."""

    page: Path
    paper: Path


def report(folder: Path, into: Path | None, console: Console | None) -> Written:
    """Report a night, complete or not, without holding up whoever still records it.

    Parameters
    ----------
    folder
        a run folder or a dataset. The run folder of a night that another computer records tells what its journal says;
        pictures are with the recorder.
    into
        HTML or PDF file, the other is written beside it; `report.html` in the dataset if None.
    console
        where to tell how far it is, once it takes longer than two seconds; None where nobody looks.

    Raises
    ------
    Refused
        There is no night, or `into` cannot be written.
    """
    with (
        CountDisplay("report", console or Console(quiet=True)) as counter,
        _open(folder) as dataset,
        dataset.unchanging(),
    ):
        counter.show(1, STEPS)
        numbers, objects = gather(dataset)
        counter.show(2, STEPS)
        objects = as_called_now(dataset, objects)
        best, worst = _finest(dataset, objects, numbers), show(dataset, doubtful(objects), numbers.taxonomy)
        fields = show_fields(dataset, numbers)
        counter.show(3, STEPS)
        night_charts, slide_charts = tuple(draw_night(numbers, objects)), tuple(draw_slides(numbers, objects))
        counter.show(4, STEPS)
        run = run_of(folder, dataset)
        sources = sources_of(numbers, objects.origins, dataset.folder)
        contents = NightReport(
            numbers=numbers,
            verdict=verdict_of(
                dataset, None if run is None else standing_of(run), _faults(dataset), numbers.unlike_slides
            ),
            timing=time_night(numbers),
            sources=sources,
            masses=about_masses(numbers, sources),
            methods=methods(numbers, sources, sum(one is not None for one in objects["said_by"])),
            fields=fields,
            finest=best,
            doubtful=worst,
            night_charts=night_charts,
            slide_charts=slide_charts,
        )
        page = into or (dataset.folder if (dataset.folder / CATALOG).exists() else folder) / REPORT
        written = Written(page.with_suffix(PAGE), page.with_suffix(PAPER))
        with refusing(written.page):
            write_page(written.page, contents)
            counter.show(5, STEPS)
            write_paper(written.paper, contents)
    return written


def _open(folder: Path) -> Dataset:
    """Open the dataset, or what the journal says where there is none."""
    there = any((place / CATALOG).exists() for place in (folder, RunFolder(folder).dataset))
    return Dataset.open(folder) if there or not RunFolder(folder).journal.exists() else Dataset.of_journal(folder)


def _finest(
    dataset: Dataset, objects: Objects, numbers: NightNumbers
) -> tuple[tuple[str, tuple[ObjectShown, ...]], ...]:
    """Cut out the finest objects of each taxon, all in one contrast."""
    rows = finest(objects, numbers.taxonomy)
    shown = iter(show(dataset, together([chosen for _, chosen in rows]), numbers.taxonomy)) if rows else iter(())
    return tuple((name, tuple(islice(shown, len(chosen)))) for name, chosen in rows)


def _faults(dataset: Dataset) -> int:
    """Count the faults of a dataset; a journal whose files are with the recorder has none to be told."""
    if not (dataset.folder / CATALOG).exists():
        return 0
    return len(dataset.totals().faults)
