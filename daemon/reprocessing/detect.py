"""`lamelle detect`: the detector and the cropper of a night over an archive of images, into a dataset like a night's.

What identifies such a dataset are the settings that its results depend on, the weights, and the names and sizes of all
images: for anything else it is refused, so that no dataset mixes two questions.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml
from rich.console import Console

from daemon.analysis.naming import fitting_head, recorded
from daemon.config.taxonomy import Taxonomy
from daemon.protocols.pipes import CutField
from daemon.records.events import EventName
from daemon.records.records import Event, NightStarted
from daemon.reprocessing.archive import Archive, ArchiveSettings, find_archive
from daemon.reprocessing.archive_stacks import Described, probe
from daemon.reprocessing.fill import fill
from daemon.reprocessing.worker import Work, versions_now
from daemon.system.errors import Exit, Refused
from drivers.errors import ImageRefused, NotSaid
from inference.network.weights_proof import prove_weights
from inference.settings import WORTH_EXPORTING
from inference.wording import counted

PROBES = 200
"""So many stacks, evenly spread over an archive, are asked what they are before anything begins."""


def detect(
    places: Sequence[Path],
    into: Path,
    settings: ArchiveSettings,
    workers: int | None,
    console: Console,
    taxonomy: Taxonomy | None = None,
) -> Exit:
    """Find and cut out what is in an archive, or go on with that.

    Parameters
    ----------
    places
        folders and files.
    into
        folder of the dataset; one that was begun must have been begun with the same archive and settings.
    workers
        processes side by side; one for each core if None.
    taxonomy
        whose identifiers a classifier says; its own if None.

    Raises
    ------
    Refused
        There is nothing to do, or something cannot work, or `into` holds something else.
    WeightsRefused
        The weights do not fit the settings, or the classifier does not fit stacks or taxonomy.
    """
    archive = find_archive(places, settings, into, console)
    weights = prove_weights(settings.detector)
    said = recorded(None if settings.classifier is None else fitting_head(settings.classifier, taxonomy))
    usual = _probed(archive, settings)
    told = settings.told(said["named_by"], taxonomy) | {"archive": msgspec.to_builtins(archive.folders)}
    configuration = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=120)
    started = NightStarted(
        utc=time.time(),
        night=f"archive-{hashlib.sha256((configuration + weights.sha256).encode()).hexdigest()[:12]}",
        configuration=configuration,
        samples=archive.samples,
        planned=archive.planned(),
        versions=versions_now(),
        weights_sha256=weights.sha256,
        taxonomy="" if taxonomy is None else taxonomy.to_json(),
        **said,
    )
    requests = [CutField(planned=planned, kind="image") for planned in archive.fields]
    work = Work(into.resolve(), archive.root, started, settings, started.versions, usual)
    return fill(work, requests, workers, console, _events(archive))


def _events(archive: Archive) -> list[Event]:
    """Tell what lies there: how much, and by name and reason what is not read."""
    whys: dict[str, list[str]] = {}
    for name, why in archive.left_out.items():
        whys.setdefault(why, []).append(name)
    told: list[tuple[str, EventName, str, tuple[str, ...]]] = [("info", EventName.LISTED, archive.counts(), ())]
    told += [("warning", EventName.LEFT_OUT, why, tuple(names)) for why, names in whys.items()]
    return [
        Event(utc=time.time(), level=level, name=name, message=message, monotonic_s=time.monotonic(), names=names)
        for level, name, message, names in told
    ]


def _probed(archive: Archive, settings: ArchiveSettings) -> Described | None:
    """Refuse an archive that does not say what is needed; return the stack that most are like, where it pays."""
    whole = [field for field in archive.fields if not field.fault]
    if not whole:
        return None
    asked = whole[:: -(-len(whole) // PROBES)]
    known: list[Described] = []
    refusals: list[str] = []
    for field in asked:
        try:
            known.append(probe(archive, field, settings))
        except ImageRefused as error:
            refusals.append(f"{field.title!r}: {error}")
            if isinstance(error, NotSaid):
                raise Refused(refusals[-1]) from error
    if not known:
        raise Refused(f"none of the {counted(len(asked), 'image')} can be analysed; {refusals[0]}")
    alike = Counter(one.view_px(settings.focus.sigma_um) for one in known)
    size, count = alike.most_common(1)[0]
    if len(whole) < WORTH_EXPORTING or 2 * count < len(asked):
        return None
    return next(one for one in known if one.view_px(settings.focus.sigma_um) == size)
