"""Nights that people pause, resume, skip a mini-slide of and stop, by commands: the same pixels, all of it told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.config.loading import load
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.live.order_client import give_order
from daemon.protocols.control import Answer, OrderName
from daemon.records.events import ReasonCode
from daemon.records.records import FieldSkipped
from daemon.run_folder.endpoints import find_endpoint
from daemon.system.errors import Exit, Refused
from tests.support.deadlines import NIGHT_S
from tests.support.emulated_night import Digest, digest, lamelle, living, running, write_configuration
from tests.support.small_night import until

ANNA = "lab 2: anna"
CONTROL = {"endpoint": "tcp://127.0.0.1:*"}


def said(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stdout.strip() + done.stderr.strip()


def order(run: Path, name: OrderName, slide: int | None = None) -> Answer:
    return give_order(find_endpoint(str(run), "control"), None, name, ANNA, slide)


def stands(run: Path, wanted: Callable[[Answer], bool]) -> None:
    def so() -> bool:
        try:
            return wanted(order(run, "status"))
        except Refused:  # the night is not there yet
            return False

    until(so, "the night does not come to stand so", NIGHT_S)


def events(run: Path) -> list[tuple[str, str]]:
    return [(event.name, event.message) for event in summarise(run).events]


@pytest.mark.long
def test_a_paused_and_resumed_night_has_the_same_pixels(undisturbed: tuple[Path, Digest], tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = write_configuration(tmp_path, control=CONTROL)
    with running("scan", config, "--run", run, output=tmp_path / "out") as night:
        until((run / "endpoints.json").exists, "the night did not begin", NIGHT_S)
        assert said(lamelle("pause", run, "--who", "anna")) == (
            0,
            "the night pauses at the next field boundary, light off, until someone resumes it",
        )
        stands(run, lambda told: told.state == "paused")
        assert said(lamelle("pause", run, "--who", "ben")) == (1, "anna keeps the night paused already")
        assert said(lamelle("resume", run, "--who", "ben")) == (0, "the night goes on; anna had paused it")
        assert night.wait(NIGHT_S) == 0, (tmp_path / "out").read_text("utf-8")
    assert digest(run) == undisturbed[1]
    told = events(run)
    assert (
        "pause ordered",
        "anna: the night pauses at the next field boundary, light off, until someone resumes it",
    ) in told
    assert ("order refused", "ben: pause: anna keeps the night paused already") in told
    assert ("resume ordered", "ben: the night goes on; anna had paused it") in told
    assert not living(run)


def test_only_the_named_mini_slide_is_skipped_and_a_stopped_night_goes_on(
    undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = write_configuration(tmp_path, control=CONTROL)
    with running("scan", config, "--run", run, output=tmp_path / "out") as night:
        until((run / "endpoints.json").exists, "the night did not begin", NIGHT_S)
        stands(run, lambda told: told.slide == 1)
        order(run, "pause")
        stands(run, lambda told: told.state == "paused")
        status, told = said(lamelle("skip", run, "--slide", "2"))
        assert (status, told) == (1, "mini-slide 2 is not being scanned, mini-slide 1 is")
        assert said(lamelle("skip", run, "--who", "anna"))[0] == 0
        assert said(lamelle("stop", run)) == (
            0,
            "the night stops safely at the next field boundary; go on with --resume",
        )
        assert night.wait(NIGHT_S) == Exit.INTERRUPTED
    assert said(lamelle("status", run))[0] == 2
    deaf = write_configuration(tmp_path, alerts={"disk_gb": 0.5}, control={"endpoint": None})
    resumed = lamelle("scan", deaf, "--run", run, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert digest(run) == undisturbed[1]
    assert load(run / "run.yaml") == load(deaf), "who steers and who is told is as it was said last"
    (goes_on,) = [message for name, message in events(run) if name == "night resumed"]
    assert goes_on.endswith("; changed in its configuration: alerts.disk_gb, control.endpoint")


def test_a_pause_outlives_a_crash_and_a_skip_leaves_the_rest(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = write_configuration(tmp_path, control=CONTROL)
    with running("scan", config, "--run", run, output=tmp_path / "out") as night:
        until((run / "endpoints.json").exists, "the night did not begin", NIGHT_S)
        stands(run, lambda told: told.slide == 1)
        order(run, "pause")
        stands(run, lambda told: told.state == "paused")
        night.kill()
    with running("scan", config, "--run", run, "--resume", output=tmp_path / "out") as night:
        stands(run, lambda told: told.reason.startswith(f"{ANNA} keeps the night paused"))
        order(run, "resume")
        stands(run, lambda told: told.slide is not None)
        skipped = order(run, "status").slide
        assert order(run, "skip", skipped).accepted
        assert night.wait(NIGHT_S) == Exit.SKIPPED, (tmp_path / "out").read_text("utf-8")
    with Dataset.open(run) as dataset:
        left = [field for field in dataset.fields() if isinstance(field, FieldSkipped)]
    assert {field.slide for field in left} == {skipped}
    assert {(field.reason_code, field.who, field.reason) for field in left} == {
        (ReasonCode.BY_ORDER, ANNA, f"skipped by {ANNA}")
    }
    assert summarise(run).complete


def test_a_night_that_takes_no_orders_says_so(undisturbed: tuple[Path, Digest]) -> None:
    status, told = said(lamelle("status", undisturbed[0]))
    assert status == 2
    assert "no night runs in" in told
    assert said(lamelle("status", "nowhere"))[0] == 2
