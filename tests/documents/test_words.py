"""States and events that documents, alert rules, dashboard and page name are those there are, and none is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from daemon.protocols.watching import Tone
from daemon.records.events import EventName, ReasonCode
from daemon.records.states import EndedBy, NightState
from tests.support.places import ROOT

DOCS = ROOT / "docs"
PAGE = ROOT / "daemon" / "monitor" / "page"
SHARED = ROOT / "daemon" / "web" / "page"
WORD = re.compile(r"`([a-z][a-z ?]*)`")
MATCHED = re.compile(r'lamelle_night_state\{lamelle_night_state(=~?)"([^"]*)"\}')


def section(name: str) -> str:
    """Text of docs/events.md below a heading."""
    _, _, rest = (DOCS / "events.md").read_text("utf-8").partition(f"\n## {name}\n")
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Words of the first column of a table."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [word for row in rows for word in WORD.findall(row.split("|")[1])]


def row_of(page: str, begins: str) -> str:
    return next(line for line in (DOCS / page).read_text("utf-8").splitlines() if line.startswith(begins))


def once(words: Iterable[str], every: Iterable[StrEnum]) -> None:
    assert sorted(words) == sorted(every)


def test_every_state_is_documented_with_who_ends_it() -> None:
    rows = [line.split("|")[1:3] for line in section("States").splitlines() if line.startswith("| `")]
    told = {WORD.findall(state)[0]: WORD.findall(by) for state, by in rows}
    assert told == {state: [state.by] if state.by else [] for state in NightState}
    assert {by for (by,) in filter(None, told.values())} == {*EndedBy}


def test_every_event_and_every_reason_is_documented_once() -> None:
    events = section("Events")
    of_the_monitor = WORD.findall(events.partition("A monitor tells")[2])
    once([*first_cells(events), *of_the_monitor], EventName)
    once(first_cells(section("Why a field is skipped")), ReasonCode)


def test_lists_of_states_elsewhere_hold_them_all() -> None:
    watching = row_of("watching.md", "| `state` |").partition("(")[2]
    once([word for word in WORD.findall(watching) if word != "reason"], NightState)
    metrics = row_of("metrics.md", "| `lamelle_night_state` |").partition("does now:")[2]
    once(WORD.findall(metrics), NightState)


@pytest.mark.parametrize("page", ["control.md", "alerts.md", "report.md", "dataset.md", "protocol.md"])
def test_events_that_a_document_names_exist(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    named = [word for word in WORD.findall(text) if word.endswith((" ordered", " refused", "?"))]
    assert {*named} <= {*EventName}
    assert named or page != "control.md"


def expressions(content: Any) -> Iterable[str]:
    """Every `expr` in nested plain values."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from [value] if key == "expr" else expressions(value)
    elif isinstance(content, list):
        for value in content:
            yield from expressions(value)


@pytest.mark.parametrize("path", sorted((DOCS / "monitoring").iterdir()), ids=lambda path: path.name)
def test_rules_and_dashboard_name_states_that_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    found = [*expressions(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text))]
    named = {state for expr in found for _, states in MATCHED.findall(expr) for state in states.split("|")}
    assert named <= {*NightState}
    if path.name == "alerts.yml":
        assert named == {*NightState} - {NightState.STARTING, NightState.DELIVERING}


def test_a_night_that_ended_is_not_missed_by_the_rules() -> None:
    rules = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    missed = next(rule["expr"] for rule in rules if rule["alert"] == "NightNotHeard")
    once(MATCHED.findall(missed)[0][1].split("|"), [state for state in NightState if state.ended])


def test_the_page_knows_states_that_there_are_and_every_tone() -> None:
    compared: list[str] = []
    for script in PAGE.glob("*.js"):
        text = script.read_text("utf-8")
        compared += re.findall(r'state\?\.state === "([a-z ]+)"', text)
        for several in re.findall(r"\[([^\]]*)\]\.includes\([\w?.]*state\?\.state\)", text):
            compared += re.findall(r'"([a-z ]+)"', several)
    assert {"paused", "scanning"} <= {*compared} <= {*NightState}
    (moods,) = re.findall(r"const MOODS = \{([^}]*)\}", (SHARED / "words.js").read_text("utf-8"))
    assert sorted(re.findall(r"(\w+):", moods)) == sorted(get_args(Tone))
