"""What `lamelle calibrate --list` shows: the routines, or the records and which of them a night would use."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.calibration_runs.routines import ROUTINES
from daemon.calibration_store.quantities import told
from daemon.calibration_store.shelf import Kept, Shelf, choose
from daemon.config.model import NightConfig

VALUES_SHOWN = 4


def render(config: NightConfig, routine: str | None, now: datetime | None = None, width: int = 130) -> str:
    """Table of the records, the newest first, of one routine or of all; those a night would use are marked."""
    now = now or datetime.now(UTC)
    choice = choose(config, now)
    table = Table("", "record", "verdict", "age", "valid until", "values", title="Calibrations", box=box.ASCII)
    shelf = Shelf(config.calibration.folder)
    kept = [one for one in shelf.kept() if routine in (None, one.routine)]
    for one in kept:
        table.add_row("*" if one.name in choice.names else "", *map(Text, _cells(shelf.sound(one), now)))
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    if kept:
        console.print(table, markup=False)
        console.print("* used by a night that begins now", markup=False)
    for complaint in choice.complaints:
        if routine in (None, complaint.routine):
            console.print(f"{complaint.fault}: {complaint.message}", markup=False, soft_wrap=True)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue().rstrip()


def routines() -> str:
    """Give a line for each routine that can be run: its name and what it finds."""
    width = max(map(len, ROUTINES)) + 2
    return "\n".join(f"{name:<{width}}{procedure.about}" for name, procedure in ROUTINES.items())


def _cells(kept: Kept, now: datetime) -> tuple[str, ...]:
    record = kept.record
    if record is None:
        return kept.name, "damaged", "", "", kept.damage
    values = [f"{name} {told(quantity)}" for name, quantity in record.values.items()]
    shown = "\n".join([*values[:VALUES_SHOWN], *(["..."] if len(values) > VALUES_SHOWN else [])])
    until = f"{record.valid_until:%Y-%m-%d}" + (", expired" if record.valid_until < now else "")
    return kept.name, record.verdict, _age(now - record.taken), until, shown if record.usable else record.reason


def _age(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds())) // 60
    if minutes >= 2 * 24 * 60:
        return f"{minutes // (24 * 60)} d"
    return f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"
