"""The way of one field through the night, from the plan to the journal. Read `Night.run` from top to bottom."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from daemon import crashpoints
from daemon.config import Night as Config
from daemon.config import Retention
from daemon.errors import NightStopped, RequestFailed
from daemon.focus import FocusFollower, Known, search_for
from daemon.journal import Journal
from daemon.links import AnalysisLink, MicroscopeLink
from daemon.messages import Analysed, Expose, Exposed, Finish, SweepOrder
from daemon.outlook import crops_bytes, retained_share, shape_of, stack_bytes
from daemon.pause import Interrupt, Pause
from daemon.plan import PlannedField
from daemon.records import (
    AnyRecord,
    Event,
    FieldSecured,
    FieldSkipped,
    FocusResult,
    NightClosed,
    SlideClosed,
)
from daemon.spool import Spool
from drivers.settings import MiniSlide

LAG = 2
"""The z of field n uses focus results of fields up to n - LAG."""
SPOOL_RETRY_S = 5.0
"""How long the night stands still after the spool refused a field for another reason than want of room."""


@dataclass(frozen=True)
class Observer:
    """Whom the night tells what happens: every record as it is journalled, an overview of each field, its state.

    `delivery` is asked why the spool does not grow emptier.
    """

    recorded: Callable[[AnyRecord], None]
    overview: Callable[[FieldSecured, bytes], None]
    state: Callable[[str, str], None]
    delivery: Callable[[], str]


@dataclass
class _Slide:
    """What the night knows of the mini-slide it is on."""

    settings: MiniSlide
    fields: Sequence[PlannedField]
    follower: FocusFollower
    searches: dict[int, FocusResult] = field(default_factory=dict)
    results: dict[int, FocusResult] = field(default_factory=dict)
    settled: dict[int, asyncio.Event] = field(default_factory=dict)
    fresh: bool = True
    skipped_in_a_row: int = 0
    given_up: str | None = None

    def known(self, up_to: int) -> list[Known]:
        """Return searches so far and results of fields up to `up_to`, in field order."""
        known: list[Known] = []
        for planned in self.fields:
            if planned.field in self.searches:
                known.append((planned, self.searches[planned.field]))
            if planned.field <= up_to and planned.field in self.results:
                known.append((planned, self.results[planned.field]))
        return known

    def seen(self, up_to: int) -> list[Known]:
        """Return results of fields up to `up_to`, searches left out."""
        return [(f, self.results[f.field]) for f in self.fields if f.field <= up_to and f.field in self.results]


class Night:
    """One night; everything it needs is made by `daemon.scan`."""

    def __init__(
        self,
        config: Config,
        plan: Sequence[PlannedField],
        journal: Journal,
        spool: Spool,
        microscope: MicroscopeLink,
        analysis: AnalysisLink,
        observer: Observer,
    ) -> None:
        self._config = config
        self._plan = plan
        self._journal = journal
        self._spool = spool
        self._microscope = microscope
        self._analysis = analysis
        self._observer = observer
        self._free = list(range(config.ring_stacks))
        self._slot_freed = asyncio.Event()
        self._largest_field_bytes = crops_bytes(config) + (stack_bytes(config) if retained_share(config) else 0)
        self._left_slides = 0
        self._pause = Pause(self._darken, observer.state, self._event, lambda: self.stop_at_boundary)
        self.stop_at_boundary = False

    async def run(self) -> None:
        """Scan every mini-slide whose fields the journal does not hold yet.

        Raises
        ------
        Interrupt
            `stop_at_boundary` was set.
        NightStopped
            A fault that needs a person.
        """
        closed = self._journal.closed_slides()
        for settings in sorted(self._config.scan.slides, key=lambda slide: slide.position):
            if settings.position not in closed:
                await self._scan_slide(settings)
        if not self._journal.night_closed():
            recorded, skipped = self._counts(None)
            await self._append_when_there_is_room(NightClosed(utc=time.time(), recorded=recorded, skipped=skipped))

    # One mini-slide --------------------------------------------------------------------------------------------------

    async def _scan_slide(self, settings: MiniSlide) -> None:
        slide = self._take_up(settings)
        await self._command(lambda: self._microscope.open_slide(settings.position))
        try:
            async with asyncio.TaskGroup() as behind:
                for planned in slide.fields:
                    if planned.field not in slide.settled:
                        await self._take_field(slide, planned, behind)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        recorded, skipped = self._counts(settings.position)
        sample = slide.fields[0].sample
        closed = SlideClosed(
            utc=time.time(), slide=settings.position, sample=sample, recorded=recorded, skipped=skipped
        )
        await self._append_when_there_is_room(closed)
        await self._command(self._microscope.withdraw)

    def _take_up(self, settings: MiniSlide) -> _Slide:
        """Begin a mini-slide, or go on where the journal ends."""
        fields = [planned for planned in self._plan if planned.slide == settings.position]
        slide = _Slide(settings, fields, FocusFollower.of(self._config, settings))
        for record in self._journal.slide_fields(settings.position):
            if record.search is not None:
                slide.searches[record.field] = record.search
            if isinstance(record, FieldSecured):
                slide.results[record.field] = record.focus
            slide.settled[record.field] = _already()
        return slide

    # One field -------------------------------------------------------------------------------------------------------

    async def _take_field(self, slide: _Slide, planned: PlannedField, behind: asyncio.TaskGroup) -> None:
        """Take one field; what comes after its exposure goes on while the stage moves on."""
        if self.stop_at_boundary:
            await self._results_up_to(slide, planned.field - 1)
            raise Interrupt
        await self._results_up_to(slide, planned.field - LAG)
        self._leave_if_blank(slide, planned)
        settled = slide.settled[planned.field] = asyncio.Event()
        before = slide.settled.get(planned.field - 1, _already())
        if slide.given_up is not None:
            behind.create_task(self._skip(slide, planned, 0, slide.given_up, before, settled))
            return
        await self._pause.until_free(lambda: self._crowded(self._config.ring_stacks))
        await self._pause.over()
        slot = await self._take_slot()
        z_um = await self._find_z(slide, planned, slot)
        first_z_um = round(z_um - slide.follower.half_stack_um, 3)
        exposed, attempts, fault = await self._expose(planned, first_z_um, slot)
        if exposed is None:
            self._free_slot(slot)
            self._count_skip(slide)
            behind.create_task(self._skip(slide, planned, attempts, fault, before, settled))
            return
        slide.skipped_in_a_row = 0
        self._analysis.complete(self._finish(planned, first_z_um, slot, exposed))
        behind.create_task(self._secure(slide, planned, first_z_um, slot, exposed, attempts, before, settled))

    async def _find_z(self, slide: _Slide, planned: PlannedField, slot: int) -> float:
        """Predict z of the stack's middle; search it where prediction is too unsure, verify it after a withdrawal."""
        follower, start_z = slide.follower, slide.settings.z_um
        known = slide.known(planned.field - LAG)
        z_um = follower.z_for(planned, known, start_z)
        unsure = follower.needs_search(planned, known)
        if unsure or slide.fresh:
            found = await self._search(slide.settings, planned, z_um, slot)
            # A search is coarser than what the stacks said: after a mere withdrawal it only overrules a clear error.
            if found is not None and (unsure or abs((found.z_um or z_um) - z_um) > follower.half_stack_um / 2):
                slide.searches[planned.field] = found
                z_um = follower.z_for(planned, slide.known(planned.field - LAG), start_z)
        slide.fresh = False
        return z_um

    async def _search(
        self, settings: MiniSlide, planned: PlannedField, expected_z_um: float, slot: int
    ) -> FocusResult | None:
        steps = search_for(self._config, settings, expected_z_um)
        try:
            sweep = next(steps)
            while True:
                order = SweepOrder(
                    first_z_um=round(float(sweep.first_z_um), 3),
                    step_um=sweep.step_um,
                    planes=sweep.planes,
                    polarizations=self._config.scan.polarizations[:1],
                    channels=(0,),
                )
                await self._expose_sweep(planned, order, slot)
                sweep = steps.send(await self._analysis.sharpness(slot, sweep.planes))
        except StopIteration as end:
            found = end.value
        except RequestFailed as error:
            self._event("warning", "focus search failed", str(error), planned)
            return None
        if found is None:
            message = f"nothing to focus on near z {expected_z_um:.2f} um; the field is taken there"
            self._event("info", "focus not found", message, planned)
            return None
        return FocusResult(
            z_um=round(float(found.z_um), 3), at_edge=bool(found.at_edge), contrast=float(found.contrast)
        )

    async def _expose_sweep(self, planned: PlannedField, order: SweepOrder, slot: int) -> Exposed:
        """Expose a sweep, again after each fault; the last fault is raised."""
        attempts = self._config.retry.attempts
        for attempt in range(attempts):
            try:
                return await self._microscope.expose(_request(planned, order, slot, attempt))
            except RequestFailed as error:
                if not error.again or attempt + 1 == attempts:
                    raise
                self._event("warning", error.kind, f"{error}; exposing again", planned)
        raise AssertionError("at least one attempt is configured")

    async def _expose(self, planned: PlannedField, first_z_um: float, slot: int) -> tuple[Exposed | None, int, str]:
        """Expose the field's stack; None with the reason when it was given up."""
        order = self._order(planned, first_z_um)
        attempt = 0
        for attempt in range(self._config.retry.attempts):
            self._analysis.begin(slot)
            try:
                return await self._microscope.expose(_request(planned, order, slot, attempt)), attempt + 1, ""
            except RequestFailed as error:
                fault = f"{error.kind}: {error}"
                last = not error.again or attempt + 1 == self._config.retry.attempts
                what = "the field is skipped" if last else "exposing again"
                self._event("error" if last else "warning", error.kind, f"{error}; {what}", planned)
                if last:
                    break
        self._analysis.drop(slot)
        return None, attempt + 1, fault

    def _order(self, planned: PlannedField, first_z_um: float) -> SweepOrder:
        """Polarization is the outer loop; its order turns round from field to field, which saves a switch."""
        scan = self._config.scan
        channels = tuple(range(len(scan.polarizations)))
        if planned.field % 2 == 0:
            channels = channels[::-1]
        return SweepOrder(
            first_z_um=first_z_um,
            step_um=scan.step_um,
            planes=scan.planes,
            polarizations=tuple(scan.polarizations[c] for c in channels),
            channels=channels,
        )

    def _finish(self, planned: PlannedField, first_z_um: float, slot: int, exposed: Exposed) -> Finish:
        return Finish(
            slot=slot,
            slide=planned.slide,
            field=planned.field,
            sample=planned.sample,
            x_um=planned.x_um,
            y_um=planned.y_um,
            tile_um=planned.tile_um,
            first_z_um=first_z_um,
            exposed_utc=exposed.utc,
            keep_raw=keeps_raw(self._config.retention, planned),
        )

    # While the stage moves on ----------------------------------------------------------------------------------------

    async def _secure(
        self,
        slide: _Slide,
        planned: PlannedField,
        first_z_um: float,
        slot: int,
        exposed: Exposed,
        attempts: int,
        before: asyncio.Event,
        settled: asyncio.Event,
    ) -> None:
        """Analyse the stack, and once all earlier fields are settled mark it secured."""
        try:
            analysed = await self._analyse(planned, slot)
        except RequestFailed as error:
            self._event("error", "analysis failed", f"{error}; the field is skipped", planned)
            self._free_slot(slot)
            await self._skip(slide, planned, attempts, f"analysis failed: {error}", before, settled)
            return
        await before.wait()
        record = FieldSecured(
            utc=time.time(),
            slide=planned.slide,
            field=planned.field,
            sample=planned.sample,
            x_um=planned.x_um,
            y_um=planned.y_um,
            first_z_um=first_z_um,
            step_um=self._config.scan.step_um,
            polarizations=self._config.scan.polarizations,
            shape_czyx=shape_of(self._config),
            attempts=attempts,
            exposed_utc=exposed.utc,
            exposed_monotonic_s=exposed.monotonic_s,
            seconds={**exposed.seconds, **analysed.seconds},
            focus=analysed.focus,
            search=slide.searches.get(planned.field),
            objects=analysed.objects,
            files=analysed.files,
        )
        await self._append_when_there_is_room(record)
        crashpoints.reach("journalled")
        self._largest_field_bytes = max(self._largest_field_bytes, sum(entry.size for entry in record.files))
        slide.results[planned.field] = record.focus
        self._free_slot(slot)
        settled.set()
        self._observer.overview(record, analysed.overview)

    async def _analyse(self, planned: PlannedField, slot: int) -> Analysed:
        while True:
            try:
                return await self._analysis.result(slot)
            except RequestFailed as error:
                if not error.again:
                    raise
                self._event("warning", "spool not written", f"{error}; the stack waits in the ring", planned)
                reason, until_s = str(error), time.monotonic() + SPOOL_RETRY_S
                await self._pause.until_free(
                    lambda: self._crowded(1) or (reason if time.monotonic() < until_s else None)  # noqa: B023 - awaited
                )

    async def _skip(
        self,
        slide: _Slide,
        planned: PlannedField,
        attempts: int,
        reason: str,
        before: asyncio.Event,
        settled: asyncio.Event,
    ) -> None:
        await before.wait()
        record = FieldSkipped(
            utc=time.time(),
            slide=planned.slide,
            field=planned.field,
            sample=planned.sample,
            reason=reason,
            attempts=attempts,
            search=slide.searches.get(planned.field),
        )
        await self._append_when_there_is_room(record)
        settled.set()

    # When to wait, and when to give up -------------------------------------------------------------------------------

    async def _results_up_to(self, slide: _Slide, number: int) -> None:
        for planned in slide.fields:
            if planned.field <= number:
                await slide.settled[planned.field].wait()

    def _leave_if_blank(self, slide: _Slide, planned: PlannedField) -> None:
        if slide.given_up is None and slide.follower.leaves_slide(slide.seen(planned.field - LAG)):
            count = self._config.focus.blank_fields_leave_slide
            slide.given_up = f"slide left: {count} blank fields in a row"
            self._event(
                "warning", "slide left", f"{count} blank fields in a row on mini-slide {planned.slide}", planned
            )

    def _count_skip(self, slide: _Slide) -> None:
        slide.skipped_in_a_row += 1
        retry = self._config.retry
        if slide.given_up is None and slide.skipped_in_a_row >= retry.skipped_fields_leave_slide:
            slide.given_up = f"slide left: {slide.skipped_in_a_row} fields in a row failed"
            self._left_slides += 1
            self._event("error", "slide left", f"mini-slide {slide.settings.position}: {slide.given_up}")
            if self._left_slides >= retry.skipped_slides_stop_night:
                raise NightStopped(f"{self._left_slides} mini-slides were left after faults; check the microscope")

    async def _command(self, command: Callable[[], object]) -> None:
        """Carry out a command between fields, again after each fault."""
        for attempt in range(self._config.retry.attempts):
            try:
                await command()  # type: ignore[misc]
                return
            except RequestFailed as error:
                if not error.again or attempt + 1 == self._config.retry.attempts:
                    raise NightStopped(f"{error.kind}: {error}") from error
                self._event("warning", error.kind, f"{error}; commanding again")

    async def _darken(self) -> None:
        await self._command(lambda: self._microscope.light(False))

    def _crowded(self, fields: int) -> str | None:
        """Why the spool cannot take so many fields more; None where it can. An empty one takes whatever comes."""
        need = min(fields * self._largest_field_bytes, self._spool.bound_bytes)
        if self._spool.has_room(need):
            return None
        used, free, bound = self._spool.used_bytes(), self._spool.free_bytes(), self._spool.bound_bytes
        return (
            f"the spool holds {used / 1e6:.1f} of {bound / 1e6:.0f} MB with {free / 1e6:.1f} MB free on its disk, and "
            f"needs room for {need / 1e6:.1f} MB more; {self._observer.delivery()}"
        )

    async def _take_slot(self) -> int:
        while not self._free:
            self._slot_freed.clear()
            await self._slot_freed.wait()
        return self._free.pop(0)

    def _free_slot(self, slot: int) -> None:
        self._free.append(slot)
        self._slot_freed.set()

    # The journal -----------------------------------------------------------------------------------------------------

    async def _append_when_there_is_room(self, record: AnyRecord) -> None:
        def refused() -> str | None:
            try:
                self._append(record)
            except sqlite3.OperationalError as error:
                return f"{self._journal.path} cannot be written: {error}"
            return None

        await self._pause.until_free(refused)

    def _append(self, record: AnyRecord) -> None:
        self._journal.append(record)
        self._observer.recorded(record)

    def _event(self, level: str, name: str, message: str, planned: PlannedField | None = None) -> None:
        event = tell(level, name, message, planned)
        self._journal.note(event)
        self._observer.recorded(event)

    def _counts(self, slide: int | None) -> tuple[int, int]:
        done = [kind for (position, _), kind in self._journal.done().items() if slide in (None, position)]
        return done.count("field"), done.count("skipped")


def tell(level: str, name: str, message: str, planned: PlannedField | None = None) -> Event:
    """Make an event of now."""
    return Event(
        utc=time.time(),
        monotonic_s=time.monotonic(),
        level=level,
        name=name,
        message=message,
        slide=planned.slide if planned else None,
        field=planned.field if planned else None,
    )


def keeps_raw(retention: Retention, planned: PlannedField) -> bool:
    """Whether the field's raw stack is kept: a function of the settings and the field's name alone."""
    match retention.raw:
        case "all":
            return True
        case "every":
            return planned.field % retention.every == 0
        case "share":
            text = f"{retention.seed}/{planned.slide}/{planned.field}".encode()
            return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64 < retention.share
        case "none":
            return False


def _request(planned: PlannedField, order: SweepOrder, slot: int, attempt: int) -> Expose:
    return Expose(
        slide=planned.slide,
        field=planned.field,
        attempt=attempt,
        x_um=planned.x_um,
        y_um=planned.y_um,
        sweep=order,
        slot=slot,
    )


def _already() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
