"""One night with one fault, on simulated time, and what became of it: told by the night, and seen by the witness."""

from __future__ import annotations

import asyncio
import io
import time as wall
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import yaml
from rich.console import Console

from benchmarks.faults.children import AnalysisHere, MicroscopeHere, Took
from benchmarks.faults.clock import SimulatedNightClock, SimulatedTime
from benchmarks.faults.tampering import WAYS
from benchmarks.faults.wire import WorldBehindTheWire
from benchmarks.faults.world import Shot, Trouble, World, WorldHere
from calibration.corrections import Corrections
from daemon.analysis.naming import Naming
from daemon.calibration_store.corrections import corrections_of
from daemon.children.analysis import AnalysisDesk
from daemon.children.analysis_link import AnalysisLink
from daemon.children.child import Child
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.model import NightConfig
from daemon.config.samples import read_samples
from daemon.live.steering import Steering
from daemon.night.night import Night
from daemon.night.reporter import Reporter
from daemon.night.supervisor import STACK_PATIENCE
from daemon.planning.estimate import field_seconds, shape_of
from daemon.planning.plan import make_plan
from daemon.protocols.pipes import FrameLanded
from daemon.records.attempts import AttemptName
from daemon.records.events import EventName
from daemon.records.fields import PlannedField
from daemon.records.records import FieldSecured, FieldSkipped, NightStarted
from daemon.records.states import NightState
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import ChildLost, NightStopped, RequestFailed
from daemon.system.progress import ProgressDisplay
from daemon.system.ring import Ring
from inference.analyser import Analyser

CONFIGS = Path(__file__).parents[2] / "configs"
HARDWARE = Path(__file__).with_name("instrument.cfg")
FIELDS, SLIDES, PLANES = 4, 2, 5
FRAME_PX = (128, 192)
HALF_UM = 0.5
"""Further off than this is not where a frame was planned, x, y or z, nor where the drive says that it stands."""


@dataclass
class Outcome:
    """What became of a night.

    Attributes
    ----------
    refused
        why it did not begin; empty where it did.
    stopped
        why it ended before its plan; empty where it did not.
    skipped
        fields that are not recorded in the end, and why.
    tries
        exposures of the stack of the field that needed most.
    paused_s
        how long it stood still, one number for each time.
    told
        level, name and message of each event.
    safe
        whether the night says that the hardware is safe in the end.
    given_back
        whether what an operator had set before is set again.
    strange
        what should not be: frames that are not as recorded, light that is on for nothing, false words.
    """

    hours: float = 0.0
    refused: str = ""
    stopped: str = ""
    recorded: int = 0
    skipped: list[str] = field(default_factory=list)
    tries: int = 0
    retaken: int = 0
    paused_s: list[float] = field(default_factory=list)
    told: list[tuple[float, str, EventName, str]] = field(default_factory=list)
    safe: bool = True
    given_back: bool = True
    strange: list[str] = field(default_factory=list)

    def messages(self, name: EventName) -> list[str]:
        """Give what was told under a name."""
        return [message for _, _, named, message in self.told if named is name]


def configuration(folder: Path, parts: Mapping[str, Any]) -> NightConfig:
    """Configure a short night of two mini-slides with small frames, everything else as it is shipped."""
    content = yaml.safe_load((CONFIGS / "emulated.yaml").read_text(encoding="utf-8"))
    slides = content["scan"]["slides"][:SLIDES]
    _put(
        content,
        {
            "instrument": {
                "hardware": HARDWARE,
                "frame_px": FRAME_PX,
                "name": "emulated faults",
                "emulation": {"seed": 11, "profile": "coccolith"},
                "polarizations": {"parallel": {"exposure_ms": 15}},
                "devices": {"lamp": "Lamp"},
                "light_on": ["Light", "On"],
                "light_off": ["Light", "Off"],
            },
            "scan": {"samples": CONFIGS / "samples.csv", "fields": FIELDS, "planes": PLANES, "slides": slides},
            "calibration": {"folder": folder / "calibrations"},
        },
    )
    _put(content, parts)
    return NightConfig.model_validate(content)


def _put(content: dict[str, Any], parts: Mapping[str, Any]) -> None:
    for name, value in parts.items():
        if isinstance(value, Mapping) and isinstance(content.get(name), dict):
            _put(content[name], value)
        else:
            content[name] = value


class _Told(Reporter):
    """Reports a night, and keeps when what was told."""

    def listen(self, time: SimulatedTime, outcome: Outcome) -> None:
        self._time, self._outcome, self.now = time, outcome, NightState.STARTING

    def emit(self, level: str, name: EventName, message: str, planned: PlannedField | None = None, **more: Any) -> None:
        super().emit(level, name, message, planned, **more)
        self._outcome.told.append((self._time.now(), level, name, message))

    def state(self, state: NightState, reason: str = "") -> None:
        super().state(state, reason)
        self.now = state


class SimulatedNight:
    """A night on an instrument, all of it in this process.

    Parameters
    ----------
    world
        the instrument.
    time
        how it passes.
    """

    def __init__(self, config: NightConfig, folder: Path, world: World, time: SimulatedTime) -> None:
        self._config, self._folder, self._world, self._time = config, RunFolder(folder), world, time
        self.outcome = Outcome()
        self._took: Took = {}
        self._dark_since_s: float | None = None

    def run(self) -> Outcome:
        """Scan it to its end, and look at what it recorded."""
        config, folder = self._config, self._folder
        samples = read_samples(config.scan.samples, [slide.position for slide in config.scan.slides])
        plan = make_plan(config, samples)
        started = NightStarted(
            utc=wall.time(),
            night="simulated",
            configuration="",
            samples=samples,
            planned={slide.position: config.scan.fields for slide in config.scan.slides},
            versions={"lamelle": ""},
            weights_sha256="",
        )
        self._before = self._world.standing()
        journal = Journal.create(folder.journal, started)
        ring = Ring.create(folder.path, config.ring_stacks, shape_of(config))
        try:
            spool = Spool(folder.spool, config.recorder.spool_mb * 1_000_000)
            desk = self._make_desk(started, spool, ring)
            asyncio.run(self._scan(plan, journal, spool, ring, desk))
            self._judge(journal)
        finally:
            ring.close()
            journal.close()
        return self.outcome

    def _make_desk(self, started: NightStarted, spool: Spool, ring: Ring) -> AnalysisDesk:
        config = self._config
        fit = config.instrument.pixel_um, config.scan.polarizations
        analyser = Analyser(config.detector, config.crops, config.focus, *fit, detects=False)
        corrections: Corrections = corrections_of(config, ())
        return AnalysisDesk(analyser, Naming(), ring, spool, config, started, corrections, lambda _: None)

    async def _scan(
        self, plan: tuple[PlannedField, ...], journal: Journal, spool: Spool, ring: Ring, desk: AnalysisDesk
    ) -> None:
        config, outcome, time = self._config, self.outcome, self._time
        display = ProgressDisplay(Console(file=io.StringIO()))
        reporter = self._reporter = _Told(config, self._folder.path, plan, journal, spool, display, None)
        reporter.listen(time, outcome)
        clock = SimulatedNightClock(time, self._look)
        analysis = AnalysisLink(
            lambda _: cast(Child, AnalysisHere(desk, ring, self._took, outcome.strange)), reporter.emit
        )

        def landed(frame: FrameLanded) -> None:
            analysis.landed(frame)

        deadlines = config.instrument.deadlines
        command_s = deadlines.move_s + 2 * deadlines.focus_s + deadlines.switch_s
        sweep_s = STACK_PATIENCE * field_seconds(config) + 2 * deadlines.frame_s
        microscope = MicroscopeLink(
            lambda: cast(Child, MicroscopeHere(self._world, config, ring, time, landed, self._took)),
            command_s,
            command_s + sweep_s,
            reporter.emit,
            now=time.now,
            sleep=clock.sleep,
        )
        steering = Steering(reporter.emit)
        begun = False
        try:
            await microscope.start()
            begun = True
            await analysis.start()
            reporter.state(NightState.SCANNING)
            await Night(config, plan, journal, spool, microscope, analysis, reporter, steering, clock).run()
        except (ChildLost, RequestFailed, NightStopped) as error:
            if begun:
                outcome.stopped = str(error)
                reporter.emit("error", EventName.NIGHT_STOPPED, str(error))
            else:
                outcome.refused = str(error)
        finally:
            reporter.state(NightState.STOPPED)
            outcome.hours = time.now() / 3600
            outcome.safe = await microscope.close()
            await analysis.close()
            reporter.close()

    def _look(self) -> None:
        """See that it is dark where the night says that it stands still."""
        if self._reporter.now is NightState.PAUSED and self._world.standing().shutter_open:
            told = self.outcome.messages(EventName.NOT_SAFE)
            if not told and "light on in a pause" not in self.outcome.strange:
                self.outcome.strange.append("light on in a pause")

    def _judge(self, journal: Journal) -> None:
        """Compare what the night says with what the witness saw."""
        outcome, world = self.outcome, self._world
        for slide in self._config.scan.slides:
            records = journal.slide_fields(slide.position)
            outcome.retaken += sum(one.attempt > 1 for one in records)
            for record in records:
                if isinstance(record, FieldSkipped):
                    outcome.skipped.append(record.reason)
                    continue
                outcome.recorded += 1
                outcome.tries = max(outcome.tries, record.attempts)
                name = AttemptName(record.slide, record.field, record.attempt)
                outcome.strange += (f"{name}: {wrong}" for wrong in self._wrong(record, self._took[name]))
        begun: float | None = None
        for at_s, _, named, _ in outcome.told:
            if named is EventName.PAUSED:
                begun = at_s
            elif named is EventName.RESUMED and begun is not None:
                outcome.paused_s.append(at_s - begun)
                begun = None
        if outcome.refused:
            return
        stands, motion = world.standing(), self._config.instrument.motion
        safe = not stands.shutter_open and stands.z_um <= motion.withdrawn_z_um + motion.z_tolerance_um
        if outcome.safe and not safe:
            outcome.strange.append(f"said to be safe, but stands so: {stands}")
        outcome.given_back = stands.found == self._before.found
        if not outcome.safe and not outcome.messages(EventName.NOT_SAFE):
            outcome.strange.append("not safe, and nobody is told")

    def _wrong(self, record: FieldSecured, shots: list[Shot]) -> Iterator[str]:
        """Say what of a recorded field is not as it is recorded."""
        config = self._config
        planes = {
            (state, round(record.first_z_um + plane * record.step_um, 3))
            for state in record.polarizations
            for plane in range(config.scan.planes)
        }
        if len(shots) != len(planes):
            yield f"{len(shots)} frames for {len(planes)} planes"
            return
        motion = config.instrument.motion
        order = {read.polarization: number for number, read in enumerate(record.read_back)}
        wanted = sorted(planes, key=lambda plane: (order.get(plane[0], 0), plane[1]))
        for (state, z_um), shot in zip(wanted, shots, strict=True):
            if max(abs(shot.x_um - record.x_um), abs(shot.y_um - record.y_um)) > motion.xy_tolerance_um:
                yield f"exposed at {shot.x_um:.1f}, {shot.y_um:.1f} um instead of {record.x_um:.1f}, {record.y_um:.1f}"
            elif abs(shot.z_um - z_um) > motion.z_tolerance_um:
                yield f"exposed at z {shot.z_um:.2f} instead of {z_um:.2f} um"
            elif abs(shot.objective_um - z_um) > HALF_UM:
                yield f"the objective was at {shot.objective_um:.2f} um, and the drive said {z_um:.2f}"
            elif shot.state != state:
                yield f"{shot.state or 'another light'} recorded as {state}"
            elif not shot.shutter_open:
                yield "exposed behind a closed shutter"
            elif abs(shot.exposure_ms / config.instrument.polarizations[state].exposure_ms - 1) > 0.01:
                yield f"exposed {shot.exposure_ms:g} ms instead of what is recorded"
            else:
                continue
            return


def spend(trouble: Trouble, over_the_wire: bool, parts: Mapping[str, Any]) -> Outcome:
    """Run one night with a fault; `parts` are those of the configuration that are otherwise."""
    with TemporaryDirectory(prefix="lamelle-fault-") as folder:
        config = configuration(Path(folder), parts)
        instrument, slides = config.instrument, config.scan.slides
        world: WorldHere | WorldBehindTheWire
        if over_the_wire:
            world = WorldBehindTheWire(instrument, slides, trouble)
            time = world.time
        else:
            time = SimulatedTime()
            world = WorldHere(instrument, slides, trouble, WAYS.get(trouble.tampering or "", {}), time)
        try:
            return SimulatedNight(config, Path(folder), world, time).run()
        finally:
            world.close()
