"""The microscope child: it alone talks to the hardware, and makes it safe when nobody listens any more."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from daemon import crashpoints
from daemon.config import Night
from daemon.logbook import Logbook
from daemon.messages import (
    AnyMessage,
    Close,
    Done,
    Expose,
    Exposed,
    Failed,
    FrameLanded,
    Light,
    MicroscopeReady,
    OpenSlide,
    Withdraw,
    decode,
    encode,
)
from daemon.ring import Ring, Shape
from drivers.errors import DriverError, FieldFault
from drivers.microscope import Exposure, Frame, Microscope
from drivers.open import open_microscope
from inference.stopwatch import Stopwatch

SAFE_S = 4.0
"""What making safe may take when the supervisor is gone."""

_log = logging.getLogger(__name__)


def run_microscope(connection: Connection, config: Night, run: Path, ring_name: str, slots: int, shape: Shape) -> None:
    """Serve requests until told to close or until the supervisor is gone."""
    crashpoints.arm(run)
    with Logbook(run, "microscope"):
        try:
            microscope = open_microscope(config.instrument, config.scan.slides)
        except DriverError as error:
            connection.send_bytes(encode(Failed(kind=type(error).__name__, message=str(error), again=False)))
            return
        microscope.make_safe()
        ring = Ring.attach(ring_name, slots, shape)
        requests: queue.SimpleQueue[AnyMessage] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(connection, microscope, requests), daemon=True).start()
        identity = microscope.identity
        connection.send_bytes(
            encode(MicroscopeReady(backend=identity.backend, camera=identity.camera, versions=identity.versions))
        )
        while not isinstance(request := requests.get(), Close):
            connection.send_bytes(encode(_answer(request, microscope, ring, connection)))
        microscope.close()
        connection.send_bytes(encode(Done()))
        ring.close()


def _listen(connection: Connection, microscope: Microscope, requests: queue.SimpleQueue[AnyMessage]) -> None:
    try:
        while True:
            requests.put(decode(connection.recv_bytes()))
    except (EOFError, OSError):
        _log.warning("the supervisor is gone; making safe")
        # A driver call that hangs must not keep this process alive.
        safe = threading.Thread(target=microscope.make_safe, daemon=True)
        safe.start()
        safe.join(SAFE_S)
        _log.info("safe" if not safe.is_alive() else f"making safe did not end within {SAFE_S:g} s")
        os._exit(0)


def _answer(request: AnyMessage, microscope: Microscope, ring: Ring, connection: Connection) -> AnyMessage:
    try:
        match request:
            case Expose():
                return _expose(request, microscope, ring, connection)
            case OpenSlide(slide=slide):
                microscope.open_slide(slide)
            case Light(on=on):
                microscope.light(on)
                _log.info("light %s", "on" if on else "off")
            case Withdraw():
                microscope.withdraw()
            case _:
                raise TypeError(f"{request!r} is no request to a microscope")
    except DriverError as error:
        _log.warning("%s: %s", type(error).__name__, error)
        return Failed(kind=type(error).__name__, message=str(error), again=isinstance(error, FieldFault))
    return Done()


def _expose(request: Expose, microscope: Microscope, ring: Ring, connection: Connection) -> Exposed:
    stack = ring.stack(request.slot)[:, : request.sweep.planes]
    sweep, planned = request.sweep, request.planned
    planes = len(sweep.polarizations) * sweep.planes
    landed = 0

    def announce(frame: Frame) -> None:
        nonlocal landed
        landed += 1
        if landed == planes // 2:
            crashpoints.reach("mid exposure")
        connection.send_bytes(encode(FrameLanded(slot=request.slot, c=frame.c, z=frame.z)))
        crashpoints.reach("frame announced")

    watch = Stopwatch()
    with watch.time("move"):
        microscope.move(planned.x_um, planned.y_um)
    utc, monotonic_s = time.time(), time.monotonic()
    with watch.time("expose"):
        exposure = Exposure(planned.slide, planned.field, request.attempt)
        microscope.expose_stack(exposure, sweep, stack, announce)
    return Exposed(utc=utc, monotonic_s=monotonic_s, seconds=watch.seconds)
