"""The table of a taxonomy: read, and checked in whole, one sentence for each fault."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from daemon.config.sheets import Sheet, SheetKind, read_sheet, unprintable, with_point
from daemon.config.taxonomy import EVIDENCE, GROUP, RANKS, RESERVED, UNSURE, Taxon, Taxonomy, close_to, folded
from daemon.system.errors import Refused
from drivers.texts import plain

SEPARATES = "|"
"""Between synonyms, and between kinds of evidence, in one cell."""

TABLE = SheetKind("taxonomy", "taxonomy", ("identifier", "name", "rank", "parent"), "taxon", "a taxon")
COLUMNS = (*TABLE.mandatory, "aphia_id", "synonyms", "detector_class", "calcite", "lm_rank", "evidence")
_AS_PARENT = ("detector_class", "calcite", "lm_rank")
"""Columns whose empty cells are as in the parent."""
_Row = Mapping[str, str]
_IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_LONGEST = 64
_NUMBER = re.compile(r"([1-9]\d{0,8})(?:\.0+)?", re.ASCII)
_TRUE = {"yes": True, "true": True, "1": True, "wahr": True, "vrai": True, "verdadero": True}
_FALSE = {"no": False, "false": False, "0": False, "falsch": False, "faux": False, "falso": False}
_WORDS = _TRUE | _FALSE
"""Spreadsheets write truth in their own language."""


def read_taxonomy(path: Path, detector_classes: Collection[str] | None = None) -> Taxonomy:
    """Read a table of taxa and check it in whole.

    Parameters
    ----------
    detector_classes
        what the detector can find; if left out, any class may be named.

    Raises
    ------
    Refused
        The table cannot be read or is wrong; a sentence for each fault names file, line, column, value and remedy.
    """
    sheet = read_sheet(path, TABLE)
    rows = {line: {column: _cell(cells, column) for column in COLUMNS} for line, cells in sheet.rows}
    faults = [fault for line, row in rows.items() for fault in _faults_of_row(sheet.at(line), row, detector_classes)]
    faults += _faults_of_names(sheet, rows)
    faults += _faults_of_tree(sheet, rows)
    if faults:
        raise Refused("\n".join(faults))
    by_identifier = {row["identifier"]: row for row in rows.values()}
    taxa = tuple(_taxon(row, list(_above(row, by_identifier))) for row in rows.values())
    return Taxonomy(taxa, sheet.notes(COLUMNS))


def _taxon(row: _Row, above: Sequence[_Row]) -> Taxon:
    """Make a taxon of its line; what that does not say is as in the lines of what it is part of, the nearest first."""
    said = {name: next((r[name] for r in (row, *above) if r[name]), "") for name in _AS_PARENT}
    number = _NUMBER.fullmatch(with_point(row["aphia_id"], comma_is_decimal=False))
    return Taxon(
        identifier=row["identifier"],
        name=row["name"],
        rank=row["rank"].casefold(),
        parent=row["parent"],
        aphia_id=int(number[1]) if number else None,
        synonyms=_several(row["synonyms"]),
        detector_class=said["detector_class"],
        calcite=_WORDS.get(said["calcite"].casefold(), False),
        lm_rank=said["lm_rank"].casefold(),
        evidence=tuple(one for one in EVIDENCE if folded(one) in map(folded, _several(row["evidence"]))),
    )


def _cell(cells: _Row, column: str) -> str:
    """Give a cell; of line breaks and control characters the first stays where it can be told."""
    text = cells.get(column, "")
    return text if unprintable(text) else plain(text)


def _several(cell: str) -> tuple[str, ...]:
    return tuple(plain(part) for part in cell.split(SEPARATES) if plain(part))


def _above(row: _Row, rows: Mapping[str, _Row]) -> Iterator[_Row]:
    """Give the lines of what a taxon is part of, the nearest first; ends where they turn in a circle."""
    seen = {row["identifier"]}
    while row["parent"] in rows and row["parent"] not in seen:
        row = rows[row["parent"]]
        seen.add(row["identifier"])
        yield row


def _faults_of_row(at: str, row: _Row, detector_classes: Collection[str] | None) -> Iterator[str]:
    identifier, name = row["identifier"], row["name"]
    if not _IDENTIFIER.fullmatch(identifier) or len(identifier) > _LONGEST:
        yield (
            f"{at}: identifier is {identifier!r}; give at most {_LONGEST} small letters from a to z, digits and single "
            "hyphens between them, such as gephyrocapsa-oceanica"
        )
    if not name:
        yield f"{at}: name is empty; give the taxon {identifier!r} the name that people read"
    for text in (name, *_several(row["synonyms"])):
        if unprintable(text):
            yield f"{at}: {text!r} holds a line break or a control character; write it on one line, without"
    if ";" in row["synonyms"]:
        yield f"{at}: synonyms are {row['synonyms']!r}; separate them by {SEPARATES}"
    if row["rank"].casefold() not in RANKS:
        yield f"{at}: rank is {row['rank']!r}; choose one of {', '.join(RANKS)}"
    if row["lm_rank"] and row["lm_rank"].casefold() not in RANKS:
        yield f"{at}: lm_rank is {row['lm_rank']!r}; choose one of {', '.join(RANKS)}, or leave it empty"
    if row["aphia_id"] and not _NUMBER.fullmatch(with_point(row["aphia_id"], comma_is_decimal=False)):
        yield (
            f"{at}: aphia_id is {row['aphia_id']!r}, which is no whole number above zero; copy it from the World "
            "Register of Marine Species, or leave it empty"
        )
    if row["detector_class"] and detector_classes is not None and row["detector_class"] not in detector_classes:
        yield (
            f"{at}: detector_class is {row['detector_class']!r}, which the detector does not know; choose one of "
            f"{', '.join(detector_classes)}, or leave it empty"
        )
    if row["calcite"] and row["calcite"].casefold() not in _WORDS:
        yield f"{at}: calcite is {row['calcite']!r}; write yes or no, or leave it empty where it is as in the parent"
    for one in _several(row["evidence"]):
        if folded(one) not in map(folded, EVIDENCE):
            yield f"{at}: evidence is {one!r}; choose from {', '.join(EVIDENCE)}, several separated by {SEPARATES}"


def _faults_of_names(sheet: Sheet, rows: Mapping[int, _Row]) -> Iterator[str]:
    """Names that are of two taxa, or that none may have."""
    taken: dict[str, tuple[int, str]] = {}
    for line, row in rows.items():
        texts = [("the identifier", row["identifier"]), ("the name", row["name"])]
        texts += [("a synonym", synonym) for synonym in _several(row["synonyms"])]
        for what, text in texts:
            before, of = taken.setdefault(folded(text), (line, f"{what} of {row['identifier']!r}"))
            if folded(text) == UNSURE or (what == "the identifier" and folded(text) in RESERVED):
                yield f"{sheet.at(line)}: {what} {text!r} is a word that no taxon may have; choose another"
            elif before != line and text:
                yield (
                    f"{sheet.at(line)}: {what} {text!r} is also {of} in line {before}; leave it to one of them, "
                    "or write an author behind the name"
                )


def _faults_of_tree(sheet: Sheet, rows: Mapping[int, _Row]) -> Iterator[str]:
    """Parents that are not there, circles, and ranks that do not go down."""
    by_identifier = {row["identifier"]: row for row in rows.values()}
    in_circles: set[str] = set()
    for line, row in rows.items():
        identifier, parent = row["identifier"], row["parent"]
        above = list(_above(row, by_identifier))
        if parent and parent not in by_identifier:
            named = next((one for one, other in by_identifier.items() if folded(other["name"]) == folded(parent)), None)
            instead = f"write its identifier {named!r}" if named else f"add its line{close_to(parent, by_identifier)}"
            yield f"{sheet.at(line)}: parent of {identifier!r} is {parent!r}, which is no identifier here; {instead}"
        elif identifier in in_circles:
            continue
        elif parent and (above[-1] if above else row)["parent"] == identifier:
            circle = [identifier, *(one["identifier"] for one in above)]
            in_circles.update(circle)
            yield (
                f"{sheet.at(line)}: {' is part of '.join([*circle, identifier])}, a circle; "
                "correct the parent of one of them"
            )
        elif above and (fault := _fault_of_rank(row, above)):
            yield f"{sheet.at(line)}: {fault}"


def _fault_of_rank(row: _Row, above: Sequence[_Row]) -> str:
    """Say where a rank is not below those that it is part of; groups may lie in groups, and anywhere above a genus."""
    ranks = [one["rank"].casefold() for one in above]
    rank, parent = row["rank"].casefold(), above[0]
    if rank not in RANKS or not set(ranks) <= set(RANKS):
        return ""
    told = f"rank of {row['identifier']!r} is {rank}, and its parent {parent['identifier']!r} is a {ranks[0]}; "
    if rank == GROUP:
        high = RANKS.index(ranks[0]) < RANKS.index("genus")
        return "" if high else f"{told}give a group a parent above a genus"
    named = next((one for one in ranks if one != GROUP), GROUP)
    return "" if RANKS.index(rank) > RANKS.index(named) else f"{told}give it a rank below, or another parent"
