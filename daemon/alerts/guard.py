"""The watcher of a night: a process of its own that reads the run folder and tells a person what needs one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

import msgspec

from daemon.alerts.channels import Channel, DeadMan, Origin, Pending, deliver, read_channels, read_dead_man
from daemon.alerts.model import Alert, AlertMemory
from daemon.alerts.observation import Lookout
from daemon.alerts.rules import LOOK_S, decide
from daemon.config.loading import load
from daemon.config.model import Alerts
from daemon.run_folder.folder import RunFolder
from daemon.system.durable_files import replacing
from daemon.system.errors import Refused
from daemon.system.locks import sole
from daemon.system.logbook import Logbook

TAKE_OVER_S = 15.0
"""How long a watcher waits for the one before it, which may be ending."""
SAVE_S = 30.0
"""How often it writes down how far it has read; what it tells it writes down at once."""

_log = logging.getLogger(__name__)


class GuardState(msgspec.Struct, frozen=True, kw_only=True):
    """What a watcher that is ended leaves to the next one."""

    memory: AlertMemory = AlertMemory()
    outbox: tuple[Pending, ...] = ()


def guard(run: Path, show: Callable[[str], None], stop: Event, patience_s: float = TAKE_OVER_S) -> None:
    """Watch the night of a run folder until it has ended and that was told, the folder is gone, or `stop` is set.

    `patience_s` is how long a watcher that is there already may take to end.

    Raises
    ------
    Refused
        The folder holds no night, nobody is to be told, or another watcher is there.
    """
    folder = RunFolder(run.resolve())
    if not folder.journal.exists():
        raise Refused(f"{str(run)!r} holds no night; name the run folder of a night")
    config = load(folder.configuration)
    if not config.alerts.wanted:
        raise Refused(
            f"{folder.configuration} names nobody to tell; set alerts.urls, alerts.command or alerts.dead_man"
        )
    busy = f"the night in {str(run)!r} is being watched already"
    with sole(folder.guard_lock, busy, patience_s), Logbook(folder.path, "guard"):
        lookout = Lookout(folder.path, folder.journal, recorded_here=config.recorder.endpoint is None)
        watcher = _Rounds(folder, config.alerts, lookout, Origin(folder.path.name, folder.path), show)
        told = ", ".join(watcher.names) or "nobody, only pings are sent"
        show(f"watching the night in {folder.path}; alerts go to {told}")
        while watcher.turn(time.time()) and not stop.wait(LOOK_S):
            if not folder.path.is_dir():
                watcher.lose(time.time())
                break
        _log.info("no longer watching")


def try_alerts(settings: Alerts, show: Callable[[str], None]) -> bool:
    """Send a trial message to everyone who would be told; whether all took it."""
    if not settings.wanted:
        raise Refused("nobody is to be told: alerts.urls, alerts.command and alerts.dead_man are not set; set one")
    trial = Alert(kind="goes on", text="This is a trial: alerts of nights arrive here.", utc=time.time())
    place = Origin("trial", Path.cwd())
    ways = [(channel.name, partial(channel.send, trial, place)) for channel in read_channels(settings)]
    if (dead_man := read_dead_man(settings)) is not None:
        ways.append(("alerts.dead_man", partial(dead_man.ping)))
    failed = 0
    for name, send in ways:
        why = send()
        failed += why is not None
        show(f"{name}: {'sent' if why is None else why}")
    return not failed


class _Rounds:
    """Goes round: looks, judges, writes down, tells."""

    def __init__(
        self, folder: RunFolder, settings: Alerts, lookout: Lookout, place: Origin, show: Callable[[str], None]
    ) -> None:
        self._path = folder.guard
        self._settings = settings
        self._lookout = lookout
        self._place = place
        self._show = show
        self._channels: list[Channel] = read_channels(settings)
        self._dead_man: DeadMan | None = read_dead_man(settings)
        self._pinged = self._saved = 0.0
        self._ping_failed = ""
        self._state = _read(self._path)

    @property
    def names(self) -> list[str]:
        """Who is told, without secrets."""
        return [channel.name for channel in self._channels]

    def turn(self, now: float) -> bool:
        """Go round once; whether to go on."""
        facts = self._lookout.look(self._state.memory.seq)
        verdict = decide(self._state.memory, facts, self._settings, now)
        before, outbox = self._state, self._state.outbox
        for alert in verdict.alerts:
            _log.info("to tell %s: %s", alert.kind, alert.text)
            self._show(f"{alert.kind}: {alert.text}")
            outbox += tuple(Pending(alert=alert, channel=channel.key) for channel in self._channels)
        self._state = GuardState(memory=verdict.memory, outbox=outbox)
        # Written before it is sent: a watcher killed in between tells it again rather than never.
        told = (verdict.memory.told, verdict.memory.ended) != (before.memory.told, before.memory.ended)
        self._save(now, at_once=told or outbox != before.outbox)
        waiting, changed = deliver(outbox, self._channels, self._place, now)
        if changed:
            self._state = GuardState(memory=verdict.memory, outbox=waiting)
            self._save(now, at_once=True)
        if verdict.well:
            self._ping(now)
        return not (verdict.over and not waiting)

    def lose(self, now: float) -> None:
        """Alert that the run folder is gone, once: there is nowhere left to remember what could not be sent."""
        text = "The run folder is gone, so nobody watches the night any more: look at its disk."
        alert = Alert(kind="fault", text=text, utc=now)
        self._show(text)
        for channel in self._channels if alert.kind in self._settings.tell else ():
            if (why := channel.send(alert, self._place)) is not None:
                self._show(f"{channel.name}: {why}")

    def _ping(self, now: float) -> None:
        if self._dead_man is None or abs(now - self._pinged) < self._settings.dead_man_s:
            return
        self._pinged = now
        why = self._dead_man.ping() or ""
        if why and not self._ping_failed:
            _log.warning("alerts.dead_man does not answer: %s", why)
        self._ping_failed = why

    def _save(self, now: float, *, at_once: bool) -> None:
        if not at_once and abs(now - self._saved) < SAVE_S:
            return
        self._saved = now
        try:
            with replacing(self._path) as stream:
                stream.write(msgspec.json.encode(self._state))
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)


def _read(path: Path) -> GuardState:
    try:
        return msgspec.json.decode(path.read_bytes(), type=GuardState)
    except FileNotFoundError:
        return GuardState()
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("%s cannot be read (%s): what was told before may be told again", path, error)
        return GuardState()
