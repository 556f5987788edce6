"""What version 0.1.0 left behind is opened, read, reported and delivered, also where nothing may be written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
import zmq
from rich.console import Console

from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.live.steering import Steering, left_by_order
from daemon.protocols import delivery
from daemon.records.events import EventName, ReasonCode
from daemon.records.names import field_file
from daemon.records.records import Event, FieldSecured, NightStarted, decode
from daemon.records.states import EndedBy, NightState
from daemon.report.report import report
from daemon.report.verdict import standing_of, verdict_of
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.run_folder.journal import Journal, read_records
from tests.support.deadlines import DEADLINE_MS
from tests.support.earlier_run import ANNA, copy_of
from tests.support.small_disk import remount, small_disk
from tests.support.small_night import recorder_thread


@contextmanager
def read_only(name: str, tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        run, _ = copy_of(name, disk)
        remount(disk, "ro")
        yield run


@contextmanager
def writable(name: str, tmp_path: Path) -> Iterator[Path]:
    yield copy_of(name, tmp_path)[0]


PLACES = pytest.mark.parametrize("place", [writable, read_only], ids=lambda place: place.__name__)
Place = Callable[[str, Path], AbstractContextManager[Path]]


@PLACES
def test_a_complete_night_of_before_is_whole_and_says_who_and_why(place: Place, tmp_path: Path) -> None:
    with place("complete", tmp_path) as run:
        summary = summarise(run)
        with Dataset.open(run) as dataset:
            assert dataset.verify() == []
            assert dataset.objects().num_rows == summary.objects + summary.seen_again + summary.below_threshold > 0
        with Dataset.of_journal(run) as dataset:
            assert dataset.events()[0].name is EventName.CALIBRATION
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    assert [(one.slide, one.field, one.reason_code, one.who, one.fault) for one in summary.skipped] == [
        (1, 2, "fault", None, "StageStuck"),
        (2, 3, "by order", ANNA, None),
        (2, 4, "by order", ANNA, None),
    ]
    orders = [(event.name, event.who) for event in summary.events if event.who is not None]
    assert orders == [
        ("pause ordered", ANNA),
        ("order refused", "ben: who"),
        ("resume ordered", ANNA),
        ("skip ordered", ANNA),
    ]
    faults = [(event.title, event.fault) for event in summary.events if event.name is EventName.FAULT]
    assert faults == [("stage stuck", "StageStuck")] * 3 + [("frame fault", "FrameFault")]


@PLACES
def test_a_night_of_before_that_the_system_ended_says_so(place: Place, tmp_path: Path) -> None:
    with place("interrupted", tmp_path) as run:
        assert read_heartbeat(run).state.by is EndedBy.SYSTEM
        with Dataset.open(run) as dataset:
            verdict = verdict_of(dataset, standing_of(run), 0)
        records = [decode(body) for _, body in read_records(run / "journal.sqlite")]
    assert verdict.headline.startswith("Ended by the system")
    events = [event for event in records if isinstance(event, Event)]
    assert [event.ending for event in events if event.ending] == [NightState.TERMINATED]
    keeps = Steering(lambda *_, **__: None, events).keeps()
    assert keeps is not None
    assert keeps.startswith(f"{ANNA} keeps the night paused")


@pytest.mark.slow
def test_a_night_of_before_is_reported(tmp_path: Path) -> None:
    run, _ = copy_of("complete", tmp_path)
    (run / "processes.json").write_text('{"superv', "utf-8")  # cut off: whether its process lives is not known
    page = report(run, None, Console(quiet=True)).page.read_text("utf-8")
    assert "3 skipped" in page
    assert f"skipped by {ANNA}" in page
    assert "stage stuck: Z stands 0.50 um off" in page
    assert "StageStuck" not in page


def test_a_catalog_of_before_is_upgraded_with_its_codes(tmp_path: Path) -> None:
    run, _ = copy_of("complete", tmp_path)
    Catalog(run / "dataset").close()
    with closing(sqlite3.connect(run / "dataset" / "catalog.sqlite")) as database:
        skipped = database.execute("SELECT reason_code, who, fault FROM fields WHERE state = 'skipped' ORDER BY seq")
        assert skipped.fetchall() == [("fault", None, "StageStuck"), *[("by order", ANNA, None)] * 2]
        names = {name for (name,) in database.execute("SELECT DISTINCT name FROM events")}
        assert names <= {*EventName}


def test_a_journal_of_before_is_gone_on_with(tmp_path: Path) -> None:
    run, _ = copy_of("complete", tmp_path)
    with closing(Journal.open(run / "journal.sqlite")) as journal:
        why = left_by_order(journal.slide_fields(2))
        assert journal.night_closed()
    assert why is not None
    assert (why.code, why.who) == (ReasonCode.BY_ORDER, ANNA)
    with closing(sqlite3.connect(run / "journal.sqlite")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_recorder_takes_the_wire_of_before_and_answers_in_it(tmp_path: Path) -> None:
    run, _ = copy_of("complete", tmp_path)
    records = read_records(run / "journal.sqlite")

    with (
        recorder_thread(tmp_path / "dataset") as endpoint,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.linger = 0
        dealer.connect(endpoint)

        def send(message: delivery.FromSender, payload: bytes | None = None) -> None:
            dealer.send_multipart(delivery.encode(message, payload, delivery.BEFORE))

        started = decode(records[0][1])
        assert isinstance(started, NightStarted)
        send(delivery.Hello(session=7, night=started.night, window=1 << 24))
        for seq, body in records:
            send(delivery.RecordFollows(session=7, seq=seq), body)
            record = decode(body)
            for index, file in enumerate(record.files if isinstance(record, FieldSecured) else ()):
                data = run.joinpath("dataset", *file.name.split("/")).read_bytes()
                send(delivery.ChunkFollows(session=7, seq=seq, file=index, offset=0), data)
        acknowledged = 0
        while acknowledged < len(records):
            assert dealer.poll(DEADLINE_MS), f"{acknowledged} of {len(records)} records were acknowledged"
            header = dealer.recv_multipart()[0]
            assert header.startswith(delivery.MAGIC + bytes([delivery.BEFORE]))
            answer = delivery.decode_from_recorder([delivery.PREFIX + header[4:]])
            acknowledged = answer.seq if isinstance(answer, delivery.Ack) else acknowledged
    assert summarise(tmp_path / "dataset").complete
    assert (tmp_path / "dataset" / field_file(1, 1)).exists()
