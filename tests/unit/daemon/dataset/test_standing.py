"""Which label stands, whatever the order in which rows were brought together."""

from __future__ import annotations

import random
import shutil
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import lamelle
from daemon.added.store import ROW, identified
from daemon.dataset.labels import LABELS, Label, LabelStatus, label_store, label_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import HeldObjects, content_of, standing
from daemon.dataset.summary import summarise
from daemon.records.attempts import AttemptName
from daemon.reprocessing.measure import measure_again
from tests.support.earlier_run import FIXTURES
from tests.support.labelled_night import NIGHT, make_night, redo
from tests.support.small_dataset import NIGHT as SMALL_NIGHT
from tests.support.small_dataset import make_dataset

HASH = "ab" * 32
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DEED = tuple[int, str, int, str | None, LabelStatus]


def label(number: int = 1, taxon: str | None = "a", hours: float = 0, who: str | None = "AB", **more: Any) -> Label:
    said: dict[str, Any] = {"status": LabelStatus.VALIDATED, "content": HASH, "attempt": 1, "night": NIGHT} | more
    return Label(slide=1, field=1, number=number, taxon=taxon, who=who, utc=NOON + timedelta(hours=hours), **said)


def rows(*labels: Label) -> pa.Table:
    return identified(LABELS, label_table(labels))


def hash_of(one: Label) -> str:
    (found,) = rows(one)[ROW].to_pylist()
    return str(found)


def taking_back(one: Label, target: str | None = None, hours: float = 9, who: str = "AB") -> Label:
    return label(one.number, None, hours, who, status=None, undone=target or hash_of(one))


def stands(*labels: Label, taxonomy: Any = None) -> dict[int, str | None]:
    there = standing(rows(*labels), taxonomy).labels
    return dict(zip(there["number"].to_pylist(), there["taxon"].to_pylist(), strict=True))


def test_the_newest_deed_stands_by_its_own_time() -> None:
    late, early = label(taxon="late", hours=2), label(taxon="early", hours=1)
    assert stands(late, early) == stands(early, late) == {1: "late"}


def test_a_prediction_never_beats_a_person() -> None:
    said = label(taxon="said", hours=0, status=LabelStatus.DUBIOUS)
    predicted = label(taxon="predicted", hours=5, who=None, status=LabelStatus.PREDICTED)
    other = label(2, "predicted", who=None, status=LabelStatus.PREDICTED)
    assert stands(said, predicted, other) == {1: "said", 2: "predicted"}
    assert stands(said, predicted, taking_back(said)) == {1: "predicted"}


def test_what_is_taken_back_says_nothing_unless_that_is_taken_back() -> None:
    first, second = label(taxon="first"), label(taxon="second", hours=1)
    undo = taking_back(second)
    undo_undo = taking_back(first, hash_of(undo), hours=10)
    thrice = taking_back(first, hash_of(undo_undo), hours=11)
    assert stands(first, second, undo) == {1: "first"}
    assert stands(first, second, undo, undo_undo) == {1: "second"}
    assert stands(thrice, undo_undo, undo, second, first) == {1: "first"}
    assert stands(first, undo, undo_undo) == {1: "first"}, "what it takes back may come later"
    assert standing(rows(first, second, undo)).taken_back == 1
    assert stands(first, taking_back(first)) == {}


def test_a_long_chain_of_taking_back_ends() -> None:
    first = label()
    chain = [first]
    for step in range(1200):
        chain.append(taking_back(first, hash_of(chain[-1]), hours=step))
    assert stands(*chain) == {1: "a"}
    assert stands(*chain[:-1]) == {}


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2), st.sampled_from("abc"), st.integers(0, 2), st.sampled_from(["AB", "CD", None]),
            st.sampled_from([LabelStatus.PREDICTED, LabelStatus.DUBIOUS, LabelStatus.VALIDATED]),
        ),
        min_size=1, max_size=12, unique=True,
    ),
    st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=40)
def test_the_order_of_rows_does_not_matter(deeds: list[DEED], chance: random.Random) -> None:
    said = [label(number, taxon, hours, who, status=status) for number, taxon, hours, who, status in deeds]
    best: dict[int, tuple[bool, datetime, str, str | None]] = {}
    for one in said:
        human = one.status is not LabelStatus.PREDICTED
        best[one.number] = max(best.get(one.number, (False, NOON, "", "")), (human, one.utc, hash_of(one), one.taxon))
    expected = {number: found[3] for number, found in best.items()}
    shuffled = [*said]
    chance.shuffle(shuffled)
    assert stands(*said) == stands(*shuffled) == expected
    assert standing(rows(*said)).conflicts == standing(rows(*shuffled)).conflicts


def test_two_persons_with_two_names_are_a_conflict_until_one_gives_in() -> None:
    mine, yours = label(taxon="a", who="AB"), label(taxon="b", who="CD", hours=1)
    again = label(taxon="c", who="AB", hours=-1)
    (conflict,) = standing(rows(mine, yours, again, label(2, "a", who="AB"), label(2, "a", who="CD"))).conflicts
    assert [(one.who, one.taxon) for one in conflict.said] == [("CD", "b"), ("AB", "a")]
    found = standing(rows(mine, yours, label(2))).labels
    assert dict(zip(found["number"].to_pylist(), found["conflict"].to_pylist(), strict=True)) == {1: True, 2: False}
    assert standing(rows(mine, yours, label(taxon="b", who="AB", hours=2))).conflicts == ()
    assert standing(rows(mine, label(taxon="b", who="AB", hours=2))).conflicts == ()
    assert standing(rows(mine, label(taxon="b", who=None, status=LabelStatus.PREDICTED))).conflicts == ()
    assert len(standing(rows(mine, label(taxon="a", who="CD", status=LabelStatus.DISCARDED))).conflicts) == 1


@dataclass(frozen=True)
class Known:
    identifier: str


class Merged:
    """A taxonomy in which b became a."""

    def of(self, text: str) -> Known | None:
        return {"a": Known("a"), "b": Known("a"), "B. name": Known("a")}.get(text)


def test_taxa_are_as_they_are_called_today() -> None:
    said = [label(1, "b"), label(2, "B. name"), label(3, "z"), label(4, None, status=LabelStatus.DISCARDED)]
    assert stands(*said, taxonomy=Merged()) == {1: "a", 2: "a", 3: "z", 4: None}
    assert stands(*said) == {1: "b", 2: "B. name", 3: "z", 4: None}
    two = (label(taxon="a", who="AB"), label(taxon="b", who="CD"))
    assert len(standing(rows(*two)).conflicts) == 1
    assert standing(rows(*two), Merged()).conflicts == ()


def add(folder: Path, *labels: Label) -> None:
    with Dataset.open(folder) as dataset:
        label_store(dataset).add(label_table(labels))


def content(folder: Path, field: int, attempt: int, number: int) -> str | None:
    with Dataset.open(folder) as dataset:
        return HeldObjects.of(dataset).content(AttemptName(1, field, attempt), number)


def shown(folder: Path, **how: Any) -> dict[tuple[int, int], str]:
    table = lamelle.open(folder).objects(counted=False, **how)
    keys = zip(table["field"].to_pylist(), table["number"].to_pylist(), table["label_taxon"].to_pylist(), strict=True)
    return {(field, number): taxon for field, number, taxon in keys if taxon is not None}


def test_a_label_lands_on_the_object_that_was_looked_at_and_on_no_other(tmp_path: Path) -> None:
    night, other = make_night(tmp_path / "night"), make_night(tmp_path / "other", salt=b"again")
    there = content(night, 1, 1, 3)
    assert there is not None
    assert there != content(night, 1, 1, 2) != content(other, 1, 1, 2)
    add(night, label(3, content=there))
    assert shown(night) == {(1, 3): "a"}
    shutil.copytree(night, tmp_path / "copied" / "and renamed")
    assert shown(tmp_path / "copied" / "and renamed") == {(1, 3): "a"}
    shutil.copytree(night / "added", other / "added")
    assert shown(other) == {}, "the same numbers, another analysis"
    assert shown(night, taxonomy=Merged()) == {(1, 3): "a"}


def test_measuring_again_leaves_labels_where_they_are(tmp_path: Path) -> None:
    make_dataset(tmp_path / "run" / "dataset", slides=1, fields=1)
    there = content(tmp_path / "run", 1, 1, 2)
    add(tmp_path / "run", label(2, night=SMALL_NIGHT, content=there))
    assert measure_again(tmp_path / "run", Console(quiet=True)).number == 1
    (tmp_path / "run").rename(tmp_path / "renamed")
    assert summarise(tmp_path / "renamed").measured.number == 1
    assert shown(tmp_path / "renamed") == shown(tmp_path / "renamed", measured=0) == {(1, 2): "a"}


def test_an_attempt_gets_no_label_of_the_one_before(tmp_path: Path) -> None:
    night = make_night(tmp_path / "night")
    first = content(night, 1, 1, 3)
    add(night, label(3, content=first))
    redo(night, 1)
    assert shown(night) == {}
    assert content(night, 1, 1, 3) == first
    second = content(night, 1, 2, 3)
    assert second not in (first, None)
    add(night, label(3, "b", attempt=2, content=second))
    assert shown(night) == {(1, 3): "b"}
    with Dataset.open(night) as dataset:
        held = HeldObjects.of(dataset)
    assert held.attempts(1, 1) == [1, 2]
    assert [held.counts(AttemptName(1, 1, attempt)) for attempt in (1, 2, 3)] == [False, True, False]


def test_content_is_what_the_documents_say() -> None:
    # printf 'object 3 of abab...ab' | sha256sum
    assert content_of(HASH, 3) == "94797b01deead441cb21828faa9d8b20344c2b0c07155fcf0c2713d31b387ab9"


def test_a_dataset_of_an_earlier_version_is_labelled(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "complete", folder)
    (first, *_) = lamelle.open(folder).objects().to_pylist()
    with Dataset.open(folder) as dataset:
        place = AttemptName(first["slide"], first["field"], 1)
        what = HeldObjects.of(dataset).content(place, first["number"])
        assert what is not None
        one = Label(
            night=first["night"], slide=first["slide"], field=first["field"], attempt=1, number=first["number"],
            content=what, utc=NOON, status=LabelStatus.VALIDATED, taxon="a",
        )  # fmt: skip
        label_store(dataset).add(label_table([one]))
    assert shown(folder) == {(first["field"], first["number"]): "a"}


def test_inspect_says_how_many_by_whom_and_what_cannot_be_read(tmp_path: Path) -> None:
    night = make_night(tmp_path / "night")
    there = content(night, 1, 1, 3)
    assert summarise(night).labels.line == ""
    add(night, label(content=there), label(hours=1, content=there), label(who=None, content=there))
    add(night, label(who=None, status=LabelStatus.PREDICTED, content=there), taking_back(label()))
    assert summarise(night).labels.line == "4 beside, by AB 2, not signed 1, predicted 1"
    (night / "added" / "labels.csv").write_text("x", "utf-8")
    assert summarise(night).labels.line.endswith("labels.csv was not written by lamelle; move it away")
    with pytest.warns(UserWarning, match=r"labels\.csv was not written by lamelle"):
        lamelle.open(night).objects()


def test_a_night_without_labels_has_their_columns_all_the_same(tmp_path: Path) -> None:
    night = make_night(tmp_path / "night")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = lamelle.open(night).objects()
    assert table["label_taxon"].null_count == len(table) == 10
    assert table.schema.field("label_utc").type == pa.timestamp("us", "+00:00")
