"""Counting rules: what is counted of a taxon, chosen before anything is counted.

Objects are not what is counted: a frustule is two valves, the two ends of a broken needle are one, a coccosphere is no
coccolith. A rule of a taxon holds for all that are part of it and have none of their own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from daemon.config.sheets import Sheet, SheetKind, read_sheet, with_point
from daemon.config.taxonomy import BINS, Taxonomy, close_to, folded
from daemon.config.taxonomy_sheet import SEPARATES
from daemon.system.errors import Refused
from drivers.texts import plain

OUTSIDE = "none"
"""Sum of what is tabulated, and in no sum: what is reworked or came in later."""
BY_HAND = "counted"
"""Number of units of what a person counts each time, such as a chain of cells."""

_KIND = SheetKind("table of counting rules", "counting_rules", ("taxon", "unit", "units", "sum"), "rule", "a taxon")
_COLUMNS = (*_KIND.mandatory, "feature", "smallest", "factor", "factor_deviation", "factor_source")


@dataclass(frozen=True)
class CountingRule:
    """What is counted of a taxon.

    Attributes
    ----------
    taxon
        identifier.
    unit
        what one is: valve, cell, lith, skeleton.
    units
        how many units an object is, by what the object is (valve, frustule, end, ...); None where a person counts. The
        first is what an object is where nobody said.
    total
        name of the sum that the units go into; empty for what is tabulated outside of all sums.
    feature
        what is looked for to count one.
    smallest
        the smallest part that counts.
    factor
        units of another form that one unit is worth, such as liths of a sphere; None where nobody knows, and then
        nothing is added up.
    factor_deviation
        its standard deviation.
    factor_source
        who says so.
    """

    taxon: str
    unit: str
    units: Mapping[str, float | None]
    total: str
    feature: str = ""
    smallest: str = ""
    factor: float | None = None
    factor_deviation: float | None = None
    factor_source: str = ""

    def units_of(self, form: str = "") -> float | None:
        """Give how many units an object of this form is; None where a person counts them, or no rule knows the form."""
        return self.units.get(folded(form)) if form else next(iter(self.units.values()))


@dataclass(frozen=True)
class CountingRules:
    """The rules of a taxonomy.

    Attributes
    ----------
    notes
        what is allowed but worth a look, a sentence each.
    """

    rules: tuple[CountingRule, ...]
    taxonomy: Taxonomy
    notes: tuple[str, ...] = ()

    @cached_property
    def _by_taxon(self) -> Mapping[str, CountingRule]:
        return {rule.taxon: rule for rule in self.rules}

    @cached_property
    def sha256(self) -> str:
        """Hex sha256 of what they say, however their table is written."""
        rows = [[*vars(rule).values()] for rule in sorted(self.rules, key=lambda rule: rule.taxon)]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()

    def of(self, identifier: str) -> CountingRule | None:
        """Give the rule of a taxon, its own or that of the nearest that it is part of; None for a bin, or without one.

        Raises
        ------
        Refused
            The taxonomy knows no such taxon.
        """
        if identifier in BINS:
            return None
        line = self.taxonomy.lineage(identifier)
        return next((self._by_taxon[one.identifier] for one in line if one.identifier in self._by_taxon), None)


def read_counting(path: Path, taxonomy: Taxonomy) -> CountingRules:
    """Read a table of counting rules and check it in whole.

    Raises
    ------
    Refused
        The table cannot be read or is wrong; a sentence for each fault names file, line, column, value and remedy.
    """
    sheet = read_sheet(path, _KIND)
    rows = [(line, {column: plain(cells.get(column, "")) for column in _COLUMNS}) for line, cells in sheet.rows]
    for _, row in rows:
        for name in ("factor", "factor_deviation"):
            row[name] = with_point(row[name], sheet.comma_is_decimal)
    faults = [fault for line, row in rows for fault in _faults_of_row(sheet.at(line), row, taxonomy)]
    faults += _doubled(sheet, rows, taxonomy)
    if faults:
        raise Refused("\n".join(faults))
    return CountingRules(tuple(_rule(row, taxonomy) for _, row in rows), taxonomy, sheet.notes(_COLUMNS))


def _rule(row: Mapping[str, str], taxonomy: Taxonomy) -> CountingRule:
    return CountingRule(
        taxon=taxonomy.resolve(row["taxon"]).identifier,
        unit=row["unit"],
        units=dict(_units(row["units"])),
        total="" if row["sum"].casefold() == OUTSIDE else row["sum"],
        feature=row["feature"],
        smallest=row["smallest"],
        factor=_number(row["factor"]),
        factor_deviation=_number(row["factor_deviation"]),
        factor_source=row["factor_source"],
    )


def _units(cell: str) -> Iterator[tuple[str, float | None]]:
    """Read how many units each form of an object is, as `valve=1|frustule=2|chain=counted` says.

    Raises
    ------
    ValueError
        It says something else.
    """
    for part in cell.split(SEPARATES):
        form, equals, text = (one.strip() for one in part.partition("="))
        if not (form and equals):
            raise ValueError(part)
        number = None if folded(text) == BY_HAND else float(with_point(text, comma_is_decimal=True))
        if number is not None and not (math.isfinite(number) and number >= 0):
            raise ValueError(part)
        yield folded(form), number


def _number(text: str) -> float | None:
    return float(text) if text else None


def _faults_of_row(at: str, row: Mapping[str, str], taxonomy: Taxonomy) -> Iterator[str]:
    if taxonomy.of(row["taxon"]) is None:
        known = [taxon.identifier for taxon in taxonomy.taxa]
        yield (
            f"{at}: taxon is {row['taxon']!r}, which the taxonomy does not know{close_to(row['taxon'], known)}; "
            "correct it, or add the taxon there"
        )
    for name in ("unit", "sum"):
        if not row[name]:
            yield f"{at}: {name} is empty; give one" + (f", or {OUTSIDE} for no sum" if name == "sum" else "")
    try:
        forms = [form for form, _ in _units(row["units"])]
    except ValueError as error:
        yield (
            f"{at}: units are {row['units']!r}, where {str(error)!r} is not a form and its number; write what an "
            f"object may be with its units, such as valve=1{SEPARATES}frustule=2{SEPARATES}chain={BY_HAND}"
        )
    else:
        for form in {form for form in forms if forms.count(form) > 1}:
            yield f"{at}: units give {form!r} {forms.count(form)} numbers; give it one"
    yield from _faults_of_factor(at, row)


def _faults_of_factor(at: str, row: Mapping[str, str]) -> Iterator[str]:
    wrong = False
    for name in ("factor", "factor_deviation"):
        try:
            number = _number(row[name])
        except ValueError:
            number = math.nan
        if number is not None and not (math.isfinite(number) and number >= 0):
            wrong = True
            yield f"{at}: {name} is {row[name]!r}; give a number of at least 0 with a decimal point, or leave it empty"
    said = [name for name in ("factor", "factor_deviation", "factor_source") if row[name]]
    if said and len(said) < 3 and not wrong:
        yield f"{at}: of factor, factor_deviation and factor_source only {', '.join(said)} is given; give all or none"


def _doubled(sheet: Sheet, rows: list[tuple[int, dict[str, str]]], taxonomy: Taxonomy) -> Iterator[str]:
    """Two rules of one taxon, under whatever names."""
    seen: dict[str, int] = {}
    for line, row in rows:
        taxon = taxonomy.of(row["taxon"])
        if taxon is not None and seen.setdefault(taxon.identifier, line) != line:
            yield (
                f"{sheet.at(line)}: taxon {taxon.identifier!r} has its rule in line {seen[taxon.identifier]} already; "
                "delete one of them"
            )
