"""A night that version 0.1.0 left unfinished goes on; whoever had paused it still does, by the whole name."""

from __future__ import annotations

from pathlib import Path

from daemon.dataset.held import FieldTotals
from daemon.dataset.summary import summarise
from daemon.live.order_client import give_order
from daemon.protocols.control import Answer
from daemon.records.events import EventName
from daemon.records.states import EndedBy, NightState
from daemon.run_folder.endpoints import find_endpoint
from daemon.system.errors import Refused
from tests.support.deadlines import NIGHT_S
from tests.support.earlier_run import ANNA, copy_of
from tests.support.emulated_night import living, running
from tests.support.small_night import until


def test_a_paused_night_of_before_is_resumed_and_completed(tmp_path: Path) -> None:
    run, config = copy_of("interrupted", tmp_path)
    answers: list[Answer] = []

    def paused() -> bool:
        try:
            answers.append(give_order(find_endpoint(str(run), "control"), None, "status", "ben"))
        except Refused:  # the night is not there yet
            return False
        return answers[-1].state is NightState.PAUSED

    with running("scan", config, "--run", run, "--resume", output=tmp_path / "out") as night:
        until(paused, "the night is not paused", NIGHT_S)
        assert answers[-1].reason.startswith(f"{ANNA} keeps the night paused")
        assert give_order(find_endpoint(str(run), "control"), None, "resume", "ben").accepted
        assert night.wait(NIGHT_S) == 0, (tmp_path / "out").read_text("utf-8")
    summary = summarise(run)
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    assert summary.fields == FieldTotals(planned=6, recorded=6, skipped=0)
    ended = [event.by for event in summary.events if event.name is EventName.INTERRUPTED]
    assert ended == [EndedBy.SYSTEM]
    assert not living(run)
