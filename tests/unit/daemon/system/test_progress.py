"""Progress: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from daemon.system.progress import NightProgress, ProgressDisplay, duration

START = NightProgress(
    planned=96, secured=3, skipped=0, objects=41, fields_per_s=0.75, seconds_left=124, slide=1, sample="core [1]"
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3905, "1 h 05 min")],
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_come_with_news_and_at_the_end() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, width=60), plain_every_s=3600) as display:
        for secured in range(3, 9):
            display.show(replace(START, secured=secured))
        display.show(replace(START, secured=9, state="paused: spool full"))
        display.show(replace(START, secured=9))
        display.print_line("event: [red]stage stuck")
        display.show(replace(START, secured=12, skipped=1, slide=2, seconds_left=None))
        display.show(replace(START, secured=95, skipped=1, slide=2, seconds_left=0))
    assert out.getvalue().splitlines() == [
        "slide 1 core [1]: 3/96 fields, 41 objects, 45.0 fields a minute, 2 min 04 s left",
        "slide 1 core [1]: 9/96 fields, 41 objects, 45.0 fields a minute, 2 min 04 s left, paused: spool full",
        "slide 1 core [1]: 9/96 fields, 41 objects, 45.0 fields a minute, 2 min 04 s left",
        "event: [red]stage stuck",
        "slide 2 core [1]: 13/96 fields, 1 skipped, 41 objects, 45.0 fields a minute",
        "slide 2 core [1]: 96/96 fields, 1 skipped, 41 objects, 45.0 fields a minute, 0 s left",
    ]


def test_a_terminal_shows_one_live_line() -> None:
    out = io.StringIO()
    console = Console(file=out, width=140, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    with ProgressDisplay(console) as display:
        display.show(START)
        display.print_line("told")
        display.show(replace(START, secured=9, state="paused: spool full"))
    shown = out.getvalue()
    assert "slide 1 core [1]" in shown
    assert "9/96 fields, 41 objects, 45.0 fields a minute, 2 min 04 s left, paused: spool full" in shown
    assert "told" in shown
