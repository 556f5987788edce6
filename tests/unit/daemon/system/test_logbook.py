"""The log: every line stands, also after a kill; its size is bounded; what ends a process is told."""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
import threading
import warnings
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from daemon.system.logbook import Logbook
from tests.support.deadlines import DEADLINE_S, END_S

log = logging.getLogger("lamelle.test")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_line_says_when_where_how_bad_and_what(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with Logbook(tmp_path, "microscope") as book:
        log.warning("stage %s stuck\nat 3 µm", "XY", extra={"slide": 3, "where": tmp_path, "z_um": float("nan")})
        log.debug("not written")
    (line,) = lines(book.path)
    assert book.path == tmp_path / "log" / "microscope.jsonl"
    assert before <= datetime.fromisoformat(line["utc"]) <= datetime.now(UTC)
    assert line["monotonic_s"] > 0
    assert (line["level"], line["process"], line["name"]) == ("warning", "microscope", "lamelle.test")
    assert line["message"] == "stage XY stuck\nat 3 µm"
    assert line["fields"] == {"slide": 3, "where": str(tmp_path), "z_um": None}


def _log_for_ever(run: Path, process: str, pipe: Connection) -> None:
    with Logbook(run, process):
        number = 0
        while True:
            log.info("line", extra={"number": number})
            pipe.send(number)
            number += 1


def test_a_kill_loses_no_line_that_was_logged(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    for process in ("analysis", "recorder"):
        ours, theirs = spawn.Pipe(duplex=False)
        child = spawn.Process(target=_log_for_ever, args=(tmp_path, process, theirs))
        child.start()
        theirs.close()
        last = -1
        while last < 200:
            assert ours.poll(DEADLINE_S), "the child did not log"
            last = ours.recv()
        child.kill()
        child.join(END_S)
        ours.close()
        written = [line["fields"]["number"] for line in lines(tmp_path / "log" / f"{process}.jsonl")]
        assert written[: last + 1] == list(range(last + 1))


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "analysis.jsonl"
    path.write_bytes(b'{"message": "whole"}\n{"message": "to')
    with Logbook(tmp_path, "analysis"):
        log.info("next")
    whole, torn, after = path.read_text("utf-8").splitlines()
    assert json.loads(whole) == {"message": "whole"}
    assert torn == '{"message": "to'
    assert json.loads(after)["message"] == "next"


def test_size_is_bounded_and_the_newest_lines_stay(tmp_path: Path) -> None:
    with Logbook(tmp_path, "scan", max_bytes=4000, kept=2) as book:
        for number in range(200):
            log.info("x" * 50, extra={"number": number})
    files = sorted((tmp_path / "log").iterdir())
    assert [file.name for file in files] == ["scan.jsonl", "scan.jsonl.1", "scan.jsonl.2"]
    assert all(file.stat().st_size <= 4000 for file in files)
    kept = [line["fields"]["number"] for file in (files[2], files[1], book.path) for line in lines(file)]
    assert kept == list(range(200 - len(kept), 200))
    assert len(kept) > 30


def test_what_ends_a_thread_or_warns_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("the cable is out")

    before = sys.excepthook
    with Logbook(tmp_path, "scan") as book:
        thread = threading.Thread(target=fail, name="sender")
        thread.start()
        thread.join()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=True)
            warnings.warn("old", stacklevel=1)
        try:
            fail()
        except RuntimeError as error:
            sys.excepthook(RuntimeError, error, error.__traceback__)
    # Anything of the process may warn meanwhile.
    thread_line, uncaught_line = (line for line in lines(book.path) if line["level"] == "critical")
    assert "RuntimeError: the cable is out" in thread_line["exception"]
    assert thread_line["fields"] == {"thread_name": "sender"}
    assert "RuntimeError: the cable is out" in uncaught_line["exception"]
    assert any("old" in line["message"] for line in lines(book.path) if line["level"] == "warning")
    assert "the cable is out" in capsys.readouterr().err
    assert sys.excepthook is before


def test_an_error_that_ends_the_process_stands_in_the_log_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Logbook(tmp_path, "worker-1"):
        _ = 1 / 0
    (line,) = lines(tmp_path / "log" / "worker-1.jsonl")
    assert line["level"] == "critical"
    assert "Traceback" in line["exception"]
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_costs_lines_but_not_the_night(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "scan.jsonl"
    path.symlink_to("/dev/full")
    with Logbook(tmp_path, "scan") as book:
        for _ in range(3):
            log.info("lost")
        handler = logging.getLogger().handlers[-1]
        path.unlink()
        handler._rotate()  # type: ignore[attr-defined]
        log.info("written again")
    (line,) = lines(book.path)
    assert line["fields"] == {"lost_lines": 3}


def test_a_process_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        Logbook(tmp_path, "../scan")
