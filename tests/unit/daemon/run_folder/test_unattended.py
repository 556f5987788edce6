"""When a computer that nobody sits at goes on with a night, and when it leaves it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.records.states import NightState
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.heartbeat import Heartbeat, write_heartbeat
from daemon.run_folder.journal import Journal
from daemon.run_folder.unattended import LATEST_H, why_not
from tests.support.small_night import started

NOW = 1_700_000_000.0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of a night that was begun."""
    Journal.create(tmp_path / "journal.sqlite", started()).close()
    return tmp_path


def beat(run: Path, state: NightState, age_h: float = 0.1) -> None:
    utc = NOW - age_h * 3600
    write_heartbeat(
        run,
        Heartbeat(utc=utc, monotonic_s=0, pid=1, state=state, reason="", planned=6, secured=1, skipped=0, slide=1),
    )


def test_a_night_that_was_never_begun_is_begun(tmp_path: Path) -> None:
    assert why_not(tmp_path, NOW) is None
    beat(tmp_path, NightState.STOPPED)
    assert why_not(tmp_path, NOW) is None


GOES_ON = [state for state in NightState if not state.ended or state is NightState.TERMINATED]


@pytest.mark.parametrize("state", GOES_ON)
def test_a_night_that_crashed_or_was_ended_by_the_system_goes_on(run: Path, state: NightState) -> None:
    beat(run, state)
    assert why_not(run, NOW) is None


@pytest.mark.parametrize("state", sorted({*NightState} - {*GOES_ON}))
def test_a_night_that_ended_otherwise_stays_so(run: Path, state: NightState) -> None:
    beat(run, state)
    assert f"has ended ({state})" in str(why_not(run, NOW))


def test_a_night_of_long_ago_is_a_persons_to_go_on_with(run: Path) -> None:
    beat(run, NightState.SCANNING, age_h=LATEST_H - 0.1)
    assert why_not(run, NOW) is None
    beat(run, NightState.SCANNING, age_h=LATEST_H + 1)
    assert "13 hours ago" in str(why_not(run, NOW))


def test_a_night_without_a_readable_heartbeat_goes_on(run: Path) -> None:
    assert why_not(run, NOW) is None
    RunFolder(run).heartbeat.write_bytes(b'{"utc": 17000')
    assert why_not(run, NOW) is None
