"""What a night tells: records to the journal, and how it stands to the screen, the log, the heartbeat and watchers."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from daemon.config.model import NightConfig
from daemon.config.samples import SAMPLE
from daemon.delivery.sender import SenderStatus
from daemon.live.publisher import Broadcaster
from daemon.live.standing import Standing
from daemon.live.summaries import about_night, field_done, overview_of, specimens_of
from daemon.night.handover import Handover
from daemon.protocols.pipes import Analysed
from daemon.protocols.watching import Counters, FieldDone, Hardware, State, Told
from daemon.records.fields import PlannedField
from daemon.records.records import AnyRecord, Event, FieldSecured, FieldSkipped, SlideClosed
from daemon.run_folder.endpoints import Bound, write_endpoints
from daemon.run_folder.heartbeat import Heartbeat, write_heartbeat
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.progress import NightProgress, ProgressDisplay

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
    skipped
        fields skipped so far.
    not_analysed
        fields so far of which only the raw stack is kept.
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
        self._config = config
        self._run = run
        self._control = control
        self._plan = {(planned.slide, planned.field): planned for planned in plan}
        self._planned = len(plan)
        self._journal = journal
        self._spool = spool
        self._display = display
        started = journal.started()
        self._samples = {position: columns[SAMPLE] for position, columns in started.samples.items()}
        done = journal.done()
        self._secured = sum(kind == "field" for kind in done.values())
        self.skipped = len(done) - self._secured
        self._before = len(done)
        records = [record for slide in config.scan.slides for record in journal.slide_fields(slide.position)]
        fields = [record for record in records if isinstance(record, FieldSecured)]
        self.not_analysed = sum(not field.analysed for field in fields)
        self._objects = sum(not row.below_threshold for field in fields for row in field.objects)
        self._slide: int | None = None
        self._state = ("starting", "")
        self._begun_s: float | None = None
        self.delivery: Handover | None = None
        self.hardware: Callable[[], Hardware] = Hardware
        self.ring_used = 0
        self._bytes = 0
        about = about_night(config, plan, started)
        self._broadcast = Broadcaster(config.watch, about, control, before=map(self._done, records))
        self.unsafe = ""

    def start(self) -> None:
        """Let watchers in."""
        self._broadcast.start()
        publish, snapshot = self._broadcast.publish_endpoint, self._broadcast.snapshot_endpoint
        try:
            write_endpoints(self._run, Bound(publish=publish, snapshot=snapshot, control=self._control))
        except OSError as error:
            _log.warning("where the night can be reached cannot be written down: %s", error)
        _log.info("watch at %s, snapshot at %s", publish, snapshot)

    def close(self) -> None:
        """Write how it ended, and let go of the watchers."""
        self._write_heartbeat()
        self._broadcast.close()

    async def beat(self, also: Callable[[], None]) -> None:
        """Give a sign of life every second, for ever; call `also` each time."""
        while True:
            also()
            self._write_heartbeat()
            self._publish_counters()
            self._broadcast.publish(self._hardware())
            self._show()
            await asyncio.sleep(BEAT_S)

    def append(self, record: AnyRecord) -> None:
        """Journal a record and tell of it; raises `sqlite3.OperationalError` where the journal cannot be written."""
        self._journal.append(record)
        self._recorded(record)

    def tell(self, level: str, name: str, message: str, planned: PlannedField | None = None) -> None:
        """Tell, in the journal too, what a person should know."""
        event = Event(
            utc=time.time(),
            monotonic_s=time.monotonic(),
            level=level,
            name=name,
            message=message,
            slide=planned.slide if planned else None,
            field=planned.field if planned else None,
        )
        self._journal.note(event)
        self._recorded(event)

    def note(self, message: str) -> None:
        """Tell the person at the screen, and the log."""
        _log.info("%s", message)
        self._display.tell(message)

    def begin_slide(self, slide: int) -> None:
        """Tell that a mini-slide is scanned from now on."""
        self._slide = slide

    def standing(self) -> Standing:
        """Tell how the night stands; any thread may ask."""
        state, reason = self._state
        return Standing(state, reason, self._slide, self._secured, self.skipped, self._planned)

    def state(self, state: str, reason: str = "") -> None:
        """Tell what the night does now: scanning, paused, delivering, or one of `daemon.records.states.ENDED`."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        if (state, reason) == self._state:
            return
        self._state = (state, reason)
        self._publish_counters()
        self._broadcast.publish(State(state=state, reason=reason))
        self._show()

    def show_field(self, record: FieldSecured, analysed: Analysed) -> None:
        """Show a field that was secured."""
        self._broadcast.publish(self._done(record))
        views = ("fused", *record.polarizations)
        self._broadcast.publish(overview_of(record, self._config.instrument.frame_px, views), *analysed.views)
        if analysed.strips:
            pictures = (strip.jpeg for strip in analysed.strips)
            self._broadcast.publish(specimens_of(record, analysed.strips), *pictures)
        self._show()

    def explain_delivery(self) -> str:
        """Tell why the spool does not grow emptier."""
        return "" if self.delivery is None else self.delivery.explain()

    def _done(self, record: FieldSecured | FieldSkipped) -> FieldDone:
        return field_done(record, self._plan[record.slide, record.field])

    def _recorded(self, record: AnyRecord) -> None:
        match record:
            case FieldSecured():
                self._secured += 1
                self.not_analysed += not record.analysed
                self._objects += sum(not row.below_threshold for row in record.objects)
                self._bytes += sum(entry.size for entry in record.files)
                self._slide = record.slide
            case FieldSkipped():
                self.skipped += 1
                self._slide = record.slide
                self._broadcast.publish(self._done(record))
            case SlideClosed():
                _log.info("mini-slide %d closed: %d fields, %d skipped", record.slide, record.recorded, record.skipped)
            case Event(level=level, name=name, message=message):
                _log.log(logging.getLevelNamesMapping()[level.upper()], "%s: %s", name, message)
                told = Told(
                    utc=record.utc, level=level, name=name, message=message, slide=record.slide, field=record.field
                )
                self._broadcast.publish(told)
                if level != "info":
                    self._display.tell(f"{name}: {message}")
            case _:
                _log.info("%s", type(record).__name__)
        if self.delivery is not None:
            self.delivery.wake()

    def _pace(self) -> tuple[float, float | None]:
        """Fields a second since this process began, and seconds left at that rate."""
        done = self._secured + self.skipped - self._before
        if self._begun_s is None or done == 0:
            return 0.0, None
        rate = done / (time.monotonic() - self._begun_s)
        return rate, (self._planned - self._before - done) / rate

    def _show(self) -> None:
        rate, left = self._pace()
        state, reason = self._state
        self._display.show(
            NightProgress(
                planned=self._planned,
                secured=self._secured,
                skipped=self.skipped,
                objects=self._objects,
                fields_per_s=rate,
                seconds_left=left,
                slide=self._slide,
                sample=self._samples[self._slide] if self._slide else "",
                state="" if state == "scanning" else f"{state}: {reason}" if reason else state,
            )
        )

    def _write_heartbeat(self) -> None:
        state, reason = self._state
        try:
            heartbeat = Heartbeat(
                utc=time.time(),
                monotonic_s=time.monotonic(),
                pid=os.getpid(),
                state=state,
                reason=reason,
                planned=self._planned,
                secured=self._secured,
                skipped=self.skipped,
                slide=self._slide,
                objects=self._objects,
                not_analysed=self.not_analysed,
                seconds_left=self._pace()[1],
                spool_bytes=self._spool.used_bytes(),
                spool_limit_bytes=self._spool.bound_bytes,
                disk_free_bytes=self._spool.free_bytes(),
                unsafe=self.unsafe,
            )
            write_heartbeat(self._run, heartbeat)
        except OSError as error:
            _log.warning("the heartbeat cannot be written: %s", error)

    def _publish_counters(self) -> None:
        rate, left = self._pace()
        status = SenderStatus() if self.delivery is None else self.delivery.status()
        free = self._spool.free_bytes()
        counters = Counters(
            planned=self._planned,
            secured=self._secured,
            skipped=self.skipped,
            objects=self._objects,
            fields_per_s=rate,
            seconds_left=left,
            slide=self._slide,
            spool_bytes=self._spool.used_bytes(),
            spool_limit_bytes=self._spool.bound_bytes,
            acknowledged=status.acknowledged_seq,
            backlog=status.backlog_records,
            ring_used=self.ring_used,
            ring_stacks=self._config.ring_stacks,
            disk_free_bytes=free,
            disk_hours=self._disk_hours(free),
        )
        self._broadcast.publish(counters)

    def _hardware(self) -> Hardware:
        recorder = "" if self.delivery is None else self.delivery.sentence()
        return msgspec.structs.replace(self.hardware(), recorder=recorder)

    def _disk_hours(self, free_bytes: int) -> float | None:
        """Hours that the disk lasts if the night goes on writing as it did since this process began."""
        if self._begun_s is None or self._bytes == 0:
            return None
        return free_bytes / self._bytes * (time.monotonic() - self._begun_s) / 3600
