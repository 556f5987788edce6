"""Whole nights at their bounds: a recorder that is silent, absent or refuses, and disks without room."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from daemon.dataset.summary import summarise
from daemon.live.order_client import give_order
from daemon.run_folder.endpoints import find_endpoint
from daemon.run_folder.heartbeat import Heartbeat, read_heartbeat
from daemon.run_folder.journal import Journal
from daemon.system.errors import Exit
from daemon.system.process_table import read_processes
from tests.support.alert_target import alert_target
from tests.support.deadlines import NIGHT_S
from tests.support.emulated_night import Digest, digest, lamelle, living, running, write_configuration
from tests.support.small_disk import fill, remount, small_disk
from tests.support.small_night import free_endpoint, until

FIELDS = 6
MEGABYTE = 1_000_000
SPOOL_MB = 40
"""Room for the ring's three fields of 12 MB by the first estimate, and a little more."""


def configuration(
    folder: Path, move_ms: int = 0, alerts: Mapping[str, object] | None = None, **recorder: object
) -> Path:
    """The fields of the undisturbed night, raw stacks kept, about 7 MB each; moves may take their time."""
    timing = {"xy_ms": move_ms, "z_ms": 0, "polarizer_ms": 0}
    parts: dict[str, Any] = {
        "retention": {"raw": "all"},
        "recorder": {"spool_mb": SPOOL_MB, **recorder},
        "alerts": alerts or {},
    }
    return write_configuration(folder, emulation={"timing": timing}, **parts)


@dataclass(frozen=True)
class Scan:
    """A scan that goes on, looked at from outside."""

    process: subprocess.Popen[str]
    run: Path
    output: Path

    def heartbeat(self) -> Heartbeat | None:
        with suppress(OSError):
            return read_heartbeat(self.run)
        return None

    def stands(self, state: str) -> bool:
        beat = self.heartbeat()
        return beat is not None and beat.state == state

    def reaches(self, state: str, reason: str = "", secured: int = 0) -> Heartbeat:
        """Wait for a heartbeat of this state whose reason holds what is searched for."""

        def reached() -> bool:
            assert self.process.poll() is None, self.output.read_text(encoding="utf-8")
            beat = self.heartbeat()
            return (
                beat is not None
                and beat.state == state
                and beat.secured >= secured
                and re.search(reason, beat.reason) is not None
            )

        until(reached, f"{state} because {reason!r}, instead of {self.heartbeat()}", NIGHT_S)
        found = self.heartbeat()
        assert found is not None
        return found

    def log(self, process: str) -> list[str]:
        """Messages of a process's log."""
        lines = (self.run / "log" / f"{process}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["message"] for line in lines]

    def is_dark(self) -> bool:
        """Whether the last that was done to the light was to switch it off."""
        return [line for line in self.log("microscope") if line.startswith("light")][-1] == "light off"

    def ends(self) -> int:
        return self.process.wait(NIGHT_S)

    def interrupted(self) -> int:
        """Ctrl-C, once; its exit status."""
        if sys.platform == "win32":
            pytest.skip("Windows sends Ctrl-C to whole consoles only")
        self.process.send_signal(signal.SIGINT)
        return self.ends()


@contextmanager
def scanning(config: Path, run: Path, *words: str) -> Iterator[Scan]:
    output = config.with_name("output.txt")
    with running("scan", config, "--run", run, *words, output=output) as process:
        yield Scan(process, run, output)


@contextmanager
def recording(endpoint: str, into: Path, *words: str | Path) -> Iterator[psutil.Process]:
    """A recorder of its own: `lamelle record`."""
    output = into.with_name(f"{into.name}.txt")
    with running("record", "--listen", endpoint, "--into", into, *words, output=output) as process:
        until(lambda: "recording at" in output.read_text(encoding="utf-8"), "a recorder", NIGHT_S)
        yield psutil.Process(process.pid)


def spool_bytes(run: Path) -> int:
    return sum(path.stat().st_size for path in (run / "spool").rglob("*") if path.is_file())


def events(run: Path) -> dict[str, str]:
    """Message of the last event of each name in the journal."""
    journal = Journal.open(run / "journal.sqlite")
    try:
        return {event.name: event.message for event in journal.events()}
    finally:
        journal.close()


def assert_whole(run: Path, dataset: Path, undisturbed: tuple[Path, Digest]) -> None:
    """Every field once, the pixels of the undisturbed night, nothing half-written, nothing waiting, nobody left."""
    summary = summarise(dataset)
    assert summary.complete
    assert (summary.gaps, summary.duplicates, summary.fields.skipped) == (0, 0, 0)
    assert digest(dataset.parent) == undisturbed[1]
    assert list((dataset / "incoming").iterdir()) == []
    assert spool_bytes(run) == 0
    assert not living(run)


@pytest.mark.long
def test_a_suspended_recorder_pauses_the_night_in_the_dark_until_it_is_back(
    undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    """Meanwhile a second scan into the same folder is refused and changes nothing.

    And a person pauses it as well: it goes on when both have ended.
    """
    run = tmp_path / "run"
    with alert_target() as target:
        alerts = {**target.write_addresses(tmp_path), "disk_gb": 0, "paused_s": 4}
        config = configuration(tmp_path, move_ms=300, alerts=alerts)
        settings = yaml.safe_load(config.read_text("utf-8"))
        config.write_text(yaml.safe_dump({**settings, "control": {"endpoint": "tcp://127.0.0.1:*"}}), "utf-8")
        pause_and_go_on(config, run)
        until(lambda: "finished" in target.kinds, "the alert of the end", NIGHT_S)
        # A slow recorder may make it pause again once it is back; each pause is told once, and so is its end.
        *pauses, last = target.kinds
        assert (pauses, last) == (["paused", "goes on"] * max(1, len(pauses) // 2), "finished")
        assert f"of {SPOOL_MB} MB" in target.alerts[0][1]
    told = events(run)
    assert "the light is off" in told["paused"]
    assert {"recorder away", "delivery goes on", "resumed"} <= set(told)
    assert_whole(run, run / "dataset", undisturbed)


def pause_and_go_on(config: Path, run: Path) -> None:
    with scanning(config, run) as scan:
        scan.reaches("scanning")
        recorder = read_processes(run)["recorder"].find()
        assert recorder is not None
        recorder.suspend()
        try:
            beat = scan.reaches("paused", "has not answered for 10 s")
            assert re.search(rf"the spool holds \d+\.\d of {SPOOL_MB} MB .* needs room for", beat.reason)
            assert beat.secured < FIELDS
            assert scan.is_dark()
            assert 0 < spool_bytes(run) <= SPOOL_MB * MEGABYTE
            for words, busy in (([run], "--run '"), ([run, "--resume"], "--run '")):
                second = lamelle("scan", config, "--run", *words)
                assert second.returncode == Exit.REFUSED
                assert busy in second.stderr
                assert "is in use by another scan" in second.stderr
            control = find_endpoint(str(run), "control")
            assert give_order(control, None, "pause", "anna").accepted
        finally:
            recorder.resume()
        scan.reaches("paused", "anna keeps the night paused")
        until(lambda: spool_bytes(run) == 0, "the spool is not emptied", NIGHT_S)
        assert give_order(control, None, "status", "anna").state == "paused"
        assert give_order(control, None, "resume", "anna").accepted
        assert scan.ends() == Exit.COMPLETE


def test_with_keys_a_night_awaits_a_recorder_that_knows_it(undisturbed: tuple[Path, Digest], tmp_path: Path) -> None:
    """Nobody is there, then a recorder that does not know the sender's key, then one that does."""
    endpoint, run = free_endpoint(), tmp_path / "run"
    for name in ("sender", "recorder", "stranger"):
        assert lamelle("keys", tmp_path / name).returncode == 0
    for clients in ("sender", "stranger"):
        keys = {"public": "recorder/public.key", "secret": "recorder/secret.key", "clients": f"{clients}/public.key"}
        (tmp_path / f"knows-{clients}.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    own = {"public": "sender/public.key", "secret": "sender/secret.key", "server": "recorder/public.key"}
    with scanning(configuration(tmp_path, endpoint=endpoint, keys=own), run) as scan:
        scan.reaches("paused", "has not answered for 10 s")
        assert scan.is_dark()
        with recording(endpoint, tmp_path / "other", "--keys", tmp_path / "knows-stranger.yaml"):
            scan.reaches("paused", "does not know this computer's key; add recorder.keys.public")
        assert spool_bytes(run) > 0
        into = tmp_path / "recorded" / "dataset"
        into.parent.mkdir()
        with recording(endpoint, into, "--keys", tmp_path / "knows-sender.yaml"):
            assert scan.ends() == Exit.COMPLETE
    assert {"paused", "recorder away", "delivery refused", "delivery goes on", "resumed"} <= set(events(run))
    assert_whole(run, into, undisturbed)


@pytest.mark.long
def test_a_disk_that_shrinks_pauses_the_night_until_there_is_room(
    undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    """Spool, journal, dataset, log and heartbeat lie on one disk, of 50 MB now, that others fill to the last byte."""
    with small_disk(tmp_path / "disk", megabytes=300) as disk:
        run = disk / "run"
        with scanning(configuration(tmp_path, move_ms=300), run) as scan:
            scan.reaches("scanning")
            remount(disk, "size=50m")
            fill(disk)
            beat = scan.reaches("paused", "make room on that disk|disk is full")
            assert beat.secured < FIELDS
            assert scan.is_dark()
            (disk / "filler").unlink()
            remount(disk, "size=300m")
            assert scan.ends() == Exit.COMPLETE
        assert {"paused", "resumed"} <= set(events(run))
        assert_whole(run, run / "dataset", undisturbed)


@pytest.mark.long
def test_a_night_paused_by_a_full_disk_of_the_recorder_can_be_interrupted_and_resumed(
    undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    endpoint, run = free_endpoint(), tmp_path / "run"
    config = configuration(tmp_path, endpoint=endpoint)
    with small_disk(tmp_path / "disk", megabytes=20) as disk:
        dataset = disk / "recorded" / "dataset"
        dataset.parent.mkdir()
        with recording(endpoint, dataset):
            with scanning(config, run) as scan:
                beat = scan.reaches("paused", "the recorder cannot store at present: disk full")
                assert beat.secured < FIELDS
                assert scan.is_dark()
                assert scan.interrupted() == Exit.INTERRUPTED
                assert "microscope safe" in scan.log("supervisor")
                assert not living(run)
            remount(disk, "size=100m")
            done = lamelle("scan", config, "--run", run, "--resume")
            assert done.returncode == Exit.COMPLETE, done.stderr
        assert {"recorder waits", "interrupted"} <= set(events(run))
        assert_whole(run, dataset, undisturbed)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a word")
def test_a_night_that_the_system_ends_before_or_after_scanning_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = write_configuration(tmp_path, slides=1, fields=2, frame_px=256, recorder={"endpoint": free_endpoint()})
    for words, state in ((), "starting"), (("--resume",), "delivering"):
        with scanning(config, run, *words) as scan:
            until(partial(scan.stands, state), state, NIGHT_S)
            scan.process.send_signal(signal.SIGTERM)
            assert scan.ends() == Exit.INTERRUPTED
        assert events(run)["interrupted"] == "stopped by the system; go on with --resume"
        assert read_heartbeat(run).state == "terminated"
        assert not living(run)
    assert "microscope safe" in scan.log("supervisor")
    assert read_heartbeat(run).secured == 2


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a word")
def test_a_night_that_the_system_ends_while_it_makes_safe_makes_safe_first(tmp_path: Path) -> None:
    run = tmp_path / "run"
    slow = {"timing": {"xy_ms": 0, "z_ms": 600, "polarizer_ms": 0}}
    config = write_configuration(
        tmp_path, slides=1, fields=1, frame_px=256, emulation=slow, scan={"planes": 3}, focus={"search_um": 2}
    )
    with scanning(config, run) as scan:
        log = run / "log" / "microscope.jsonl"
        until(lambda: log.exists() and "told to close" in log.read_text(encoding="utf-8"), "making safe", NIGHT_S)
        scan.process.send_signal(signal.SIGTERM)
        assert scan.ends() == Exit.INTERRUPTED
    assert scan.log("microscope")[-1] == "safe"
    assert "microscope safe" in scan.log("supervisor")
    assert read_heartbeat(run).state == "terminated"
    assert not living(run)
