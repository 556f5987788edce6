"""How a night ended, in one sentence and one colour, and what of it needs a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from daemon.dataset.summary import alike_events
from daemon.records.events import EventName
from daemon.records.records import Event
from daemon.records.states import NightState
from daemon.report.numbers import NightNumbers
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.system.process_table import read_processes

Tone = Literal["good", "warning", "bad", "running"]


@dataclass(frozen=True)
class RunFolderStanding:
    """What a run folder says of its night beside the records: whether its process lives, its last state, and why.

    `state` is None of a night that has not said anything yet.
    """

    alive: bool
    state: NightState | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """How it went, whether that is well, and what a person should do, the most urgent first."""

    sentence: str
    tone: Tone
    needs: tuple[str, ...]


def standing_of(run: Path) -> RunFolderStanding | None:
    """Ask a run folder how its night stands; None where the folder is none."""
    if not RunFolder(run).journal.exists():
        return None
    supervisor = read_processes(run).get("supervisor")
    alive = supervisor is not None and supervisor.find() is not None
    try:
        heartbeat = read_heartbeat(run)
    except (OSError, msgspec.DecodeError):  # a night that has not said anything yet
        return RunFolderStanding(alive, None, "")
    return RunFolderStanding(alive, heartbeat.state, heartbeat.reason)


def judge(numbers: NightNumbers, standing: RunFolderStanding | None, faults: int) -> Verdict:
    """Judge a night.

    Parameters
    ----------
    standing
        of its run folder, if that is at hand.
    faults
        gaps and duplicates of the dataset.
    """
    sentence, tone = _ending(numbers, standing)
    needs = tuple(_needs(numbers, standing, faults))
    if faults and tone != "running":
        tone = "bad"
    return Verdict(sentence, tone, needs)


def _ending(numbers: NightNumbers, standing: RunFolderStanding | None) -> tuple[str, Tone]:
    skipped, waiting = len(numbers.skipped), numbers.not_analysed
    done = f"{numbers.recorded + skipped} of {numbers.planned} fields are done"
    undelivered = standing is not None and standing.state is NightState.NOT_DELIVERED and not standing.alive
    if numbers.closed:
        if undelivered:
            return "Complete here, but not all is delivered.", "bad"
        if not skipped and not waiting:
            return "Complete.", "good"
        parts = [_fields(skipped, "skipped")] if skipped else []
        parts += [_fields(waiting, behind="not analysed yet")] if waiting else []
        return f"Complete, with {' and '.join(parts)}.", "warning"
    if standing is not None and standing.alive:
        if standing.state is NightState.PAUSED:
            return f"Paused: {standing.reason}. {done}.", "warning"
        return f"Still running: {done}.", "running"
    last = _last(numbers, lambda event: event.ending is not None)
    # What was told last may wait in the run folder; the heartbeat says it too.
    state = last.ending if last is not None else standing.state if standing is not None else None
    match state:
        case NightState.INTERRUPTED:
            return f"Stopped by a person: {done}.", "warning"
        case NightState.TERMINATED:
            return f"Ended by the system, as a shutdown or the end of a service does: {done}.", "warning"
        case NightState.NOT_DELIVERED:
            return f"Not all was delivered: {done}.", "bad"
        case NightState.STOPPED:
            why = last.message if last is not None else "its log says which"
            return f"Stopped by a fault: {why}. {done}.", "bad"
        case NightState.REFUSED:
            why = standing.reason if standing is not None and standing.reason else "its log says why"
            return f"Could not begin: {why}. {done}.", "bad"
    if standing is not None:
        return f"Ended without a word, as a killed process or a power cut does: {done}.", "bad"
    return f"Not complete: {done}. The night still runs, or was stopped, where its run folder is.", "warning"


def _needs(numbers: NightNumbers, standing: RunFolderStanding | None, faults: int) -> Iterator[str]:
    """Give what a person should do; nothing of what the night has dealt with itself."""
    unsafe = _last(numbers, lambda event: event.name is EventName.NOT_SAFE)
    if unsafe is not None:
        yield f"See to the microscope at once: {unsafe.message}."
    if faults:
        yield f"The dataset has {faults} gaps or duplicates: `lamelle inspect` names what is missing."
    if standing is not None and standing.state is NightState.NOT_DELIVERED and not standing.alive:
        yield f"Not all is delivered: {standing.reason}."
    elif not numbers.closed and not (standing is not None and standing.alive):
        yield "Go on with it: `lamelle scan CONFIG --run DIR --resume`, once what stopped it is put right."
    if numbers.not_analysed:
        yield f"Have {_fields(numbers.not_analysed)} analysed that still are to be: `lamelle analyse DIR`."
    for slide in numbers.slides:
        if slide.recorded > slide.not_analysed and not slide.total.number and slide.closed:
            yield f"Look at mini-slide {slide.slide}, {slide.sample}: nothing was found in {_fields(slide.recorded)}."
    yield from _calibrate([e.message for e in numbers.events if e.name is EventName.CALIBRATION and e.level != "info"])
    grave = [event for event in numbers.events if event.name in _ACTIONS and event.level != "info"]
    for same in alike_events(grave):
        last = same[-1]
        slides = sorted({event.slide for event in same if event.slide is not None})
        where = f" (mini-slide {', '.join(map(str, slides))})" if slides else ""
        yield f"{_ACTIONS[last.name]}: {last.message}{where}."


_ACTIONS = {
    EventName.SLIDE_LEFT: "Look at a mini-slide that was left early",
    EventName.DIM_FIELD: "Decide about a dim field, which is counted here",
    EventName.OIL_LOST: "Look at immersion oil and lamp",
    EventName.DETECTOR_LOST: "Look at the graphics card",
}
"""What to do after events that need a person the next morning."""


def _calibrate(complaints: list[str]) -> Iterator[str]:
    """Tell one complaint as it is, and of many how many there are: the end of a report names them."""
    distinct = list(dict.fromkeys(complaints))
    if len(distinct) == 1:
        yield f"Calibrate: {distinct[0]}."
    elif distinct:
        yield f"Calibrate: {len(distinct)} complaints about calibrations are told at the end."


def _last(numbers: NightNumbers, wanted: Callable[[Event], bool]) -> Event | None:
    """Give the last of the events that are wanted, if no field came after it."""
    found = [event for event in numbers.events if wanted(event)]
    if not found or any(field.utc > found[-1].utc for field in numbers.fields):
        return None
    return found[-1]


def _fields(count: int, before: str = "", behind: str = "") -> str:
    """Write `3 skipped fields`, or `1 field not analysed yet`."""
    return " ".join(filter(None, (str(count), before, "field" if count == 1 else "fields", behind)))
