"""`lamelle analyse`: finds what is in the fields of a dataset that were kept, with its own weights or with others.

Fields that a night secured without a detector get their objects in the same dataset. With other weights everything that
was kept is analysed anew, into another dataset.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError
from rich.console import Console

from daemon.analysis.field_output import RAW, kept_file
from daemon.analysis.naming import HeadRecorded, fitting_head, recorded
from daemon.calibration_store.corrections import folder_of
from daemon.calibration_store.shelf import require
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.catalog import Catalog, only_recorder_of
from daemon.dataset.field_file import read_field_file
from daemon.dataset.objects_table import write_objects_table
from daemon.dataset.reader import Dataset
from daemon.protocols.pipes import CutField, FieldCut
from daemon.records.faults import unmeasured
from daemon.records.fields import ArchiveField
from daemon.records.names import CATALOG, field_file
from daemon.records.records import FieldAnalysed, FieldSecured, FieldSkipped, NightStarted, encode
from daemon.reprocessing.archive import ArchiveSettings
from daemon.reprocessing.archive_stacks import Described
from daemon.reprocessing.fill import conclude, fill, not_named, staffed
from daemon.reprocessing.pool import working
from daemon.reprocessing.worker import Work, versions_now
from daemon.system import crash_points
from daemon.system.errors import DamagedFile, Exit, Refused
from daemon.system.logbook import Logbook
from daemon.system.process_table import end_stale
from daemon.system.progress import CountDisplay
from inference.classification.head import load_head
from inference.errors import WeightsRefused
from inference.network.weights_file import find_weights
from inference.network.weights_proof import prove_weights
from inference.settings import WORTH_EXPORTING, ClassifierSettings
from inference.wording import counted


def catch_up(
    folder: Path,
    weights: Path | None,
    workers: int | None,
    console: Console,
    classifier: ClassifierSettings | None = None,
) -> Exit:
    """Find and name the objects of the fields of a dataset that were not analysed, and add them; or go on with that.

    Parameters
    ----------
    folder
        a dataset, or the run folder it lies in.
    weights
        where the night's weights lie now, if not where its configuration says.
    workers
        processes side by side; one for each core if None.
    classifier
        where the night's classifier lies now, likewise.

    Raises
    ------
    Refused
        There is no dataset, its night is not complete, or the weights or the classifier are not those of the night.
    WeightsRefused
        There are no such weights.
    """
    into, started, _ = _opened(folder)
    if classifier is not None and load_head(classifier.path).sha256 != started.named_by:
        began = f"classifier {started.named_by[:12]}" if started.named_by else "no classifier"
        raise Refused(
            f"night {started.night} began with {began}, which {str(classifier.path)!r} is not; name its objects "
            "with that one by `lamelle classify`"
        )
    lies = {} if weights is None else {"weights": weights}
    settings = _settings(started, lies, {} if classifier is None else {"weights": classifier.weights})
    found = find_weights(settings.detector.weights).sha256
    if found != started.weights_sha256:
        raise Refused(
            f"the weights {str(settings.detector.weights)!r} ({found[:12]}) are not those of the night "
            f"({started.weights_sha256[:12]}); name those with --weights, or another dataset with --into"
        )
    count, settings = staffed(settings, workers)
    with only_recorder_of(into), closing(Catalog(into)) as catalog:
        end_stale(into)
        crash_points.arm(into)
        with Dataset.open(into) as dataset:
            waiting = [one for one in dataset.fields() if isinstance(one, FieldSecured) and not one.analysed]
        requests = [_request(field, "later") for field in waiting]
        work = Work(into, into, started, settings, versions_now(), _usual(into, waiting), _calibrations(started))

        def print_line(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        with Logbook(into, "analyse"), CountDisplay("fields analysed", console) as counter:
            status = conclude(_add(catalog, work, requests, count, counter, print_line), print_line)
    return status


def analyse_anew(
    folder: Path,
    into: Path,
    detector: Mapping[str, Any],
    workers: int | None,
    console: Console,
    classifier: Mapping[str, Any] | None = None,
    taxonomy: Taxonomy | None = None,
) -> Exit:
    """Analyse every field that a dataset keeps raw, or else fused, into another dataset; or go on with that.

    Parameters
    ----------
    detector
        settings of the detector that are other than the night's, `weights` among them.
    classifier
        those of the classifier, likewise.
    taxonomy
        whose identifiers it says, if another than the night's.

    Raises
    ------
    Refused
        There is no dataset, its night is not complete, it keeps no field, `into` holds something else, or a rule or
        a taxonomy is given and there is no classifier.
    WeightsRefused
        The weights do not fit the settings, or a classifier that is named does not fit stacks or taxonomy.
    """
    root, before, fields = _opened(folder)
    settings = _settings(before, detector, classifier or {})
    if settings.classifier is None and (classifier or taxonomy is not None):
        option = "--rule" if classifier else "--taxonomy"
        raise Refused(f"{option} is of no use, as night {before.night} has no classifier; name one with --classifier")
    weights = prove_weights(settings.detector)
    taxonomy = taxonomy or Taxonomy.from_json(before.taxonomy)
    settings, said, why = _classified(settings, taxonomy, classifier or {}, before, into)
    requests = [_request(field, "kept") for field in fields]
    if all(request.planned.fault for request in requests):
        raise Refused(f"{folder} keeps no field raw or fused; there is nothing to analyse again")
    told = settings.told(said["named_by"], taxonomy)
    told["of"] = {"night": before.night, "raw_stacks": _digest(fields)}
    configuration = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=120)
    started = NightStarted(
        utc=time.time(),
        night=f"{before.night}-{hashlib.sha256((configuration + weights.sha256).encode()).hexdigest()[:12]}",
        configuration=configuration,
        samples=before.samples,
        planned=before.planned,
        versions=versions_now(),
        weights_sha256=weights.sha256,
        calibrations=before.calibrations,
        taxonomy="" if taxonomy is None else taxonomy.to_json(),
        **said,
    )
    usual = _usual(root, fields) if len(fields) >= WORTH_EXPORTING else None
    work = Work(into.resolve(), root, started, settings, started.versions, usual, _calibrations(before))
    return fill(work, requests, workers, console, [not_named(why)] if why else ())


def _classified(
    settings: ArchiveSettings,
    taxonomy: Taxonomy | None,
    given: Mapping[str, Any],
    before: NightStarted,
    into: Path,
) -> tuple[ArchiveSettings, HeadRecorded, str]:
    """Give the settings with a classifier that fits, what is recorded of it, and why there is none where one was.

    A name costs nothing else: the night's own classifier, which may be gone by now, is left out; one that a person
    named is refused. What was begun with the night's own goes on with it, or tells where objects are named why it is
    not there; what was begun without goes on without.
    """
    if settings.classifier is None:
        return settings, recorded(None), ""
    nameless = settings.model_copy(update={"classifier": None})
    begun = _begun(into)
    if begun is not None and before.named_by == begun.named_by != "" and "weights" not in given:
        said = HeadRecorded(named_by=begun.named_by, encoder=begun.encoder, reference=begun.reference)
        return settings, said, ""
    if begun is not None and not begun.named_by and not given:
        return nameless, recorded(None), ""
    try:
        return settings, recorded(fitting_head(settings.classifier, taxonomy)), ""
    except WeightsRefused as error:
        if given:
            raise
        return nameless, recorded(None), str(error)


def _begun(into: Path) -> NightStarted | None:
    """How a dataset was begun; None where there is none."""
    if not (into / CATALOG).is_file():
        return None
    with Dataset.open(into) as dataset:
        return dataset.night()


def _calibrations(started: NightStarted) -> Path | None:
    """Folder of the records that a night names, which must be there as they were."""
    folder = folder_of(started)
    if folder is not None:
        require(folder, started.calibrations)
    return folder


def _opened(folder: Path) -> tuple[Path, NightStarted, list[FieldSecured | FieldSkipped]]:
    """Folder, beginning and fields of a dataset whose night is complete."""
    with Dataset.open(folder) as dataset:
        started = dataset.night()
        if started is None or not dataset.closed():
            raise Refused(f"{folder} holds a night that is not complete; finish it with lamelle scan --resume first")
        return dataset.folder.resolve(), started, dataset.fields()


def _settings(started: NightStarted, detector: Mapping[str, Any], classifier: Mapping[str, Any]) -> ArchiveSettings:
    """Take the settings of the night's configuration, some of them replaced, on whatever device there is."""
    try:
        content = yaml.safe_load(started.configuration)
        focus = {key: value for key, value in content["focus"].items() if key in ("sigma_um", "blank_contrast")}
        looking = content["detector"] | detector | {"device": "auto"}
        looking["keep_above"] = min(looking["keep_above"], looking["threshold"])
        named = content.get("classifier") or {}
        naming = {key: value for key, value in named.items() if key in ("weights", "rule")} | dict(classifier)
        settings = {"detector": looking, "crops": content["crops"], "focus": focus}
        return ArchiveSettings.model_validate(settings | ({"classifier": naming} if "weights" in naming else {}))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise Refused(
            f"the configuration of night {started.night} does not say how objects are looked for ({error}); "
            "it was not recorded by this version of lamelle"
        ) from error


def _request(field: FieldSecured | FieldSkipped, kind: Literal["kept", "later"]) -> CutField:
    """Ask for a field's raw stack; what the night knew of its light goes with it."""
    if isinstance(field, FieldSkipped):
        return CutField(planned=_planned(field), kind=kind)
    return CutField(planned=_planned(field), kind=kind, flags=field.flags, excluded_by=field.excluded_by)


def _planned(field: FieldSecured | FieldSkipped) -> ArchiveField:
    """Name the file in which the field was kept whole, or say why there is none."""
    name, fault = field_file(field.slide, field.field, RAW, field.attempt), ""
    if isinstance(field, FieldSkipped):
        fault = f"skipped in the night: {field.reason}"
    elif (kept := kept_file(field)) is None:
        fault = "it was kept neither raw nor fused"
    else:
        name = kept.name
    return ArchiveField(slide=field.slide, field=field.field, sample=field.sample, names=(name,), fault=fault)


def _usual(folder: Path, fields: Sequence[FieldSecured | FieldSkipped]) -> Described | None:
    """Describe the first kept field, which most of a night are like; None where there is none that can be read."""
    for planned in map(_planned, fields):
        path = folder / planned.names[0]
        if not planned.fault and path.is_file():
            try:
                with read_field_file(path) as file:
                    known = file.provenance
            except DamagedFile:
                continue
            at = known.x_um, known.y_um, known.first_z_um
            return Described(known.shape_czyx, known.pixel_um, known.step_um, known.polarizations, at)
    return None


def _digest(fields: Sequence[FieldSecured | FieldSkipped]) -> str:
    kept = [file for field in fields if isinstance(field, FieldSecured) for file in field.files]
    return hashlib.sha256("".join(f"{file.name} {file.sha256}\n" for file in kept).encode()).hexdigest()


async def _add(
    catalog: Catalog,
    work: Work,
    requests: Sequence[CutField],
    workers: int,
    counter: CountDisplay,
    print_line: Callable[[str], None],
) -> Exit:
    """Add what is found, field by field; then write the tables of the slides again."""
    failed, nameless = 0, False
    if requests:
        done = 0
        async with working(work, min(workers, len(requests))) as crew, aclosing(crew.answers(requests)) as answers:
            async for request, answer in answers:
                found = answer if isinstance(answer, str) else answer.record
                if isinstance(found, FieldAnalysed):
                    if told := unmeasured(found.objects):
                        print_line(f"{request.planned.names[0]}: {told}")
                    if isinstance(answer, FieldCut) and answer.nameless and not nameless:
                        nameless = True
                        event = not_named(answer.nameless)
                        catalog.commit(catalog.last_seq() + 1, encode(event))
                        print_line(f"{event.title}: {event.sentence}")
                    crash_points.reach("file without catalog")
                    catalog.commit(catalog.last_seq() + 1, encode(found))
                else:
                    failed += 1
                    print_line(f"{request.planned.names[0]} stays as it is: {getattr(found, 'reason', found)}")
                done += 1
                counter.show(done, len(requests))
    for slide in catalog.analysed_later():
        write_objects_table(work.into, catalog.database, slide)
    print_line(f"{len(requests) - failed} of {counted(len(requests), 'field')} that waited were analysed")
    return Exit.SKIPPED if failed else Exit.COMPLETE
