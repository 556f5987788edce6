"""The report that is made by itself: after the night, by whoever records it, and never at its cost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import psutil
import pytest

from daemon.config.loading import freeze
from daemon.config.model import Recorder
from daemon.dataset.catalog import Catalog
from daemon.delivery.sender import Sender
from daemon.night.handover import Handover
from daemon.protocols.pipes import Reported
from daemon.records.records import encode
from daemon.report.morning import MorningReport
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import Exit
from daemon.system.process_table import ProcessTable, read_processes
from tests.support import small_night as night
from tests.support.configuration_files import night as configured
from tests.support.deadlines import DEADLINE_S, NIGHT_S
from tests.support.emulated_night import lamelle, living, running, write_configuration


def dataset(folder: Path, **report: object) -> Path:
    """A complete night whose configuration says how its report is to be made."""
    changes = {f"report.{name}": value for name, value in report.items()}
    folder.mkdir()
    started = msgspec.structs.replace(night.started(), configuration=freeze(configured(folder, changes)))
    fields = [night.secured(slide, field, (), objects=0) for slide in (1, 2) for field in (1, 2, 3)]
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate([started, *fields, *night.closing_records()], start=1):
            catalog.commit(seq, encode(record))
    return folder


def begun(folder: Path) -> tuple[MorningReport, list[psutil.Process]]:
    before = set(psutil.Process().children())
    morning = MorningReport(folder)
    morning.begin()
    return morning, [child for child in psutil.Process().children() if child not in before and is_report(child)]


def is_report(process: psutil.Process) -> bool:
    return "resource_tracker" not in " ".join(process.cmdline())


def test_a_night_ends_with_its_report(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, slides=1, fields=2, frame_px=256, report={"make": "always"})
    run = tmp_path / "run"
    done = lamelle("scan", config, "--run", run)
    assert done.returncode == Exit.COMPLETE, done.stderr
    page, paper = run / "dataset" / "report.html", run / "dataset" / "report.pdf"
    assert "Complete: " in page.read_text(encoding="utf-8")
    assert paper.read_bytes().startswith(b"%PDF-")
    assert f"report: {page}" in done.stdout
    assert not living(run)
    assert (read_heartbeat(run).state, read_heartbeat(run).reason) == ("complete", "")
    morning, processes = begun(run / "dataset")
    assert processes == []
    assert morning.wait(lambda: False) == Reported()


def test_a_report_that_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    morning, (process,) = begun(dataset(tmp_path / "dataset", within_s=0.2))
    told = morning.wait(lambda: False)
    assert told.problem.startswith("it took longer than 0.2 s (report.within_s)")
    assert not process.is_running()
    assert morning.poll() is None
    assert not list((tmp_path / "dataset").glob("report.*"))


def test_a_report_that_is_killed_leaves_no_half_file_and_is_told(tmp_path: Path) -> None:
    morning, (process,) = begun(dataset(tmp_path / "dataset"))
    page = tmp_path / "dataset" / "report.html"
    night.until(page.exists, "the page")
    process.kill()
    told = morning.wait(lambda: False)
    assert "its process ended" in told.problem or told.page
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert all(one.read_bytes().rstrip().endswith(b"%%EOF") for one in page.parent.glob("report.pdf"))
    morning.close()


def test_what_fails_is_told_in_words(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "dataset")
    (folder / "report.html").mkdir()  # where the page is to go
    os.utime(folder / "report.html", (0, 0))
    morning, _ = begun(folder)
    told = morning.wait(lambda: False)
    assert told.page == ""
    assert "report.html" in told.problem
    morning.close()


def test_a_night_that_wants_no_report_or_is_gone_gets_none(tmp_path: Path) -> None:
    morning, processes = begun(dataset(tmp_path / "dataset", make="never"))
    assert processes == []
    assert morning.wait(lambda: False) == Reported()
    morning, processes = begun(tmp_path / "nowhere")
    assert processes == []
    assert "holds no dataset" in morning.wait(lambda: False).problem


def test_whoever_waits_may_stop_waiting(tmp_path: Path) -> None:
    morning, (process,) = begun(dataset(tmp_path / "dataset"))
    assert morning.wait(lambda: True) == Reported()
    morning.close()
    assert not process.is_running()


def test_a_person_who_does_not_wait_leaves_no_process_behind(tmp_path: Path) -> None:
    async def scene() -> list[psutil.Process]:
        with closing(Journal.create(tmp_path / "journal.sqlite", night.started(slides=1, fields=1))) as journal:
            spool = Spool(tmp_path / "spool", 10**9)
            table = ProcessTable(tmp_path)
            handing = Handover(Recorder(), tmp_path, journal, spool, table, lambda *_: None)
            await handing.start()
            night.secure(journal, spool, 1, 1)
            journal.append(*night.closing_records(1, 1))
            assert await handing.drain(DEADLINE_S, lambda _: None) == 0
            recorder = read_processes(tmp_path)["recorder"].find()
            assert recorder is not None
            waiting = asyncio.create_task(handing.report(60))
            await asyncio.sleep(0)  # so that it waits already
            async with asyncio.timeout(DEADLINE_S):
                while not (processes := list(filter(is_report, recorder.children()))):
                    await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()
            await handing.close()
            return [recorder, *processes]

    processes = asyncio.run(scene())
    night.until(lambda: not any(process.is_running() for process in processes), "their end")
    assert not list((tmp_path / "dataset").glob("report.*"))


@pytest.mark.long
def test_a_recorder_elsewhere_reports_what_it_has_recorded(tmp_path: Path) -> None:
    into, told = tmp_path / "dataset", tmp_path / "told"
    endpoint = night.free_endpoint()
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal:
        spool = Spool(tmp_path / "spool", 10**9)
        for slide in (1, 2):
            for field in (1, 2, 3):
                night.secure(journal, spool, slide, field, size=2_000)
        journal.append(*night.closing_records())
        with running("record", "--listen", endpoint, "--into", into, output=told) as process:
            sender = Sender(journal.path, spool, endpoint, emit=lambda *_: None)
            sender.start()
            night.until(lambda: "report:" in told.read_text(encoding="utf-8"), "the report", NIGHT_S)
            sender.stop(1.0)
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
    assert f"report: {into / 'report.html'}" in told.read_text(encoding="utf-8").replace("\n", " ")
    assert "Complete: " in (into / "report.html").read_text(encoding="utf-8")


def test_neither_supervisor_nor_recorder_imports_what_draws() -> None:
    names = ("daemon.night.scan", "daemon.recorder.process", "daemon.cli.app", "daemon.children.microscope")
    code = "import sys\n" + "".join(f"import {name}\n" for name in names)
    code += "print([name for name in ('matplotlib', 'fpdf', 'jinja2', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
