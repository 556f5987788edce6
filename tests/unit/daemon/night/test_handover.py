"""The way to the recorder as the supervisor keeps it: who dies is started again, what waits is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import zmq

from daemon.config.model import Recorder
from daemon.dataset.reader import Dataset
from daemon.night.handover import Handover
from daemon.protocols import delivery
from daemon.records.events import EventName
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import Refused
from daemon.system.process_table import ProcessTable, read_processes
from tests.support import small_night as night
from tests.support.deadlines import DEADLINE_S


class EventNotice:
    """Events that were told."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, _level: str, name: EventName, _message: str) -> None:
        self.names.append(name)


@asynccontextmanager
async def handover(
    folder: Path, told: EventNotice, endpoint: str | None = None
) -> AsyncIterator[tuple[Handover, Journal]]:
    journal_path = folder / "journal.sqlite"
    with closing(Journal.create(journal_path, night.started())) as journal:
        spool = Spool(folder / "spool", 10**9)
        settings = Recorder(endpoint=endpoint)
        handing = Handover(settings, folder, journal, spool, ProcessTable(folder), told)
        await handing.start()
        keeping = asyncio.create_task(handing.keep())
        try:
            yield handing, journal
        finally:
            keeping.cancel()
            await handing.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def sender_thread() -> threading.Thread:
    return next(thread for thread in threading.enumerate() if thread.name == "sender")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sender_that_dies_is_told_and_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = EventNotice()

    async def scene() -> None:
        with night.recorder_thread(tmp_path / "dataset") as endpoint:
            async with handover(tmp_path, told, endpoint) as (handing, journal):
                await until(lambda: handing.status().acknowledged_seq == 1)
                first = sender_thread()
                with monkeypatch.context() as patched:
                    patched.setattr(Journal, "last_seq", None)  # an error of the program, which nobody expects
                    handing.wake()
                    await until(lambda: not first.is_alive())
                    assert "has ended" in handing.explain()
                await until(lambda: "delivery restarted" in told.names)
                assert sender_thread() is not first
                journal.append(night.event())
                assert await handing.drain(DEADLINE_S, lambda _reason: None) == 0

    asyncio.run(scene())
    assert told.names == ["delivery restarted"]


@pytest.mark.slow
def test_a_recorder_that_dies_is_told_and_followed_by_another(tmp_path: Path) -> None:
    told = EventNotice()

    async def scene() -> None:
        async with handover(tmp_path, told) as (handing, journal):
            recorder = read_processes(tmp_path)["recorder"].find()
            assert recorder is not None
            recorder.kill()
            await until(lambda: "recorder restarted" in told.names)
            journal.append(night.event("while nobody records"))
            assert await handing.drain(DEADLINE_S, lambda _reason: None) == 0
            assert handing.sentence() == "connected to the night's own recorder"
            # One that has all may go, as it does once it has written the report, and nobody misses it.
            told.names.clear()
            journal.append(*night.closing_records())
            assert await handing.drain(DEADLINE_S, lambda _reason: None) == 0
            await handing.report(0.1)
            assert read_processes(tmp_path)["recorder"].find() is None
            assert handing.sentence() == "the night's own recorder has all of the night"
            assert told.names == []

    asyncio.run(scene())
    with Dataset.open(tmp_path / "dataset") as dataset:
        assert [event.message for event in dataset.events()] == ["while nobody records"]


def test_a_recorder_of_another_version_is_told_before_the_night_begins(tmp_path: Path) -> None:
    async def scene() -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as recorder:
            recorder.linger = 0
            port = recorder.bind_to_random_port("tcp://127.0.0.1")
            async with handover(tmp_path, EventNotice(), f"tcp://127.0.0.1:{port}") as (handing, _):
                meeting = asyncio.create_task(handing.meet())
                await until(lambda: bool(recorder.poll(0)))
                peer, header = recorder.recv_multipart()
                refusal = delivery.Refuse(code="violation", session=0, reason="unknown", retry=False, violations=1)
                recorder.send_multipart([peer, *delivery.encode(refusal, version=header[3] - 1)])
                with pytest.raises(Refused, match=r"another version of lamelle: the peer speaks version 4 .* speaks 5"):
                    await meeting

    asyncio.run(scene())


def test_a_night_begins_at_once_where_its_recorder_answers(tmp_path: Path) -> None:
    async def scene() -> None:
        with night.recorder_thread(tmp_path / "there") as endpoint:
            async with handover(tmp_path / "night", EventNotice(), endpoint) as (handing, _):
                await handing.meet()
                assert handing.status().connected

    asyncio.run(scene())


@pytest.mark.slow
def test_what_nobody_takes_is_counted_and_the_reason_told(tmp_path: Path) -> None:
    reasons: list[str] = []

    async def scene() -> None:
        async with handover(tmp_path, EventNotice(), night.free_endpoint()) as (handing, journal):
            journal.append(night.event())
            assert await handing.drain(1.5, reasons.append) == 2

    asyncio.run(scene())
    assert reasons
