"""Whole nights with a watcher: real processes, suspended and killed, and a web server that is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import psutil
import pytest

from daemon.alerts.guard import GuardState, guard
from daemon.config.loading import freeze, load
from daemon.records.states import NightState
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from daemon.run_folder.journal import Journal
from daemon.system.errors import Exit, Refused
from daemon.system.locks import sole
from daemon.system.process_table import ProcessTable, read_processes
from tests.support.alert_target import SECRET, Target, alert_target
from tests.support.deadlines import NIGHT_S
from tests.support.emulated_night import lamelle, living, running, write_configuration
from tests.support.small_night import started, until


@pytest.fixture
def target() -> Iterator[Target]:
    with alert_target() as server:
        yield server


def configured(folder: Path, target: Target, **parts: Any) -> Path:
    """A configuration of one small mini-slide whose alerts lead to the target; `alerts` adds to those."""
    alerts = {**target.write_addresses(folder), "disk_gb": 0, **parts.pop("alerts", {})}
    return write_configuration(folder, frame_px=256, alerts=alerts, **{"slides": 1, **parts})


def beat(run: Path) -> Heartbeat:
    return read_heartbeat(run)


def reached(run: Path, state: str, secured: int = 0) -> Callable[[], bool]:
    def there() -> bool:
        with suppress(FileNotFoundError):
            return beat(run).state == state and beat(run).secured >= secured
        return False

    return there


def guards(run: Path) -> list[psutil.Process]:
    """Watchers of this run folder that live."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[-2:] == ["guard", str(run.resolve())]:
                found.append(process)
    return found


def watched_to_the_end(run: Path) -> None:
    until(lambda: not guards(run), "the watcher ends by itself", NIGHT_S)
    with sole(run / "guard.lock", "the watcher's lock is held still"):
        pass


def state(run: Path) -> GuardState:
    return msgspec.json.decode(RunFolder(run).guard.read_bytes(), type=GuardState)


def test_a_healthy_night_tells_that_it_is_finished_and_nothing_else(target: Target, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Longer than a watcher takes to start on a busy computer.
    config = configured(tmp_path, target, fields=16, alerts={"dead_man_s": 0.5})
    done = lamelle("scan", config, "--run", run)
    assert done.returncode == Exit.COMPLETE, done.stderr
    watched_to_the_end(run)
    assert target.kinds == ["finished"]
    assert "16 of 16 fields recorded" in target.alerts[0][1]
    assert target.pings
    assert set(target.pings) == {f"/ping/{SECRET}"}
    # A watcher started by hand afterwards has nothing to tell, and ends.
    assert lamelle("guard", run).returncode == 0
    assert target.kinds == ["finished"]
    for path in (path for path in run.rglob("*") if path.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_night_that_the_system_ends_and_then_is_killed_is_told_and_goes_on_by_itself(
    target: Target, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = configured(tmp_path, target, fields=24)
    with running("scan", config, "--run", run, "--unattended", output=tmp_path / "scan.txt") as scan:
        until(reached(run, "scanning", secured=1), "the first field", NIGHT_S)
        scan.send_signal(signal.SIGTERM)
        assert scan.wait(NIGHT_S) == Exit.INTERRUPTED
    watched_to_the_end(run)
    assert target.kinds == ["interrupted"]
    assert beat(run).state == "terminated"
    before = beat(run).secured
    with running("scan", config, "--run", run, "--unattended", output=tmp_path / "scan.txt") as scan:
        until(reached(run, "scanning", secured=before + 1), "another field", NIGHT_S)
        for each in read_processes(run).values():
            if (process := each.find()) is not None:
                process.kill()
        scan.wait()
    until(lambda: target.kinds == ["interrupted", "crashed"], "the alert of a crash", NIGHT_S)
    assert len(guards(run)) == 1, "it waits for somebody to go on with the night"
    done = lamelle("scan", config, "--run", run, "--unattended")
    assert done.returncode == Exit.COMPLETE, done.stderr
    watched_to_the_end(run)
    assert target.kinds == ["interrupted", "crashed", "goes on", "finished"]
    assert not living(run)
    again = lamelle("scan", config, "--run", run, "--unattended")
    assert again.returncode == 0
    assert "has ended (complete)" in again.stdout.replace("\n", " ")


def test_what_needs_a_person_is_told_once_each(target: Target, tmp_path: Path) -> None:
    run = tmp_path / "run"
    faults = [
        {"kind": "oil_lost", "slide": 1, "fields": [4]},
        {"kind": "lamp_dim", "slide": 2, "fields": [4, 5, 6], "attempts": None},
        {"kind": "blank", "slide": 3, "attempts": None},
        # Early enough that the night goes on for longer than the watcher looks away.
        {"kind": "preset_missed", "slide": 2, "fields": [8], "attempts": 8},
    ]
    config = configured(
        tmp_path,
        target,
        slides=4,
        fields=9,
        emulation={"faults": faults},
        focus={"blank_fields_leave_slide": 6},
        retry={"longest_pause_s": 1},
        alerts={"unfocused_fields": 5, "empty_fields": 4, "paused_s": 1},
    )
    done = lamelle("scan", config, "--run", run)
    assert done.returncode == Exit.SKIPPED, done.stdout
    watched_to_the_end(run)
    told = ["oil lost", "lamp dim", "paused", "goes on", "nothing found", "focus lost", "finished with skips"]
    assert sorted(target.kinds) == sorted(told)
    assert target.kinds[-1] == "finished with skips"
    # What happened since its last look a watcher tells in an order of its own.
    assert target.kinds.index("paused") < target.kinds.index("goes on")


@contextmanager
def night_told_of(folder: Path, target: Target, **alerts: float) -> Iterator[tuple[Path, Heartbeat]]:
    """A run folder whose night is a process that does nothing; it, and a heartbeat that it might have given."""
    run = folder / "run"
    run.mkdir()
    config = load(configured(folder, target, alerts=alerts))
    (run / "run.yaml").write_text(freeze(config), encoding="utf-8")
    Journal.create(run / "journal.sqlite", started()).close()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ProcessTable(run).register("supervisor", process.pid)
        heartbeat = Heartbeat(
            utc=time.time(),
            monotonic_s=0.0,
            pid=process.pid,
            state=NightState.SCANNING,
            reason="",
            planned=6,
            secured=2,
            skipped=0,
            slide=1,
        )
        write_heartbeat(run, heartbeat)
        yield run, heartbeat
        process.communicate(b"\n")


def test_a_spool_that_fills_is_told_once(target: Target, tmp_path: Path) -> None:
    with night_told_of(tmp_path, target) as (run, heartbeat):
        write_heartbeat(run, msgspec.structs.replace(heartbeat, spool_bytes=90, spool_limit_bytes=100))
        with running("guard", run, output=tmp_path / "guard.txt"):
            until(lambda: target.kinds == ["spool"], "the alert", NIGHT_S)
            write_heartbeat(run, msgspec.structs.replace(heartbeat, state=NightState.COMPLETE, spool_bytes=99))
            until(lambda: len(target.kinds) > 1, "the alert of the end", NIGHT_S)
    assert target.kinds == ["spool", "finished"]


def test_a_run_folder_that_is_gone_is_told_and_nobody_watches_it_for_ever(target: Target, tmp_path: Path) -> None:
    with night_told_of(tmp_path, target) as (run, _), running("guard", run, output=tmp_path / "guard.txt") as guard:
        until(lambda: "watching" in (tmp_path / "guard.txt").read_text("utf-8"), "the watcher", NIGHT_S)
        run.rename(tmp_path / "taken away")
        assert guard.wait(NIGHT_S) == 0
    assert target.kinds == ["fault"]
    assert "The run folder is gone" in target.alerts[0][1]


def test_a_night_that_hangs_is_told_once_by_two_watchers(target: Target, tmp_path: Path) -> None:
    with night_told_of(tmp_path, target, hung_s=2) as (run, heartbeat):
        with running("guard", run, output=tmp_path / "guard.txt") as first:
            until(lambda: target.kinds == ["hung"], "the alert of a night that hangs", NIGHT_S)
            until(lambda: not state(run).outbox, "it writes down that it was told", NIGHT_S)
            first.kill()
            first.wait()
        with running("guard", run, output=tmp_path / "guard.txt"):
            write_heartbeat(run, msgspec.structs.replace(heartbeat, utc=time.time()))
            until(lambda: len(target.kinds) == 2, "the alert that it goes on", NIGHT_S)
    assert target.kinds == ["hung", "goes on"]


def test_a_night_that_a_fault_stops_is_told_with_its_reason(target: Target, tmp_path: Path) -> None:
    with night_told_of(tmp_path, target) as (run, heartbeat):
        write_heartbeat(run, msgspec.structs.replace(heartbeat, state=NightState.STOPPED, reason="the stage is stuck"))
    assert lamelle("guard", run).returncode == 0
    assert target.kinds == ["stopped"]
    assert "The night ended: stopped, the stage is stuck." in target.alerts[0][1]


def test_alerts_that_cannot_be_sent_are_sent_by_a_later_watcher(target: Target, tmp_path: Path) -> None:
    target.refusing = True
    with night_told_of(tmp_path, target) as (run, heartbeat):
        write_heartbeat(run, msgspec.structs.replace(heartbeat, state=NightState.COMPLETE, secured=6))
        with running("guard", run, output=tmp_path / "guard.txt") as first:
            until(lambda: target.refused > 0, "the watcher tries to tell", NIGHT_S)
            until(lambda: any(one.failures for one in state(run).outbox), "it waits", NIGHT_S)
            with pytest.raises(Refused, match="watched already"):
                guard(run, print, Event(), patience_s=0.1)
            first.kill()
            first.wait()
        target.refusing = False
    assert lamelle("guard", run).returncode == 0
    assert target.kinds == ["finished"]


def test_a_crash_and_a_resumption_without_a_watcher_are_told_by_the_next_one(target: Target, tmp_path: Path) -> None:
    with night_told_of(tmp_path, target) as (run, heartbeat):
        with running("guard", run, output=tmp_path / "guard.txt") as first:
            until(lambda: RunFolder(run).guard.exists(), "the first look", NIGHT_S)
            first.kill()  # a power cut
            first.wait()
        ProcessTable(run).register("supervisor", os.getpid())
        write_heartbeat(run, msgspec.structs.replace(heartbeat, pid=os.getpid(), state=NightState.COMPLETE))
        with running("guard", run, output=tmp_path / "guard.txt"):
            until(lambda: len(target.kinds) == 2, "both are told", NIGHT_S)
    assert target.kinds == ["crashed", "finished"]


def test_a_folder_without_a_night_or_with_one_that_tells_nobody_is_refused(target: Target, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no night"):
        guard(tmp_path, print, Event())
    with night_told_of(tmp_path, target) as (run, _):
        text = freeze(load(write_configuration(tmp_path)))
        (run / "run.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(Refused, match="names nobody to tell"):
            guard(run, print, Event())
    assert not (run / "guard.lock").exists()
