"""Named points of a field's way at which a rehearsal kills processes, to prove that nothing is lost.

Armed by the environment variable `LAMELLE_CRASH`, `point|when|victims`: when the calling process reaches `point` for
the nth time, every process whose role stands among the comma-separated victims (`self`, a role of `processes.json` in
the run folder, or `all`) is killed without a chance to clean up. That happens once in a run folder: processes started
after it are not armed. Where `when` is a place, `slide/field` or `slide/field/object`, it happens whenever that is
reached, as with a stack that nothing survives. With `raise` for the victims an error is raised instead. Semicolons
separate several. Unarmed, a point costs next to nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import psutil

from daemon.system.process_table import read_processes

Point = Literal[
    "mid exposure",
    "frame announced",
    "analysis running",
    "measuring",
    "naming",
    "drawing",
    "spool written",
    "spool renamed",
    "journalled",
    "mid chunk",
    "file without catalog",
    "acknowledgement lost",
]
POINTS: tuple[Point, ...] = get_args(Point)
VARIABLE = "LAMELLE_CRASH"
STRUCK = "crash-rehearsed"
"""Name of the file that tells that the rehearsed crash has happened."""


@dataclass
class _Armed:
    point: str
    countdown: int
    place: tuple[int, ...] | None
    victims: tuple[str, ...]
    run: Path


_armed: tuple[_Armed, ...] = ()


def arm(run: Path) -> None:
    """Read `LAMELLE_CRASH` in a process that works for the run folder `run`; call once, at its start."""
    global _armed
    text = os.environ.get(VARIABLE)
    if text is not None and not (run / STRUCK).exists():
        _armed = tuple(_read(each, run) for each in text.split(";"))


def _read(text: str, run: Path) -> _Armed:
    point, when, victims = text.split("|")
    if point not in POINTS:
        raise ValueError(f"{VARIABLE} names the point {point!r}; choose one of {', '.join(POINTS)}")
    place = tuple(map(int, when.split("/"))) if "/" in when else None
    return _Armed(point, 0 if place else int(when), place, tuple(victims.split(",")), run)


def reach(point: Point, *place: int) -> None:
    """Mark that a named point is reached, at a place; kills the victims if it is an armed one.

    Raises
    ------
    RuntimeError
        This is rehearsed.
    """
    for armed in _armed:
        if armed.point == point:
            armed.countdown -= 1
            if armed.countdown == 0 if armed.place is None else armed.place == place:
                _strike(armed)


def _strike(armed: _Armed) -> None:
    if armed.victims == ("raise",):
        raise RuntimeError(f"rehearsed at {armed.point!r}")
    _kill(armed)


def _kill(armed: _Armed) -> None:
    if armed.place is None:
        (armed.run / STRUCK).touch()
    roles = {"self": os.getpid()} | {role: running.pid for role, running in read_processes(armed.run).items()}
    victims = set(roles) if "all" in armed.victims else set(armed.victims)
    pids = {pid for role, pid in roles.items() if role in victims}
    for pid in sorted(pids, key=lambda pid: pid == os.getpid()):
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()
