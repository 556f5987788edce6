"""`lamelle scan`: sets up the run folder, starts the children, runs the night, leaves everything safe."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console

from daemon.analysis.naming import recorded
from daemon.calibration_store.shelf import choose, complain, require
from daemon.children.hold import sole_use
from daemon.config.loading import freeze, load, require_same
from daemon.config.model import NightConfig as Config
from daemon.config.names import freeze_names, read_names, remove_names, require_same_names
from daemon.config.samples import read_samples
from daemon.live.order_client import myself
from daemon.night.retakes import order_at_start
from daemon.night.supervisor import Supervisor
from daemon.planning.check import check
from daemon.planning.estimate import shape_of
from daemon.planning.installation import extras_for
from daemon.planning.plan import make_plan
from daemon.planning.software import require_same_back_end, software_of
from daemon.planning.specimens import make_specimens_of
from daemon.records.events import EventName
from daemon.records.names import CATALOG
from daemon.records.records import Event, NightStarted
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Exit, Refused
from daemon.system.extras import require as require_extras
from daemon.system.locks import sole
from daemon.system.progress import ProgressDisplay
from daemon.system.ring import Ring
from drivers.texts import plain
from inference.classification.head import load_head
from inference.network.weights_file import find_weights

_log = logging.getLogger(__name__)


def scan(config: Config, run: Path, *, resume: bool, console: Console, redo: str | None = None) -> Exit:
    """Run a night, or go on with one; returns when everything is safe.

    Parameters
    ----------
    resume
        go on with the night that `run` holds, and take again what faults kept from being recorded.
    redo
        which fields of it are to be taken again besides (`daemon.night.retakes.ordered`).

    Raises
    ------
    Refused
        Bad input; no hardware was touched.
    """
    require_extras(*extras_for(config.instrument), "detector")
    folder = RunFolder(run.resolve())
    check(config, run, begun=resume)
    samples = read_samples(config.scan.samples, [slide.position for slide in config.scan.slides])
    plan = make_plan(config, samples)
    with ExitStack() as held:
        if resume and not folder.journal.exists():
            raise Refused(
                f"--run {str(run)!r} holds no night to go on with; leave --resume and --redo out to begin one"
            )
        make_folder(folder.path)
        held.enter_context(sole(folder.lock, f"--run {str(run)!r} is in use by another scan"))
        changed: list[str] = []
        if resume:
            changed = require_same(load(folder.configuration), config, run)
        elif folder.journal.exists() or folder.dataset.exists():
            raise Refused(f"--run {str(run)!r} holds another night; choose a new folder, or --resume to go on with it")
        elif config.recorder.endpoint is None:
            held.push(lambda kind, *_: _free(folder) if kind is not None and issubclass(kind, Refused) else None)
        held.enter_context(sole_use(config, folder.path, "supervisor"))
        try:
            make_specimens_of(config.instrument, console)
            journal = Journal.open(folder.journal) if resume else _begin(folder, config, samples)
            held.callback(journal.close)
            held.callback(journal.settle)
            if resume:
                _require_begun_so(journal.started(), config, samples, run)
                _require_what_was_recorded(journal, folder, config)
                if changed:
                    _write_configuration(folder, config, journal.started().versions)
                if (order := order_at_start(journal, redo, myself())) is not None:
                    journal.append(order)
            spool = Spool(folder.spool, config.recorder.spool_mb * 1_000_000)
            for name in spool.sweep(journal):
                _log.info("removed %s, which no record mentions", name)
            ring = Ring.create(folder.path, config.ring_stacks, shape_of(config))
            held.callback(ring.close)
            display = held.enter_context(ProgressDisplay(console))
            if resume:
                _note_resumed(journal, changed)
            return asyncio.run(Supervisor(config, folder.path, plan, journal, spool, ring, display).run())
        except KeyboardInterrupt:
            return Exit.INTERRUPTED


def _require_what_was_recorded(journal: Journal, folder: RunFolder, config: Config) -> None:
    """Refuse to expose where what this computer recorded of the night is gone: its recorder could not go on with it."""
    acknowledged = journal.acknowledged()
    if config.recorder.endpoint is None and acknowledged and not (folder.dataset / CATALOG).exists():
        raise Refused(
            f"{folder.dataset} is gone, where {acknowledged} records of this night were; put it back where it was"
        )


def _free(folder: RunFolder) -> None:
    """Remove a night that was refused before anything was exposed: the corrected one may have the folder."""
    if any(folder.dataset.glob("slide-*/*")):
        return
    with suppress(OSError):
        for path in folder.path.glob(f"{folder.journal.name}*"):
            path.unlink()
        folder.configuration.unlink(missing_ok=True)
        remove_names(folder.path)
        for inner in (folder.dataset, folder.spool):
            if inner.exists():
                shutil.rmtree(inner)


def _require_begun_so(started: NightStarted, config: Config, samples: dict[int, dict[str, str]], run: Path) -> None:
    """Refuse to resume a night with another back-end, samples or calibrations than those it was begun with."""
    require_same_back_end(started.versions, software_of(config), str(run))
    if _as_read(started.samples) != _as_read(samples):
        raise Refused(
            f"scan.samples {str(config.scan.samples)!r} has changed since the night began; "
            "put the sheet back to resume that night, or give --run a new folder"
        )
    require(config.calibration.folder, started.calibrations)
    require_same_names(config, run)


def _as_read(samples: dict[int, dict[str, str]]) -> dict[int, dict[str, str]]:
    """Write a sheet as it is read now; before version 0.3 letters and spaces of names were left as they stood."""
    return {slide: {plain(name): plain(value) for name, value in row.items()} for slide, row in samples.items()}


def _note_resumed(journal: Journal, changed: Sequence[str]) -> None:
    """Note that the night goes on, else its former ending would be taken for that of this process; and what changed."""
    who = myself()
    message = f"{who} resumed the night; another process goes on with it"
    message += f"; changed in its configuration: {', '.join(changed)}" if changed else ""
    now_utc, now_s = time.time(), time.monotonic()
    journal.note(
        Event(utc=now_utc, monotonic_s=now_s, level="info", name=EventName.NIGHT_RESUMED, message=message, who=who)
    )


def _write_configuration(folder: RunFolder, config: Config, versions: Mapping[str, str]) -> str:
    frozen = freeze(config, versions)
    with replacing(folder.configuration) as stream:
        stream.write(frozen.encode())
    return frozen


def _begin(folder: RunFolder, config: Config, samples: dict[int, dict[str, str]]) -> Journal:
    versions = software_of(config)
    frozen = _write_configuration(folder, config, versions)
    freeze_names(config, folder.path)
    names = read_names(config)
    calibrations = choose(config)
    planned = {slide.position: config.scan.fields for slide in config.scan.slides}
    started = NightStarted(
        utc=time.time(),
        night=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.urandom(3).hex()}",
        configuration=frozen,
        samples=samples,
        planned=planned,
        versions=versions,
        weights_sha256=find_weights(config.detector.weights).sha256,
        calibrations=calibrations.names,
        taxonomy="" if names.taxonomy is None else names.taxonomy.to_json(),
        **recorded(None if config.classifier is None else load_head(config.classifier.path)),
    )
    journal = Journal.create(folder.journal, started)
    for level, told in complain(calibrations, config):
        now_utc, now_s = time.time(), time.monotonic()
        event = Event(utc=now_utc, monotonic_s=now_s, level=level, name=EventName.CALIBRATION, message=told)
        journal.note(event)
        _log.log(logging.getLevelNamesMapping()[level.upper()], "calibration: %s", told)
    return journal
