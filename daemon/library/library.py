"""A library of labelled specimens, as those see it who learn from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self

from daemon.config.taxonomy import BINS, Taxonomy
from daemon.library.class_names import read_taxonomy_of
from daemon.library.entry import Entry
from daemon.library.index import Build, read_index
from daemon.library.pixels import read_specimen, whites_of
from inference.classification.specimens import Example


@dataclass(frozen=True)
class Library:
    """What lies in the folder of a library.

    Attributes
    ----------
    entries
        by their keys, in the order of those; identifiers of taxa that were merged since are those of today.
    left_out
        by source, by name and reason, what was not taken in.
    """

    folder: Path
    taxonomy: Taxonomy
    entries: Mapping[str, Entry]
    builds: tuple[Build, ...]
    left_out: Mapping[str, Mapping[str, str]]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read a library.

        Raises
        ------
        Refused
            There is none, or its taxonomy is wrong.
        DamagedFile
            A part of its index cannot be read.
        """
        index = read_index(folder)
        return cls(folder, read_taxonomy_of(folder), index.entries, index.builds, index.left_out)

    @cached_property
    def sha256(self) -> str:
        """Hex sha256 of which pictures it holds, and what each is called, where it is from."""
        digest = hashlib.sha256()
        for entry in self.entries.values():
            said = (entry.key, entry.sha256, self.taxon(entry), entry.sample, entry.slide, entry.day)
            digest.update(repr(said).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def taxon(self, entry: Entry) -> str:
        """Give the identifier of what an entry is called today, no finer than light microscopy tells.

        Nothing is learnt from what is `unsure`, or empty.
        """
        if entry.taxon in BINS:
            return entry.taxon
        found = self.taxonomy.of(entry.taxon)
        return "" if found is None else self.taxonomy.answer(found.identifier).identifier

    @property
    def parents(self) -> dict[str, str | None]:
        """Give the parent of each taxon of the taxonomy; None at a root."""
        return {taxon.identifier: taxon.parent or None for taxon in self.taxonomy.taxa}

    def learnable(self) -> list[Entry]:
        """Give the entries that a taxon is learnt from: none of a bin, and none in which nothing can be seen."""
        return [entry for entry in self.entries.values() if not entry.constant and self.taxon(entry) not in BINS]

    def examples(self, keys: Iterable[str] | None = None) -> list[Example]:
        """Give what a classifier learns from.

        Parameters
        ----------
        keys
            of which entries, in their order; all that are learnable if left out.
        """
        entries = self.learnable() if keys is None else [self.entries[key] for key in keys]
        whites = whites_of(self.entries.values())
        return [
            Example(
                key=entry.key,
                sha256=entry.sha256,
                taxon=self.taxon(entry),
                sample=entry.sample,
                slide=entry.slide,
                day=entry.day,
                read=partial(read_specimen, entry, self.folder, whites[entry.source, entry.bits]),
            )
            for entry in entries
        ]
