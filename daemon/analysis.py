"""The analysis child: it alone imports torch. From a stack in the ring to a field's files in the spool."""

from __future__ import annotations

import hashlib
import io
import logging
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from PIL import Image

from daemon import crashpoints
from daemon.config import Night
from daemon.durable import replacing, sha256_of
from daemon.fieldfile import FieldProvenance, write_field_file, write_raw_stack
from daemon.layout import field_file
from daemon.logbook import Logbook
from daemon.messages import (
    Analysed,
    AnalysisReady,
    AnyMessage,
    Close,
    Failed,
    Finish,
    FrameLanded,
    MeasureSharpness,
    Sharpness,
    StackBegins,
    decode,
    encode,
)
from daemon.records import FileEntry, FocusResult, NightStarted, ObjectRow
from daemon.ring import Ring, Shape
from daemon.spool import Spool
from inference.errors import InferenceError
from inference.objects import FoundObject, StackAnalysis
from inference.stopwatch import Stopwatch

if TYPE_CHECKING:
    from inference.analyser import Analyser, Session

OVERVIEW_QUALITY = 80

_log = logging.getLogger(__name__)


def run_analysis(
    connection: Connection,
    config: Night,
    started: NightStarted,
    run: Path,
    ring_name: str,
    slots: int,
    shape: Shape,
) -> None:
    """Serve requests until told to close or until the supervisor is gone."""
    # The supervisor imports this module and must not load torch.
    from inference.analyser import Analyser

    crashpoints.arm(run)
    _yield_to_the_microscope()
    with Logbook(run, "analysis"):
        try:
            analyser = Analyser(
                config.detector,
                config.crops,
                config.focus,
                config.instrument.pixel_um,
                config.scan.polarizations,
            )
        except InferenceError as error:
            connection.send_bytes(encode(Failed(kind=type(error).__name__, message=str(error), again=False)))
            return
        ring = Ring.attach(ring_name, slots, shape)
        analyser.analyse(ring.stack(0).copy())
        desk = _Desk(analyser, ring, Spool(run / "spool", config.recorder.spool_mb * 1_000_000), config, started)
        detector = analyser.detector
        ready = AnalysisReady(
            weights_sha256=detector.weights_sha256, runtimes=detector.runtimes, refusals=detector.refusals
        )
        connection.send_bytes(encode(ready))
        try:
            while not isinstance(request := decode(connection.recv_bytes()), Close):
                answer = desk.answer(request)
                if answer is not None:
                    connection.send_bytes(encode(answer))
        except (EOFError, OSError):
            _log.warning("the supervisor is gone")


def _yield_to_the_microscope() -> None:
    """Run below normal priority, so that on few cores an exposure never waits for the analysis."""
    process = psutil.Process()
    process.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10))


class _Desk:
    """Does what is asked, one stack at a time."""

    def __init__(self, analyser: Analyser, ring: Ring, spool: Spool, config: Night, started: NightStarted) -> None:
        self._analyser = analyser
        self._ring = ring
        self._spool = spool
        self._config = config
        self._started = started
        self._configuration_sha256 = hashlib.sha256(started.configuration.encode()).hexdigest()
        self._slot: int | None = None
        self._session: Session | None = None

    def answer(self, request: AnyMessage) -> AnyMessage | None:
        match request:
            case StackBegins(slot=slot):
                self._slot = slot
                self._session = self._analyser.open(self._ring.stack(slot))
                return None
            case FrameLanded(slot=slot, c=c, z=z):
                if self._session is None or slot != self._slot:
                    raise ValueError(f"a plane of slot {slot} was announced before its stack")
                self._session.add(c, z)
                return None
            case Finish():
                try:
                    return self._finish(request)
                except OSError as error:
                    return Failed(
                        kind=type(error).__name__, message=f"the spool refused the field: {error}", again=True
                    )
            case MeasureSharpness(slot=slot, planes=planes):
                stack = self._ring.stack(slot)
                return Sharpness(values=tuple(self._analyser.sharpness(stack[0, z]) for z in range(planes)))
            case _:
                raise TypeError(f"{request!r} is no request to an analysis")

    def _finish(self, request: Finish) -> Analysed:
        assert self._session is not None
        crashpoints.reach("analysis running")
        analysis = self._session.finish()
        watch = Stopwatch()
        with watch.time("encode"):
            focus = self._focus(request, analysis)
            rows = tuple(self._row(request, number, found) for number, found in enumerate(analysis.objects))
            files = self._write(request, focus, rows, analysis)
        seconds = {**analysis.seconds, **watch.seconds}
        return Analysed(
            slot=request.slot,
            focus=focus,
            backgrounds_dn=analysis.backgrounds_dn,
            objects=rows,
            files=files,
            seconds=seconds,
            overview=_jpeg(analysis),
        )

    def _focus(self, request: Finish, analysis: StackAnalysis) -> FocusResult:
        found = analysis.focus
        z = None
        if found.best_plane is not None:
            z = request.first_z_um + found.best_plane * self._config.scan.step_um
        return FocusResult(z_um=z, at_edge=found.at_edge, contrast=found.contrast)

    def _row(self, request: Finish, number: int, found: FoundObject) -> ObjectRow:
        """Numbers of an object; its stage position from that of the frame's centre."""
        height, width = self._config.instrument.frame_px
        pixel_um = self._config.instrument.pixel_um
        x0, y0, x1, y1 = found.box
        x_um = request.planned.x_um + ((x0 + x1) / 2 - width / 2) * pixel_um
        y_um = request.planned.y_um + ((y0 + y1) / 2 - height / 2) * pixel_um
        left, low, right, high = request.planned.tile_um
        return ObjectRow(
            number=number,
            series=number,
            class_name=found.class_name,
            score=found.score,
            below_threshold=found.below_threshold,
            box=found.box,
            crop_box=found.crop_box,
            x_um=x_um,
            y_um=y_um,
            z_um=request.first_z_um + found.best_plane * self._config.scan.step_um,
            best_plane=found.best_plane,
            best_plane_at_edge=found.best_plane_at_edge,
            touches_edge=found.touches_edge,
            in_exclusive_tile=left <= x_um < right and low <= y_um < high,
        )

    def _write(
        self, request: Finish, focus: FocusResult, rows: tuple[ObjectRow, ...], analysis: StackAnalysis
    ) -> tuple[FileEntry, ...]:
        """Encode once, into the spool: these bytes go over the wire and into the dataset."""
        provenance = self._provenance(request, focus)
        crops = [(row, found.crop, found.fused) for row, found in zip(rows, analysis.objects, strict=True)]
        name = field_file(request.planned.slide, request.planned.field)
        with replacing(self._spool.path(name), lambda: crashpoints.reach("spool written")) as stream:
            write_field_file(stream, provenance, crops)
        names = [name]
        if request.keep_raw:
            names.append(field_file(request.planned.slide, request.planned.field, "raw"))
            with replacing(self._spool.path(names[-1])) as stream:
                write_raw_stack(stream, self._ring.stack(request.slot), provenance)
        crashpoints.reach("spool renamed")
        paths = [self._spool.path(name) for name in names]
        return tuple(
            FileEntry(name=name, size=path.stat().st_size, sha256=sha256_of(path))
            for name, path in zip(names, paths, strict=True)
        )

    def _provenance(self, request: Finish, focus: FocusResult) -> FieldProvenance:
        config, started = self._config, self._started
        presets = config.instrument.polarizations
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
            exposures_ms=tuple(presets[state].exposure_ms for state in config.scan.polarizations),
            shape_czyx=self._ring.shape,
            exposed_utc=request.exposed_utc,
            focus=focus,
            instrument=config.instrument.name,
            configuration_sha256=self._configuration_sha256,
            weights_sha256=started.weights_sha256,
            versions=started.versions,
            calibrations=started.calibrations,
            sample_columns=started.samples[request.planned.slide],
        )


def _jpeg(analysis: StackAnalysis) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(analysis.overview).save(stream, "JPEG", quality=OVERVIEW_QUALITY)
    return stream.getvalue()
