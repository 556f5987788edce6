"""A worker: from stacks on disk to fields' files in a dataset. It runs the detector; several work side by side."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import Corrections
from daemon.analysis.field_output import (
    focus_result,
    object_rows,
    secured_field,
    write_cutouts,
    write_features,
    write_picture,
)
from daemon.analysis.flags import flags_of
from daemon.analysis.kept_picture import PictureDrawer
from daemon.analysis.naming import FieldNames, Naming
from daemon.calibration_store.corrections import corrections_of_field, pattern_of
from daemon.config.loading import thaw
from daemon.config.model import Counting
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.field_file import FieldProvenance, read_field_file
from daemon.protocols.pipes import (
    AnalysisReady,
    AnyMessage,
    Close,
    CutField,
    Failed,
    FieldCut,
    NamingBegins,
    decode,
    encode,
)
from daemon.records.events import ReasonCode, SkipReason
from daemon.records.fields import ArchiveField
from daemon.records.flags import OF_THE_NIGHT, FieldFlag
from daemon.records.names import inside
from daemon.records.records import FieldAnalysed, FieldSecured, FieldSkipped, FileEntry, NightStarted, SourceFile
from daemon.reprocessing.archive import ArchiveSettings
from daemon.reprocessing.archive_stacks import Described, read_field
from daemon.system import crash_points
from daemon.system.durable_files import make_folder, sha256_of
from daemon.system.errors import DamagedFile, last_line
from daemon.system.logbook import Logbook
from drivers.errors import ImageRefused
from inference.errors import InferenceError
from inference.stopwatch import Stopwatch

if TYPE_CHECKING:
    from inference.analyser import Analyser
    from inference.objects.objects import StackAnalysis

_log = logging.getLogger(__name__)
ARCHIVE = "archive"
"""Stands for the instrument where there is none."""


@dataclass(frozen=True)
class Work:
    """What every worker of a command knows.

    `usual` is a stack of the size that most have, for which it pays to prepare the detector; None where there is none.
    `calibrations` is the folder of the records that stacks of a night name.
    """

    into: Path
    root: Path
    started: NightStarted
    settings: ArchiveSettings
    versions: dict[str, str]
    usual: Described | None = None
    calibrations: Path | None = None


def run_worker(connection: Connection, role: str, work: Work) -> None:
    """Serve requests until told to close or until the parent is gone."""
    crash_points.arm(work.into)
    with Logbook(work.into, role):
        try:
            detectors = _Detectors(work)
        except InferenceError as error:
            connection.send_bytes(encode(Failed(kind=type(error).__name__, message=str(error), again=False)))
            return
        taxonomy = Taxonomy.from_json(work.started.taxonomy)
        naming = Naming.open(work.settings.classifier, taxonomy, work.settings.detector.threads)
        notify = lambda: connection.send_bytes(encode(NamingBegins(slot=0)))  # noqa: E731
        bench = _Bench(work, detectors, naming.only(work.started.named_by), notify)
        ready = AnalysisReady(weights_sha256=detectors.weights_sha256)
        try:
            connection.send_bytes(encode(ready))
            while not isinstance(request := decode(connection.recv_bytes()), Close):
                connection.send_bytes(encode(bench.answer(request)))
        except (EOFError, OSError):
            return  # the parent is gone


_Fit = tuple[float, tuple[str, ...], tuple[str, ...]]
"""Size of a pixel, polarizations, names of calibrations: what an analyser is fitted to."""


class _Detectors:
    """The detector, for stacks of the usual size and for others.

    To export a model for every size that is met once would take longer than torch takes. Which stack meets which
    runtime depends on its size alone, so that results do not depend on who analysed what before.
    """

    def __init__(self, work: Work) -> None:
        from inference.analyser import Analyser

        self._make = Analyser
        self._settings = work.settings
        self._usual_px = work.usual and work.usual.view_px(self._settings.focus.sigma_um)
        self._analysers: dict[bool, tuple[_Fit, Analyser]] = {}
        if work.usual is not None:
            self.of(work.usual).analyse(np.zeros(work.usual.shape_czyx, np.uint16))
        else:
            self.of(Described((1, 1, 64, 64), 0.118, 1.0, ("parallel",), (0.0, 0.0, 0.0)))

    @property
    def on_gpu(self) -> bool:
        return any(analyser.device == "cuda" for _, analyser in self._analysers.values())

    @property
    def weights_sha256(self) -> str:
        return next(iter(self._analysers.values()))[1].weights_sha256

    def of(self, stack: Described, corrections: Corrections | None = None) -> Analyser:
        """Give the analyser for such stacks; `corrections` are those of the camera that exposed them, if known."""
        is_usual = stack.view_px(self._settings.focus.sigma_um) == self._usual_px
        fit = stack.pixel_um, stack.polarizations, corrections.records if corrections else ()
        pattern = pattern_of(corrections) if corrections else None
        if is_usual not in self._analysers:
            detector, crops, focus = self._settings.detector, self._settings.crops, self._settings.focus
            if detector.runtime == "auto" and not is_usual:
                detector = detector.model_copy(update={"runtime": "torch"})
            self._analysers[is_usual] = fit, self._make(detector, crops, focus, *fit[:2], pattern=pattern)
        fitted, analyser = self._analysers[is_usual]
        if fitted != fit:
            analyser = analyser.fitted(*fit[:2], pattern)
            self._analysers[is_usual] = fit, analyser
        return analyser


class _Bench:
    """Does what is asked, one stack at a time."""

    def __init__(self, work: Work, detectors: _Detectors, naming: Naming, naming_begins: Callable[[], None]) -> None:
        self._work = work
        self._detectors = detectors
        self._naming = naming
        self._naming_begins = naming_begins
        self._drawer = PictureDrawer()
        self._configuration_sha256 = hashlib.sha256(work.started.configuration.encode()).hexdigest()
        config = thaw(work.started.configuration)
        # Nobody says of an archive how it was lit, so that no field of it is left out but by a person.
        self._counting = Counting(not_counted=()) if config is None else config.counting

    def answer(self, request: AnyMessage) -> AnyMessage:
        if not isinstance(request, CutField):
            raise TypeError(f"{request!r} is not a request to a worker")
        planned = request.planned
        hashes = dict.fromkeys(planned.names, "")
        try:
            match request.kind:
                case "image":
                    return self._cut_image(request, hashes)
                case "kept":
                    return self._cut_kept(request, hashes)
                case "later":
                    return self._cut_later(request)
        except (ImageRefused, DamagedFile) as error:
            return FieldCut(record=skipped(planned, SkipReason(ReasonCode.UNREADABLE, str(error)), hashes))
        except OSError as error:
            return Failed(kind=type(error).__name__, message=str(error), again=True)
        except Exception as error:
            # What a GPU raises may stay in its driver until the process ends.
            if self._detectors.on_gpu and isinstance(error, RuntimeError):
                raise
            _log.exception("%s cannot be analysed", planned.title)
            why = f"it cannot be analysed: {last_line(error)}"
            reason = SkipReason(ReasonCode.ANALYSIS_FAILED, why, fault=type(error).__name__)
            return FieldCut(record=skipped(planned, reason, hashes))

    def _cut_image(self, request: CutField, hashes: dict[str, str]) -> FieldCut:
        watch, started, planned = Stopwatch(), self._work.started, request.planned
        with watch.time("read"):
            stack = read_field(self._work.root, planned, self._work.settings, hashes)
        described = stack.described
        x_um, y_um, z_um = described.position_um
        provenance = FieldProvenance(
            night=started.night,
            slide=planned.slide,
            field=planned.field,
            sample=planned.sample,
            x_um=x_um,
            y_um=y_um,
            first_z_um=z_um,
            step_um=described.step_um,
            pixel_um=described.pixel_um,
            polarizations=described.polarizations,
            exposures_ms=(),
            shape_czyx=described.shape_czyx,
            exposed_utc=stack.written_utc,
            focus=None,
            instrument=ARCHIVE,
            configuration_sha256=self._configuration_sha256,
            weights_sha256=started.weights_sha256,
            versions=started.versions,
            sample_columns=started.samples[planned.slide],
            sources=sources_of(hashes, planned.stack),
            bits=described.bits,
        )
        secured, nameless = self._cut(stack.pixels, provenance, watch, request)
        return FieldCut(record=replace(secured, told=described.told), nameless=nameless)

    def _cut_kept(self, request: CutField, hashes: dict[str, str]) -> FieldCut:
        watch, started, planned = Stopwatch(), self._work.started, request.planned
        (name,) = planned.names
        with watch.time("read"):
            pixels, provenance = self._kept(planned)
            hashes[name] = sha256_of(self._work.root / name)
        provenance = replace(
            provenance,
            night=started.night,
            configuration_sha256=self._configuration_sha256,
            weights_sha256=started.weights_sha256,
            versions=started.versions,
            sources=sources_of(hashes, planned.stack),
        )
        secured, nameless = self._cut(pixels, provenance, watch, request)
        return FieldCut(record=secured, nameless=nameless)

    def _cut_later(self, request: CutField) -> FieldCut:
        watch = Stopwatch()
        with watch.time("read"):
            pixels, provenance = self._kept(request.planned)
        secured, nameless = self._cut(pixels, provenance, watch, request)
        analysed = msgspec.convert(
            msgspec.structs.asdict(secured) | {"versions": self._work.versions}, FieldAnalysed, from_attributes=True
        )
        return FieldCut(record=analysed, nameless=nameless)

    def _kept(self, planned: ArchiveField) -> tuple[NDArray[np.uint16], FieldProvenance]:
        if planned.fault:
            raise DamagedFile(planned.fault)
        path = self._work.root / planned.names[0]
        if not path.is_file():
            raise DamagedFile(f"{path} is missing though the catalog lists it; fetch it again from the recorder")
        with read_field_file(path) as file:
            if (file.provenance.slide, file.provenance.field) != (planned.slide, planned.field):
                raise DamagedFile(f"{path} is of another field than its name says; fetch it again")
            return file.stack(), file.provenance

    def _cut(
        self, pixels: NDArray[np.uint16], provenance: FieldProvenance, watch: Stopwatch, request: CutField
    ) -> tuple[FieldSecured, str]:
        """Analyse a stack and write the field's files; its record, and why objects have no names.

        A field that was recorded before has its picture already, and files of a dataset are never written again.
        """
        at = provenance.x_um, provenance.y_um, provenance.first_z_um
        corrections = corrections_of_field(provenance, self._work.calibrations)
        analyser = self._detectors.of(
            Described(pixels.shape, provenance.pixel_um, provenance.step_um, provenance.polarizations, at), corrections
        )
        crash_points.reach("analysis running", provenance.slide, provenance.field)
        analysis: StackAnalysis = analyser.analyse(pixels)
        focus = focus_result(analysis.focus, provenance.first_z_um, provenance.step_um)
        provenance = replace(provenance, focus=focus)
        with watch.time("measure"):
            rows = object_rows(analysis.objects, provenance, corrections)
        with watch.time("judge"):
            own = flags_of(pixels, analysis.focus, provenance, corrections)
            known = OF_THE_NIGHT & set(request.flags)
            flags = tuple(flag for flag in FieldFlag if flag in own or flag in known)
            excluded = {*self._counting.excludes(flags), *request.excluded_by}
        with watch.time("name"):
            crops = [found.crop for found in analysis.objects]
            named = (
                FieldNames(rows, fault=request.nameless)
                if request.nameless
                else self._naming.name(rows, crops, provenance, self._naming_begins)
            )
        picture = None
        if request.kind != "later":
            with watch.time("pictures"):
                picture = self._drawer.draw(provenance, lambda: analysis.fused)
        with watch.time("encode"):
            files = self._write(provenance, named, analysis, picture)
        secured = secured_field(provenance, analysis, named.rows, files, watch.seconds, analyser.device)
        secured = replace(secured, flags=flags, excluded_by=tuple(flag for flag in flags if flag in excluded))
        return secured, named.fault

    def _write(
        self, provenance: FieldProvenance, named: FieldNames, analysis: StackAnalysis, picture: bytes | None
    ) -> tuple[FileEntry, ...]:
        path = inside(self._work.into, provenance.file_name())
        make_folder(path.parent)
        written = partial(crash_points.reach, "spool written")
        files = [write_cutouts(path, provenance, named.rows, analysis.objects, written)]
        if named.features is not None:
            name = provenance.features_file
            files.append(write_features(inside(self._work.into, name), name, named.features))
        if picture is not None:
            files.append(write_picture(inside(self._work.into, provenance.picture_file), provenance, picture))
        return tuple(files)


def skipped(planned: ArchiveField, why: SkipReason, hashes: dict[str, str]) -> FieldSkipped:
    """Record of a stack that cannot be analysed."""
    return FieldSkipped(
        utc=time.time(),
        slide=planned.slide,
        field=planned.field,
        sample=planned.sample,
        reason=why.sentence,
        attempts=1,
        sources=sources_of(hashes, planned.stack),
        reason_code=why.code,
        fault=why.fault,
    )


def sources_of(hashes: dict[str, str], stack: str) -> tuple[SourceFile, ...]:
    """Files of a stack by their names and hashes, as records have them."""
    return tuple(SourceFile(name=name, sha256=sha256, stack=stack) for name, sha256 in hashes.items())


def versions_now() -> dict[str, str]:
    """Versions of what the results depend on."""
    return {"lamelle": version("lamelle"), "python": platform.python_version(), "system": platform.platform()}
