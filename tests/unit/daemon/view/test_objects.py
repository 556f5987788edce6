"""Choosing, sorting and counting the objects of nights; caches that stay within their bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.dataset.labels import Label, LabelStatus, label_store, label_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import HeldObjects
from daemon.records.attempts import AttemptName
from daemon.view.bounded import BoundedCache
from daemon.view.night_objects import NightObjects
from daemon.view.nights import key_of
from daemon.view.objects import NO_TAXON, AskedObjects, ObjectIndex, ShownPlace
from tests.support.pictured_night import make_pictured_night


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ObjectIndex:
    nights = {}
    for name in ("A", "B"):
        with Dataset.open(make_pictured_night(tmp_path_factory.mktemp(name), night=name)) as dataset:
            nights[name] = NightObjects.of(dataset)
    return ObjectIndex(nights)


def names(index: ObjectIndex, choice: AskedObjects) -> list[str]:
    return [one.called for one in index.shown(index.choose(choice))]


def test_objects_that_count_come_first_and_others_when_asked_for(index: ObjectIndex) -> None:
    counted = index.choose(AskedObjects())
    assert len(counted) == 2 * 5 * 3, "two nights of five fields, three of whose four objects count"
    assert len(index.choose(AskedObjects(kept="all"))) == len(index) == 2 * 5 * 4
    assert len(index.choose(AskedObjects(kept="below threshold"))) == 2 * 5
    assert len(index.choose(AskedObjects(kept="seen again"))) == 0
    assert len(index.choose(AskedObjects(night="A", slide=2))) == 2 * 3
    assert len(index.choose(AskedObjects(night="of no night"))) == 0


def test_objects_are_chosen_by_what_is_said_of_them(index: ObjectIndex) -> None:
    assert set(names(index, AskedObjects(taxon="gephyrocapsa"))) == {"Gephyrocapsa"}
    assert set(names(index, AskedObjects(taxon=NO_TAXON))) == {"not named"}
    assert set(names(index, AskedObjects(flag="touches_edge"))) == {"Gephyrocapsa"}, "object 1 is cut by the frame"
    assert set(names(index, AskedObjects(sure=0.5))) == {"Gephyrocapsa"}, "what has no probability is not unsure"
    assert len(index.choose(AskedObjects(flag="no such flag"))) == 0
    assert len(index.choose(AskedObjects(sample="core-2"))) == 2 * 2 * 3
    assert {one.length_um for one in index.shown(index.choose(AskedObjects(longer=3.5, shorter=4.5)))} == {4.0}


def test_the_least_sure_come_first_of_those_sorted_by_doubt_and_the_unnamed_last(index: ObjectIndex) -> None:
    sure = [one.probability for one in index.shown(index.choose(AskedObjects(sort="doubt")))]
    assert sure == [0.41] * 10 + [0.99] * 10 + [None] * 10
    down = [one.probability for one in index.shown(index.choose(AskedObjects(sort="doubt", down=True)))]
    assert down == [0.99] * 10 + [0.41] * 10 + [None] * 10


def test_what_a_person_said_stands_above_the_classifier(tmp_path: Path) -> None:
    with Dataset.open(make_pictured_night(tmp_path / "d")) as dataset:
        held = HeldObjects.of(dataset)

        def says(number: int, status: LabelStatus, taxon: str | None) -> Label:
            content = held.content(AttemptName(1, 1, 1), number)
            assert content is not None
            return Label(
                night="N", slide=1, field=1, attempt=1, number=number, content=content, utc=datetime.now(UTC),
                status=status, taxon=taxon, who="AB",
            )  # fmt: skip

        said = [
            says(0, LabelStatus.VALIDATED, "gephyrocapsa"),
            says(1, LabelStatus.DISCARDED, None),
            says(2, LabelStatus.PREDICTED, "gephyrocapsa"),
        ]
        label_store(dataset).add(label_table(said))
        index = ObjectIndex({"N": NightObjects.of(dataset)})
    objects = index.shown(index.choose(AskedObjects(slide=1)))
    assert [(one.called, one.probability, one.who) for one in objects[:4]] == [
        ("Gephyrocapsa", None, "AB"),
        ("discarded", None, "AB"),
        ("not named", None, ""),
        ("Emiliania huxleyi", 0.99, ""),
    ]


def test_the_one_before_and_the_one_after_follow_the_order_that_is_looked_at(index: ObjectIndex) -> None:
    order = index.choose(AskedObjects(taxon="gephyrocapsa"))
    here = ShownPlace("A", 1, 2, 1, 1)
    beside = index.beside(order, index.row_of(here))
    assert (beside["before"], beside["after"]) == (ShownPlace("A", 1, 1, 1, 1), ShownPlace("A", 1, 3, 1, 1))
    assert (beside["at"], beside["of"]) == (2, 10)
    assert index.row_of(ShownPlace("A", 1, 2, 2, 1)) is None, "there was one attempt"
    assert index.beside(order, None)["at"] is None


def test_what_there_is_to_choose_from_is_counted(index: ObjectIndex) -> None:
    assert sorted(index.facets()["taxon"]) == [
        ("-", "not named", 10), ("emiliania-huxleyi", "Emiliania huxleyi", 10), ("gephyrocapsa", "Gephyrocapsa", 10),
    ]  # fmt: skip
    assert {name: count for name, _, count in index.facets("A")["sample"]} == {"core-1": 9, "core-2": 6}
    assert ("touches_edge", "cut by the frame", 10) in index.facets()["flag"]
    empty = ObjectIndex({})
    assert (empty.facets(), len(empty.choose(AskedObjects(sort="score", flag="fault")))) == ({}, 0)


@settings(deadline=None)
@given(
    sort=st.sampled_from(["place", "taxon", "class", "score", "doubt", "length", "mass"]),
    down=st.booleans(),
    kept=st.sampled_from(["counted", "seen again", "below threshold", "all"]),
    score=st.none() | st.floats(0, 1),
)
def test_sorting_loses_and_doubles_nothing(
    index: ObjectIndex, sort: str, down: bool, kept: str, score: float | None
) -> None:
    unsorted = index.choose(AskedObjects(kept=kept, score=score))  # type: ignore[arg-type]
    ordered = index.choose(AskedObjects(kept=kept, score=score, sort=sort, down=down))  # type: ignore[arg-type]
    assert sorted(ordered.tolist()) == unsorted.tolist()


def test_a_night_keeps_its_address_and_has_one_of_its_own() -> None:
    odd = [
        "N",
        "night <of> [red]tests",
        "night  of  red tests",
        "..",
        "",
        "/etc/passwd",
        "\u0394\u03b5\u03bb\u03c4\u03b1",
        "x" * 500,
    ]
    keys = [key_of(night) for night in odd]
    assert len(set(keys)) == len(odd)
    assert all(key.isascii() and not set(key) & set("/<>[]%?#. ") and len(key) < 60 for key in keys)
    assert key_of("N") == "N-8ce86a6a", "addresses that people kept lead there for ever"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=80))
def test_a_cache_stays_within_its_bytes_and_gives_what_was_made(asked: list[tuple[int, int]]) -> None:
    cache = BoundedCache[bytes](100, len)
    for name, size in asked:
        made = bytes([name]) * size
        assert cache.get((name, size), lambda made=made: made) == made  # type: ignore[misc]
        assert cache.bytes <= 100
    big = np.zeros(101, np.uint8).tobytes()
    assert cache.get("too large", lambda: big) == big
    assert cache.bytes <= 100
