"""A night as its journal, its spool, its recorder and those who watch see it: attempts, orders and kills in any order.

There is no microscope: what `daemon.night.night` would do next is done here, one record at a time, so that the night
can be killed between any two. Everything else is the night's own, sockets and files included.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import zmq
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from rich.console import Console

from daemon.config.loading import freeze, load
from daemon.config.samples import read_samples
from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import taken_again
from daemon.delivery.sender import Sender
from daemon.delivery.session import Pace
from daemon.live.order_client import myself
from daemon.night.reporter import Reporter
from daemon.night.retakes import Attempt, further_attempts, order_at_start, retakes
from daemon.planning.plan import make_plan
from daemon.protocols.watching import SnapshotRequest, decode_fields, decode_snapshot, encode
from daemon.records.attempts import Purpose
from daemon.records.fields import PlannedField
from daemon.records.names import OBJECTS_TABLE, field_file, inside, slide_folder
from daemon.records.records import (
    AnyRecord,
    AttemptsOrdered,
    FieldAnalysed,
    FieldSecured,
    NightClosed,
    NightStarted,
    SlideClosed,
)
from daemon.records.records import encode as encode_record
from daemon.report.gather import gather
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Refused
from daemon.system.progress import ProgressDisplay
from daemon.verdict.facts import FactsGatherer
from tests.support import small_night
from tests.support.deadlines import DEADLINE_MS
from tests.support.emulated_night import write_configuration

FIELDS = 3
SLIDES = (1, 2)
QUICK = Pace(beat_s=0.05, lost_s=0.5, retry_s=0.02)
Fate = tuple[Literal["found", "raw", "skipped"], int]
FATES = st.one_of(st.tuples(st.just("found"), st.integers(0, 3)), st.sampled_from([("skipped", 0), ("raw", 0)]))
REDOS = st.sampled_from(["slide 2", "skipped", "slide 1 field 1", "slide 1 fields 2-3; slide 2 field 1", "slide 1"])


@dataclass
class Made:
    """What an attempt should be known by: whether it is complete, and how many counted objects it has."""

    attempt: int
    complete: bool
    objects: int
    raw: bool


class AttemptsInAnyOrder(RuleBasedStateMachine):
    """Whatever happens to a night, each field counts once, by its last complete attempt, and nothing is lost."""

    @initialize()
    def begin(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="lamelle-attempts-"))
        self._dataset = self._folder / "dataset"
        self._config = load(write_configuration(self._folder, slides=len(SLIDES), fields=FIELDS, frame_px=256))
        samples = read_samples(self._config.scan.samples, SLIDES)
        self._plan = make_plan(self._config, samples)
        started = NightStarted(
            utc=1.7e9,
            night="night",
            configuration=freeze(self._config),
            samples=samples,
            planned=dict.fromkeys(SLIDES, FIELDS),
            versions={"lamelle": "0"},
            weights_sha256="0" * 64,
        )
        Journal.create(self._folder / "journal.sqlite", started).close()
        self._made: dict[tuple[int, int], list[Made]] = {}
        self._recorder = ExitStack()
        self._endpoint = self._recorder.enter_context(small_night.recorder_thread(self._dataset))
        self._listens = True
        self._start()

    # What happens ----------------------------------------------------------------------------------------------------

    @rule(fates=st.lists(FATES, min_size=1, max_size=8))
    def go_on(self, fates: list[Fate]) -> None:
        """Let the night do as much as these attempts, and what belongs to them."""
        left = list(fates)
        while left and (planned := self._next()) is not None:
            self._take(planned, left.pop(0))

    @rule(first=FATES)
    def go_on_to_the_end(self, first: Fate = ("found", 2)) -> None:
        fate = first
        while (planned := self._next()) is not None:
            self._take(planned, fate)
            fate = ("found", 2)
        assert self._journal.night_closed()

    @rule(redo=st.none() | REDOS)
    def kill_and_resume(self, redo: str | None) -> None:
        """Kill the process of the night, which leaves an orphan in the spool, and go on with it."""
        planned = self._next_unwritten()
        if planned is not None:
            with replacing(self._spool.path(field_file(planned.slide, planned.field, attempt=planned.attempt))) as file:
                file.write(b"of a stack that was not journalled")
        self._stop()
        self._start(redo)

    @rule()
    def lose_or_find_the_recorder(self) -> None:
        """End the recorder, which is elsewhere and takes what it has with it, or start it at another endpoint."""
        if self._listens:
            self._recorder.close()
        else:
            self._endpoint = self._recorder.enter_context(small_night.recorder_thread(self._dataset))
            self._sender.redirect(self._endpoint)
        self._listens = not self._listens

    @precondition(lambda self: self._listens)
    @rule()
    def deliver(self) -> None:
        self._drain()
        self._check_dataset()

    @precondition(lambda self: self._listens and self._journal.night_closed() and self._waits())
    @rule(redo=st.booleans())
    def analyse_what_was_kept_raw(self, redo: bool) -> None:
        """As `lamelle analyse` does, between two nights: the recorder does not listen meanwhile.

        Then one of these fields may be taken again.
        """
        self._drain()
        self._recorder.close()
        waiting = self._waits()
        with closing(Catalog(self._dataset)) as catalog:
            for (slide, field), made in waiting:
                made.raw, made.objects = False, 2
                name = field_file(slide, field, attempt=made.attempt)
                body = small_night.contents(slide, field, 300, salt=made.attempt)
                path = inside(self._dataset, name)
                make_folder(path.parent)
                with replacing(path) as stream:
                    stream.write(body)
                later = FieldAnalysed(
                    utc=2.0,
                    slide=slide,
                    field=field,
                    device="cpu",
                    versions={},
                    seconds={},
                    objects=tuple(small_night.object_row(number) for number in range(2)),
                    files=(small_night.entry(name, body),),
                )
                catalog.commit(catalog.last_seq() + 1, encode_record(later))
            catalog.mend_tables()
        self._endpoint = self._recorder.enter_context(small_night.recorder_thread(self._dataset))
        self._sender.redirect(self._endpoint)
        self._check_dataset()
        if redo:
            (slide, field), _ = waiting[0]
            self.kill_and_resume(f"slide {slide} field {field}")

    # What the night would do -----------------------------------------------------------------------------------------

    def _next(self) -> PlannedField | None:
        """Do what comes before the next exposure; None once the night is closed. `Night.run` in short."""
        journal = self._journal
        for slide in SLIDES:
            if slide in journal.closed_slides():
                continue
            if (planned := self._next_unwritten(slide)) is not None:
                return planned
            if not journal.due(slide):
                self._close(slide)
        if names := retakes(journal, Purpose.PLAN):
            self._append(AttemptsOrdered(utc=1.0, purpose=Purpose.RETAKE, attempts=tuple(names)))
        for slide in SLIDES:
            if due := further_attempts(journal, self._plan, slide):
                return due[0]
            if slide not in journal.closed_slides():
                self._close(slide)
        if not journal.night_closed():
            done = list(journal.done().values())
            self._append(NightClosed(utc=1.0, recorded=done.count("field"), skipped=done.count("skipped")))
        return None

    def _next_unwritten(self, slide: int | None = None) -> PlannedField | None:
        """Give the next field of the plan that has no attempt."""
        for planned in self._plan:
            if slide in (None, planned.slide) and not self._journal.attempts(planned.slide, planned.field):
                return planned
        return None

    def _take(self, planned: PlannedField, fate: Fate) -> None:
        """Make an attempt at a field."""
        place, (kind, objects) = (planned.slide, planned.field), fate
        record: Attempt
        if kind == "skipped":
            record = small_night.skipped(*place)
        else:
            name = field_file(*place, "raw" if kind == "raw" else "", attempt=planned.attempt)
            body = small_night.contents(*place, 2000, salt=10 + planned.attempt)
            with replacing(self._spool.path(name)) as stream:
                stream.write(body)
            record = small_night.secured(*place, (small_night.entry(name, body),), objects)
            if kind == "raw":
                record = replace(record, analysed=False, reason="a stack that ends whoever looks at it")
        self._append(replace(record, attempt=planned.attempt, purpose=planned.purpose, sample=planned.sample))
        made = Made(planned.attempt, kind != "skipped", objects, kind == "raw")
        self._made.setdefault(place, []).append(made)

    def _close(self, slide: int) -> None:
        done = [kind for (at, _), kind in self._journal.done().items() if at == slide]
        recorded, skipped = done.count("field"), done.count("skipped")
        self._append(SlideClosed(utc=1.0, slide=slide, sample="s", recorded=recorded, skipped=skipped))

    def _append(self, record: AnyRecord) -> None:
        self._reporter.append(record)
        self._sender.wake()

    # Its processes ---------------------------------------------------------------------------------------------------

    def _start(self, redo: str | None = None) -> None:
        self._journal = journal = Journal.open(self._folder / "journal.sqlite")
        try:
            order = order_at_start(journal, redo, myself())
        except Refused:
            order = None
        if order is not None:
            journal.append(order)
        self._spool = Spool(self._folder / "spool", 10**9)
        self._spool.sweep(journal)
        self._shown = io.StringIO()
        display = ProgressDisplay(Console(file=self._shown))
        self._reporter = Reporter(self._config, self._folder, self._plan, journal, self._spool, display, None)
        self._reporter.start()
        self._sender = Sender(journal.path, self._spool, self._endpoint, emit=lambda *_: None, pace=QUICK)
        self._sender.start()

    def _stop(self) -> None:
        self._sender.stop(0)
        self._reporter.close()
        self._journal.close()

    def _drain(self) -> None:
        last = self._journal.last_seq()
        small_night.until(lambda: self._sender.status().acknowledged_seq == last, "delivery")

    def _waits(self) -> list[tuple[tuple[int, int], Made]]:
        return [(place, counting(made)) for place, made in self._made.items() if counting(made).raw]

    # What must hold --------------------------------------------------------------------------------------------------

    @invariant()
    def whoever_watches_counts_each_field_once(self) -> None:
        if not hasattr(self, "_journal"):
            return
        recorded, skipped, objects = self._wanted(journalled=True)
        status, totals = self._reporter.standing(), self._reporter.totals
        assert (status.secured, status.skipped) == (recorded, skipped)
        assert (totals.secured, totals.skipped, totals.objects) == (recorded, skipped, objects)
        due = sum(len(self._journal.due(slide)) for slide in SLIDES)
        assert totals.again.ordered - totals.again.made == due
        assert totals.attempts == sum(map(len, self._made.values()))

    def teardown(self) -> None:
        if not hasattr(self, "_journal"):
            return
        try:
            self._check_snapshot()
            if not self._listens:
                self.lose_or_find_the_recorder()
            self.go_on_to_the_end()
            self._drain()
            self._check_dataset()
            assert self._spool.used_bytes() == 0
        finally:
            self._stop()
            self._recorder.close()
            shutil.rmtree(self._folder)

    def _wanted(self, *, journalled: bool = False) -> tuple[int, int, int]:
        """Give recorded and skipped fields, and counted objects; as journalled, without what was found later."""
        count = [counting(made) for made in self._made.values()]
        raw = {(one.slide, one.field) for slide in SLIDES for one in self._journal.slide_fields(slide) if is_raw(one)}
        places = [place for place in self._made if not (journalled and place in raw)]
        complete = sum(one.complete for one in count)
        return complete, len(count) - complete, sum(counting(self._made[place]).objects for place in places)

    def _check_snapshot(self) -> None:
        """See what a watcher that comes late is told."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with context, context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect(self._reporter.snapshot_endpoint)
            socket.send(encode(SnapshotRequest()))
            assert socket.poll(DEADLINE_MS)
            header, fields, *_ = socket.recv_multipart()
        recorded, skipped, objects = self._wanted(journalled=True)
        told, done = decode_snapshot(header), decode_fields(fields)
        assert sum(tally.objects for tally in told.tallies) == objects
        assert len(done) == len({(one.slide, one.field) for one in done}) == recorded + skipped
        assert sum(one.reason is not None for one in done) == skipped
        assert sum(one.objects for one in done) == objects

    def _check_dataset(self) -> None:
        """See what the recorder holds, once it has everything."""
        recorded, skipped, objects = self._wanted()
        with Dataset.open(self._dataset) as dataset:
            held = dataset.totals()
            assert held.faults == ()
            assert (held.fields.recorded, held.fields.skipped, held.objects) == (recorded, skipped, objects)
            assert held.complete == self._journal.night_closed()
            assert dataset.verify() == []
            numbers, _ = gather(dataset)
            assert (numbers.recorded, len(numbers.skipped), numbers.total.number) == (recorded, skipped, objects)
            again = [(one.slide, one.field, one.attempt, one.counts) for one in taken_again(dataset)]
            attempts = {(one.slide, one.field, one.attempt) for one in dataset.attempts()}
            started = dataset.night()
            assert started is not None
            facts = FactsGatherer(started)
            for _, record in dataset.records():
                facts.add(record)
            for slide in dataset.slides():
                table = self._dataset / slide_folder(slide.slide) / OBJECTS_TABLE
                wanted = sum(counting(made).objects for (at, _), made in self._made.items() if at == slide.slide)
                assert table.exists() == slide.closed
                assert not slide.closed or sum(pq.read_table(table)["counted"].to_pylist()) == wanted
        judged = facts.facts(None, "", alive=None)
        assert (judged.recorded, judged.left_out, judged.objects) == (recorded, skipped, objects)
        assert attempts == {(*place, made.attempt) for place, all_ in self._made.items() for made in all_}
        assert sorted(again) == sorted(
            (*place, made.attempt, counting(all_).attempt)
            for place, all_ in self._made.items()
            for made in all_
            if made.attempt > 1
        )


def counting(made: list[Made]) -> Made:
    """Pick the attempt that counts: the last complete one, else the last one."""
    return next((one for one in reversed(made) if one.complete), made[-1])


def is_raw(one: Attempt) -> bool:
    return isinstance(one, FieldSecured) and not one.analysed
