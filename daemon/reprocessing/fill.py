"""A dataset that is filled from stacks on disk: begun, gone on with after an interruption, and closed.

Workers read, analyse and write; this process alone commits to the catalog, in the order of the requests. So whatever is
killed at any moment, the same command goes on behind the last field that was committed.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console

from daemon.analysis.naming import told_nameless
from daemon.config.loading import changes
from daemon.config.samples import SAMPLE
from daemon.dataset.catalog import Catalog, only_recorder_of
from daemon.protocols.pipes import CutField, FieldCut
from daemon.records.events import EventName, ReasonCode, SkipReason
from daemon.records.faults import unmeasured
from daemon.records.names import CATALOG
from daemon.records.records import (
    AnyRecord,
    Event,
    FieldSecured,
    FieldSkipped,
    NightClosed,
    NightStarted,
    SlideClosed,
    encode,
)
from daemon.reprocessing.archive import ArchiveSettings
from daemon.reprocessing.pool import working
from daemon.reprocessing.worker import Work, skipped
from daemon.system import crash_points
from daemon.system.durable_files import make_folder
from daemon.system.errors import Exit, NightStopped, Refused, RequestFailed
from daemon.system.extras import require
from daemon.system.logbook import Logbook
from daemon.system.process_table import end_stale
from daemon.system.progress import NightProgress, ProgressDisplay

_UNNAMED: dict[str, Any] = {"classifier": {"sha256": None, "rule": None}, "taxonomy": None}
"""What stands in the configuration of a dataset only where its objects are named."""


def fill(
    work: Work,
    requests: Sequence[CutField],
    workers: int | None,
    console: Console,
    events: Sequence[Event] = (),
) -> Exit:
    """Fill a dataset that begins with `work.started` with one field for each request, or go on with that.

    Parameters
    ----------
    workers
        processes side by side; one for each core if None.
    events
        what is told first, of what lies where the fields come from; what is left out there is no complete dataset.

    Raises
    ------
    Refused
        The folder holds another dataset, or is in use.
    """
    into = work.into
    count, settings = staffed(work.settings, workers)
    if into.is_file():
        raise Refused(f"{into} is a file; name a folder with --into")
    if not (into / CATALOG).exists() and any(into.glob("slide-*/*")):
        raise Refused(f"{into} holds slides but no {CATALOG}; restore it, or choose another --into")
    make_folder(into)
    with only_recorder_of(into), closing(Catalog(into)) as catalog:
        work = replace(work, settings=settings, started=_begin(catalog, work.started, into))
        end_stale(into)  # workers whose parent was killed end by themselves, but not at once
        crash_points.arm(into)
        with Logbook(into, "detect"), ProgressDisplay(console) as display:
            filling = _Filling(catalog, work, requests, count, display)
            filling.tell(events)
            status = conclude(filling.run(), display.print_line)
    left_out = any(event.name is EventName.LEFT_OUT for event in events)
    return Exit.SKIPPED if status is Exit.COMPLETE and left_out else status


def not_named(why: str) -> Event:
    """Make the event that tells, once, that objects get no names."""
    message = told_nameless(why)
    return Event(
        utc=time.time(), level="warning", name=EventName.NOT_NAMED, message=message, monotonic_s=time.monotonic()
    )


def conclude(running: Coroutine[Any, Any, Exit], print_line: Callable[[str], None]) -> Exit:
    """Run to the end, or to an interruption or a fault, which is told."""
    try:
        return asyncio.run(running)
    except KeyboardInterrupt:
        print_line("interrupted; the same command goes on")
        return Exit.INTERRUPTED
    except (NightStopped, RequestFailed, OSError, sqlite3.OperationalError) as error:
        print_line(f"stopped: {error}; the same command goes on")
        return Exit.FAULT


def staffed(settings: ArchiveSettings, workers: int | None) -> tuple[int, ArchiveSettings]:
    """Give the number of workers, and the settings with the threads of each: as many as cores, all together.

    Raises
    ------
    ExtraMissing
        This installation has no detector.
    """
    require("detector")
    threads = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    count = workers or threads
    detector = settings.detector.model_copy(update={"threads": max(1, threads // count)})
    return count, settings.model_copy(update={"detector": detector})


def _begin(catalog: Catalog, started: NightStarted, into: Path) -> NightStarted:
    """Begin the dataset, or return how it was begun."""
    before = catalog.started()
    if before is None:
        catalog.commit(1, encode(started))
        return started
    if before.night == started.night:
        return before
    old, new = yaml.safe_load(before.configuration), yaml.safe_load(started.configuration)
    if isinstance(old, dict):
        old, new = _UNNAMED | old, _UNNAMED | new
    if not isinstance(old, dict) or old.keys() != new.keys():
        raise Refused(f"{into} holds {before.night!r}, which is something else; choose another --into")
    if before.weights_sha256 != started.weights_sha256:
        raise Refused(f"{into} was begun with other weights ({before.weights_sha256[:12]}); choose another --into")
    key, was, now = next(iter(changes("", old, new)), ("night", before.night, started.night))
    raise Refused(f"{into} was begun with {key} {was!r}, now it is {now!r}; give the same again, or another --into")


class _Filling:
    """A dataset on its way."""

    def __init__(
        self, catalog: Catalog, work: Work, requests: Sequence[CutField], workers: int, display: ProgressDisplay
    ) -> None:
        self._catalog = catalog
        self._work = work
        self._display = display
        states = catalog.states()
        self._planned = len(requests)
        self._requests = [each for each in requests if (each.planned.slide, each.planned.field) not in states]
        self._left = Counter(each.planned.slide for each in self._requests)
        self._workers = max(1, min(workers, len(self._requests)))
        self._kinds = {
            kind: Counter(s for (s, _), k in states.items() if k == kind) for kind in ("recorded", "skipped")
        }
        self._before = len(states)
        self._objects = catalog.counted()
        self._nameless = False
        self._began = time.monotonic()

    def tell(self, events: Sequence[Event]) -> None:
        """Commit what was not told before, and print it if it is a warning."""
        if self._catalog.night_closed():
            return
        before = {(event.name, event.message, event.names) for event in self._catalog.events()}
        for event in events:
            if (event.name, event.message, event.names) not in before:
                self._append(event)
                if event.level != "info":
                    self._display.print_line(f"{event.title}: {event.sentence}")

    async def run(self) -> Exit:
        """Commit what is missing, in order, and close slides and dataset."""
        for slide in self._work.started.planned:
            self._close_if_whole(slide)
        if self._requests:
            async with working(self._work, self._workers) as crew, aclosing(crew.answers(self._requests)) as answers:
                self._began = time.monotonic()
                async for request, answer in answers:
                    self._take(request, answer)
        skipped, recorded = self._kinds["skipped"].total(), self._kinds["recorded"].total()
        if not self._catalog.night_closed():
            self._append(NightClosed(utc=time.time(), recorded=recorded, skipped=skipped))
        return Exit.SKIPPED if skipped else Exit.COMPLETE

    def _take(self, request: CutField, answer: FieldCut | str) -> None:
        """Commit a field; where there is no answer, why it is skipped."""
        if isinstance(answer, str):
            why = SkipReason(ReasonCode.ANALYSIS_FAILED, answer)
            record = skipped(request.planned, why, dict.fromkeys(request.planned.names, ""))
            answer = FieldCut(record=record)
        field = answer.record
        assert isinstance(field, FieldSecured | FieldSkipped)
        if answer.nameless and not self._nameless:
            self._nameless = True
            self.tell([not_named(answer.nameless)])
        crash_points.reach("file without catalog")
        self._append(field)
        self._left[field.slide] -= 1
        if isinstance(field, FieldSecured):
            if told := unmeasured(field.objects):
                self._display.print_line(f"{request.planned.names[0]}: {told}")
            self._kinds["recorded"][field.slide] += 1
            self._objects += len(field.counted_objects)
        else:
            self._kinds["skipped"][field.slide] += 1
            self._display.print_line(f"{request.planned.title} is skipped: {field.reason}")
        self._close_if_whole(field.slide)
        self._show(field.slide, field.sample)

    def _close_if_whole(self, slide: int) -> None:
        if self._left[slide] == 0 and not self._catalog.closed(slide):
            sample = self._work.started.samples[slide][SAMPLE]
            recorded, skipped = self._kinds["recorded"][slide], self._kinds["skipped"][slide]
            closed = SlideClosed(utc=time.time(), slide=slide, sample=sample, recorded=recorded, skipped=skipped)
            self._append(closed)

    def _append(self, record: AnyRecord) -> None:
        self._catalog.commit(self._catalog.last_seq() + 1, encode(record))

    def _show(self, slide: int, sample: str) -> None:
        recorded, skipped = self._kinds["recorded"].total(), self._kinds["skipped"].total()
        done = recorded + skipped
        rate = (done - self._before) / max(time.monotonic() - self._began, 1e-3)
        self._display.show(
            NightProgress(
                planned=self._planned,
                secured=recorded,
                skipped=skipped,
                objects=self._objects,
                fields_per_s=rate,
                seconds_left=(self._planned - done) / rate,
                slide=slide,
                sample=sample,
            )
        )
