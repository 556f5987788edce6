"""Numbers of a night for Prometheus, made from what the monitor knows when it is asked (docs/metrics.md)."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, StateSetMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from daemon.live.follower import NightView
from daemon.monitor.feed import Feed
from daemon.protocols.watching import Counters, FieldDone
from daemon.records.states import NightState
from daemon.web.access import Door


def make_registry(feed: Feed, door: Door, answers: Counter[int]) -> CollectorRegistry:
    """Registry that tells of one night and its monitor, and of nothing else in this process.

    Parameters
    ----------
    feed
        what is known of the night.
    door
        what is known of those who came to the page.
    answers
        how many requests were answered with which status.
    """
    registry = CollectorRegistry()
    registry.register(_NightCollector(feed, door, answers))
    return registry


class _NightCollector(Collector):
    def __init__(self, feed: Feed, door: Door, answers: Counter[int]) -> None:
        self._feed = feed
        self._door = door
        self._answers = answers

    def collect(self) -> Iterator[Metric]:
        """Give every metric; one that nobody knows yet is left out."""
        with self._feed.watcher.lock:
            view, link = self._feed.watcher.view, self._feed.link()
            metrics = [
                _gauge("lamelle_night_heard", "1 while the monitor hears the night, else 0", float(link.joined)),
                *_night(view),
                *(_now(view) if link.joined or link.ended else ()),
                *_fields(view),
                *_events(view),
            ]
        if link.heard_utc is not None:
            text = "When the last word of the night came, in seconds since 1970"
            metrics.append(_gauge("lamelle_night_heard_timestamp_seconds", text, link.heard_utc))
        text = "Messages that the monitor missed and made good by a snapshot"
        metrics.append(_counter("lamelle_watch_lost_messages", text, view.lost))
        metrics.append(_counter("lamelle_monitor_wrong_tokens", "Tokens that were not right", self._door.wrong))
        text = "Requests that were answered; statuses of 400 and more are refusals"
        answered = CounterMetricFamily("lamelle_monitor_answers", text, labels=["status"])
        # A copy, since the thread that serves goes on counting.
        for status, count in sorted(dict(self._answers).items()):
            answered.add_metric([str(status)], count)
        metrics.append(answered)
        metrics.append(_gauge("lamelle_monitor_pages", "Pages that are open", len(self._feed.browsers)))
        metrics.append(_gauge("lamelle_monitor_timestamp_seconds", "When this was told, by its own clock", time.time()))
        yield from metrics


def _night(view: NightView) -> Iterator[Metric]:
    if (about := view.about) is not None:
        told = {"night": about.night, "version": about.version, "weights_sha256": about.weights_sha256}
        yield InfoMetricFamily("lamelle_night", "The night that is watched", told)
        yield _gauge("lamelle_night_began_timestamp_seconds", "When it began, in seconds since 1970", about.began_utc)


def _now(view: NightView) -> Iterator[Metric]:
    """Give what holds only as long as the night is heard, or has ended."""
    if view.state is not None:
        states = {state.value: view.state.state is state for state in NightState}
        yield StateSetMetricFamily("lamelle_night_state", "What the night does now", states)
    if view.verdict is not None:
        text = "How many things of the night need a person"
        yield _gauge("lamelle_night_needs", text, len(view.verdict.needs))
    if view.hardware is not None and view.hardware.light is not None:
        yield _gauge("lamelle_light", "1 while the light is on, else 0", float(view.hardware.light))
    if view.counters is not None:
        yield from _levels(view.counters)


def _fields(view: NightView) -> Iterator[Metric]:
    about = view.about
    if about is None:
        return
    where = ["slide", "sample"]
    planned = GaugeMetricFamily("lamelle_fields_planned", "Fields that the plan holds", labels=where)
    done = GaugeMetricFamily("lamelle_fields", "Fields that are done", labels=[*where, "outcome"])
    objects = GaugeMetricFamily("lamelle_objects", "Counted objects", labels=[*where, "class"])
    taxa = GaugeMetricFamily("lamelle_taxon_objects", "Counted objects by taxon", labels=[*where, "taxon"])
    focus = GaugeMetricFamily("lamelle_focus_um", "Focus of the last field, um of the stage", labels=where)
    seconds = GaugeMetricFamily("lamelle_field_seconds", "Time of the microscope for the last field", labels=where)
    light = GaugeMetricFamily(
        "lamelle_background_dn", "Background of the last field, DN", labels=[*where, "polarization"]
    )
    outcomes = Counter((one.slide, one.reason is None) for one in view.fields.values())
    newest: dict[int, FieldDone] = {}
    for one in view.fields.values():
        if one.reason is None and (one.slide not in newest or one.utc >= newest[one.slide].utc):
            newest[one.slide] = one
    samples = {slide.position: slide.sample for slide in about.slides}
    for slide in about.slides:
        labels = [str(slide.position), slide.sample]
        planned.add_metric(labels, len(slide.places))
        for secured, outcome in ((True, "secured"), (False, "skipped")):
            done.add_metric([*labels, outcome], outcomes[slide.position, secured])
        if (last := newest.get(slide.position)) is None:
            continue
        seconds.add_metric(labels, last.seconds)
        if last.focus_z_um is not None:
            focus.add_metric(labels, last.focus_z_um)
        for polarization, background in zip(about.polarizations, last.backgrounds_dn, strict=False):
            light.add_metric([*labels, polarization], background)
    counted_taxa: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for tally in view.tallies.rows():
        objects.add_metric([str(tally.slide), samples.get(tally.slide, ""), tally.class_name], tally.objects)
        counted_taxa[tally.slide] += Counter(tally.taxa)
    for position, found in counted_taxa.items():
        for taxon, count in found.items():
            taxa.add_metric([str(position), samples.get(position, ""), taxon], count)
    yield from (planned, done, objects, taxa, focus, seconds, light)


def _levels(counters: Counters) -> Iterator[Metric]:
    yield _gauge("lamelle_fields_per_second", "Pace of the night", counters.fields_per_s)
    text = "Attempts at fields that were made, also such as do not count"
    yield _counter("lamelle_attempts", text, counters.attempts)
    text = "Fields that are to be taken again, or were since they were last ordered"
    yield _gauge("lamelle_again_ordered", text, counters.again_ordered)
    yield _gauge("lamelle_again_made", "Those of them that are taken again", counters.again_made)
    if counters.seconds_left is not None:
        yield _gauge("lamelle_left_seconds", "Time left at this pace", counters.seconds_left)
    yield _gauge("lamelle_spool_bytes", "Bytes that wait for the recorder", counters.spool_bytes)
    yield _gauge("lamelle_spool_limit_bytes", "Bytes that may wait; then the night pauses", counters.spool_limit_bytes)
    yield _counter("lamelle_records_acknowledged", "Records that the recorder holds", counters.acknowledged)
    yield _gauge("lamelle_records_backlog", "Records that the recorder does not hold yet", counters.backlog)
    yield _gauge("lamelle_ring_stacks_used", "Stacks that are being exposed or analysed", counters.ring_used)
    yield _gauge("lamelle_ring_stacks", "Stacks that the ring holds", counters.ring_stacks)
    yield _gauge("lamelle_disk_free_bytes", "Bytes free where the run folder lies", counters.disk_free_bytes)
    if counters.disk_hours is not None:
        yield _gauge("lamelle_disk_left_hours", "Hours that the disk lasts at this pace", counters.disk_hours)


def _events(view: NightView) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "lamelle_event_timestamp_seconds", "When the last event of a level came, since 1970", labels=["level"]
    )
    newest = {told.level: told.utc for told in view.events}
    for level, utc in sorted(newest.items()):
        last.add_metric([level], utc)
    yield last


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)
