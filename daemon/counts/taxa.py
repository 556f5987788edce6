"""Which taxonomy the names of a dataset's objects are of."""

from __future__ import annotations

from daemon.config.taxonomy import Taxonomy
from daemon.dataset.later_tables import Given, TableOrigin, later_tables, named_with
from daemon.dataset.reader import Dataset


def taxonomy_of(dataset: Dataset, named: TableOrigin) -> Taxonomy:
    """Give the taxonomy that names were given by: the night's, or that of a later naming; an empty one where none was.

    Parameters
    ----------
    named
        where the names come from.
    """
    if named.number:
        text = named_with(later_tables(dataset.folder, Given.NAMED)[named.number][0]).taxonomy
    else:
        started = dataset.night()
        text = "" if started is None else started.taxonomy
    return Taxonomy.from_json(text) or Taxonomy(())
