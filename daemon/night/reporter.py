"""What a night reports: records to the journal, and how it stands to everyone who follows it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from daemon.config.model import NightConfig
from daemon.config.samples import SAMPLE
from daemon.delivery.sender import SenderStatus
from daemon.live.standing import Standing
from daemon.live.summaries import notice_of
from daemon.night.audience import Audience
from daemon.night.handover import Handover
from daemon.night.status import NightStatus, standing_of
from daemon.night.totals import NightTotals
from daemon.protocols.pipes import Analysed
from daemon.protocols.watching import Hardware
from daemon.records.events import EventName, ReasonCode
from daemon.records.fields import PlannedField
from daemon.records.records import AnyRecord, AttemptsOrdered, Event, FieldSecured, FieldSkipped, SlideClosed
from daemon.records.states import EndedBy, NightState
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.progress import ProgressDisplay
from daemon.verdict.facts import FactsGatherer, Levels
from daemon.verdict.verdict import judge

BEAT_S = 1.0

_log = logging.getLogger(__name__)


class Reporter:
    """The one that writes to the journal while a night runs, and tells everyone what happens.

    Parameters
    ----------
    control
        endpoint of the socket that takes orders, which watchers are told.

    Attributes
    ----------
    delivery
        the way to the recorder, once there is one; it is woken by every record.
    totals
        what of the night is done.
    ring_used
        stacks in the ring that are being exposed or analysed.
    unsafe
        what of the hardware could not be made safe; empty while all is well.
    hardware
        tells how microscope and analysis stand, once there are any.
    """

    def __init__(
        self,
        config: NightConfig,
        run: Path,
        plan: Sequence[PlannedField],
        journal: Journal,
        spool: Spool,
        display: ProgressDisplay,
        control: str | None,
    ) -> None:
        self._ring_stacks = config.ring_stacks
        self._journal = journal
        self._spool = spool
        started = journal.started()
        self._samples = {position: columns[SAMPLE] for position, columns in started.samples.items()}
        self.totals = NightTotals(len(plan))
        self._facts = FactsGatherer(started)
        for record in journal.records():
            self._take_in(record)
        self._slide: int | None = None
        self._state = (NightState.STARTING, "")
        self.delivery: Handover | None = None
        self.hardware: Callable[[], Hardware] = Hardware
        self.ring_used = 0
        self.unsafe = ""
        self._room = _measure(spool)
        self._status = self._update()
        before = (record for slide in config.scan.slides for record in journal.slide_fields(slide.position))
        self._audience = Audience(config, run, plan, started, display, control, before)

    @property
    def snapshot_endpoint(self) -> str:
        """Where a watcher asks how the night stands."""
        return self._audience.snapshot_endpoint

    def start(self) -> None:
        """Let watchers in."""
        self._audience.start()

    def close(self) -> None:
        """Write how it ended, and let go of the watchers."""
        self._audience.close(self._look())

    async def beat(self, also: Callable[[], None]) -> None:
        """Give a sign of life every second, for ever; call `also` each time."""
        while True:
            also()
            self._audience.beat(self._look(), self._hardware())
            await asyncio.sleep(BEAT_S)

    def append(self, record: AnyRecord) -> None:
        """Journal a record and publish it; raises `sqlite3.OperationalError` where the journal cannot be written."""
        before = None
        if isinstance(record, FieldSecured | FieldSkipped) and record.attempt > 1:
            before = next(iter(self._journal.slide_fields(record.slide, record.field)), None)
        self._journal.append(record)
        self._recorded(record, before)

    def emit(
        self,
        level: str,
        name: EventName,
        message: str,
        planned: PlannedField | None = None,
        *,
        who: str | None = None,
        by: EndedBy | None = None,
        fault: str | None = None,
        reason_code: ReasonCode | None = None,
    ) -> None:
        """Journal and publish an event, which a person should know of; the fields are those of `Event`."""
        event = Event(
            utc=time.time(),
            monotonic_s=time.monotonic(),
            level=level,
            name=name,
            message=message,
            slide=planned.slide if planned else None,
            field=planned.field if planned else None,
            who=who,
            by=by,
            fault=fault,
            reason_code=reason_code,
        )
        self._journal.note(event)
        self._recorded(event)

    def note(self, message: str) -> None:
        """Print a line on the screen, and log it."""
        _log.info("%s", message)
        self._audience.print_line(message)

    def begin_slide(self, slide: int) -> None:
        """Note that a mini-slide is scanned from now on."""
        self._slide = slide
        self._update()

    def standing(self) -> Standing:
        """Return how the night stands; any thread may ask."""
        return standing_of(self._status)

    def state(self, state: NightState, reason: str = "") -> None:
        """Publish what the night does now, and why."""
        self.totals.begin()
        self.totals.rest(state in (NightState.PAUSED, NightState.DELIVERING) or state.ended)
        if (state, reason) == self._state:
            return
        self._state = (state, reason)
        self._audience.change(self._look())

    def show_field(self, record: FieldSecured, analysed: Analysed) -> None:
        """Show the pictures of a field that was secured."""
        self._audience.publish_pictures(record, analysed)
        self._audience.show(self._update())

    def explain_delivery(self) -> str:
        """Return why the spool does not grow emptier."""
        return "" if self.delivery is None else self.delivery.explain()

    def _take_in(self, record: AnyRecord) -> bool:
        """Add a record to what is known of the night; whether it is an attempt at a field that counts now."""
        self._facts.add(record)
        if isinstance(record, AttemptsOrdered):
            self.totals.order(record)
        return isinstance(record, FieldSecured | FieldSkipped) and self.totals.add(record)

    def _recorded(self, record: AnyRecord, before: FieldSecured | FieldSkipped | None = None) -> None:
        """Tell of a record; of an attempt at a field also which one counted before."""
        counts = self._take_in(record)
        match record:
            case FieldSecured() | FieldSkipped():
                self._slide = record.slide
                if counts:
                    self._audience.publish_field(record, before)
                self._audience.show(self._update())
            case SlideClosed():
                _log.info("mini-slide %d closed: %d fields, %d skipped", record.slide, record.recorded, record.skipped)
            case Event(level=level, message=message):
                _log.log(logging.getLevelNamesMapping()[level.upper()], "%s: %s", record.title, message)
                self._audience.publish_event(notice_of(record))
                if level != "info":
                    self._audience.print_line(f"{record.title}: {message}")
                    self._audience.show(self._update())
            case _:
                _log.info("%s", type(record).__name__)
        if self.delivery is not None:
            self.delivery.wake()

    def _look(self) -> NightStatus:
        """Find out how full spool and disk are, and how the night stands."""
        try:
            self._room = _measure(self._spool)
        except OSError as error:
            _log.warning("how full the spool is cannot be told: %s", error)
        return self._update()

    def _update(self) -> NightStatus:
        """Return how the night stands, with spool and disk as they last were."""
        totals, (used_bytes, free_bytes) = self.totals, self._room
        state, reason = self._state
        fields_per_s, seconds_left = totals.pace()
        delivered = SenderStatus() if self.delivery is None else self.delivery.status()
        disk_hours = totals.disk_hours(free_bytes)
        facts = self._facts.facts(
            state,
            reason,
            alive=True,
            unsafe=self.unsafe,
            slide=self._slide,
            levels=Levels(used_bytes / max(self._spool.bound_bytes, 1), disk_hours, seconds_left),
        )
        self._status = NightStatus(
            state=state,
            reason=reason,
            slide=self._slide,
            sample="" if self._slide is None else self._samples[self._slide],
            planned=totals.planned,
            secured=totals.secured,
            skipped=totals.skipped,
            not_analysed=totals.not_analysed,
            objects=totals.objects,
            again_ordered=totals.again.ordered,
            again_made=totals.again.made,
            attempts=totals.attempts,
            fields_per_s=fields_per_s,
            seconds_left=seconds_left,
            spool_bytes=used_bytes,
            spool_limit_bytes=self._spool.bound_bytes,
            disk_free_bytes=free_bytes,
            disk_hours=disk_hours,
            acknowledged=delivered.acknowledged_seq,
            backlog=delivered.backlog_records,
            ring_used=self.ring_used,
            ring_stacks=self._ring_stacks,
            unsafe=self.unsafe,
            verdict=judge(facts),
        )
        return self._status

    def _hardware(self) -> Hardware:
        recorder = "" if self.delivery is None else self.delivery.sentence()
        return msgspec.structs.replace(self.hardware(), recorder=recorder)


def _measure(spool: Spool) -> tuple[int, int]:
    """Return how many bytes a spool holds, and how many are free on its disk."""
    return spool.used_bytes(), spool.free_bytes()
