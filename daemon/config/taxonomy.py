"""The taxonomy: which taxa an instrument or a campaign names, how they hang together, what light microscopy tells.

Records keep a taxon's identifier; its name is looked up. So a taxon is renamed by writing another name beside its
identifier; two are merged by making the identifier of one a synonym of the other; one is split by giving it children,
it stays what earlier records say. An identifier is never given to another taxon.

Beside all taxa stand two bins: what is named but not sure enough at any rank (`UNSURE`), and what nobody named
(`NOT_NAMED`).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from daemon.system.errors import Refused
from drivers.texts import plain
from inference.classification.answers import UNSURE as UNSURE

NOT_NAMED = ""
BINS = (UNSURE, NOT_NAMED)
RESERVED = (UNSURE, "nil", "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
"""No identifiers: the names of the bins, and what Windows lets no file or folder be called."""

GROUP = "group"
RANKS = (
    GROUP,
    "kingdom",
    "phylum",
    "subphylum",
    "class",
    "subclass",
    "order",
    "suborder",
    "family",
    "subfamily",
    "genus",
    "subgenus",
    "complex",
    "species",
    "subspecies",
    "variety",
    "form",
)
"""From the highest down. A group is whatever people sort together, at any height above a genus; a complex is of species
that are not told apart; a form is a morphotype or a stage of life."""
EVIDENCE = ("LM", "SEM", "culture")


@dataclass(frozen=True)
class Taxon:
    """A name of the taxonomy.

    Attributes
    ----------
    identifier
        what records keep; lower-case ASCII letters, digits and single hyphens.
    parent
        identifier of the taxon that it is part of; empty at a root.
    aphia_id
        its number in the World Register of Marine Species, where known.
    synonyms
        other names, and identifiers of taxa that were merged into it.
    detector_class
        what the detector calls it; where the table says nothing, as its parent.
    calcite
        whether its light is that of calcite, so that its mass is one; where the table says nothing, as its parent.
    lm_rank
        the finest rank that light microscopy tells within it; where the table says nothing, as its parent. Empty: any.
    evidence
        what it takes to tell it: some of `EVIDENCE`.
    """

    identifier: str
    name: str
    rank: str
    parent: str = ""
    aphia_id: int | None = None
    synonyms: tuple[str, ...] = ()
    detector_class: str = ""
    calcite: bool = False
    lm_rank: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taxonomy:
    """All taxa, in the order of their table, checked by whoever read it (`daemon.config.taxonomy_sheet`).

    Attributes
    ----------
    notes
        what is allowed but worth a look, a sentence each.
    """

    taxa: tuple[Taxon, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def _by_identifier(self) -> Mapping[str, Taxon]:
        return {taxon.identifier: taxon for taxon in self.taxa}

    @cached_property
    def _by_text(self) -> Mapping[str, Taxon]:
        return {folded(text): taxon for taxon in self.taxa for text in _texts(taxon)}

    @cached_property
    def _by_parent(self) -> Mapping[str, tuple[Taxon, ...]]:
        parents = dict.fromkeys(taxon.parent for taxon in self.taxa)
        return {parent: tuple(taxon for taxon in self.taxa if taxon.parent == parent) for parent in parents}

    @cached_property
    def sha256(self) -> str:
        """Hex sha256 of what it says, however its table is written: order, encoding and separators do not matter."""
        rows = [[*vars(taxon).values()] for taxon in sorted(self.taxa, key=lambda taxon: taxon.identifier)]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()

    @property
    def identifiers(self) -> tuple[str, ...]:
        """What records may call its taxa: identifiers, and the synonyms that were some once."""
        return tuple(text for taxon in self.taxa for text in (taxon.identifier, *taxon.synonyms))

    def to_json(self) -> str:
        """Write it as a record keeps it, which keeps an empty text where there is none."""
        return msgspec.json.encode(self.taxa).decode()

    @classmethod
    def from_json(cls, text: str) -> Taxonomy | None:
        """Read what a record keeps; None where there is none.

        Raises
        ------
        msgspec.DecodeError
            The text is something else.
        """
        return cls(msgspec.json.decode(text, type=tuple[Taxon, ...])) if text else None

    def of(self, text: str) -> Taxon | None:
        """Find the taxon that has this identifier, name or synonym, in whatever case; None where none has."""
        return self._by_text.get(folded(text))

    def resolve(self, identifier: str) -> Taxon:
        """Find what an identifier in a record means today: its taxon, or the one that it was merged into.

        Raises
        ------
        Refused
            No taxon has or had it.
        """
        found = self._by_identifier.get(identifier) or self.of(identifier)
        if found is None:
            raise Refused(
                f"the taxonomy knows no taxon {identifier!r}{close_to(identifier, self._by_identifier)}; add its line, "
                "or write it as a synonym of the taxon that it became"
            )
        return found

    def name_of(self, identifier: str) -> str:
        """Give what people call a taxon, or its identifier where this taxonomy does not know it."""
        found = self.of(identifier)
        return identifier if found is None else found.name

    def lineage(self, identifier: str) -> tuple[Taxon, ...]:
        """Give a taxon and all that it is part of, itself first and its root last; errors as `resolve`."""
        line = [self.resolve(identifier)]
        while line[-1].parent:
            line.append(self._by_identifier[line[-1].parent])
        return tuple(line)

    def children(self, identifier: str) -> tuple[Taxon, ...]:
        """Give the taxa that are part of one and of none between; of `NOT_NAMED` the roots; errors as `resolve`."""
        return self._by_parent.get(identifier and self.resolve(identifier).identifier, ())

    def at_rank(self, identifier: str, rank: str) -> Taxon | None:
        """Give what a taxon is at a rank: itself or what it is part of; None where that rank is not told."""
        return next((taxon for taxon in self.lineage(identifier) if taxon.rank == rank), None)

    def answer(self, identifier: str) -> Taxon:
        """Give the finest of a taxon's lineage that light microscopy may answer; errors as `resolve`."""
        line = self.lineage(identifier)
        return next(taxon for taxon in line if taxon is line[-1] or not _too_fine(taxon))

    def lost(self, before: Taxonomy) -> tuple[str, ...]:
        """Give identifiers of an earlier taxonomy that this one knows nothing of, neither as taxa nor as synonyms."""
        return tuple(taxon.identifier for taxon in before.taxa if self.of(taxon.identifier) is None)


def folded(text: str) -> str:
    """Write a name the one way in which names are compared: composed, of one case, whatever the language of the system.

    The dotted capital and the dotless small letter of Turkish are taken for i, which spreadsheets there make of it.
    """
    bare = plain(text).replace("\u0130", "i").replace("\u0131", "i")
    return unicodedata.normalize("NFC", bare.casefold())


def _texts(taxon: Taxon) -> tuple[str, ...]:
    return taxon.identifier, taxon.name, *taxon.synonyms


def _too_fine(taxon: Taxon) -> bool:
    return bool(taxon.lm_rank) and RANKS.index(taxon.rank) > RANKS.index(taxon.lm_rank)


def close_to(text: str, known: Collection[str]) -> str:
    """Ask whether a known text like this one was meant; empty where none is."""
    close = difflib.get_close_matches(text, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
