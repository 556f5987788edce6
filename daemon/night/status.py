"""How a night stands: one frozen status, and what the screen, the heartbeat, watchers and orders are told of it."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.live.standing import Standing
from daemon.protocols.watching import Counters, Verdict
from daemon.records.states import NightState
from daemon.run_folder.heartbeat import Heartbeat
from daemon.system.progress import NightProgress


@dataclass(frozen=True)
class NightStatus:
    """A night at one moment.

    Attributes
    ----------
    state
        what it does, or how it ended.
    reason
        why.
    slide
        the mini-slide that is scanned, None before the first.
    sample
        what lies on it; empty before the first.
    objects
        counted ones.
    again_ordered
        further attempts at fields that were ordered.
    again_made
        those of them that are made.
    attempts
        attempts at fields so far, also such as do not count.
    not_analysed
        fields of which only the raw stack is kept.
    fields_per_s
        the pace since this process began.
    seconds_left
        how long the rest takes at that pace; None where nobody can tell.
    disk_hours
        how long the disk lasts at the pace so far; None where nothing was written yet.
    acknowledged
        records that the recorder holds.
    backlog
        records that it does not hold yet.
    ring_used
        stacks of the ring that are being exposed or analysed.
    unsafe
        what of the hardware could not be made safe; empty while all is well.
    verdict
        how that is, in words.
    """

    state: NightState
    reason: str
    slide: int | None
    sample: str
    planned: int
    secured: int
    skipped: int
    not_analysed: int
    objects: int
    again_ordered: int
    again_made: int
    attempts: int
    fields_per_s: float
    seconds_left: float | None
    spool_bytes: int
    spool_limit_bytes: int
    disk_free_bytes: int
    disk_hours: float | None
    acknowledged: int
    backlog: int
    ring_used: int
    ring_stacks: int
    unsafe: str
    verdict: Verdict


def progress_of(status: NightStatus) -> NightProgress:
    """Give what the screen shows; of a night that scans, no state."""
    state, reason = status.state, status.reason
    return NightProgress(
        planned=status.planned,
        secured=status.secured,
        skipped=status.skipped,
        objects=status.objects,
        fields_per_s=status.fields_per_s,
        seconds_left=status.seconds_left,
        slide=status.slide,
        sample=status.sample,
        again_ordered=status.again_ordered,
        again_made=status.again_made,
        state="" if state is NightState.SCANNING else f"{state}: {reason}" if reason else state,
    )


def heartbeat_of(status: NightStatus, utc: float, monotonic_s: float, pid: int) -> Heartbeat:
    """Give the sign of life of a process at a moment."""
    return Heartbeat(
        utc=utc,
        monotonic_s=monotonic_s,
        pid=pid,
        state=status.state,
        reason=status.reason,
        planned=status.planned,
        secured=status.secured,
        skipped=status.skipped,
        slide=status.slide,
        objects=status.objects,
        not_analysed=status.not_analysed,
        again_ordered=status.again_ordered,
        again_made=status.again_made,
        seconds_left=status.seconds_left,
        spool_bytes=status.spool_bytes,
        spool_limit_bytes=status.spool_limit_bytes,
        disk_free_bytes=status.disk_free_bytes,
        unsafe=status.unsafe,
        verdict=status.verdict,
    )


def counters_of(status: NightStatus) -> Counters:
    """Give what those who watch are told."""
    return Counters(
        planned=status.planned,
        secured=status.secured,
        skipped=status.skipped,
        objects=status.objects,
        fields_per_s=status.fields_per_s,
        seconds_left=status.seconds_left,
        slide=status.slide,
        spool_bytes=status.spool_bytes,
        spool_limit_bytes=status.spool_limit_bytes,
        acknowledged=status.acknowledged,
        backlog=status.backlog,
        ring_used=status.ring_used,
        ring_stacks=status.ring_stacks,
        disk_free_bytes=status.disk_free_bytes,
        disk_hours=status.disk_hours,
        again_ordered=status.again_ordered,
        again_made=status.again_made,
        attempts=status.attempts,
    )


def standing_of(status: NightStatus) -> Standing:
    """Give what the answer to an order tells."""
    return Standing(
        headline=status.verdict.headline,
        state=status.state,
        reason=status.reason,
        slide=status.slide,
        secured=status.secured,
        skipped=status.skipped,
        planned=status.planned,
    )
