"""How far the night is, for people: a live line on a terminal, plain lines now and then anywhere else."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from inference.wording import counted

if TYPE_CHECKING:
    from inference.training.train import Progress as StageProgress

T = TypeVar("T")

PLAIN_EVERY_S = 30.0
PATIENCE_S = 2.0


@dataclass(frozen=True)
class NightProgress:
    """How far the night is: fields of the plan, and `again_made` of `again_ordered` that are taken again.

    `seconds_left` is None while nobody can tell; `state` is empty while all is well.
    """

    planned: int
    secured: int
    skipped: int
    objects: int
    fields_per_s: float
    seconds_left: float | None
    slide: int | None
    sample: str = ""
    state: str = ""
    again_ordered: int = 0
    again_made: int = 0


class ProgressDisplay:
    """Shows a night's progress; a context manager.

    Parameters
    ----------
    console
        where to. On a terminal one line is redrawn; elsewhere a line is printed at most every `plain_every_s`, and
        whenever the state or the slide changes.
    """

    def __init__(self, console: Console, plain_every_s: float = PLAIN_EVERY_S) -> None:
        self._console = console
        self._every_s = plain_every_s
        self._printed: tuple[float, str, int | None] | None = None
        self._live: Progress | None = None
        self._latest: NightProgress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=24), _RateColumn(), console=self._console
            )
            self._task = self._live.add_task("starting", total=None)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._latest is not None:
            self._console.print(describe(self._latest), markup=False, highlight=False, soft_wrap=True)

    def show(self, progress: NightProgress) -> None:
        """Show how far the night is now; cheap, may be called several times a second."""
        self._latest = progress
        done = progress.secured + progress.skipped + progress.again_made
        if self._live is not None:
            where = escape(_where(progress))
            total = progress.planned + progress.again_ordered
            self._live.update(self._task, description=where, completed=done, total=total, progress=progress)
            return
        now = time.monotonic()
        changed = self._printed is None or self._printed[1:] != (progress.state, progress.slide)
        if changed or (self._printed is not None and now - self._printed[0] >= self._every_s):
            self._printed = (now, progress.state, progress.slide)
            self._latest = None
            self._console.print(describe(progress), markup=False, highlight=False, soft_wrap=True)

    def print_line(self, line: str) -> None:
        """Print a line that stays, above the live one."""
        console = self._live.console if self._live is not None else self._console
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def describe(progress: NightProgress) -> str:
    """One plain line."""
    return f"{_where(progress)}: {_figures(progress)}"


def duration(seconds: float) -> str:
    """Hours, minutes, seconds as people write them: `1 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def pace(fields_per_s: float) -> str:
    """Write how fast a night goes on, in the one unit in which people are told: `13.2 fields a minute`."""
    return f"{60 * fields_per_s:.1f} fields a minute"


def follow(items: Iterable[T], total: int, what: str, console: Console, patience_s: float = PATIENCE_S) -> Iterator[T]:
    """Give the items on, and show how far that is as a `CountDisplay` does."""
    with CountDisplay(what, console, patience_s) as counter:
        for done, item in enumerate(items):
            counter.show(done, total)
            yield item


class _LiveLine:
    """A line kept up to date: with a bar on a terminal, else printed now and then; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = -math.inf
        self._live: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def print_line(self, line: str) -> None:
        """Print a line that stays, above the live one."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _print(self, line: str, done: int, total: int | None, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._console.is_terminal:
            self._live = self._live or _start_live(self._console, total)
            self._live.update(self._live.task_ids[0], completed=done, total=total, description=escape(line))
        elif at_once or now - self._told > PLAIN_EVERY_S / 3:
            self._told = now
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class CountDisplay(_LiveLine):
    """Shows count, rate and time left of anything that takes longer than `patience_s`; a context manager."""

    def __init__(self, what: str, console: Console, patience_s: float = PATIENCE_S) -> None:
        super().__init__(console)
        self._what = what
        self._patience_s = patience_s
        self._began = time.monotonic()

    def show(self, done: int, total: int | None = None) -> None:
        """Show that so many are done, of so many if that is known; cheap."""
        took = time.monotonic() - self._began
        if done and took > self._patience_s:
            rate = done / took
            counts, left = f"{done}", ""
            if total is not None:
                counts, left = f"{done}/{total}", f", {duration((total - done) / rate)} left"
            self._print(f"{self._what}: {counts}, {rate:.1f}/s{left}", done, total)


class StageDisplay(_LiveLine):
    """Shows how far each stage of a piece of work is, as `follow` does; a context manager."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._stage = ""

    def show(self, progress: StageProgress) -> None:
        """Show how far a stage is now; cheap."""
        line = (
            f"{progress.stage}: {progress.done}/{progress.total}, {progress.per_second:.1f}/s, "
            f"{duration(progress.seconds_left)} left"
        )
        if progress.loss is not None:
            line += f", loss {progress.loss:.3f}"
        at_once = progress.stage != self._stage or progress.done == progress.total
        self._stage = progress.stage
        self._print(line, progress.done, progress.total, at_once)


class ShotsDisplay(_LiveLine):
    """Shows how far a calibration is, which does not know its end; a context manager."""

    def __init__(self, routine: str, console: Console) -> None:
        super().__init__(console)
        self._routine = routine
        self._began = time.monotonic()

    def show(self, shots: int, frames: int) -> None:
        """Show that so many shots, of so many frames, are taken; cheap."""
        took = max(time.monotonic() - self._began, 1e-3)
        line = f"{self._routine}: {shots} shots, {frames} frames, {frames / took:.1f} frames/s, {duration(took)}"
        self._print(line, shots, None)


def _start_live(console: Console, total: int | None) -> Progress:
    live = Progress(TextColumn("{task.description}"), BarColumn(bar_width=24), console=console, transient=True)
    live.add_task("", total=total)
    live.start()
    return live


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        progress: NightProgress | None = task.fields.get("progress")
        return Text("" if progress is None else _figures(progress))


def _where(progress: NightProgress) -> str:
    if progress.slide is None:
        return "night"
    return f"slide {progress.slide} {progress.sample}".rstrip()


def _figures(progress: NightProgress) -> str:
    parts = [f"{progress.secured + progress.skipped}/{progress.planned} fields"]
    if progress.skipped:
        parts.append(f"{progress.skipped} skipped")
    if progress.again_ordered:
        parts.append(f"{progress.again_made}/{progress.again_ordered} taken again")
    parts += [counted(progress.objects, "object"), pace(progress.fields_per_s)]
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.state:
        parts.append(progress.state)
    return ", ".join(parts)


def ranges(numbers: list[int]) -> str:
    """Write ascending numbers as people do: `2, 5-9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
