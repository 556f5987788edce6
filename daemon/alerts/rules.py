"""What a night's watcher tells, and when: a function of what it remembers, what it sees now, and the time.

Nothing here reads, sends or waits: `daemon.alerts.observation` sees, `daemon.alerts.channels` tells, and
`daemon.alerts.guard` goes round.
"""

from __future__ import annotations

from typing import Any

import msgspec

from daemon.alerts.model import Alert, AlertMemory, AlertVerdict, Facts
from daemon.config.model import AlertKind, Alerts
from daemon.records.events import EventName, ReasonCode
from daemon.records.records import Event, FieldSecured, FieldSkipped, SlideClosed
from daemon.records.states import EndedBy, NightState
from daemon.run_folder.heartbeat import Heartbeat

LOOK_S = 1.0
"""How often the watcher looks."""
BLINK_S = 5.0
"""More than this between two looks does not count: the computer slept, or its clock was set."""
RESUME_H = 24.0
"""How long the watcher of a night that crashed waits for somebody to go on with it."""
TOLD_FAULTS = (EventName.SLIDE_LEFT, EventName.DETECTOR_LOST, EventName.DELIVERY_RESTARTED)
"""Events that a person should know of at once; others wait for the morning."""
DIM: dict[EventName, AlertKind] = {EventName.OIL_LOST: "oil lost", EventName.LAMP_DIM: "lamp dim"}
AGAIN_S = 3600.0
"""A pause that goes on is told again so often."""
GB = 1e9


def decide(memory: AlertMemory, facts: Facts, settings: Alerts, now: float) -> AlertVerdict:
    """Judge a night.

    Parameters
    ----------
    memory
        of the look before.
    facts
        of this one.
    settings
        thresholds; what is told is chosen from the kinds of `settings.tell`.
    now
        UTC, seconds since 1970.
    """
    look = _Look(memory, facts, settings, now)
    look.succession()
    look.records()
    look.life()
    look.levels()
    look.end()
    return look.verdict()


class _Look:
    """One look, from top to bottom; each method adds to what is told and remembered."""

    def __init__(self, memory: AlertMemory, facts: Facts, settings: Alerts, now: float) -> None:
        self._facts = facts
        self._settings = settings
        self._now = now
        self._told = dict.fromkeys(memory.told)
        self._alerts: list[Alert] = []
        passed_s = min(max(now - memory.looked_utc, 0.0), BLINK_S) if memory.looked_utc else 0.0
        self._passed_s = passed_s
        self._new = msgspec.structs.replace(memory, looked_utc=now)

    def succession(self) -> None:
        """Notice that another process runs the night now: the one before, if it had not ended, crashed unseen."""
        before, now = self._new.supervisor, self._facts.supervisor
        if now is None or before == now:
            return
        if before is not None and not self._new.ended and not self._said_end():
            why = "The night's process died, or the computer went down; the night was resumed."
            self._once(f"crashed {before.pid}", "crashed", why)
        elif any(key.startswith("crashed") for key in self._told):
            self._raise("goes on", "The night was resumed and goes on.")
        kept = [key for key in self._told if not key.startswith(("crashed", "hung", "paused", "disk", "spool"))]
        self._told = dict.fromkeys(kept)
        self._remember(supervisor=now, ended="", beat_utc=0.0, stale_s=0.0, paused_s=0.0)

    def records(self) -> None:
        """Take in what the journal has gained."""
        for seq, record in self._facts.records:
            self._remember(seq=seq)
            match record:
                case FieldSecured():
                    self._field(record)
                case FieldSkipped():
                    self._enter(record.slide)
                case SlideClosed():
                    skipped = f", {record.skipped} skipped" if record.skipped else ""
                    text = f"Mini-slide {record.slide} ({record.sample}) is done: {record.recorded} fields{skipped}."
                    # One of which fields are taken again is closed anew; the end of the night has the last numbers.
                    self._once(f"slide {record.slide}", "slide finished", text)
                case Event(name=name) if name in DIM:
                    place = "" if record.slide is None else f"Mini-slide {record.slide}, field {record.field}: "
                    self._told[f"light {record.slide}"] = None
                    self._raise(DIM[name], f"{place}{record.message}.")
                case Event(name=name) if name in TOLD_FAULTS:
                    # A mini-slide left for want of focus has its cause told by then.
                    if not (record.reason_code is ReasonCode.NO_FOCUS and self._explained(record.slide)):
                        self._once(f"fault {name} {record.slide}", "fault", f"{name.capitalize()}: {record.message}.")
                case Event(name=EventName.DETECTOR_BACK):
                    self._forget(f"fault {EventName.DETECTOR_LOST} None")

    def life(self) -> None:
        """Judge whether the night's process lives, and its heart beats."""
        beat = self._own_beat()
        if beat is not None and beat.unsafe:
            self._once(f"unsafe {beat.pid}", "not safe", f"{beat.unsafe[:1].upper()}{beat.unsafe[1:]}.")
        if self._facts.supervisor is None or self._ended(beat):
            return
        if not self._facts.lives:
            self._remember(ended="crashed")
            self._once(
                f"crashed {self._facts.supervisor.pid}",
                "crashed",
                f"The night's process has died{self._standing(beat)}. The microscope's own process makes safe by "
                "itself; where all were ended at once nothing did: see to lamp, shutter and objective. Go on with "
                "--resume.",
            )
            return
        self._heart(beat)

    def _heart(self, beat: Heartbeat | None) -> None:
        seen = 0.0 if beat is None else beat.utc
        stale_s = self._new.stale_s + self._passed_s if seen == self._new.beat_utc else 0.0
        self._remember(beat_utc=seen, stale_s=stale_s)
        if stale_s >= self._settings.hung_s:
            self._once(
                "hung",
                "hung",
                f"The night's process is there but has given no sign of life for {_span(stale_s)}"
                f"{self._standing(beat)}. Look at the computer.",
            )
        elif self._forget("hung"):
            self._raise("goes on", "The night gives signs of life again.")

    def levels(self) -> None:
        """Judge pause, disk and spool of a night that runs."""
        beat = self._own_beat()
        if beat is None or not self._facts.lives or beat.state.ended:
            return
        if beat.state is NightState.PAUSED:
            self._remember(paused_s=self._new.paused_s + self._passed_s)
            if self._new.paused_s >= self._settings.paused_s:
                waits = f"The night has waited for {_span(self._new.paused_s)}: {beat.reason}."
                again = int((self._new.paused_s - self._settings.paused_s) // AGAIN_S)
                self._once(f"paused {again}", "paused", waits)
        elif beat.state is NightState.SCANNING:
            self._remember(paused_s=0.0)
            told = [key for key in self._told if key.startswith("paused")]
            for key in told:
                self._forget(key)
            if told:
                self._raise("goes on", "What kept the night has gone; it goes on.")
        self._room(beat)

    def _room(self, beat: Heartbeat) -> None:
        share = beat.spool_bytes / beat.spool_limit_bytes if beat.spool_limit_bytes else 0.0
        if share >= self._settings.spool_share:
            text = (
                f"The spool holds {100 * share:.0f} % of what it may ({beat.spool_bytes / GB:.2f} of "
                f"{beat.spool_limit_bytes / GB:.2f} GB): the recorder does not keep up, or is away. "
                "The night pauses when it is full."
            )
            self._once("spool", "spool", text)
        elif share < 0.9 * self._settings.spool_share:
            self._forget("spool")
        free = beat.disk_free_bytes
        if free is None:
            return
        why = self._short_of_disk(beat, free)
        if why is not None:
            self._once("disk", "disk", f"{why}. The night pauses when the disk is full; make room.")
        elif free > 1.1 * self._settings.disk_gb * GB:
            self._forget("disk")

    def _short_of_disk(self, beat: Heartbeat, free: int) -> str | None:
        """Return why the disk is nearly full: too little is left, or it will not last as long as it is needed."""
        if free < self._settings.disk_gb * GB:
            return f"Only {free / GB:.1f} GB are free on the night's disk"
        left = beat.planned - beat.secured - beat.skipped + beat.again_ordered - beat.again_made
        if not self._facts.recorded_here or not self._new.fields or not beat.seconds_left or left <= 0:
            return None
        needed = self._new.field_bytes / self._new.fields * left
        lasts_h = free / needed * beat.seconds_left / 3600
        if needed <= free or lasts_h >= self._settings.disk_hours:
            return None
        return (
            f"The night's disk is full in {60 * lasts_h:.0f} min at this rate: {free / GB:.1f} GB are free, "
            f"the {left} fields to come take {needed / GB:.1f} GB"
        )

    def end(self) -> None:
        """Raise an alert of how the night ended, once it says so."""
        beat = self._own_beat()
        if beat is None or self._new.ended or not beat.state.ended:
            return
        self._remember(ended=beat.state)
        verdict = beat.verdict
        reason = f", {beat.reason}" if beat.reason else ""
        told = (
            f"The night ended: {beat.state}{reason}."
            if verdict is None
            else " ".join((verdict.headline, *verdict.needs))
        )
        self._raise(_kind_of_end(beat), told)

    def verdict(self) -> AlertVerdict:
        """Give what follows from this look."""
        self._remember(told=tuple(self._told))
        beat = self._own_beat()
        running = self._facts.lives and beat is not None and not beat.state.ended
        well = running and self._new.stale_s < self._settings.hung_s and "paused 0" not in self._told
        given_up = beat is not None and self._now - beat.utc > RESUME_H * 3600
        ended = bool(self._new.ended) and (self._new.ended != "crashed" or given_up)
        over = ended and not self._facts.lives and not self._facts.more
        return AlertVerdict(memory=self._new, alerts=tuple(self._alerts), well=well, over=over)

    # Fields ----------------------------------------------------------------------------------------------------------

    def _field(self, record: FieldSecured) -> None:
        self._enter(record.slide)
        size = sum(file.size for file in record.files)
        self._remember(fields=self._new.fields + 1, field_bytes=self._new.field_bytes + size)
        self._focus(record)
        if record.analysed:
            self._found(record)

    def _focus(self, record: FieldSecured) -> None:
        lost = record.focus.z_um is None or record.focus.at_edge
        self._remember(unfocused=self._new.unfocused + 1 if lost else 0)
        if not lost:
            self._forget(f"focus {record.slide}")
        elif self._new.unfocused >= self._settings.unfocused_fields and f"light {record.slide}" not in self._told:
            self._once(
                f"focus {record.slide}",
                "focus lost",
                f"Mini-slide {record.slide}: {self._new.unfocused} fields in a row, up to field {record.field}, are "
                "blank or out of focus.",
            )

    def _found(self, record: FieldSecured) -> None:
        found = any(row.counted for row in record.objects)
        self._remember(empty=0 if found or self._explained(record.slide) else self._new.empty + 1)
        if found:
            self._forget("empty")
        elif self._new.empty >= self._settings.empty_fields:
            self._once(
                "empty",
                "nothing found",
                f"Nothing was found in {self._new.empty} fields in a row, up to field {record.field} of mini-slide "
                f"{record.slide}: is there a sample, and light?",
            )

    def _explained(self, slide: int | None) -> bool:
        """Whether a person was told that a mini-slide is dark or blurred, and so knows why nothing is found there."""
        return f"light {slide}" in self._told or f"focus {slide}" in self._told

    def _enter(self, slide: int) -> None:
        if slide != self._new.slide:
            self._remember(slide=slide, unfocused=0)

    # Remembering and telling -----------------------------------------------------------------------------------------

    def _own_beat(self) -> Heartbeat | None:
        """Give the heartbeat of the process that runs the night now; one of an earlier process says nothing of it."""
        beat, supervisor = self._facts.heartbeat, self._facts.supervisor
        return beat if beat is not None and supervisor is not None and beat.pid == supervisor.pid else None

    def _said_end(self) -> bool:
        """Whether the process before this one said that it ended, though no look saw it."""
        beat, before = self._facts.heartbeat, self._new.supervisor
        told = any(isinstance(record, Event) and record.ending is not None for _, record in self._facts.records)
        return told or (beat is not None and before is not None and beat.pid == before.pid and beat.state.ended)

    def _ended(self, beat: Heartbeat | None) -> bool:
        return bool(self._new.ended) or (beat is not None and beat.state.ended)

    def _standing(self, beat: Heartbeat | None) -> str:
        if beat is None:
            return ""
        again = f", {beat.again_made} of {beat.again_ordered} taken again" if beat.again_ordered else ""
        return f", {beat.state} at {beat.secured + beat.skipped} of {beat.planned} fields{again}"

    def _remember(self, **changes: Any) -> None:
        self._new = msgspec.structs.replace(self._new, **changes)

    def _once(self, key: str, kind: AlertKind, text: str) -> None:
        if key not in self._told:
            self._told[key] = None
            self._raise(kind, text)

    def _forget(self, key: str) -> bool:
        return key in self._told and self._told.pop(key) is None

    def _raise(self, kind: AlertKind, text: str) -> None:
        if kind in self._settings.tell:
            self._alerts.append(Alert(kind=kind, text=text, utc=self._now))


def _kind_of_end(beat: Heartbeat) -> AlertKind:
    if beat.state is NightState.COMPLETE:
        return "finished with skips" if beat.skipped or beat.not_analysed else "finished"
    return "interrupted" if beat.state.by in (EndedBy.PERSON, EndedBy.SYSTEM) else "stopped"


def _span(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
