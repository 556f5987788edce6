"""The analysis child: it alone runs the detector. From a stack in the ring to a field's files in the spool."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import Corrections
from daemon.analysis.field_output import (
    FUSED,
    RAW,
    focus_result,
    object_rows,
    secured_field,
    unanalysed_field,
    write_cutouts,
    write_features,
    write_fused,
    write_picture,
    write_raw,
)
from daemon.analysis.flags import flags_of
from daemon.analysis.kept_picture import PictureDrawer, middle_planes
from daemon.analysis.naming import FieldNames, Naming
from daemon.analysis.previews import draw_strips, draw_views
from daemon.calibration_store.corrections import corrections_of, pattern_of
from daemon.config.model import NightConfig
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.field_file import FieldProvenance
from daemon.protocols.pipes import (
    Analysed,
    AnalysisReady,
    AnyMessage,
    Close,
    Device,
    Failed,
    Finish,
    FrameLanded,
    MeasureSharpness,
    NamingBegins,
    Sharpness,
    StackBegins,
    StackFault,
    decode,
    encode,
)
from daemon.records.records import FileEntry, FocusResult, NightStarted, ObjectRow
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.spool import Spool
from daemon.system import crash_points
from daemon.system.errors import Refused, last_line
from daemon.system.logbook import Logbook
from daemon.system.ring import Ring, Shape
from inference.errors import InferenceError
from inference.objects.objects import StackAnalysis
from inference.stopwatch import Stopwatch
from inference.views.fixed_pattern import FixedPattern

if TYPE_CHECKING:
    from inference.analyser import Analyser, StackSession

_log = logging.getLogger(__name__)


def run_analysis(
    connection: Connection,
    config: NightConfig,
    started: NightStarted,
    run: Path,
    ring_name: str,
    slots: int,
    shape: Shape,
    device: Device | None,
) -> None:
    """Serve requests until told to close or until the supervisor is gone.

    `device` is what the night's detector has run on so far: a night that began on a GPU does without a detector where
    there is none any more, and keeps the raw stacks. With `none` it is told to; None: take what there is.
    """
    crash_points.arm(run)
    _yield_to_the_microscope()
    with Logbook(run, "analysis"):
        ring = Ring.attach(ring_name, slots, shape)
        try:
            corrections = corrections_of(config, started.calibrations)
            analyser = _open_analyser(config, device, np.zeros(shape, np.uint16), pattern_of(corrections))
        except (InferenceError, Refused) as error:
            connection.send_bytes(encode(Failed(kind=type(error).__name__, message=str(error), again=False)))
            return
        spool = Spool(RunFolder(run).spool, config.recorder.spool_mb * 1_000_000)
        taxonomy = Taxonomy.from_json(started.taxonomy)
        naming = Naming.open(config.classifier, taxonomy, config.detector.threads).only(started.named_by)
        notify = lambda message: connection.send_bytes(encode(message))  # noqa: E731
        desk = AnalysisDesk(analyser, naming, ring, spool, config, started, corrections, notify)
        detector = analyser.detector
        ready = AnalysisReady(
            weights_sha256=analyser.weights_sha256,
            named_by=naming.named_by,
            nameless=naming.fault,
            device=analyser.device,
            runtimes=detector.runtimes if detector else (),
            refusals=detector.refusals if detector else (),
        )
        connection.send_bytes(encode(ready))
        try:
            while not isinstance(request := decode(connection.recv_bytes()), Close):
                answer = desk.answer(request)
                if answer is not None:
                    connection.send_bytes(answer)
        except (EOFError, OSError):
            _log.warning("the supervisor is gone")


def _open_analyser(
    config: NightConfig, device: Device | None, stack: NDArray[np.uint16], pattern: FixedPattern | None
) -> Analyser:
    """Load the detector and warm it with a stack; without one where the GPU that the night began on is lost.

    The stack is of no field, which may be what the analysis died of before.
    """
    # The supervisor imports this module and must load neither onnxruntime nor torch.
    from inference.analyser import Analyser
    from inference.network.device import cuda_answers

    settings = config.detector, config.crops, config.focus
    fit = config.instrument.pixel_um, config.scan.polarizations
    if device != "none" and (device != "cuda" or cuda_answers()):
        try:
            analyser = Analyser(*settings, *fit, pattern=pattern)
            analyser.analyse(stack)
        except RuntimeError as error:  # as torch raises when a GPU that answers cannot compute
            if device != "cuda":
                raise
            _log.error("the GPU fails: %s", error)
        else:
            return analyser
    return Analyser(*settings, *fit, detects=False, pattern=pattern)


def _yield_to_the_microscope() -> None:
    """Run below normal priority, so that on few cores an exposure never waits for the analysis."""
    process = psutil.Process()
    process.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10))


class AnalysisDesk:
    """Does what is asked, one stack at a time.

    What a stack raises ends its analysis and nothing more: it is kept raw. Only errors of a GPU, which may stay in its
    driver until the process ends, are raised.
    """

    def __init__(
        self,
        analyser: Analyser,
        naming: Naming,
        ring: Ring,
        spool: Spool,
        config: NightConfig,
        started: NightStarted,
        corrections: Corrections,
        notify: Callable[[AnyMessage], None],
    ) -> None:
        self._analyser = analyser
        self._naming = naming
        self._notify = notify
        self._corrections = corrections
        self._ring = ring
        self._spool = spool
        self._config = config
        self._started = started
        self._configuration_sha256 = hashlib.sha256(started.configuration.encode()).hexdigest()
        self._slot: int | None = None
        self._session: StackSession | None = None
        self._fault: StackFault | None = None
        self._drawer = PictureDrawer()

    def answer(self, request: AnyMessage) -> bytes | None:
        """Do what is asked; returns the answer, encoded."""
        match request:
            case StackBegins(slot=slot):
                self._slot, self._session, self._fault = slot, None, None
                with self._fence():
                    self._session = self._analyser.open(self._ring.stack(slot))
                return None
            case FrameLanded(slot=slot, c=c, z=z):
                if slot != self._slot:
                    raise ValueError(f"a plane of slot {slot} was announced before its stack")
                if self._session is not None and self._fault is None:
                    with self._fence():
                        self._session.add(c, z)
                return None
            case Finish():
                try:
                    return self._finish(request)
                except OSError as error:
                    told = f"the spool refused the field: {error}"
                    return encode(Failed(kind=type(error).__name__, message=told, again=True))
            case MeasureSharpness():
                return self._sharpness(request)
            case _:
                raise TypeError(f"{request!r} is not a request to an analysis")

    @contextmanager
    def _fence(self) -> Iterator[None]:
        """Keep what a stack raises as its fault; what the GPU or the disk raises is not of the stack."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            if self._analyser.device == "cuda" and isinstance(error, RuntimeError):
                raise
            _log.exception("a stack cannot be analysed")
            self._fault = StackFault(kind=type(error).__name__, message=f"it cannot be analysed: {last_line(error)}")

    def _sharpness(self, request: MeasureSharpness) -> bytes:
        stack, self._fault = self._ring.stack(request.slot), None
        with self._fence():
            values = tuple(self._analyser.sharpness(stack[0, z]) for z in range(request.planes))
            return encode(Sharpness(values=values))
        assert self._fault is not None
        return encode(Failed(kind=self._fault.kind, message=self._fault.message, again=False))

    def _finish(self, request: Finish) -> bytes:
        fault = request.fault or self._fault
        if fault is None:
            with self._fence():
                return encode(self._analyse(request))
            fault = self._fault
        assert fault is not None
        return encode(self._keep_raw(request, fault))

    def _keep_raw(self, request: Finish, fault: StackFault) -> Analysed:
        """Write the stack as it is, without another look at it than its picture takes."""
        watch, stack = Stopwatch(), self._ring.stack(request.slot)
        provenance, picture = self._provenance(request, None), None
        if not request.undrawn:
            with watch.time("pictures"):
                picture = self._drawer.draw(provenance, partial(middle_planes, stack, provenance.pixel_um))
        with watch.time("encode"):
            files = [write_raw(self._spool.path(provenance.file_name(RAW)), provenance, stack)]
            if picture is not None:
                files.append(write_picture(self._spool.path(provenance.picture_file), provenance, picture))
        crash_points.reach("spool renamed")
        record = unanalysed_field(provenance, tuple(files), watch.seconds, fault.message, fault.kind)
        return Analysed(slot=request.slot, record=record, views=())

    def _analyse(self, request: Finish) -> Analysed:
        assert self._session is not None
        crash_points.reach("analysis running", request.planned.slide, request.planned.field)
        analysis = self._session.finish()
        watch = Stopwatch()
        with watch.time("encode"):
            focus = focus_result(analysis.focus, request.first_z_um, self._config.scan.step_um)
            provenance = self._provenance(request, focus)
            rows = object_rows(analysis.objects, provenance, self._corrections)
        with watch.time("judge"):
            flags = flags_of(self._ring.stack(request.slot), analysis.focus, provenance, self._corrections)
        with watch.time("name"):
            named = self._name(request, rows, provenance, analysis)
        with watch.time("pictures"):
            picture = self._drawer.draw(provenance, lambda: analysis.fused)
            views = draw_views(self._ring.stack(request.slot), analysis)
            strips = draw_strips(analysis.objects, named.rows, self._config.instrument.pixel_um)
        with watch.time("encode"):
            files = self._write(request, provenance, named, analysis, picture)
        record = secured_field(provenance, analysis, named.rows, files, watch.seconds, self._analyser.device)
        record = replace(record, flags=flags)
        return Analysed(slot=request.slot, record=record, views=views, strips=strips, nameless=named.fault)

    def _name(
        self, request: Finish, rows: tuple[ObjectRow, ...], provenance: FieldProvenance, analysis: StackAnalysis
    ) -> FieldNames:
        if request.nameless:
            return FieldNames(rows, fault=request.nameless)
        crops = [found.crop for found in analysis.objects]
        return self._naming.name(rows, crops, provenance, lambda: self._notify(NamingBegins(slot=request.slot)))

    def _write(
        self,
        request: Finish,
        provenance: FieldProvenance,
        named: FieldNames,
        analysis: StackAnalysis,
        picture: bytes | None,
    ) -> tuple[FileEntry, ...]:
        """Encode once, into the spool: these bytes go over the wire and into the dataset.

        A stack in which nothing was looked for is kept as it is, to be analysed later.
        """
        stack = self._ring.stack(request.slot)
        files = []
        detects = self._analyser.device != "none"
        if detects:
            path, written = self._spool.path(provenance.file_name()), partial(crash_points.reach, "spool written")
            files.append(write_cutouts(path, provenance, named.rows, analysis.objects, written))
        if named.features is not None:
            name = provenance.features_file
            files.append(write_features(self._spool.path(name), name, named.features))
        if request.keep_raw or not detects:
            files.append(write_raw(self._spool.path(provenance.file_name(RAW)), provenance, stack))
        if request.keep_fused:
            files.append(write_fused(self._spool.path(provenance.file_name(FUSED)), provenance, stack, analysis))
        if picture is not None:
            files.append(write_picture(self._spool.path(provenance.picture_file), provenance, picture))
        crash_points.reach("spool renamed")
        return tuple(files)

    def _provenance(self, request: Finish, focus: FocusResult | None) -> FieldProvenance:
        config, started = self._config, self._started
        presets = config.instrument.polarizations
        exposures_ms = {state: presets[state].exposure_ms for state in config.scan.polarizations}
        exposures_ms |= {one.polarization: one.exposure_ms for one in request.read_back}
        return FieldProvenance(
            night=started.night,
            slide=request.planned.slide,
            field=request.planned.field,
            sample=request.planned.sample,
            x_um=request.planned.x_um,
            y_um=request.planned.y_um,
            first_z_um=request.first_z_um,
            step_um=config.scan.step_um,
            pixel_um=config.instrument.pixel_um,
            polarizations=config.scan.polarizations,
            exposures_ms=tuple(exposures_ms.values()),
            shape_czyx=self._ring.shape,
            exposed_utc=request.exposed_utc,
            focus=focus,
            instrument=config.instrument.name,
            configuration_sha256=self._configuration_sha256,
            weights_sha256=started.weights_sha256,
            versions=started.versions,
            calibrations=started.calibrations,
            sample_columns=started.samples[request.planned.slide],
            tile_um=request.planned.tile_um,
            attempt=request.planned.attempt,
            bits=request.bits,
            sources=request.sources,
        )
