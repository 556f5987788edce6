"""The way of one field through the night, from the plan to the journal. Read `Night.run` from top to bottom."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from daemon.children.analysis_link import AnalysisLink
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.model import NightConfig as Config
from daemon.live.steering import Steering, left_by_order
from daemon.night.brightness import Dimming, usual_background
from daemon.night.focus_following import FocusFollower
from daemon.night.focus_search import FocusSearch
from daemon.night.patience import InstrumentPatience
from daemon.night.pause import Interrupt, NightClock, Pause
from daemon.night.reporter import Reporter
from daemon.night.retakes import further_attempts, retakes
from daemon.night.under_way import LAG, FieldUnderWay, SlideUnderWay, already_set
from daemon.planning.estimate import most_field_bytes, undetected_field_bytes
from daemon.protocols.pipes import Analysed, Expose, Exposed, Finish
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.events import EventName, ReasonCode, SkipReason, fault_in_words
from daemon.records.faults import overexposed, unmeasured
from daemon.records.fields import PlannedField
from daemon.records.flags import FieldFlag
from daemon.records.records import (
    AnyRecord,
    AttemptsOrdered,
    FieldSecured,
    FieldSkipped,
    NightClosed,
    SlideClosed,
)
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system import crash_points
from daemon.system.errors import NightStopped, RequestFailed
from drivers.errors import StageMoved
from drivers.microscope import Sweep
from drivers.settings import MiniSlide

SPOOL_RETRY_S = 5.0
"""How long the night stands still after the spool refused a field for another reason than want of room."""


class Night:
    """One night; everything it needs is made by `daemon.night.supervisor`."""

    def __init__(
        self,
        config: Config,
        plan: Sequence[PlannedField],
        journal: Journal,
        spool: Spool,
        microscope: MicroscopeLink,
        analysis: AnalysisLink,
        reporter: Reporter,
        steering: Steering,
        clock: NightClock | None = None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._journal = journal
        self._spool = spool
        self._microscope = microscope
        self._analysis = analysis
        self._reporter = reporter
        self._steering = steering
        self._search = FocusSearch(config, microscope, analysis, reporter)
        self._free = list(range(config.ring_stacks))
        self._slot_freed = asyncio.Event()
        self._largest_field_bytes = most_field_bytes(config)
        self._left_slides = 0
        self._told_lit = ""
        self._clock = clock = clock or NightClock()
        self._pause = Pause(self._darken, reporter.state, reporter.emit, lambda: steering.stopping, clock)
        self._patience = InstrumentPatience(
            config.retry, self._pause, reporter.emit, self._withdraw, steering.keeps, clock
        )
        self._slide_under_way: SlideUnderWay | None = None

    async def run(self) -> None:
        """Scan every mini-slide whose fields the journal does not hold yet, then take again what was ordered anew.

        What a fault kept from being recorded is ordered here, once.

        Raises
        ------
        Interrupt
            A person asked the night to stop.
        NightStopped
            A fault that needs a person.
        """
        slides = sorted(self._config.scan.slides, key=lambda slide: slide.position)
        closed = self._journal.closed_slides()
        for settings in slides:
            if settings.position in closed:
                continue
            slide = self._take_up(settings)
            # A mini-slide whose further attempts were interrupted is closed once they are made.
            if slide.wanted or not self._journal.due(settings.position):
                await self._pause.until_free(self._steering.keeps)
                await self._scan_slide(slide)
        if names := retakes(self._journal, Purpose.PLAN):
            await self._append_when_there_is_room(
                AttemptsOrdered(utc=time.time(), purpose=Purpose.RETAKE, attempts=tuple(names))
            )
        for settings in slides:
            if due := further_attempts(self._journal, self._plan, settings.position):
                await self._pause.until_free(self._steering.keeps)
                await self._scan_slide(self._take_up_again(settings, due))
        self._steering.scans = False
        if not self._journal.night_closed():
            recorded, skipped = self._counts(None)
            await self._append_when_there_is_room(NightClosed(utc=time.time(), recorded=recorded, skipped=skipped))

    # One mini-slide --------------------------------------------------------------------------------------------------

    async def _scan_slide(self, slide: SlideUnderWay) -> None:
        self._slide_under_way, settings = slide, slide.settings
        self._steering.slide = settings.position
        self._reporter.begin_slide(settings.position)
        await self._patience.command(lambda: self._microscope.open_slide(settings.position))
        try:
            async with asyncio.TaskGroup() as behind:
                for planned in slide.wanted:
                    await self._take_field(slide, planned, behind)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        self._steering.slide = self._slide_under_way = None
        # Where attempts were ordered before the plan was carried out, they are made first.
        if not self._journal.due(settings.position):
            recorded, skipped = self._counts(settings.position)
            sample = slide.fields[0].sample
            closed = SlideClosed(
                utc=time.time(), slide=settings.position, sample=sample, recorded=recorded, skipped=skipped
            )
            await self._append_when_there_is_room(closed)
        await self._patience.command(self._microscope.withdraw)

    def _take_up(self, settings: MiniSlide) -> SlideUnderWay:
        """Begin a mini-slide, or go on where the journal ends."""
        fields = [planned for planned in self._plan if planned.slide == settings.position]
        before = [one for one in self._journal.attempts(settings.position) if one.attempt == 1]
        held = {record.field for record in before}
        wanted = [planned for planned in fields if planned.field not in held]
        slide = SlideUnderWay(settings, fields, wanted, FocusFollower.of(self._config, settings))
        slide.dimming = Dimming(self._usual_dn(settings.position))
        slide.given_up = left_by_order(before)
        for record in before:
            if record.search is not None:
                slide.searches[record.field] = record.search
            if isinstance(record, FieldSecured) and not record.reason:
                slide.results[record.field] = record.focus
                slide.dimming.add(record.backgrounds_dn, record.focus.contrast, record.flags)
            slide.settled[record.field] = already_set()
        return slide

    def _take_up_again(self, settings: MiniSlide, due: Sequence[PlannedField]) -> SlideUnderWay:
        """Begin further attempts at fields of a mini-slide; where focus is, those of the plan with oil say."""
        slide = self._take_up(settings)
        slide.wanted, slide.again = due, True
        made = self._journal.attempts(settings.position)
        _, order = self._journal.due(settings.position)[-1]
        names = set(order.attempts)
        # Whoever skipped the mini-slide while these were made wants none of them; whoever ordered some later does.
        slide.given_up = left_by_order(one for one in made if AttemptName(one.slide, one.field, one.attempt) in names)
        for record in made:
            slide.exposed[record.field] = slide.exposed.get(record.field, 0) + record.attempts
            if record.attempt == 1 and isinstance(record, FieldSecured) and FieldFlag.OIL_LOST in record.flags:
                slide.forget_focus(record.field)
            if record.attempt > 1 and isinstance(record, FieldSecured) and not record.reason:
                slide.dimming.add(record.backgrounds_dn, record.focus.contrast, record.flags)
        return slide

    def _usual_dn(self, position: int) -> float | None:
        """Tell the background of the mini-slides before, the last undisturbed one first; None where there is none."""
        before = (slide.position for slide in self._config.scan.slides if slide.position < position)
        for earlier in sorted(before, reverse=True):
            records = [one for one in self._journal.attempts(earlier) if one.attempt == 1]
            if (usual_dn := usual_background(records)) is not None:
                return usual_dn
        return None

    # One field -------------------------------------------------------------------------------------------------------

    async def _take_field(self, slide: SlideUnderWay, planned: PlannedField, behind: asyncio.TaskGroup) -> None:
        """Take one field; what comes after its exposure goes on while the stage moves on."""
        if self._steering.stopping:
            await slide.last.wait()
            raise Interrupt
        if not slide.again:
            await self._results_up_to(slide, planned.field - LAG)
            self._leave_if_blank(slide, planned)
        await self._stand_still(slide)
        slide.given_up = slide.given_up or self._steering.leaves(planned.slide)
        taken = FieldUnderWay(planned, slide.last)
        before, slide.last = slide.last, taken.settled
        if not slide.again:
            slide.settled[planned.field] = taken.settled
        if slide.given_up is not None:
            behind.create_task(self._skip(slide, taken, slide.given_up))
            return
        taken.slot = await self._take_slot()
        try:
            exposed = await self._patience.persist(
                lambda tries: self._expose(slide, taken, tries),
                planned,
                lambda: self._steering.leaves(planned.slide) is not None,
            )
        except RequestFailed as fault:
            self._free_slot(taken.slot)
            self._count_skip(slide, planned)
            behind.create_task(self._skip(slide, taken, self._steering.leaves(planned.slide) or _skipped_for(fault)))
            return
        except Interrupt:
            self._free_slot(taken.slot)
            await before.wait()
            raise
        slide.skipped_in_a_row = 0
        self._analysis.complete(
            Finish(
                slot=taken.slot,
                planned=planned,
                first_z_um=taken.first_z_um,
                exposed_utc=exposed.utc,
                bits=exposed.bits,
                read_back=exposed.read_back,
                sources=exposed.sources,
                keep_raw=self._config.retention.keeps("raw", planned.slide, planned.field),
                keep_fused=self._config.retention.keeps("fused", planned.slide, planned.field),
            )
        )
        behind.create_task(self._secure(slide, taken, exposed))

    async def _find_z(self, slide: SlideUnderWay, planned: PlannedField, slot: int) -> float:
        """Predict z of the stack's middle; search it where prediction is too unsure, verify it after a withdrawal."""
        follower, start_z = slide.follower, slide.settings.z_um
        known = slide.known_for(planned)
        z_um = follower.z_for(planned, known, start_z)
        unsure = follower.needs_search(planned, known)
        if unsure or slide.fresh:
            before = slide.exposed.get(planned.field, 0)
            found = await self._search.near(z_um, slide.settings, planned, slot, before)
            # A search is coarser than what the stacks said: after a mere withdrawal it only overrules them where its
            # focus would lie outside the stack.
            if found is not None and (unsure or abs((found.z_um or z_um) - z_um) > follower.half_stack_um):
                if slide.again:
                    # Further attempts do not depend on one another: a night that is killed in between goes on alike.
                    z_um = z_um if found.z_um is None else found.z_um
                else:
                    slide.searches[planned.field] = found
                    z_um = follower.z_for(planned, slide.known_for(planned), start_z)
        slide.fresh = False
        return z_um

    async def _expose(self, slide: SlideUnderWay, taken: FieldUnderWay, tries: int) -> Exposed:
        """Expose the field's stack, its focus found before."""
        planned, slot = taken.planned, taken.slot
        if slide.fresh or math.isnan(taken.first_z_um):
            z_um = await self._find_z(slide, planned, slot)
            taken.first_z_um = round(z_um - slide.follower.half_stack_um, 3)
        taken.exposures = tries + 1
        sweep = self._sweep(planned, taken.first_z_um)
        self._analysis.begin(slot)
        try:
            before = slide.exposed.get(planned.field, 0)
            request = Expose(planned=planned, exposed=before + tries, sweep=sweep, slot=slot)
            return await self._microscope.expose(request)
        except RequestFailed as fault:
            self._analysis.drop(slot)
            taken.by_hand |= fault.kind == StageMoved.__name__
            raise

    def _sweep(self, planned: PlannedField, first_z_um: float) -> Sweep:
        """Polarization is the outer loop; its order turns round from field to field, which saves a switch."""
        scan = self._config.scan
        channels = tuple(range(len(scan.polarizations)))[:: 1 if planned.field % 2 else -1]
        return Sweep(first_z_um, scan.step_um, scan.planes, tuple(scan.polarizations[c] for c in channels), channels)

    # While the stage moves on ----------------------------------------------------------------------------------------

    async def _secure(self, slide: SlideUnderWay, taken: FieldUnderWay, exposed: Exposed) -> None:
        """Analyse the stack, and once all earlier fields are settled mark it secured."""
        planned = taken.planned
        try:
            analysed = await self._analyse(taken)
        except RequestFailed as error:
            told = f"{error}; the field is skipped"
            self._reporter.emit("error", EventName.ANALYSIS_FAILED, told, planned, fault=error.kind)
            self._free_slot(taken.slot)
            why = SkipReason(ReasonCode.ANALYSIS_FAILED, f"analysis failed: {error}", fault=error.kind)
            await self._skip(slide, taken, why)
            return
        await taken.before.wait()
        record = replace(
            analysed.record,
            utc=time.time(),
            attempts=taken.exposures,
            attempt=planned.attempt,
            purpose=planned.purpose,
            exposed_monotonic_s=exposed.monotonic_s,
            read_back=exposed.read_back,
            seconds={**exposed.seconds, **analysed.record.seconds},
            search=None if slide.again else slide.searches.get(planned.field),
        )
        record = self._judged(slide, taken, record)
        await self._append_when_there_is_room(record)
        crash_points.reach("journalled")
        self._largest_field_bytes = max(self._largest_field_bytes, sum(entry.size for entry in record.files))
        if not record.reason and not slide.again:
            slide.results[planned.field] = record.focus
        self._free_slot(taken.slot)
        taken.settled.set()
        self._reporter.show_field(record, analysed)
        if record.reason:
            told = f"{record.reason}; its raw stack is kept for `lamelle analyse`"
            self._reporter.emit("error", EventName.ANALYSIS_FAILED, told, planned, fault=record.fault)
            return
        if (faults := {row.fault for row in record.objects if row.fault is not None}) - slide.faults:
            slide.faults |= faults
            self._reporter.emit("warning", EventName.NOT_MEASURED, unmeasured(record.objects), planned)
        if not slide.overexposed and (told := overexposed(record.objects)):
            slide.overexposed = True
            self._reporter.emit("warning", EventName.CAMERA_FULL, told, planned)
        if (dim := slide.dimming.add(record.backgrounds_dn, record.focus.contrast, record.flags)) is not None:
            self._reporter.emit("warning", *dim, planned)

    def _judged(self, slide: SlideUnderWay, taken: FieldUnderWay, record: FieldSecured) -> FieldSecured:
        """Add the flags that a field has beside those before it, and say for which of all it is not counted."""
        flags = record.flags
        if record.analysed:
            flags += slide.dimming.flags(record.backgrounds_dn, flags)
        if record.focus.at_edge and FieldFlag.BLANK not in flags:
            flags += (FieldFlag.BLURRED,)
        if taken.by_hand:
            flags += (FieldFlag.OPERATOR,)
        flags = tuple(flag for flag in FieldFlag if flag in flags)
        return replace(record, flags=flags, excluded_by=self._config.counting.excludes(flags))

    async def _analyse(self, taken: FieldUnderWay) -> Analysed:
        while True:
            try:
                return await self._analysis.result(taken.slot)
            except RequestFailed as error:
                if not error.again:
                    raise
                reason, until_s = str(error), time.monotonic() + SPOOL_RETRY_S
                self._reporter.emit(
                    "warning", EventName.SPOOL_NOT_WRITTEN, f"{reason}; the stack waits in the ring", taken.planned
                )
                await self._pause.until_free(
                    lambda: self._crowded(1) or (reason if time.monotonic() < until_s else None)  # noqa: B023 - awaited
                )

    async def _skip(self, slide: SlideUnderWay, taken: FieldUnderWay, why: SkipReason) -> None:
        """Mark a field skipped once all earlier ones are settled."""
        await taken.before.wait()
        planned = taken.planned
        record = FieldSkipped(
            utc=time.time(),
            slide=planned.slide,
            field=planned.field,
            sample=planned.sample,
            reason=why.sentence,
            attempts=taken.exposures,
            search=None if slide.again else slide.searches.get(planned.field),
            reason_code=why.code,
            who=why.who,
            fault=why.fault,
            attempt=planned.attempt,
            purpose=planned.purpose,
        )
        await self._append_when_there_is_room(record)
        taken.settled.set()

    # When to wait, and when to give up -------------------------------------------------------------------------------

    async def _results_up_to(self, slide: SlideUnderWay, number: int) -> None:
        for planned in slide.fields:
            if planned.field <= number:
                await slide.settled[planned.field].wait()

    def _leave_if_blank(self, slide: SlideUnderWay, planned: PlannedField) -> None:
        if slide.given_up is None and slide.follower.leaves_slide(slide.seen(planned.field - LAG)):
            count = self._config.focus.blank_fields_leave_slide
            seen = f"{count} fields in a row without focus"
            slide.given_up = SkipReason(ReasonCode.NO_FOCUS, f"slide left: {seen}")
            self._emit_left(slide.given_up, "warning", seen, planned)

    def _count_skip(self, slide: SlideUnderWay, planned: PlannedField) -> None:
        slide.skipped_in_a_row += 1
        retry = self._config.retry
        if slide.given_up is None and slide.skipped_in_a_row >= retry.skipped_fields_leave_slide:
            seen = f"{slide.skipped_in_a_row} fields in a row failed"
            slide.given_up = SkipReason(ReasonCode.FAULTS_IN_A_ROW, f"slide left: {seen}")
            self._left_slides += 1
            self._emit_left(slide.given_up, "error", seen, planned)
            if self._left_slides >= retry.skipped_slides_stop_night:
                raise NightStopped(f"{self._left_slides} mini-slides were left after faults; check the microscope")

    def _emit_left(self, why: SkipReason, level: str, seen: str, planned: PlannedField) -> None:
        message = f"{seen} on mini-slide {planned.slide}"
        self._reporter.emit(level, EventName.SLIDE_LEFT, message, planned, reason_code=why.code)

    async def _stand_still(self, slide: SlideUnderWay) -> None:
        """Wait while a person wants it or the spool needs it, and while anything else of the night waits."""

        def kept() -> str | None:
            left = slide.given_up is not None or self._steering.leaves(slide.settings.position) is not None
            return self._steering.keeps() or (None if left else self._crowded(self._config.ring_stacks))

        while kept() is not None or self._pause.lasts:
            await self._pause.until_free(kept)
            await self._pause.over()

    async def _darken(self) -> bool:
        """Switch the light off; whether that could be done."""
        try:
            await self._microscope.light(False)
        except RequestFailed as fault:
            told = f"the light could not be switched off: {fault}"
            if told != self._told_lit:
                self._reporter.emit("error", EventName.NOT_SAFE, told, fault=fault.kind)
            self._told_lit = told
            return False
        self._told_lit = ""
        return True

    async def _withdraw(self) -> None:
        """Withdraw the objective of an instrument that is out of order, if it does so much; focus is searched anew."""
        if self._slide_under_way is not None:
            self._slide_under_way.fresh = True
        with suppress(RequestFailed):
            await self._microscope.withdraw()

    def _crowded(self, fields: int) -> str | None:
        """Why the spool cannot take so many fields more; None where it can. An empty one takes whatever comes."""
        largest = self._largest_field_bytes
        if not self._analysis.detects:
            largest = max(largest, undetected_field_bytes(self._config))
        need = min(fields * largest, self._spool.bound_bytes)
        if self._spool.has_room(need):
            return None
        used, free, bound = self._spool.used_bytes(), self._spool.free_bytes(), self._spool.bound_bytes
        # Where the bound is not reached it is the disk that is full, whatever the recorder does meanwhile.
        why = self._reporter.explain_delivery() if used + need > bound else "make room on that disk"
        return (
            f"the spool holds {used / 1e6:.1f} of {bound / 1e6:.0f} MB with {free / 1e6:.1f} MB free on its disk, and "
            f"needs room for {need / 1e6:.1f} MB more; {why}"
        )

    async def _take_slot(self) -> int:
        while not self._free:
            self._slot_freed.clear()
            await self._slot_freed.wait()
        slot = self._free.pop(0)
        self._reporter.ring_used += 1
        return slot

    def _free_slot(self, slot: int) -> None:
        self._free.append(slot)
        self._reporter.ring_used -= 1
        self._slot_freed.set()

    # The journal -----------------------------------------------------------------------------------------------------

    async def _append_when_there_is_room(self, record: AnyRecord) -> None:
        def refused() -> str | None:
            try:
                self._reporter.append(record)
            except sqlite3.OperationalError as error:
                return f"{self._journal.path} cannot be written: {error}"
            return None

        await self._pause.until_free(refused)

    def _counts(self, slide: int | None) -> tuple[int, int]:
        done = [kind for (position, _), kind in self._journal.done().items() if slide in (None, position)]
        return done.count("field"), done.count("skipped")


def _skipped_for(fault: RequestFailed) -> SkipReason:
    return SkipReason(ReasonCode.FAULT, f"{fault_in_words(fault.kind)}: {fault}", fault=fault.kind)
