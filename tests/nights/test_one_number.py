"""How many objects there are: whoever tells it tells the same number, on fields that overlap."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from daemon.alerts.model import AlertMemory, Facts
from daemon.alerts.rules import decide
from daemon.cli.demo import report
from daemon.config.loading import thaw
from daemon.config.model import Alerts, NightConfig
from daemon.counts.objects import load_objects
from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Selection, choose
from daemon.live.follower import Follower
from daemon.monitor.terminal import Hearing, draw
from daemon.night.reporter import Reporter
from daemon.planning.plan import make_plan
from daemon.protocols.pipes import Analysed
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.counting import ObjectCounts
from daemon.records.records import AnyRecord, AttemptsOrdered, FieldSecured, NightStarted
from daemon.records.states import NightState
from daemon.report.gather import gather
from daemon.report.words import counted, facts
from daemon.run_folder.endpoints import find_endpoint
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.process_table import ProcessTable, Running
from daemon.system.progress import ProgressDisplay
from tests.support.a_monitor import serving
from tests.support.emulated_night import SAID, Digest, lamelle
from tests.support.small_night import skipped, until


@dataclass(frozen=True)
class Recorded:
    """A night that was recorded, and its objects, counted here by what their records say."""

    run: Path
    started: NightStarted
    config: NightConfig
    fields: tuple[FieldSecured, ...]
    objects: ObjectCounts


@pytest.fixture(scope="module")
def recorded(undisturbed: tuple[Path, Digest]) -> Recorded:
    run, _ = undisturbed
    with Dataset.open(run) as dataset:
        started = dataset.night()
        fields = tuple(field for field in dataset.fields() if isinstance(field, FieldSecured))
    assert started is not None
    config = thaw(started.configuration)
    assert config is not None
    rows = [row for field in fields for row in field.objects]
    own = [row for row in rows if row.in_exclusive_tile]
    above = [row for row in rows if not row.below_threshold]
    both = [row for row in own if row in above]
    # Else the night would not tell one number from the other.
    assert 0 < len(both) < len(above) < len(rows)
    return Recorded(
        run, started, config, fields, ObjectCounts(len(both), len(above) - len(both), len(rows) - len(above))
    )


def numbers(pattern: str, text: str) -> list[int]:
    return [int(found) for found in re.findall(pattern, text)]


def test_the_terminal_and_the_heartbeat(recorded: Recorded) -> None:
    said = (recorded.run.parent / SAID).read_text(encoding="utf-8")
    # The line of progress in the end, then the line below the tables.
    assert numbers(r"(\d+) objects", said)[-2:] == [recorded.objects.counted] * 2
    assert read_heartbeat(recorded.run).objects == recorded.objects.counted


def test_inspection(recorded: Recorded) -> None:
    told = json.loads(lamelle("inspect", recorded.run, "--json").stdout)
    kinds = ("objects", "seen_again", "below_threshold")
    assert ObjectCounts(*(told[kind] for kind in kinds)) == recorded.objects
    assert ObjectCounts(*(sum(slide[kind] for slide in told["per_slide"]) for kind in kinds)) == recorded.objects


def test_the_alert(recorded: Recorded) -> None:
    beat = read_heartbeat(recorded.run)
    seen = Facts(
        supervisor=Running(beat.pid, 1.0), lives=False, heartbeat=beat, records=(), more=False, recorded_here=True
    )
    (alert,) = decide(AlertMemory(), seen, Alerts(tell=("finished",)), beat.utc).alerts
    assert numbers(r"(\d+) objects", alert.text) == [recorded.objects.counted]


def test_tables_report_and_pictures(recorded: Recorded) -> None:
    wanted = recorded.objects
    tables = [pq.read_table(path) for path in sorted((recorded.run / "dataset").glob("slide-*/objects.parquet"))]
    assert pc.sum(pa.concat_tables(tables)["counted"]).as_py() == wanted.counted
    with closing(Catalog(recorded.run / "dataset")) as catalog:
        assert catalog.counted() == wanted.counted
    with Dataset.open(recorded.run) as dataset:
        assert len(load_objects(dataset)) == wanted.counted
        assert len(choose(dataset, Selection())) == wanted.counted
        found, _ = gather(dataset)
    assert ObjectCounts(found.total.number, found.seen_again, found.below_threshold) == wanted
    assert sum(field.objects for field in found.fields) == wanted.counted
    assert dict(facts(found))["objects"] == str(wanted.counted)
    assert f"{wanted.seen_again} more were seen again" in counted(found)


def test_the_demo(recorded: Recorded) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(report(recorded.config, recorded.run / "dataset"))
    assert numbers(r"all +6 +(\d+)", out.getvalue()) == [recorded.objects.counted]
    assert numbers(r"all +6 +\d+ +(\d+)", out.getvalue()) == [recorded.objects.seen_again]


async def play(reporter: Reporter, records: Sequence[AnyRecord], watcher: Follower) -> None:
    """Tell a night's last records to a watcher that has joined, and that the night is complete."""
    beating = asyncio.create_task(reporter.beat(lambda: None))
    await asyncio.to_thread(until, lambda: watcher.joined, "the monitor hears the night")
    for record in records:
        reporter.append(record)
        if isinstance(record, FieldSecured):
            reporter.show_field(record, Analysed(slot=0, record=record, views=(b"",) * 3))
    reporter.state(NightState.COMPLETE)
    await asyncio.to_thread(until, lambda: watcher.ended, "the monitor hears that it is complete")
    beating.cancel()


def taken_again(fields: Sequence[FieldSecured]) -> tuple[list[AnyRecord], int]:
    """Take the first and the last field again, of which less is found, and the second, which is skipped then.

    Returns
    -------
    tuple
        The records, with one order more than is made; and how many objects fewer are counted.
    """
    first, second, last = fields[0], fields[1], fields[-1]
    names = [AttemptName(one.slide, one.field, 2) for one in (first, second, last, fields[2])]
    again: list[AnyRecord] = [AttemptsOrdered(utc=1.0, purpose=Purpose.REDO, attempts=tuple(names))]
    fewer = 0
    for one in (first, last):
        found = tuple(row for row in one.objects if not row.counted)
        fewer += len(one.objects) - len(found)
        again.append(replace(one, attempt=2, purpose=Purpose.REDO, files=(), objects=found))
    failed = skipped(second.slide, second.field)
    return [*again, replace(failed, attempt=2, purpose=Purpose.REDO)], fewer


def test_those_who_watch(recorded: Recorded, tmp_path: Path) -> None:
    """Half of the night was journalled before its process began, the other half is told as it comes.

    Then fields of both halves are taken again: at most one attempt at each counts, the last complete one.
    """
    half = len(recorded.fields) // 2
    again, fewer = taken_again(recorded.fields)
    plan, out = make_plan(recorded.config, recorded.started.samples), io.StringIO()
    with (
        closing(Journal.create(tmp_path / "journal.sqlite", recorded.started)) as journal,
        ProgressDisplay(Console(file=out)) as display,
    ):
        for field in recorded.fields[:half]:
            journal.append(field)
        spool = Spool(tmp_path / "spool", 10**9)
        reporter = Reporter(recorded.config, tmp_path, plan, journal, spool, display, None)
        ProcessTable(tmp_path).register("supervisor", os.getpid())
        reporter.start()
        try:
            with serving(find_endpoint(str(tmp_path))) as served:
                watcher = served.feed.watcher
                asyncio.run(play(reporter, [*recorded.fields[half:], *again], watcher))
                with urlopen(f"{served.address}/metrics") as answer:
                    metrics = answer.read().decode()
                with urlopen(f"{served.address}/stream") as stream:
                    assert stream.readline() == b"event: whole\n"
                    page = json.loads(stream.readline().removeprefix(b"data: "))
                with watcher.lock:
                    lines = draw(watcher.view, Hearing(True, "", None), time.time(), 100, 40).plain
        finally:
            reporter.close()
    with Dataset.of_journal(tmp_path) as dataset:
        (found, _), held = gather(dataset), dataset.totals()
    wanted = recorded.objects.counted - fewer
    assert fewer > 0
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    assert sum(one.value for one in families["lamelle_objects"].samples) == wanted
    done = {
        one.labels["outcome"]: one.value for one in families["lamelle_fields"].samples if one.labels["slide"] == "1"
    }
    assert done == {"secured": len(recorded.fields) // 2, "skipped": 0}
    assert families["lamelle_attempts"].samples[0].value == len(recorded.fields) + 3
    made = [families[f"lamelle_again_{what}"].samples[0].value for what in ("made", "ordered")]
    assert made == [page["counters"]["again_made"], page["counters"]["again_ordered"]] == [3, 4]
    assert page["counters"]["objects"] == sum(one["objects"] for one in page["counts"]) == wanted
    assert sum(row[2] for rows in page["fields"].values() for row in rows) == wanted
    assert all(row[6] is None for rows in page["fields"].values() for row in rows)
    last = max(recorded.fields, key=lambda field: (field.slide, field.field))
    shown = next(one["objects"] for one in page["overviews"] if one["slide"] == last.slide)
    assert sum(one["counted"] for one in shown) == 0 < ObjectCounts.of(last.objects).counted
    assert sum(numbers(r"(\d+) \([\d-]+\) objects", lines)) == wanted
    assert numbers(r"(\d+) objects", out.getvalue())[-1] == wanted
    assert re.findall(r"\d+/\d+ taken again", out.getvalue())[-1] == "3/4 taken again"
    assert "3/4 taken again" in lines
    beat = read_heartbeat(tmp_path)
    assert (beat.objects, beat.again_made, beat.again_ordered) == (wanted, 3, 4)
    assert (found.total.number, held.objects) == (wanted, wanted)
