"""A label says one thing of one object, and contradicts itself in nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from daemon.dataset.labels import LABELS, Completeness, Label, LabelStatus, Qualifier, label_table, labels_of
from daemon.records.objects import ObjectName

HASH = "ab" * 32
WHEN = datetime(2026, 11, 21, 22, 5, 1, 7, tzinfo=UTC)
KEY: dict[str, Any] = {"night": "N", "slide": 1, "field": 2, "attempt": 1, "number": 3, "content": HASH, "utc": WHEN}
SURE: dict[str, Any] = {"status": LabelStatus.VALIDATED, "taxon": "emiliania-huxleyi"}


def test_what_it_says_survives_a_table() -> None:
    label = Label(
        **KEY, status=LabelStatus.DUBIOUS, taxon="gephyrocapsa", qualifier=Qualifier.CONFER, unit="lith", units=0.5,
        completeness=Completeness.MORE_THAN_HALF, view="distal", preservation="etched", reworked=False, contents="none",
        who="ÅB",
    )  # fmt: skip
    bare = Label(**KEY, **SURE)
    back = Label(**KEY, undone=HASH, who="AB")
    table = label_table([label, bare, back])
    assert table.schema == LABELS.schema
    assert labels_of(table) == [label, bare, back]
    assert label.object == ObjectName("N", 1, 2, 1, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taxon": None}, "taxon is empty; name one"),
        ({"status": None}, "status is empty; choose one of predicted, dubious, validated, discarded"),
        ({"taxon": " x"}, "taxon is ' x'; write one line"),
        ({"taxon": "e\u0301"}, "taxon is 'e\u0301'; write one line"),
        ({"who": ""}, "who is ''; write one line"),
        ({"view": "a\nb"}, "view is"),
        ({"contents": "x" * 201}, "contents is"),
        ({"content": "AB" * 32}, "content is 'ABAB"),
        ({"units": -1.0}, "units is -1; give a number from 0 to 10000"),
        ({"units": float("nan")}, "units is nan; give a number"),
        ({"utc": WHEN.replace(tzinfo=None)}, "utc is 2026-11-21T22:05:01.000007; give a time with its zone"),
        ({"utc": WHEN.replace(year=1969)}, "utc is 1969"),
        ({"undone": HASH}, "status is given in a row that takes another back"),
        ({"undone": "x", "status": None, "taxon": None}, "undone is 'x'; it is a hash"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(")):
        Label(**{**KEY, **SURE, **changes})


def test_what_is_discarded_needs_no_name() -> None:
    assert Label(**KEY, status=LabelStatus.DISCARDED).taxon is None
