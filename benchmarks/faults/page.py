"""The page docs/faults.md: what becomes of a night with each fault, as the nights of the list went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.faults.checks import CHECKS
from benchmarks.faults.listing import FAULTS, Fault
from benchmarks.faults.night import Outcome
from benchmarks.faults.world import FOR_GOOD_S
from daemon.records.events import EventName
from daemon.system.progress import duration

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
LENGTHS = {"1 s": 1.0, "30 s": 30.0, "for good": FOR_GOOD_S}
WIRE, ONCE = "over the bridge", "once"
MOST_TOLD = 40
"""So many events are told of one fault at most, however long it lasts."""
Row = Mapping[str, Outcome]
"""What became of a fault: by its length, over the bridge, or once."""
HEAD = """# What happens if ...

... a shutter is closed by hand, the joystick is touched, a cable is pulled, Micro-Manager is gone? lamelle waits for
an instrument that is out of order, light off, and goes on by itself; a short fault costs no field. What lasts for hours
ends the night, safe, with a sentence that says what to put right; `lamelle scan CONFIG --run DIR --resume` goes on from
there. How long it waits stands under `retry` in [configuration.md](configuration.md); what is told of it, in
[events.md](events.md).

This page is made by `python -m benchmarks.faults --write docs/faults.md`; `make long` tests that it is so. Each cell is
a whole night of two mini-slides with four fields each, on demo devices of a real Micro-Manager core; its hours are
simulated. Each fault begins at a field that a seed chooses, and lasts for 1 s, for 30 s, or for good; *over the bridge*
it lasts for 30 s, and true sockets lie between lamelle and the core. A witness below the faults notes every frame:
**each recorded one was exposed where, at the height, in the polarization and for as long as is recorded, the shutter
open**, unless a row says otherwise. In pauses the shutter was closed.

- **no field lost**: all eight fields are recorded. *Taken 3 times* is how often the field that met the fault was
  exposed, *paused 34 s* how long the night stood still with the light off.
- **ended, safe**: after eight hours of trying; shutter closed, lamp off, objective withdrawn. *1 field skipped*: a
  stage that does not reach one place may reach the next, so a field is skipped before the night waits; `--resume` takes
  it again.
- **not safe, told**: what does not answer cannot be seen to be safe. That is told at once, and again after ten minutes
  in which it was tried again and again.
- **what an operator had set before is not set again**: camera, exposure, automatic shutter, polarization. The process
  that knew it has died, or was ended because it could not make the instrument safe.
- **What is not seen**: that the lamp has failed is known by the sweep before, or by crossed and parallel light beside
  each other. A night with one polarization whose light is out from its first field on takes that for empty fields, as
  `lamelle check` notes.
- F1 to F20 are findings at real instruments.
"""


def write(rows: Sequence[tuple[Fault, Row]], checks: Mapping[str, str]) -> str:
    """Write the page."""
    lines = [HEAD]
    lengths = (*LENGTHS, WIRE)
    lines += ["## Faults of a running night", "", f"| fault | part | {' | '.join(lengths)} |", "|---" * 6 + "|"]
    for fault, row in rows:
        if fault.lasts:
            cells = [told(row[length], fault) if length in row else "-" for length in lengths]
            lines.append(f"| {_named(fault.name, fault.rows)} | {fault.part} | {' | '.join(cells)} |")
    lines += [
        "",
        "## What is so from the start on",
        "",
        "| what | part | what becomes of it | over the bridge |",
        "|---" * 4 + "|",
    ]
    for fault, row in rows:
        if not fault.lasts:
            bridged = told(row[WIRE], fault) if WIRE in row else "-"
            same = "the same" if bridged == told(row[ONCE], fault) else bridged
            lines.append(f"| {_named(fault.name, fault.rows)} | {fault.part} | {told(row[ONCE], fault)} | {same} |")
    lines += [
        "",
        "## What is tried once, without a night",
        "",
        "| what | part | what becomes of it |",
        "|---" * 3 + "|",
    ]
    lines += [f"| {_named(one.name, one.rows)} | {one.part} | {checks[one.name]} |" for one in CHECKS]
    unseen = [fault for fault, _ in rows if fault.unseen]
    if unseen:
        lines += ["", "## What no device says", ""]
        lines += [f"- **{fault.name}**: {fault.unseen}." for fault in unseen]
    return "\n".join(lines) + "\n"


def _named(name: str, rows: Sequence[str]) -> str:
    return f"{name} ({', '.join(rows)})" if rows else name


def told(outcome: Outcome, fault: Fault) -> str:
    """Say in a few words what became of a night."""
    if outcome.refused:
        return f"refused: *{outcome.refused}*"
    parts = []
    if outcome.stopped:
        sentence = outcome.stopped.partition("; that has lasted")[0]
        end = "ended, safe" if outcome.safe else "ended, not safe, told"
        parts.append(f"{end}, after {outcome.hours:.0f} h: *{sentence}*")
    elif not outcome.safe:
        parts.append("not safe in the end, told")
    if outcome.skipped:
        parts.append(f"{len(outcome.skipped)} {'field' if len(outcome.skipped) == 1 else 'fields'} skipped")
    elif not outcome.stopped:
        parts.append("no field lost")
    if outcome.tries > 1:
        parts.append(f"taken {outcome.tries} times")
    if outcome.paused_s and not outcome.stopped:
        parts.append(f"paused {duration(sum(outcome.paused_s))}")
    if fault.unseen:
        names = (EventName.DIM_FIELD, EventName.OIL_LOST, EventName.LAMP_DIM, EventName.FOCUS_NOT_FOUND)
        heard = [name.value for name in names if outcome.messages(name)]
        parts.append(f"told: {', '.join(heard)}" if heard else "nothing is told")
    noted = outcome.messages(EventName.MICROSCOPE_NOTED)
    if noted:
        parts.append(f"noted: *{'; '.join(noted)}*")
    if not outcome.given_back and not outcome.stopped:
        parts.append("what an operator had set before is not set again")
    if outcome.strange:
        parts.append("**frames are not as recorded**")
    return "; ".join(parts)


def problems(fault: Fault, length: str, outcome: Outcome) -> Iterator[str]:
    """Say what of a night is not as it is promised."""
    if outcome.strange and not fault.unseen:
        yield from outcome.strange
    another_process = fault.ends_process or outcome.messages(EventName.NOT_SAFE)
    if not (outcome.given_back or outcome.stopped or another_process):
        yield "what an operator had set before is not set again"
    if len(outcome.told) > MOST_TOLD:
        yield f"{len(outcome.told)} events are told"
    if length in ("1 s", "30 s", WIRE) and fault.lasts:
        if outcome.refused or outcome.stopped:
            yield outcome.refused or outcome.stopped
        if outcome.skipped:
            yield f"{len(outcome.skipped)} fields are lost: {outcome.skipped[0]}"
    if length == "for good" and outcome.stopped:
        errors = [at_s for at_s, level, name, _ in outcome.told if (level, name) == ("error", EventName.FAULT)]
        if len(errors) > outcome.hours + 3:
            yield f"{len(errors)} errors are told in {outcome.hours:.1f} h"
        if len(outcome.messages(EventName.PAUSED)) > 2:
            yield f"it paused {len(outcome.messages(EventName.PAUSED))} times"


def by_name(name: str) -> Fault:
    """Find a fault."""
    return next(fault for fault in FAULTS if fault.name == name)
