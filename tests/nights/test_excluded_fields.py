"""A mini-slide without oil, in a night that is killed and goes on: its fields are flagged alike, and not counted."""

from __future__ import annotations

from pathlib import Path

import pytest

import lamelle
from daemon.counts.excluding import FieldsMeant, say_of_fields
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.flags import FieldFlag
from daemon.records.records import FieldSecured
from daemon.report.gather import gather
from daemon.report.verdict import standing_of, verdict_of
from daemon.run_folder.heartbeat import read_heartbeat
from tests.support.emulated_night import lamelle as command
from tests.support.emulated_night import write_configuration

FIELDS = 3
FAULTS = [
    {"kind": "joystick", "slide": 1, "fields": [2]},
    {"kind": "oil_lost", "slide": 2, "attempts": None},
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
