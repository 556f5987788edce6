"""From what folders and tables call a class to a taxon: names of other programs, and those that nobody listed yet."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from daemon.config.sheets import read_sheet
from daemon.config.taxonomy import GROUP, RESERVED, UNSURE, Taxon, Taxonomy, folded
from daemon.config.taxonomy_sheet import COLUMNS, TABLE, read_taxonomy
from daemon.system.durable_files import replacing
from drivers.recorded.listing import printable
from drivers.texts import plain

TAXONOMY = "taxonomy.csv"
"""Of a library, in its folder."""
_NUMBERED = re.compile(r"(.+?)__\d+")
"""Folders of UVP: Name__ID."""
_LONGEST = 56


def taxon_of(label: str, taxonomy: Taxonomy) -> Taxon | None:
    """Find the taxon that a class is called after, also where folders write its name as they must.

    `other<Biota` is a folder `other_Biota`, `Copepoda__25828` is numbered, blanks and hyphens become underscores.
    """
    return next((taxon for text in _readings(label) if (taxon := taxonomy.of(text)) is not None), None)


def is_unsure(label: str) -> bool:
    """Whether a class holds what nobody could name."""
    return any(folded(text) == UNSURE for text in _readings(label))


def _readings(label: str) -> Iterator[str]:
    text = plain(label)
    numbered = _NUMBERED.fullmatch(text)
    for one in dict.fromkeys((text, numbered[1] if numbered else text)):
        yield one
        for instead in ("<", " ", "-"):
            yield one.replace("_", instead)
        yield identifier_of(one)


def identifier_of(label: str) -> str:
    """Make the identifier of a class that no taxonomy knows: its ASCII letters and digits in small.

    Where letters are lost on the way, so that two names could get one identifier, four digits of a hash tell them
    apart.
    """
    text = folded(label)
    bare = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    slug = re.sub(r"[^a-z0-9]+", "-", bare).strip("-")[:_LONGEST].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:4]
    if not slug:
        return f"class-{digest}"
    return f"{slug}-{digest}" if not text.isascii() or slug in RESERVED or len(text) > _LONGEST else slug


def with_classes(taxonomy: Taxonomy, labels: Iterable[str]) -> Taxonomy:
    """Add the classes that a taxonomy does not know, each a group of its own, under the name that it has here."""
    taxa = {taxon.identifier: taxon for taxon in taxonomy.taxa}
    for label in sorted(labels, key=folded):
        if not is_unsure(label) and taxon_of(label, Taxonomy(tuple(taxa.values()))) is None:
            name = printable(_NUMBERED.sub(r"\1", plain(label)))
            identifier = identifier_of(name)
            taxa.setdefault(identifier, Taxon(identifier, name, GROUP))
    return Taxonomy(tuple(taxa.values()), taxonomy.notes)


def read_taxonomy_of(library: Path) -> Taxonomy:
    """Read the taxonomy of a library; empty before anything was built. Errors as of `read_taxonomy`."""
    path = library / TAXONOMY
    return read_taxonomy(path) if path.exists() else Taxonomy(())


def add_taxa(library: Path, taxonomy: Taxonomy) -> None:
    """Add lines for taxa that the table of a library does not have; what people wrote there stays, each column."""
    path = library / TAXONOMY
    columns, rows = list(COLUMNS), []
    if path.exists():
        sheet = read_sheet(path, TABLE)
        columns = [*sheet.columns, *(column for column in COLUMNS if column not in sheet.columns)]
        rows = [cells for _, cells in sheet.rows]
    known = read_taxonomy_of(library)
    new = [taxon for taxon in taxonomy.taxa if known.of(taxon.identifier) is None]
    if not new:
        return
    rows += [{"identifier": one.identifier, "name": one.name, "rank": one.rank} for one in new]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with replacing(path) as stream:
        stream.write(text.getvalue().encode("utf-8-sig"))
