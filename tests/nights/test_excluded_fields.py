"""A mini-slide without oil, in a night that is killed and goes on, and then taken again: who counts what of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import lamelle
from daemon.counts.excluding import FieldsMeant, say_of_fields
from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.flags import FieldFlag
from daemon.records.records import FieldSecured
from daemon.report import words
from daemon.report.gather import gather
from daemon.report.verdict import standing_of, verdict_of
from daemon.run_folder.heartbeat import read_heartbeat
from tests.support.a_view import viewing
from tests.support.emulated_night import lamelle as command
from tests.support.emulated_night import running, write_configuration
from tests.support.small_night import until

FIELDS = 3
FAULTS = [
    {"kind": "joystick", "slide": 1, "fields": [2]},
    {"kind": "oil_lost", "slide": 2},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mini-slide 1 has oil, and somebody moves the stage once; mini-slide 2 has none, and all is killed in it."""
    folder = tmp_path_factory.mktemp("excluded")
    config = write_configuration(folder, slides=2, fields=FIELDS, emulation={"faults": FAULTS, "profile": "easy"})
    killed = command("scan", config, "--run", folder / "run", crash=f"journalled|{FIELDS + 1}|all")
    assert killed.returncode != 0
    resumed = command("scan", config, "--run", folder / "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    return folder / "run"


def test_a_field_is_flagged_by_those_before_it_across_a_kill(run: Path) -> None:
    with Dataset.open(run) as dataset:
        fields = {(one.slide, one.field): one for one in dataset.fields() if isinstance(one, FieldSecured)}
    assert all(FieldFlag.OIL_LOST not in fields[1, number].flags for number in range(1, FIELDS + 1))
    assert [fields[1, number].excluded_by for number in range(1, FIELDS + 1)] == [(), (FieldFlag.OPERATOR,), ()]
    for number in range(1, FIELDS + 1):
        assert {FieldFlag.DIM, FieldFlag.OIL_LOST} <= set(fields[2, number].flags)
        assert fields[2, number].excluded_by == (FieldFlag.OIL_LOST,)


def test_all_who_count_leave_it_out_and_a_persons_word_brings_it_back(run: Path) -> None:
    beat = read_heartbeat(run)
    with Dataset.open(run) as dataset:
        numbers, _ = gather(dataset)
        verdict = verdict_of(dataset, standing_of(run), 0)
        own = [len(one.counted_objects) for one in dataset.fields() if isinstance(one, FieldSecured)]
    assert beat.verdict == verdict
    assert (
        beat.objects == sum(own) == numbers.total.number == summarise(run).objects == len(lamelle.open(run).objects())
    )
    first, lost = numbers.slides
    assert first.excluded_fields == 1
    assert first.excluded_share == pytest.approx(1 / FIELDS)
    assert (lost.excluded_fields, lost.excluded_share, lost.area_mm2) == (FIELDS, 1.0, 0.0)
    assert (lost.total.number, lost.total.per_mm2) == (0, None)
    assert lost.with_excluded.per_mm2 is not None
    assert [kind.count.low for kind in lost.kinds] == [None] * len(lost.kinds) != []
    assert any("lost its oil: 3 of its 3 fields (1-3) are not counted" in need for need in verdict.needs)
    say_of_fields(run, FieldsMeant(2, "all", False, "it is all there"))
    (_, back) = lamelle.open(run).samples().to_pylist()
    assert (back["excluded_fields"], back["area_mm2"] > 0, back["objects_per_mm2"] is None) == (0, True, False)
    assert back["objects_per_mm2"] == back["all_per_mm2"] == pytest.approx(lost.with_excluded.per_mm2[0])


def told(run: Path) -> list[tuple[int, int]]:
    """See that everyone says the same of each mini-slide: counted objects, and fields that are not counted."""
    with Dataset.open(run) as dataset:
        numbers, _ = gather(dataset)
        folders = [dataset.folder / f"slide-{slide.slide}" for slide in numbers.slides]
        tables = [pq.read_table(folder / "objects.parquet") for folder in folders]
        assert dataset.verify() == []
    said = [(slide.total.number, slide.excluded_fields) for slide in numbers.slides]
    summary, nights = summarise(run), lamelle.open(run)
    places = [one.slide for one in summary.per_slide]
    objects, fields = nights.objects().to_pylist(), nights.fields().to_pylist()
    by_field = [sum(one["objects"] for one in fields if one["slide"] == slide and one["counted"]) for slide in places]
    left_out = Counter(one["slide"] for one in fields if not one["counted"])
    assert [(one["objects"], one["excluded_fields"]) for one in nights.samples().to_pylist()] == said
    assert list(zip(by_field, (left_out[slide] for slide in places), strict=True)) == said
    assert [one.objects for one in summary.per_slide] == [number for number, _ in said]
    assert [Counter(one["slide"] for one in objects)[slide] for slide in places] == [number for number, _ in said]
    assert [sum(table["counted"].to_pylist()) for table in tables] == [number for number, _ in said]
    with viewing([run]) as served:
        served.wait()
        (night,) = (one.seen for one in served.nights.shown.values())
    assert night is not None
    seen = [[one for one in slide.fields if one.counted] for slide in night.slides]
    assert [(sum(one.objects for one in own), FIELDS - len(own)) for own in seen] == said
    return said


def test_taken_again_with_oil_each_field_counts_once_and_nobody_speaks_of_lost_oil_any_more(run: Path) -> None:
    whole, (before, _) = lamelle.open(run).samples()["objects"][0].as_py(), read_attempts(run)
    done = command("scan", run.parent / "night.yaml", "--run", run, "--redo", "slide 2")
    assert done.returncode == 0, done.stderr
    attempts, flags = read_attempts(run)
    assert attempts == before + [(2, number, 2) for number in range(1, FIELDS + 1)]
    assert flags[-FIELDS:] == [()] * FIELDS
    first, second = told(run)
    assert first == (whole, 1)
    assert second[0] > 0
    assert second[1] == 0
    assert [one["attempt"] for one in lamelle.open(run).fields().to_pylist()] == [1] * FIELDS + [2] * FIELDS
    with Dataset.open(run) as dataset:
        standing, verdict = standing_exclusions(dataset), verdict_of(dataset, standing_of(run), 0)
        numbers, _ = gather(dataset)
        again = [one for one in dataset.fields(2) if isinstance(one, FieldSecured)]
    # Where fields without oil were sharpest says nothing of where focus is.
    assert not any(FieldFlag.BLURRED in one.flags or one.focus.at_edge for one in again)
    assert standing.idle == FIELDS  # what was said of the first attempts is not said of these
    assert read_heartbeat(run).verdict == verdict
    assert not any("oil" in need or "dim" in need for need in verdict.needs)
    assert ("taken again as ordered: attempt 2 counts", "2", f"1-{FIELDS}", "1") in words.skipped(numbers).rows


@pytest.mark.long
def test_a_redo_that_is_killed_and_gone_on_with_counts_each_field_once(run: Path) -> None:
    before, (done, _) = told(run), read_attempts(run)
    config = run.parent / "night.yaml"
    with running("scan", config, "--run", run, "--redo", "slide 2", output=run.parent / "redo.txt"):
        until(lambda: len(read_attempts(run)[0]) > len(done), "a field is taken again")
    assert read_heartbeat(run).again_made < FIELDS
    resumed = command("scan", config, "--run", run, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    last = max(attempt for _, _, attempt in read_attempts(run)[0])
    assert [one["attempt"] for one in lamelle.open(run).fields().to_pylist()] == [1] * FIELDS + [last] * FIELDS
    assert [excluded for _, excluded in told(run)] == [excluded for _, excluded in before]


def read_attempts(run: Path) -> tuple[list[tuple[int, int, int]], list[tuple[FieldFlag, ...]]]:
    """Every attempt in its order, and for which flags each is not counted."""
    with Dataset.open(run) as dataset:
        made = [one for one in dataset.attempts() if isinstance(one, FieldSecured)]
    return [(one.slide, one.field, one.attempt) for one in made], [one.excluded_by for one in made]
