"""Who is told of a night: the person at the screen, whoever reads the heartbeat, and whoever watches."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from daemon.config.model import NightConfig
from daemon.live.publisher import Broadcaster
from daemon.live.summaries import about_night, field_done, overview_of, specimens_of
from daemon.night.status import NightStatus, counters_of, heartbeat_of, progress_of
from daemon.protocols.pipes import Analysed
from daemon.protocols.watching import EventNotice, FieldDone, Hardware, State, Verdict
from daemon.records.fields import PlannedField
from daemon.records.records import FieldSecured, FieldSkipped, NightStarted
from daemon.run_folder.endpoints import Bound, write_endpoints
from daemon.run_folder.heartbeat import write_heartbeat
from daemon.system.progress import ProgressDisplay
from daemon.verdict.afterwards import where_kept

_log = logging.getLogger(__name__)


class Audience:
    """Tells each what it can take: the screen a line, a file a sign of life, those who watch everything.

    Parameters
    ----------
    run
        folder of the heartbeat and of the endpoints.
    display
        the screen.
    control
        endpoint of the socket that takes orders, which watchers are told.
    before
        fields that were done before this process began.
    """

    def __init__(
        self,
        config: NightConfig,
        run: Path,
        plan: Sequence[PlannedField],
        started: NightStarted,
        display: ProgressDisplay,
        control: str | None,
        before: Iterable[FieldSecured | FieldSkipped],
    ) -> None:
        self._run = run
        self._verdict: Verdict | None = None
        self._frame_px = config.instrument.frame_px
        self._plan = {(planned.slide, planned.field): planned for planned in plan}
        self._display = display
        self._control = control
        self._kept = where_kept(run, config.recorder.endpoint, platform.node())
        about = about_night(config, plan, started, self._kept)
        self._broadcast = Broadcaster(config.watch, about, control, before=map(self._done, before))

    @property
    def snapshot_endpoint(self) -> str:
        """Where a watcher asks how the night stands."""
        return self._broadcast.snapshot_endpoint

    def start(self) -> None:
        """Let watchers in."""
        self._broadcast.start()
        publish, snapshot = self._broadcast.publish_endpoint, self._broadcast.snapshot_endpoint
        bound = Bound(publish=publish, snapshot=snapshot, control=self._control, dataset=self._kept)
        try:
            write_endpoints(self._run, bound)
        except OSError as error:
            _log.warning("where the night can be reached cannot be written down: %s", error)
        _log.info("watch at %s, snapshot at %s", publish, snapshot)

    def close(self, status: NightStatus) -> None:
        """Write how it ended, and let go of the watchers."""
        self._write_heartbeat(status)
        self._broadcast.close()

    def beat(self, status: NightStatus, hardware: Hardware) -> None:
        """Give a sign of life."""
        self._write_heartbeat(status)
        self._broadcast.publish(counters_of(status))
        self._broadcast.publish(hardware)
        self.show(status)

    def change(self, status: NightStatus) -> None:
        """Publish that the night does something else now."""
        self._broadcast.publish(counters_of(status))
        self._broadcast.publish(State(state=status.state, reason=status.reason))
        self.show(status)

    def show(self, status: NightStatus) -> None:
        """Show on the screen how far the night is, and those who watch a verdict that has changed."""
        self._display.show(progress_of(status))
        if status.verdict != self._verdict:
            self._verdict = status.verdict
            self._broadcast.publish(status.verdict)

    def print_line(self, message: str) -> None:
        """Print a line on the screen that stays."""
        self._display.print_line(message)

    def publish_event(self, told: EventNotice) -> None:
        """Publish an event."""
        self._broadcast.publish(told)

    def publish_field(
        self, record: FieldSecured | FieldSkipped, before: FieldSecured | FieldSkipped | None = None
    ) -> None:
        """Publish what became of a field: the attempt that counts, and the one that counted before."""
        self._broadcast.publish(self._done(record, before))

    def publish_pictures(self, record: FieldSecured, analysed: Analysed) -> None:
        """Show a field, and some of its objects, to those who watch; nothing of one that could not be analysed."""
        if not analysed.views:
            return
        views = ("fused", *record.polarizations)
        self._broadcast.publish(overview_of(record, self._frame_px, views), *analysed.views)
        if analysed.strips:
            pictures = (strip.jpeg for strip in analysed.strips)
            self._broadcast.publish(specimens_of(record, analysed.strips), *pictures)

    def _done(
        self, record: FieldSecured | FieldSkipped, before: FieldSecured | FieldSkipped | None = None
    ) -> FieldDone:
        return field_done(record, self._plan[record.slide, record.field], before)

    def _write_heartbeat(self, status: NightStatus) -> None:
        try:
            write_heartbeat(self._run, heartbeat_of(status, time.time(), time.monotonic(), os.getpid()))
        except OSError as error:
            _log.warning("the heartbeat cannot be written: %s", error)
