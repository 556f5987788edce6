"""A night of a few small fields, without a microscope: what the tests of delivery secure and hand over."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from daemon.recorder.server import run_recorder
from daemon.records.events import EventName, ReasonCode
from daemon.records.names import field_file
from daemon.records.records import (
    AnyRecord,
    Event,
    FieldSecured,
    FieldSkipped,
    FileEntry,
    FocusResult,
    NightClosed,
    NightStarted,
    ObjectRow,
    SlideClosed,
)
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.durable_files import replacing
from tests.support.deadlines import DEADLINE_S


def started(night: str = "2026-11-21 A", slides: int = 2, fields: int = 3) -> NightStarted:
    return NightStarted(
        utc=1_700_000_000.0,
        night=night,
        configuration="instrument: {name: none}\n",
        samples={slide: {"sample": f"core-{slide}", "depth_cm": str(10 * slide)} for slide in range(1, slides + 1)},
        planned=dict.fromkeys(range(1, slides + 1), fields),
        versions={"lamelle": "0.1.0"},
        weights_sha256="ab" * 32,
    )


def contents(slide: int, field: int, size: int, salt: int = 0) -> bytes:
    return np.random.default_rng([slide, field, salt]).bytes(size)


def object_row(number: int, score: float = 0.9) -> ObjectRow:
    return ObjectRow(
        number=number,
        series=number,
        class_name="coccolith",
        score=score,
        below_threshold=score < 0.5,
        box=(10, 20, 30, 44),
        crop_box=(5, 15, 35, 49),
        x_um=1000.5,
        y_um=2000.25,
        z_um=-3.5,
        best_plane=4.25,
        best_plane_at_edge=False,
        touches_edge=False,
        in_exclusive_tile=True,
    )


def secured(slide: int, field: int, files: tuple[FileEntry, ...], objects: int = 2) -> FieldSecured:
    return FieldSecured(
        utc=1_700_000_000.0 + field,
        slide=slide,
        field=field,
        sample=f"core-{slide}",
        x_um=100.0 * field,
        y_um=50.0,
        first_z_um=-2.0,
        step_um=0.5,
        polarizations=("crossed", "parallel"),
        shape_czyx=(2, 9, 64, 64),
        attempts=1,
        exposed_utc=1_700_000_000.0 + field,
        exposed_monotonic_s=12.5 + field,
        seconds={"detect": 0.25},
        focus=FocusResult(z_um=0.25, at_edge=False, contrast=2.0),
        objects=tuple(object_row(number) for number in range(objects)),
        files=files,
    )


def entry(name: str, data: bytes) -> FileEntry:
    return FileEntry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def secure(journal: Journal, spool: Spool, slide: int, field: int, size: int = 40_000, raw: int = 0) -> FieldSecured:
    """Write a field's files into the spool and journal it."""
    data = {field_file(slide, field): contents(slide, field, size)}
    if raw:
        data[field_file(slide, field, "raw")] = contents(slide, field, raw, salt=1)
    for name, body in data.items():
        with replacing(spool.path(name)) as stream:
            stream.write(body)
    record = secured(slide, field, tuple(entry(name, body) for name, body in data.items()))
    journal.append(record)
    return record


def skipped(slide: int, field: int) -> FieldSkipped:
    return FieldSkipped(
        utc=1.0,
        slide=slide,
        field=field,
        sample=f"core-{slide}",
        reason="stage stuck: it did not arrive",
        attempts=3,
        reason_code=ReasonCode.FAULT,
        fault="StageStuck",
    )


def event(message: str = "the stage did not arrive") -> Event:
    return Event(
        utc=1.0,
        level="warning",
        name=EventName.FAULT,
        fault="StageStuck",
        message=message,
        monotonic_s=3.0,
        slide=1,
        field=1,
    )


def slide_closed(slide: int, recorded: int, skipped: int = 0) -> SlideClosed:
    return SlideClosed(utc=5.0, slide=slide, sample=f"core-{slide}", recorded=recorded, skipped=skipped)


def night_closed(recorded: int, skipped: int = 0) -> NightClosed:
    return NightClosed(utc=9.0, recorded=recorded, skipped=skipped)


def closing_records(slides: int = 2, fields: int = 3) -> list[AnyRecord]:
    closes: list[AnyRecord] = [slide_closed(slide, fields) for slide in range(1, slides + 1)]
    return [*closes, night_closed(slides * fields)]


def free_endpoint() -> str:
    """An endpoint of this computer where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition that other threads or processes bring about."""
    tick = threading.Event()
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"
        tick.wait(0.005)


class RecorderProcess:
    """A recorder in a process of its own, to be killed, suspended and started again."""

    def __init__(self, into: Path, listen: str = "tcp://127.0.0.1:*", run: Path | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._pipe: Connection = ours
        self.process: BaseProcess = context.Process(target=_record, args=(theirs, listen, into, run), daemon=True)
        self.process.start()
        theirs.close()
        assert ours.poll(DEADLINE_S), "the recorder did not start"
        self.endpoint: str = ours.recv()

    def stop(self) -> int | None:
        self._pipe.close()
        self.process.join(DEADLINE_S)
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.process.join(DEADLINE_S)
        self._pipe.close()


def _record(pipe: Connection, listen: str, into: Path, run: Path | None) -> None:
    stop = threading.Event()

    def end_with_parent() -> None:
        try:
            pipe.recv()
        except EOFError:
            stop.set()

    threading.Thread(target=end_with_parent, daemon=True).start()
    run_recorder(listen, into, None, pipe.send, stop, run)


@contextmanager
def recorder_thread(into: Path, listen: str = "tcp://127.0.0.1:*", run: Path | None = None) -> Iterator[str]:
    """A recorder in a thread of this process; gives its endpoint."""
    endpoint: list[str] = []
    bound, stop = threading.Event(), threading.Event()

    def ready(where: str) -> None:
        endpoint.append(where)
        bound.set()

    thread = threading.Thread(target=run_recorder, args=(listen, into, None, ready, stop, run))
    thread.start()
    try:
        assert bound.wait(DEADLINE_S), "the recorder did not start"
        yield endpoint[0]
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the recorder did not stop"
