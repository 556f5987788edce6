"""A library looked at as a whole: its classes, and what is doubtful, as text and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from daemon.library.findings import FEW, TITLES, Finding, counts, find, rule_of_near_duplicates
from daemon.library.library import Library
from inference.wording import counted

TOLD = 10
"""So many findings of a kind are printed; JSON and the page have all."""


class ClassCount(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a taxon there is, and from how many places."""

    taxon: str
    name: str
    examples: int
    samples: int
    slides: int
    days: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and found.

    Attributes
    ----------
    sha256
        of the library.
    rule
        when pictures count as nearly the same.
    """

    library: str
    sha256: str
    entries: int
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]
    rule: str


def examine(library: Library, further: Sequence[Finding] = ()) -> Checked:
    """Look at a whole library.

    Parameters
    ----------
    further
        what was found by learning.
    """
    order = list(TITLES)
    found = sorted([*find(library, datetime.now(UTC).date()), *further], key=lambda one: order.index(one.kind))
    return Checked(
        library=str(library.folder),
        sha256=library.sha256,
        entries=len(library.entries),
        classes=classes_of(library),
        findings=tuple(found),
        rule=rule_of_near_duplicates(),
    )


def classes_of(library: Library) -> tuple[ClassCount, ...]:
    """Count what there is of each taxon, the largest first."""
    entries = library.learnable()
    rows = []
    for taxon, count in counts(library).items():
        own = [entry for entry in entries if library.taxon(entry) == taxon] if count else []
        places = [{getattr(entry, what) for entry in own} - {""} for what in ("sample", "slide", "day")]
        name = library.taxonomy.resolve(taxon).name
        samples, slides, days = map(len, places)
        rows.append(ClassCount(taxon=taxon, name=name, examples=count, samples=samples, slides=slides, days=days))
    return tuple(sorted(rows, key=lambda row: (-row.examples, row.taxon)))


def show_classes(classes: Sequence[ClassCount], console: Console) -> None:
    """Print a table of classes."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("taxon")
    for column in ("examples", "samples", "mini-slides", "days"):
        table.add_column(column, justify="right")
    for row in classes:
        few = "" if row.examples >= FEW else " (not known)"
        table.add_row(f"{row.taxon}{few}", *map(str, (row.examples, row.samples, row.slides, row.days)))
    console.print(table)


def tell(checked: Checked, console: Console, *, as_json: bool = False) -> None:
    """Print what was found, as text, or for programs as one JSON object."""
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(checked)) + "\n")
        return
    show_classes(checked.classes, console)
    for kind, of_kind in groupby(checked.findings, key=lambda finding: finding.kind):
        found = list(of_kind)
        _print(console, f"{TITLES[kind]}: {len(found)}")
        for finding in found[:TOLD]:
            _print(console, f"  {finding.told}")
        if len(found) > TOLD:
            _print(console, f"  and {len(found) - TOLD} more: --json and --page have all")
    _print(console, checked.rule)
    what = counted(len(checked.findings), "thing") if checked.findings else "nothing"
    _print(console, f"{counted(checked.entries, 'specimen')} in {checked.library}: {what} to look at")


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
