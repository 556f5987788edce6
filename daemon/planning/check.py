"""Refuse a night that cannot work before hardware is touched, in one sentence with key, value and remedy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import get_args

import psutil

from daemon.analysis.naming import fitting_head
from daemon.calibration_store.shelf import choose, complain, proven
from daemon.config.model import CurveKeys, NightConfig, RoutineName
from daemon.config.names import Names, read_names
from daemon.config.samples import SAMPLE, doubt_of, read_samples
from daemon.planning.estimate import GB, CheckReport, look_ahead, most_field_bytes, render, stack_bytes
from daemon.planning.focus_bounds import CLEARANCE_UM
from daemon.planning.plan import make_plan
from daemon.protocols.sockets import Role, check_endpoint
from daemon.records.fields import PlannedField
from daemon.system.errors import Refused
from daemon.system.ring import ring_name
from drivers.backends import check_equipment
from drivers.errors import SettingRefused as DriverRefused
from drivers.micromanager.hardware_text import text_of
from drivers.settings import MiniSlide
from inference.errors import WeightsRefused
from inference.network.weights_proof import prove_weights

__all__ = ["CheckReport", "Machine", "check", "render"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps shared memory; nothing is written there by name
MB = 1_000_000
BUFFERED = ("micromanager", "bridge", "emulated")
"""Back-ends whose frames wait in Micro-Manager's circular buffer."""
LOADING = ("micromanager", "emulated")
"""Back-ends that load a hardware file."""
ROUNDED_UM = 0.1
"""What the heights of a z sequence are rounded to by some stages."""
RESERVE_BYTES = 100 * MB
"""Free disk that a night must leave, for catalog, journal and logs."""


def free_disk(folder: Path) -> int:
    """Bytes free on the disk that holds, or will hold, a folder."""
    existing = next(f for f in (folder, *folder.parents) if f.exists())
    return shutil.disk_usage(existing).free


def free_shared_memory() -> int:
    """Bytes that shared memory can still take: that of /dev/shm on Linux, else free memory."""
    available = psutil.virtual_memory().available
    if SHARED_MEMORY.is_dir():
        return min(available, shutil.disk_usage(SHARED_MEMORY).free)
    return available


@dataclass(frozen=True)
class Machine:
    """What a computer has room for, in bytes."""

    free_disk: Callable[[Path], int] = free_disk
    free_shared_memory: Callable[[], int] = free_shared_memory


def check(config: NightConfig, run: Path | None, machine: Machine | None = None, *, begun: bool = False) -> CheckReport:
    """Refuse what cannot work; say what the rest will take. Touches no hardware and writes nothing.

    Parameters
    ----------
    config
        as `load` returns it, paths absolute.
    run
        folder the night will be recorded in, if known; what already lies there counts as room.
    machine
        this computer, unless told.
    begun
        whether the night has begun, and so has its calibrations.

    Raises
    ------
    Refused
        The configuration contradicts itself, the hardware file, the weights, or what this computer has room for.
    """
    machine = machine or Machine()
    of_the_instrument = check_instrument(config)
    samples = read_samples(config.scan.samples, [slide.position for slide in config.scan.slides])
    names = read_names(config)
    plan = make_plan(config, samples)
    _check_travel(config, plan)
    _check_weights(config)
    _check_classifier(config, names)
    _check_endpoints(config)
    _check_alerts(config)
    _check_bounds(config)
    check_calibration(config)
    calibrations = [] if begun else [told for _level, told in complain(choose(config), config)]
    notes = [*_guesses(config), *names.notes, *_notes(samples), *of_the_instrument]
    notes += [*_sequence_notes(config), *_light_notes(config), *_patience_notes(config), *calibrations]
    report = look_ahead(config, plan, samples, notes)
    _check_room(config, run, report, machine)
    return report


def check_instrument(config: NightConfig) -> Sequence[str]:
    """Refuse what of an instrument and its mini-slides cannot work, whatever is done with them; say what to know."""
    _check_words(config)
    _check_heights(config)
    _check_slides(config.scan.slides)
    return _check_hardware(config)


def check_shared_memory(key: str, value: object, needed: int, machine: Machine, left: Path | None = None) -> None:
    """Refuse a ring that shared memory cannot take; one that was `left` behind is replaced, so it counts as room."""
    room = machine.free_shared_memory() + (left.stat().st_size if left is not None and left.exists() else 0)
    if needed > room:
        raise Refused(
            f"{key} is {value}, a ring of {needed / GB:.2f} GB, but shared memory has only {room / GB:.2f} GB free; "
            f"take fewer scan.planes or enlarge it (on Linux: remount {SHARED_MEMORY})"
        )


def _check_words(config: NightConfig) -> None:
    """Names that must agree with each other, and settings that mean nothing together."""
    scan, instrument = config.scan, config.instrument
    for state in scan.polarizations:
        if state not in instrument.polarizations:
            raise Refused(
                f"scan.polarizations names {state!r}, which instrument.polarizations does not define; "
                f"choose from {', '.join(instrument.polarizations)} or define it"
            )
    twice = [state for state in scan.polarizations if scan.polarizations.count(state) > 1]
    if twice:
        raise Refused(f"scan.polarizations names {twice[0]!r} twice; name each once")
    if not config.detector.classes or not all(name.strip() for name in config.detector.classes):
        raise Refused(
            f"detector.classes is {list(config.detector.classes)}; name at least one class, and leave no name empty"
        )
    if config.detector.keep_above > config.detector.threshold:
        raise Refused(
            f"detector.keep_above is {config.detector.keep_above:g}, above detector.threshold "
            f"{config.detector.threshold:g}; lower it, or raise the threshold"
        )
    for key, kept in (("raw", config.retention.raw), ("fused", config.retention.fused)):
        if kept == "share" and config.retention.share == 0:
            raise Refused(
                f"retention.share is 0, so retention.{key} share keeps nothing; give a share, or set {key} to none"
            )
    if config.focus.search_step_um > 2 * config.focus.search_um:
        raise Refused(
            f"focus.search_step_um is {config.focus.search_step_um:g}, more than twice focus.search_um "
            f"{config.focus.search_um:g}, the whole search; give a smaller step"
        )


def _check_heights(config: NightConfig) -> None:
    """Heights in order: withdrawn below every window, windows inside the travel, a stack inside each window."""
    travel, motion = config.instrument.travel.z_um, config.instrument.motion
    if not travel.holds(motion.withdrawn_z_um):
        raise Refused(
            f"instrument.motion.withdrawn_z_um is {motion.withdrawn_z_um:g}, outside instrument.travel.z_um "
            f"{travel.low:g} to {travel.high:g}; give a height the stage can reach"
        )
    stack_um = (config.scan.planes - 1) * config.scan.step_um
    for number, slide in enumerate(config.scan.slides):
        key, window = f"scan.slides[{number}] (position {slide.position})", slide.z_window_um
        span = f"{window.low:g} to {window.high:g}"
        if not (travel.holds(window.low) and travel.holds(window.high)):
            raise Refused(
                f"{key}: z_window_um is {span}, outside instrument.travel.z_um {travel.low:g} to {travel.high:g}; "
                "narrow the window"
            )
        if motion.withdrawn_z_um >= window.low:
            raise Refused(
                f"instrument.motion.withdrawn_z_um is {motion.withdrawn_z_um:g}, not below the z_window_um {span} of "
                f"{key}; withdraw farther, larger z is nearer to the sample"
            )
        if not window.holds(slide.z_um):
            raise Refused(f"{key}: z_um is {slide.z_um:g}, outside its z_window_um {span}; move one of them")
        if stack_um + 2 * CLEARANCE_UM > window.high - window.low:
            raise Refused(
                f"{key}: z_window_um is {span}, too narrow for {config.scan.planes} planes every "
                f"{config.scan.step_um:g} um; widen the window or take fewer scan.planes"
            )
        if window.low - motion.z_backlash_um < travel.low:
            raise Refused(
                f"instrument.motion.z_backlash_um is {motion.z_backlash_um:g}, too much for an approach from below the "
                f"z_window_um {span} of {key} inside instrument.travel.z_um from {travel.low:g}; raise the window's low"
            )


def _check_slides(slides: Sequence[MiniSlide]) -> None:
    """Every mini-slide has a place of its own."""
    for one, other in combinations(slides, 2):
        if one.position == other.position:
            raise Refused(f"scan.slides names position {one.position} twice; give each mini-slide its own, from 1 to 8")
        apart = (
            abs(a - b) >= (wide + broad) / 2
            for a, b, wide, broad in zip(one.centre_um, other.centre_um, one.size_um, other.size_um, strict=True)
        )
        if not any(apart):
            raise Refused(
                f"scan.slides: the mini-slides at positions {one.position} (centre_um {list(one.centre_um)}) and "
                f"{other.position} (centre_um {list(other.centre_um)}) overlap; correct centre_um or size_um"
            )


def _check_travel(config: NightConfig, plan: Sequence[PlannedField]) -> None:
    travel = config.instrument.travel
    for field in plan:
        for axis, value, span in (("x", field.x_um, travel.x_um), ("y", field.y_um, travel.y_um)):
            if not span.holds(value):
                raise Refused(
                    f"field {field.field} of the mini-slide at position {field.slide} has its centre at {axis} "
                    f"{value:.1f} um, outside instrument.travel.{axis}_um {span.low:g} to {span.high:g}; "
                    "correct the mini-slide's centre_um or ask for fewer scan.fields"
                )


def _check_hardware(config: NightConfig) -> Sequence[str]:
    """Refuse what the back-end knows not to work: a hardware file or a recording that does not fit."""
    try:
        return check_equipment(config.instrument, config.scan.planes, config.scan.fields)
    except DriverRefused as error:
        raise Refused(str(error)) from error


def _check_weights(config: NightConfig) -> None:
    try:
        prove_weights(config.detector)
    except WeightsRefused as error:
        raise Refused(str(error)) from error


def _check_classifier(config: NightConfig, names: Names) -> None:
    """Refuse a classifier that cannot be read, looks at pictures, or speaks of taxa that the taxonomy does not have."""
    if config.classifier is None:
        return
    try:
        fitting_head(config.classifier, names.taxonomy)
    except WeightsRefused as error:
        raise Refused(f"classifier.weights: {error}") from error


def _check_endpoints(config: NightConfig) -> None:
    """Endpoints that others can reach need keys."""
    endpoints: tuple[tuple[str, str | None, CurveKeys | None, Role], ...] = (
        ("recorder.endpoint", config.recorder.endpoint, config.recorder.keys, "client"),
        ("watch.publish", config.watch.publish, config.watch.keys, "server"),
        ("watch.snapshot", config.watch.snapshot, config.watch.keys, "server"),
        ("control.endpoint", config.control.endpoint, config.control.keys, "server"),
    )
    for key, endpoint, keys, role in endpoints:
        if endpoint is not None:
            try:
                check_endpoint(endpoint, keys, role)
            except Refused as error:
                raise Refused(f"{key}: {error}") from error


def _check_alerts(config: NightConfig) -> None:
    """Whoever is to be told must be within reach of words; nothing is sent."""
    if config.alerts.wanted:
        from daemon.alerts.channels import read_channels, read_dead_man  # apprise is loaded where somebody is told

        read_channels(config.alerts)
        read_dead_man(config.alerts)


def _check_bounds(config: NightConfig) -> None:
    """Bounds of the way to the recorder that one field must not exceed."""
    field = most_field_bytes(config)
    if config.recorder.spool_mb * MB < config.ring_stacks * field:
        raise Refused(
            f"recorder.spool_mb is {config.recorder.spool_mb}, but one field may take {field / MB:.0f} MB and the ring "
            f"holds {config.ring_stacks}; give the spool room for many fields"
        )
    if config.recorder.credit_mb * MB < config.recorder.chunk_kb * 1024:
        raise Refused(
            f"recorder.credit_mb is {config.recorder.credit_mb}, less than a recorder.chunk_kb of "
            f"{config.recorder.chunk_kb}; raise the credit or send smaller chunks"
        )
    buffer, sweep = config.instrument.buffer_mb * MB, stack_bytes(config) // len(config.scan.polarizations)
    if config.instrument.backend in BUFFERED and buffer < sweep:
        raise Refused(
            f"instrument.buffer_mb is {config.instrument.buffer_mb}, but the {config.scan.planes} planes of one sweep "
            f"take {sweep / MB:.0f} MB; give the camera's buffer room for a sweep"
        )


def check_calibration(config: NightConfig) -> None:
    """Refuse settings of calibration that name no routine."""
    known = get_args(RoutineName)
    for key, names in (("wanted", config.calibration.wanted), ("valid_days", config.calibration.valid_days)):
        for name in names:
            if name not in known:
                raise Refused(
                    f"calibration.{key} names {name!r}, which is not a routine; choose from {', '.join(known)}"
                )


def _check_room(config: NightConfig, run: Path | None, report: CheckReport, machine: Machine) -> None:
    """Shared memory for the ring, and disk for what is recorded here or waits here."""
    # A killed night leaves its ring behind, which a resumed one replaces.
    left = SHARED_MEMORY / ring_name(run) if run is not None else None
    check_shared_memory("ring_stacks", config.ring_stacks, report.ring_bytes, machine, left)
    if run is None:
        return
    needed = report.recorded_bytes
    if config.recorder.endpoint is not None:
        needed = min(needed, config.recorder.spool_mb * MB)
    room = machine.free_disk(run) + sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    if needed + RESERVE_BYTES > room:
        raise Refused(
            f"scan.fields is {config.scan.fields}, a plan of {needed / GB:.2f} GB, and {RESERVE_BYTES / GB:.1f} GB "
            f"must stay free, but the disk of {run} has only {room / GB:.2f} GB for both; name another --run folder, "
            "or keep less (retention.raw, retention.fused, scan.fields)"
        )


def _guesses(config: NightConfig) -> Iterator[str]:
    """Return what had to be guessed about the letters of files of other programs."""
    if doubt := doubt_of(config.scan.samples):
        yield f"{config.scan.samples.name}, {doubt}"
    hardware = config.instrument.hardware
    if hardware is not None and config.instrument.backend in LOADING and (doubt := text_of(hardware).doubt):
        yield f"{hardware.name}, {doubt}"


def _notes(samples: dict[int, dict[str, str]]) -> Iterator[str]:
    """Return what is allowed but worth a look."""
    positions: dict[str, list[int]] = {}
    for position, columns in samples.items():
        positions.setdefault(columns[SAMPLE], []).append(position)
    for sample, places in positions.items():
        if len(places) > 1:
            yield f"sample {sample} lies on the mini-slides {', '.join(map(str, places))}"


def _light_notes(config: NightConfig) -> Iterator[str]:
    """Return what is not noticed where the states cannot be compared with each other."""
    if config.instrument.backend != "replay" and not {"crossed", "parallel"} <= set(config.scan.polarizations):
        yield (
            f"scan.polarizations is {' and '.join(config.scan.polarizations)} alone: where the light is out from the "
            "first field on, that looks like empty fields, and nothing is told; look at the first ones, or take "
            "crossed and parallel, which are compared"
        )


def _patience_notes(config: NightConfig) -> Iterator[str]:
    """Return which bound of the patience with an instrument is met first, where that is not its hours."""
    retry = config.retry
    hours = retry.light_cycles * retry.longest_pause_s / 3600
    if hours < retry.instrument_patience_h:
        yield (
            f"retry.light_cycles is {retry.light_cycles}, and an instrument that is out of order is tried so often "
            f"within {hours:.1f} h, so the night stops before its retry.instrument_patience_h of "
            f"{retry.instrument_patience_h:g} h; allow more, or a longer retry.longest_pause_s"
        )


def _sequence_notes(config: NightConfig) -> Iterator[str]:
    """Return what is worth a look where the camera steps the focus drive."""
    if not config.instrument.motion.z_sequence:
        return
    yield from proven(config)[1]
    steps = config.scan.step_um / ROUNDED_UM
    if abs(steps - round(steps)) > 1e-6:
        yield (
            f"scan.step_um is {config.scan.step_um:g}, and some stages, such as those of ASI, round the heights of a "
            f"sequence to {ROUNDED_UM:g} um; give a multiple of that"
        )
