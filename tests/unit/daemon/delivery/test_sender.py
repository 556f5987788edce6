from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest
import zmq

from daemon.dataset.reader import Dataset
from daemon.delivery.sender import Sender
from daemon.delivery.session import Pace
from daemon.protocols import delivery
from daemon.recorder.session import Reception
from daemon.records.names import field_file
from daemon.records.records import FieldSecured, encode
from daemon.records.states import NightState
from daemon.run_folder.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.crash_points import VARIABLE
from daemon.system.process_table import ProcessTable, read_processes
from tests.support import small_night as night
from tests.support.deadlines import DEADLINE_S
from tests.support.small_disk import fill, small_disk

QUICK = Pace(beat_s=0.05, lost_s=0.5, retry_s=0.05)


class Desk:
    """The night's side: a journal, a spool, a sender and what it told."""

    def __init__(self, folder: Path, endpoint: str, name: str = "2026-11-21 A", fields: int = 3) -> None:
        self.told: list[str] = []
        self.fields = fields
        self.spool = Spool(folder / "spool", 10**9)
        path = folder / "journal.sqlite"
        started = night.started(name, fields=fields)
        self.journal = Journal.open(path) if path.exists() else Journal.create(path, started)
        self.sender = self._sender(endpoint)
        self.sender.start()

    def _sender(self, endpoint: str) -> Sender:
        return Sender(
            self.journal.path,
            self.spool,
            endpoint,
            emit=lambda _level, name, _message: self.told.append(name),
            chunk_bytes=16_384,
            credit_bytes=50_000,
            pace=QUICK,
        )

    def secure(self, slide: int, field: int, size: int = 40_000, raw: int = 0) -> FieldSecured:
        record = night.secure(self.journal, self.spool, slide, field, size, raw)
        self.sender.wake()
        return record

    def secure_all(self) -> None:
        for slide in (1, 2):
            for field in range(1, self.fields + 1):
                self.secure(slide, field, raw=100_000 if field == 2 else 0)
        self.journal.append(night.event(), *night.closing_records(fields=self.fields))
        self.sender.wake()

    def drain(self) -> None:
        night.until(lambda: self.sender.status().acknowledged_seq == self.journal.last_seq(), "delivery")


@contextmanager
def desk(folder: Path, endpoint: str, name: str = "2026-11-21 A") -> Iterator[Desk]:
    working = Desk(folder, endpoint, name)
    try:
        yield working
    finally:
        working.sender.stop(0)
        working.journal.close()


def assert_whole(folder: Path, working: Desk) -> None:
    """Every field of the journal exactly once, with the right bytes; nothing begun left over; the spool empty."""
    with Dataset.open(folder) as dataset:
        expected = [record for slide in (1, 2) for record in working.journal.slide_fields(slide)]
        assert dataset.fields() == expected
        assert dataset.verify() == []
        summary = dataset.totals()
        assert (summary.gaps, summary.duplicates, summary.complete) == (0, 0, True)
    assert list((folder / "incoming").iterdir()) == []
    assert working.spool.used_bytes() == 0


def test_a_night_reaches_the_recorder_whole_and_leaves_the_spool_empty(tmp_path: Path) -> None:
    with night.recorder_thread(tmp_path / "dataset") as endpoint, desk(tmp_path, endpoint) as working:
        working.secure_all()
        working.drain()
        assert_whole(tmp_path / "dataset", working)
        status = working.sender.status()
        assert (status.connected, status.backlog_records, status.refused, status.waiting) == (True, 0, None, None)
        assert working.told == []


def test_a_recorder_that_has_all_of_a_closed_night_may_go(tmp_path: Path) -> None:
    with desk(tmp_path, night.free_endpoint()) as working:
        with night.recorder_thread(tmp_path / "dataset") as endpoint:
            working.sender.redirect(endpoint)
            working.secure_all()
            working.drain()
        working.told.clear()
        night.until(lambda: working.sender.status().away is not None, "missing the recorder")
        night.until(lambda: not working.sender.status().connected, "the end of the session")
        assert working.told == []


def test_a_recorder_that_comes_late_gets_everything(tmp_path: Path) -> None:
    endpoint = night.free_endpoint()
    with desk(tmp_path, endpoint) as working:
        working.secure_all()
        night.until(lambda: "recorder away" in working.told, "telling that nobody is there")
        assert not working.sender.status().connected
        assert working.sender.status().backlog_records == working.journal.last_seq()
        assert working.spool.used_bytes() == 6 * 40_000 + 2 * 100_000
        with night.recorder_thread(tmp_path / "dataset", endpoint):
            working.drain()
            assert working.told == ["recorder away", "delivery goes on"]
            assert_whole(tmp_path / "dataset", working)


def test_a_suspended_recorder_is_told_and_delivery_goes_on_by_itself(tmp_path: Path) -> None:
    recorder = night.RecorderProcess(tmp_path / "dataset")
    with desk(tmp_path, recorder.endpoint) as working:
        working.secure(1, 1)
        working.drain()
        suspended = psutil.Process(recorder.process.pid)
        suspended.suspend()
        working.secure(1, 2)
        night.until(lambda: "recorder away" in working.told, "telling that the recorder is silent")
        assert working.sender.status().backlog_records == 1
        suspended.resume()
        working.drain()
        assert working.told[-1] == "delivery goes on"
        assert recorder.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("point", ["mid chunk", "file without catalog", "acknowledgement lost"])
@pytest.mark.parametrize("occurrence", [1, 3])
def test_a_recorder_killed_at_a_named_point_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, occurrence: int
) -> None:
    (tmp_path / "processes.json").write_text("{}")
    monkeypatch.setenv(VARIABLE, f"{point}|{occurrence}|self")
    recorder = night.RecorderProcess(tmp_path / "dataset", run=tmp_path)
    with desk(tmp_path, recorder.endpoint) as working:
        working.secure_all()
        recorder.process.join(DEADLINE_S)
        assert recorder.process.exitcode not in (0, None)
        assert working.journal.acknowledged() < working.journal.last_seq()
        recorder.kill()
        monkeypatch.delenv(VARIABLE)
        recorder = night.RecorderProcess(tmp_path / "dataset", run=tmp_path)
        working.sender.redirect(recorder.endpoint)
        working.drain()
        assert_whole(tmp_path / "dataset", working)
        assert recorder.stop() == 0


def test_a_sender_that_ends_in_the_middle_is_followed_by_one_that_completes(tmp_path: Path) -> None:
    with night.recorder_thread(tmp_path / "dataset") as endpoint:
        with desk(tmp_path, endpoint) as working:
            working.secure(1, 1)
            working.secure(1, 2, size=3_000_000)
            night.until(lambda: list((tmp_path / "dataset/incoming").iterdir()) != [], "a file begun")
        with desk(tmp_path, endpoint) as working:
            working.spool.sweep(working.journal)
            working.secure(1, 3)
            for field in (1, 2, 3):
                working.secure(2, field)
            working.journal.append(*night.closing_records())
            working.drain()
            assert_whole(tmp_path / "dataset", working)


def _take_the_night(folder: Path, endpoint: str) -> None:
    """What a supervisor does with a night, in a process to be killed; exits when all is acknowledged."""
    with desk(folder, endpoint) as working:
        working.spool.sweep(working.journal)
        done = working.journal.done()
        for slide in (1, 2):
            for field in range(1, working.fields + 1):
                if (slide, field) not in done:
                    working.secure(slide, field, size=2_000_000)
        if not working.journal.night_closed():
            closed = working.journal.closed_slides()
            working.journal.append(
                *(each for each in night.closing_records() if getattr(each, "slide", 0) not in closed)
            )
        working.drain()


def _recorded(folder: Path) -> int:
    return len(list((folder / "dataset").glob("slide-*/*.ome.tif"))) + len(
        list((folder / "dataset/incoming").iterdir())
    )


def _recorded_more(folder: Path, fields: int) -> bool:
    return _recorded(folder) > fields


@pytest.mark.slow
def test_killing_either_side_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)
    endpoint = night.free_endpoint()
    context = multiprocessing.get_context("spawn")
    recorder = night.RecorderProcess(tmp_path / "dataset", endpoint)
    taking = context.Process(target=_take_the_night, args=(tmp_path, endpoint))
    taking.start()
    for fields, victim in enumerate(("recorder", "both", "night", "recorder")):
        night.until(partial(_recorded_more, tmp_path, fields), "the next field")
        taking.join(chance.uniform(0.0, 0.02))
        if victim in ("recorder", "both"):
            recorder.kill()
        if victim in ("night", "both"):
            taking.kill()
            taking.join(DEADLINE_S)
        if victim in ("recorder", "both"):
            recorder = night.RecorderProcess(tmp_path / "dataset", endpoint)
        if victim in ("night", "both"):
            taking = context.Process(target=_take_the_night, args=(tmp_path, endpoint))
            taking.start()
    taking.join(DEADLINE_S)
    assert taking.exitcode == 0
    with desk(tmp_path, endpoint) as working:
        assert_whole(tmp_path / "dataset", working)
    assert recorder.stop() == 0


def test_another_night_and_another_history_of_the_same_night_are_refused_and_change_nothing(tmp_path: Path) -> None:
    with night.recorder_thread(tmp_path / "dataset") as endpoint:
        with desk(tmp_path / "first", endpoint) as working:
            working.secure(1, 1)
            working.drain()
        held = {path: path.read_bytes() for path in (tmp_path / "dataset").glob("slide-*/*")}
        with desk(tmp_path / "other", endpoint, name="2026-11-22 B") as working:
            night.until(lambda: working.sender.status().refused is not None, "refusal of another night")
            assert "holds night '2026-11-21 A', not '2026-11-22 B'" in str(working.sender.status().refused)
        with desk(tmp_path / "twin", night.free_endpoint()) as working:
            working.secure(1, 1, size=50)
            working.sender.redirect(endpoint)
            night.until(lambda: working.sender.status().refused is not None, "refusal of another history")
            assert "another record 2 than the journal" in str(working.sender.status().refused)
            assert working.sender.status().acknowledged_seq == 0
            assert working.spool.path(field_file(1, 1)).exists()
        assert {path: path.read_bytes() for path in (tmp_path / "dataset").glob("slide-*/*")} == held


def test_a_damaged_spool_file_is_told_and_not_recorded(tmp_path: Path) -> None:
    with night.recorder_thread(tmp_path / "dataset") as endpoint, desk(tmp_path, night.free_endpoint()) as working:
        record = working.secure(1, 1)
        path = working.spool.path(record.files[0].name)
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        working.sender.redirect(endpoint)
        night.until(lambda: working.sender.status().refused is not None, "refusal")
        assert "another sha256" in str(working.sender.status().refused)
        assert not (tmp_path / "dataset" / record.files[0].name).exists()
        path.write_bytes(night.contents(1, 1, 40_000))
        working.drain()
        assert working.told[-2:] == ["delivery refused", "delivery goes on"]


def test_a_dataset_that_lost_acknowledged_records_is_refused(tmp_path: Path) -> None:
    with night.recorder_thread(tmp_path / "dataset") as endpoint, desk(tmp_path, endpoint) as working:
        working.secure(1, 1)
        working.drain()
        with night.recorder_thread(tmp_path / "empty") as elsewhere:
            working.sender.redirect(elsewhere)
            night.until(lambda: working.sender.status().refused is not None, "refusal")
            assert "holds 0 records of this night and had acknowledged 2" in str(working.sender.status().refused)


class SlowRecorder:
    """A recorder played by the test, word by word."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        socket.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.peer = b""

    def hears(self, wait_s: float = DEADLINE_S) -> tuple[delivery.FromSender, bytes] | None:
        """The next message but beats; None when there is none for a while."""
        end = time.monotonic() + wait_s
        while self.socket.poll(max(0, int((end - time.monotonic()) * 1000))):
            self.peer, *frames = self.socket.recv_multipart()
            message, payload = delivery.decode_from_sender(frames)
            if not isinstance(message, delivery.Beat):
                return message, payload
            self.says(delivery.Beat(session=message.session))
        return None

    def says(self, message: delivery.FromRecorder) -> None:
        self.socket.send_multipart([self.peer, *delivery.encode(message)])

    def welcomes(self, limit: int) -> int:
        heard = self.hears()
        assert heard is not None
        hello, _ = heard
        assert isinstance(hello, delivery.Hello)
        self.says(delivery.Welcome(session=hello.session, acknowledged=0, digest=None, parts={}, limit=limit))
        return hello.session

    def takes(self) -> int:
        """Payload bytes that come until nothing more comes."""
        total = 0
        while (heard := self.hears(0.3)) is not None:
            total += len(heard[1])
        return total


@pytest.fixture
def slow_recorder() -> Iterator[SlowRecorder]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        yield SlowRecorder(socket)


def test_no_more_is_on_the_way_than_credit_was_given(tmp_path: Path, slow_recorder: SlowRecorder) -> None:
    with desk(tmp_path, slow_recorder.endpoint) as working:
        working.secure(1, 1, size=200_000)
        session = slow_recorder.welcomes(limit=30_000)
        taken = slow_recorder.takes()
        assert 30_000 <= taken < 30_000 + 16_384
        slow_recorder.says(delivery.Credit(session=session, limit=taken + 1))
        assert slow_recorder.takes() == 16_384
        assert working.sender.status().acknowledged_seq == 0


@pytest.mark.parametrize(
    "lie",
    [
        lambda session: delivery.encode(delivery.Ack(session=session, seq=99)),
        lambda session: delivery.encode(delivery.Credit(session=session, limit=0)),
        lambda session: delivery.encode(delivery.Hello(session=session, night="n", window=1)),
        lambda _session: [b"noise"],
    ],
    ids=["acknowledges what it was not sent", "takes credit back", "speaks as a sender", "noise"],
)
def test_a_recorder_that_lies_is_not_believed(
    tmp_path: Path, slow_recorder: SlowRecorder, lie: Callable[[int], list[bytes]]
) -> None:
    with desk(tmp_path, slow_recorder.endpoint) as working:
        working.secure(1, 1)
        session = slow_recorder.welcomes(limit=10**9)
        slow_recorder.takes()
        slow_recorder.socket.send_multipart([slow_recorder.peer, *lie(session)])
        night.until(lambda: working.sender.status().refused is not None, "refusal")
        assert working.sender.status().acknowledged_seq == 0
        assert working.spool.path(field_file(1, 1)).exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=12) as folder:
        yield folder


def test_a_full_disk_is_told_and_delivery_goes_on_once_there_is_room(tmp_path: Path, disk: Path) -> None:
    filler = disk / "filler"
    with night.recorder_thread(disk / "dataset") as endpoint, desk(tmp_path, endpoint) as working:
        working.secure(1, 1)
        working.drain()
        filler.write_bytes(bytes(7 << 20))
        working.secure(1, 2, size=2 << 20)
        night.until(lambda: working.sender.status().waiting is not None, "telling that the disk is full")
        assert "disk full" in str(working.sender.status().waiting)
        assert working.sender.status().refused is None
        assert working.sender.status().backlog_records == 1
        filler.unlink()
        working.drain()
        assert working.sender.status().waiting is None
        assert working.told == ["recorder waits", "delivery goes on"]


def test_a_journal_on_a_full_disk_takes_nothing_in_part_and_goes_on(disk: Path) -> None:
    with closing(Journal.create(disk / "journal.sqlite", night.started())) as journal:

        def append_pairs() -> None:
            for _ in range(100):
                journal.append(night.event("x" * 50_000), night.event("second"))

        fill(disk)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - 400_000)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            append_pairs()
        pairs = (journal.last_seq() - 1) // 2
        assert pairs > 0
        assert [event.message for event in journal.events()] == ["x" * 50_000, "second"] * pairs
        (disk / "filler").unlink()
        before = journal.last_seq()
        assert journal.append(night.event("afterwards")) == before + 1


def test_what_is_noted_on_a_full_disk_waits_for_the_next_record(disk: Path) -> None:
    with closing(Journal.create(disk / "journal.sqlite", night.started())) as journal:
        fill(disk)
        for number in range(200):
            journal.note(night.event(f"{number}" + " " * 20_000))
        written = len(journal.events())
        assert written < 200
        (disk / "filler").unlink()
        journal.append(night.event("afterwards"))
        told = [event.message.strip() for event in journal.events()]
        assert told == [*map(str, range(200)), "afterwards"]
        journal.append(*night.closing_records())
        journal.note(night.event("too late"))
        assert len(journal.events()) == len(told)


def test_heartbeat_and_processes_are_told_on_a_full_disk_and_after_it(disk: Path) -> None:
    beat = Heartbeat(
        utc=1.0,
        monotonic_s=1.0,
        pid=1,
        state=NightState.SCANNING,
        reason="a reason that is longer than the next",
        planned=1,
        secured=0,
        skipped=0,
        slide=None,
    )
    write_heartbeat(disk, beat)
    table = ProcessTable(disk)
    fill(disk)
    paused = msgspec.structs.replace(beat, state=NightState.PAUSED, reason="disk full")
    write_heartbeat(disk, paused)
    assert read_heartbeat(disk) == paused
    table.register("supervisor", os.getpid())
    assert read_processes(disk) == {}
    (disk / "filler").unlink()
    table.write()
    assert read_processes(disk).keys() == {"supervisor"}


def test_a_sender_without_its_journal_waits_for_it(tmp_path: Path) -> None:
    told: list[str] = []
    with night.recorder_thread(tmp_path / "dataset") as endpoint:
        path = tmp_path / "journal.sqlite"
        spool = Spool(tmp_path / "spool", 10**9)
        sender = Sender(path, spool, endpoint, emit=lambda _level, name, _message: told.append(name), pace=QUICK)
        sender.start()
        try:
            night.until(lambda: told == ["delivery refused"], "telling that there is no journal")
            assert "does not exist" in sender.explain()
            with closing(Journal.create(path, night.started())) as journal:
                night.until(lambda: sender.status().acknowledged_seq == journal.last_seq(), "delivery")
        finally:
            sender.stop(0)


def test_a_disk_that_fills_in_the_middle_of_a_file_is_told_and_the_file_is_continued(disk: Path) -> None:
    data = night.contents(1, 1, 3 << 20)
    record = night.secured(1, 1, (night.entry(field_file(1, 1), data),))
    with closing(Reception(disk / "dataset")) as reception:

        def say(message: delivery.FromSender, payload: bytes | None = None) -> list[delivery.FromRecorder]:
            return reception.handle(b"p", delivery.encode(message, payload))

        say(delivery.Hello(session=1, night=night.started().night, window=1 << 24))
        say(delivery.RecordFollows(session=1, seq=1), encode(night.started()))
        say(delivery.RecordFollows(session=1, seq=2), encode(record))
        fill(disk)
        (refused,) = say(delivery.ChunkFollows(session=1, seq=2, file=0, offset=0), data)
        assert isinstance(refused, delivery.Refuse)
        assert (refused.code, refused.retry) == ("disk full", True)
        (disk / "filler").unlink()
        (welcome,) = say(delivery.Hello(session=2, night=night.started().night, window=1 << 24))
        assert isinstance(welcome, delivery.Welcome)
        begun = sum(welcome.parts.values())
        assert 0 <= begun < len(data)
        say(delivery.RecordFollows(session=2, seq=2), encode(record))
        answers = say(delivery.ChunkFollows(session=2, seq=2, file=0, offset=begun), data[begun:])
        assert delivery.Ack(session=2, seq=2) in answers
        assert (disk / "dataset" / field_file(1, 1)).read_bytes() == data
