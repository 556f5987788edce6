"""Page, terminal, orders, alert and report say the same of a night with oil lost and skipped fields."""

from __future__ import annotations

import asyncio
import io
import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from msgspec.structs import replace
from rich.console import Console

from daemon.alerts.model import AlertMemory, Facts
from daemon.alerts.rules import decide
from daemon.config.loading import freeze, load
from daemon.config.model import Alerts
from daemon.config.samples import read_samples
from daemon.dataset.reader import Dataset
from daemon.live.follower import Follower
from daemon.monitor.terminal import Hearing, draw
from daemon.night.reporter import Reporter
from daemon.planning.plan import make_plan
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.events import EventName
from daemon.records.fields import PlannedField
from daemon.records.records import AttemptsOrdered, NightClosed, NightStarted, SlideClosed
from daemon.records.states import NightState
from daemon.report.report import report
from daemon.report.verdict import standing_of, verdict_of
from daemon.run_folder.endpoints import find_endpoint
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.process_table import ProcessTable, Running
from daemon.system.progress import ProgressDisplay
from tests.support import small_night
from tests.support.a_monitor import serving
from tests.support.emulated_night import write_configuration

FIELDS = 3
Tell = Callable[[Reporter], None]


def oil_lost_and_skipped(reporter: Reporter) -> None:
    for slide in (1, 2):
        for field in range(1, FIELDS + 1):
            if (slide, field) == (2, 3):
                reporter.append(small_night.skipped(slide, field))
            else:
                reporter.append(small_night.secured(slide, field, ()))
    where = PlannedField(slide=2, field=1, sample="s", x_um=0.0, y_um=0.0, tile_um=(0.0, 0.0, 1.0, 1.0))
    reporter.emit("warning", EventName.OIL_LOST, "the background fell to a tenth", where)
    complete(reporter, recorded=5, skipped=1)


def nothing_recorded(reporter: Reporter) -> None:
    for slide in (1, 2):
        for field in range(1, FIELDS + 1):
            reporter.append(small_night.skipped(slide, field))
    complete(reporter, recorded=0, skipped=6)


def stopped_by_the_system(reporter: Reporter) -> None:
    reporter.append(small_night.secured(1, 1, ()))
    reporter.state(NightState.TERMINATED)


def stopped_while_taken_again(reporter: Reporter) -> None:
    oil_lost_and_skipped(reporter)
    names = (AttemptName(1, 1, 2), AttemptName(2, 3, 2))
    reporter.append(AttemptsOrdered(utc=1.0, purpose=Purpose.REDO, attempts=names, who="anna"))
    reporter.append(replace(small_night.secured(1, 1, ()), attempt=2, objects=()))
    reporter.state(NightState.INTERRUPTED)


def complete(reporter: Reporter, recorded: int, skipped: int) -> None:
    for slide in (1, 2):
        reporter.append(SlideClosed(utc=time.time(), slide=slide, sample="s", recorded=recorded, skipped=skipped))
    reporter.append(NightClosed(utc=time.time(), recorded=recorded, skipped=skipped))
    reporter.state(NightState.COMPLETE)


async def tell_while_heard(reporter: Reporter, watcher: Follower, tell: Tell) -> None:
    beating = asyncio.create_task(reporter.beat(lambda: None))
    await asyncio.to_thread(small_night.until, lambda: watcher.joined, "the monitor hears the night")
    reporter.state(NightState.SCANNING)
    tell(reporter)
    told = reporter.standing().headline
    await asyncio.to_thread(small_night.until, lambda: says(watcher, told), "the monitor hears how it ended")
    beating.cancel()


def says(watcher: Follower, headline: str) -> bool:
    verdict = watcher.view.verdict
    return watcher.ended and verdict is not None and verdict.headline == headline


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tell", "headline", "needs"),
    [
        (
            oil_lost_and_skipped,
            "Complete: 5 of 6 fields recorded, 1 skipped, 10 objects.",
            ["Look at what kept 1 field of mini-slide 2", "Look at immersion oil and lamp"],
        ),
        (
            nothing_recorded,
            "Complete, but nothing was recorded: all 6 fields were skipped.",
            ["Find out why nothing was recorded", "Look at what kept 3 fields", "Look at what kept 3 fields"],
        ),
        (
            stopped_while_taken_again,
            "Stopped by a person: 6 of 6 fields are done, 1 of them skipped; 1 of 2 are taken again.",
            ["Go on with it", "Look at what kept 1 field of mini-slide 2", "Look at immersion oil and lamp"],
        ),
        (stopped_by_the_system, "Ended by the system: 1 of 6 fields are done.", ["Go on with it"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_everyone_says_the_same(tell: Tell, headline: str, needs: list[str], tmp_path: Path) -> None:
    config = load(write_configuration(tmp_path, slides=2, fields=FIELDS, frame_px=256))
    samples = read_samples(config.scan.samples, [1, 2])
    started = NightStarted(
        utc=1.7e9,
        night="night",
        configuration=freeze(config),
        samples=samples,
        planned={1: FIELDS, 2: FIELDS},
        versions={"lamelle": "0"},
        weights_sha256="0" * 64,
    )
    with (
        closing(Journal.create(tmp_path / "journal.sqlite", started)) as journal,
        ProgressDisplay(Console(file=io.StringIO())) as display,
    ):
        plan, spool = make_plan(config, samples), Spool(tmp_path / "spool", 10**9)
        reporter = Reporter(config, tmp_path, plan, journal, spool, display, None)
        ProcessTable(tmp_path).register("supervisor", os.getpid())
        reporter.start()
        try:
            with serving(find_endpoint(str(tmp_path))) as served:
                asyncio.run(tell_while_heard(reporter, served.feed.watcher, tell))
                with urlopen(f"{served.address}/stream") as stream:
                    assert stream.readline() == b"event: whole\n"
                    page = json.loads(stream.readline().removeprefix(b"data: "))["verdict"]
                with served.feed.watcher.lock:
                    lines = draw(served.feed.watcher.view, Hearing(True, "", None), time.time(), 300, 60).plain
        finally:
            reporter.close()
        answered = reporter.standing().headline
    beat = read_heartbeat(tmp_path)
    running = Running(beat.pid, 1.0)
    seen = Facts(supervisor=running, lives=False, heartbeat=beat, records=(), more=False, recorded_here=True)
    (alert,) = decide(AlertMemory(), seen, Alerts(), beat.utc).alerts
    with Dataset.of_journal(tmp_path) as dataset:
        verdict = verdict_of(dataset, standing_of(tmp_path), 0)
    written = report(tmp_path, tmp_path / "out.html", None).page.read_text("utf-8")
    written = written.replace("<code>", "`").replace("</code>", "`")

    assert verdict.headline == headline
    assert [need for need, begins in zip(verdict.needs, needs, strict=True) if not need.startswith(begins)] == []
    assert (page["headline"], page["tone"], tuple(page["needs"])) == (verdict.headline, verdict.tone, verdict.needs)
    assert page["detail"] == verdict.detail == " ".join(verdict.needs)
    assert all(sentence in lines for sentence in (verdict.headline, *verdict.needs))
    assert answered == verdict.headline
    assert alert.text == " ".join((verdict.headline, *verdict.needs))
    assert all(sentence.replace("'", "&#39;") in written for sentence in (verdict.headline, *verdict.needs))
    assert "Nothing needs you" not in written
