"""`lamelle taxonomy`: a table of taxa checked and shown as a tree, with the unit in which each is counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from daemon.config.counting import CountingRules, read_counting
from daemon.config.taxonomy import NOT_NAMED, Taxon, Taxonomy
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.system.errors import Refused
from inference.wording import counted


def show_taxonomy(
    path: Path, rules: Path | None, before: Path | None, console: Console, *, as_json: bool = False
) -> None:
    """Check a table of taxa, and print it.

    Parameters
    ----------
    rules
        table of counting rules, checked and shown too.
    before
        an earlier table: every identifier of it must be known still, as a taxon or a synonym.

    Raises
    ------
    Refused
        A table is wrong, or identifiers of the earlier one are lost.
    """
    taxonomy = read_taxonomy(path)
    counting = None if rules is None else read_counting(rules, taxonomy)
    if before is not None and (lost := taxonomy.lost(read_taxonomy(before))):
        raise Refused(
            f"{path} no longer knows {', '.join(lost)}, which records may keep; add their lines again, or write each "
            "as a synonym of the taxon that it became"
        )
    if as_json:
        taxa = [{**vars(taxon), "counted_as": _unit(taxon, counting)} for taxon in taxonomy.taxa]
        sys.stdout.write(json.dumps({"sha256": taxonomy.sha256, "taxa": taxa}) + "\n")
        return
    for root in taxonomy.children(NOT_NAMED):
        console.print(_branch(Tree(_line(root, counting)), root, taxonomy, counting))
    for note in (*taxonomy.notes, *(() if counting is None else counting.notes)):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    taxa_there = counted(len(taxonomy.taxa), "taxon", "taxa")
    console.print(f"{taxa_there} in {path}, sha256 {taxonomy.sha256}", markup=False, highlight=False, soft_wrap=True)


def _branch(tree: Tree, taxon: Taxon, taxonomy: Taxonomy, rules: CountingRules | None) -> Tree:
    for child in taxonomy.children(taxon.identifier):
        _branch(tree.add(_line(child, rules)), child, taxonomy, rules)
    return tree


def _line(taxon: Taxon, rules: CountingRules | None) -> Text:
    said = [taxon.rank, taxon.identifier]
    said += [f"told to the {taxon.lm_rank}"] if taxon.lm_rank else []
    said += [f"counted by the {unit}"] if (unit := _unit(taxon, rules)) else []
    return Text(f"{taxon.name} ({', '.join(said)})")


def _unit(taxon: Taxon, rules: CountingRules | None) -> str:
    rule = None if rules is None else rules.of(taxon.identifier)
    return "" if rule is None else rule.unit
