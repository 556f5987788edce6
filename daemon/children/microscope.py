"""The microscope child: it alone talks to the hardware, and makes it safe before and after everything else.

Two threads: one does what is asked, the other listens. The listener makes safe at once, from its own thread, when it is
told to close or when the supervisor is gone, whatever call the first one may hang in.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from daemon.calibration_store.shelf import proven
from daemon.config.model import NightConfig
from daemon.protocols.pipes import (
    AnyMessage,
    Close,
    Done,
    Expose,
    Exposed,
    Failed,
    FrameLanded,
    MadeSafe,
    MicroscopeReady,
    OpenSlide,
    Prepare,
    SwitchLight,
    Withdraw,
    decode,
    encode,
)
from daemon.records.events import fault_in_words
from daemon.records.records import ReadBack, SourceFile
from daemon.system import crash_points
from daemon.system.logbook import Logbook
from daemon.system.ring import Ring, Shape
from drivers.errors import DriverError, FieldFault, HardwareLost
from drivers.microscope import Exposure, Frame, Microscope
from drivers.open import open_microscope
from inference.stopwatch import Stopwatch

SAFE_S = 4.0
"""What making safe may take."""
RELEASE_S = 2.0
"""How long the call that is going on may take to end once the hardware is safe."""

_log = logging.getLogger(__name__)


class _SupervisorLink:
    """The way to the supervisor, for both threads. When it is gone the listener knows; nobody else has to care."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._speaking = threading.Lock()

    def send(self, message: AnyMessage) -> None:
        with self._speaking, suppress(OSError):
            self._connection.send_bytes(encode(message))

    def hear(self) -> AnyMessage:
        return decode(self._connection.recv_bytes())


def run_microscope(
    connection: Connection, config: NightConfig, run: Path, ring_name: str, slots: int, shape: Shape
) -> None:
    """Make the hardware safe, then serve requests until told to close or until the supervisor is gone."""
    crash_points.arm(run)
    line = _SupervisorLink(connection)
    with Logbook(run, "microscope"):
        instrument, notes = proven(config)
        microscope = open_safe(lambda: open_microscope(instrument, config.scan.slides), _made_safe)
        if isinstance(microscope, Failed):
            line.send(microscope)
            return
        ring = Ring.attach(ring_name, slots, shape)
        released = threading.Event()
        requests: queue.SimpleQueue[AnyMessage] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(line, microscope, requests, released), daemon=True).start()
        line.send(introduce(microscope, notes))
        try:
            while not isinstance(request := requests.get(), Close):
                line.send(carry_out(request, microscope, ring, line.send))
        finally:
            microscope.close()
            released.set()
            ring.close()


def open_safe(opening: Callable[[], Microscope], made_safe: Callable[[Microscope], bool]) -> Microscope | Failed:
    """Open the hardware and make it safe; why that could not be done."""
    try:
        microscope = opening()
    except DriverError as error:
        _log.error("cannot be opened: %s", error)
        return Failed(kind=type(error).__name__, message=str(error), again=False)
    if made_safe(microscope):
        return microscope
    why = "; ".join(microscope.trouble) or f"it did not end within {SAFE_S:g} s"
    told = f"the hardware cannot be made safe ({why}): check shutter, lamp and objective"
    return Failed(kind=HardwareLost.__name__, message=told, again=False)


def introduce(microscope: Microscope, notes: tuple[str, ...]) -> MicroscopeReady:
    """Say which microscope it is, and what a person should know of it: its own notes, and others."""
    identity = microscope.identity
    notes = (*identity.notes, *notes)
    for note in notes:
        _log.warning("%s", note)
    return MicroscopeReady(
        backend=identity.backend,
        camera=identity.camera,
        bits=identity.bit_depth,
        versions=identity.versions,
        notes=notes,
    )


def _listen(
    line: _SupervisorLink, microscope: Microscope, requests: queue.SimpleQueue[AnyMessage], released: threading.Event
) -> None:
    try:
        while not isinstance(request := line.hear(), Close):
            requests.put(request)
        _log.info("told to close; making safe")
    except (EOFError, OSError):
        _log.warning("the supervisor is gone; making safe")
    if _made_safe(microscope):
        line.send(MadeSafe())
    requests.put(Close())
    # A driver call that hangs must not keep this process alive.
    if not released.wait(RELEASE_S):
        _log.warning("a call still hangs; ending without it")
        os._exit(1)


def _made_safe(microscope: Microscope) -> bool:
    """Make safe in bounded time."""
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(microscope.make_safe()), daemon=True)
    thread.start()
    thread.join(SAFE_S)
    if not outcome:
        _log.error("making safe did not end within %g s", SAFE_S)
    elif not outcome[0]:
        _log.error("not safe: a device did not do as it was told")
    else:
        _log.info("safe")
    return outcome == [True]


def carry_out(
    request: AnyMessage, microscope: Microscope, ring: Ring, send: Callable[[AnyMessage], None]
) -> AnyMessage:
    """Do what is asked, and return the answer; what is to be told meanwhile goes to `send`."""
    try:
        match request:
            case Prepare():
                microscope.prepare()
            case Expose():
                return _expose(request, microscope, ring, send)
            case OpenSlide(slide=slide):
                microscope.open_slide(slide)
            case SwitchLight(on=on):
                microscope.light(on)
                _log.info("light %s", "on" if on else "off")
            case Withdraw():
                microscope.withdraw()
            case _:
                raise TypeError(f"{request!r} is not a request to a microscope")
    except DriverError as error:
        _log.warning("%s: %s", fault_in_words(type(error).__name__), error)
        fault_of = error.fault_of if isinstance(error, FieldFault) else None
        return Failed(
            kind=type(error).__name__, message=str(error), again=isinstance(error, FieldFault), fault_of=fault_of
        )
    return Done()


def _expose(request: Expose, microscope: Microscope, ring: Ring, send: Callable[[AnyMessage], None]) -> Exposed:
    stack = ring.stack(request.slot)[:, : request.sweep.planes]
    sweep, planned = request.sweep, request.planned
    planes = len(sweep.polarizations) * sweep.planes
    landed: dict[int, list[float]] = {channel: [] for channel in sweep.channels}

    def announce(frame: Frame) -> None:
        landed[frame.c].append(frame.monotonic_s)
        if sum(map(len, landed.values())) == planes // 2:
            crash_points.reach("mid exposure")
        send(FrameLanded(slot=request.slot, c=frame.c, z=frame.z))
        crash_points.reach("frame announced")

    exposure = Exposure(planned.slide, planned.field, request.exposed, planned.attempt)
    what = {**asdict(exposure), "frames": planes}
    _log.info("exposing", extra=what)
    watch = Stopwatch()
    with watch.time("move"):
        microscope.move(planned.x_um, planned.y_um)
    at = microscope.position()
    utc, monotonic_s = time.time(), time.monotonic()
    with watch.time("expose"):
        readings = microscope.expose_stack(exposure, sweep, stack, announce)
    return Exposed(
        utc=utc,
        monotonic_s=monotonic_s,
        x_um=at.x_um,
        y_um=at.y_um,
        read_s=tuple(tuple(landed[channel]) for channel in sweep.channels),
        seconds=watch.seconds,
        bits=microscope.identity.bit_depth,
        read_back=tuple(ReadBack(**asdict(reading)) for reading in readings),
        sources=tuple(SourceFile(**asdict(file)) for file in microscope.sources),
    )
