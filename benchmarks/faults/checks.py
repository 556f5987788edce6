"""What no night shows: who is at the port, what `check` and calibrations refuse, a call that hangs while others go on.

Each gives the sentence that a person reads, or what became of it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.clock import SimulatedTime
from benchmarks.faults.night import configuration
from benchmarks.faults.tampering import WAYS
from benchmarks.faults.wire import WorldBehindTheWire
from benchmarks.faults.world import FOR_GOOD_S, Place, Trouble, WorldHere
from calibration.routines.dark import dark
from calibration.steps import NotUsable
from drivers.driving import DrivenMicroscope
from drivers.errors import FieldFault, FrameFault, SettingRefused
from drivers.micromanager.core import bridge_core, headless_core
from drivers.micromanager.handshake import ServerState, check_running, probe
from drivers.settings import Instrument
from tests.support.calibration_bench import bench
from tests.support.instruments import CENTRE, ready
from tests.support.instruments import expose as expose_stack

WITHIN_S = 0.5
NOTHING = Trouble(Place(1, 1), None)


@dataclass(frozen=True)
class Check:
    """What is tried once, and the findings that it stands for."""

    name: str
    part: str
    act: Callable[[], str]
    rows: tuple[str, ...]


def _instrument(**changes: object) -> Instrument:
    with TemporaryDirectory() as folder:
        return configuration(Path(folder), {}).instrument.model_copy(update=changes)


@contextmanager
def _program(greeting: bytes | None) -> Iterator[int]:
    """Another program at a port: says something to whoever connects, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                if greeting is not None:
                    connection.sendall(greeting)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


def _refused(act: Callable[[], object]) -> str:
    try:
        act()
    except SettingRefused as error:
        told = re.sub(r"(port(?: is)?) \d+", r"\1 4827", str(error))
        return f"refused: *{told}*"
    return "**not refused**"


def _nobody() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
        return _refused(lambda: bridge_core(_instrument(backend="bridge", bridge_port=port)))


def _another_program() -> str:
    with _program(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        return _refused(lambda: bridge_core(_instrument(backend="bridge", bridge_port=port)))


def _silent() -> str:
    with _program(None) as port:
        server = probe(port, WITHIN_S)
    return "told apart from one that is gone" if server.state is ServerState.HANGS else f"**taken for {server.state}**"


def _label_over_the_bridge() -> str:
    instrument = _instrument()
    world = WorldBehindTheWire(instrument, (), NOTHING)
    devices = instrument.devices.model_copy(update={"focus": "Piezo"})
    try:
        return _refused(
            lambda: check_running(
                instrument.model_copy(update={"backend": "bridge", "bridge_port": world.port, "devices": devices})
            )
        )
    finally:
        world.close()


def _no_adapters() -> str:
    return _refused(lambda: headless_core(_instrument(backend="micromanager", adapters=None)))


def _no_hardware_file() -> str:
    return _refused(lambda: headless_core(_instrument(backend="micromanager", hardware=Path("gone.cfg"))))


def _hang_over_the_bridge() -> str:
    """Expose in a thread that hangs, and make safe from another."""
    with TemporaryDirectory() as folder:
        config = configuration(Path(folder), {})
    world = WorldBehindTheWire(config.instrument, config.scan.slides, NOTHING)
    scope = ready(DrivenMicroscope(config.instrument, config.scan.slides, world.open(), world.time.of_drivers()))
    ended: list[str] = []

    def expose() -> None:
        try:
            expose_stack(scope)
        except FieldFault as error:
            ended.append(str(error))

    world.hang()
    thread = threading.Thread(target=expose)
    thread.start()
    world.until_it_hangs()
    safe = scope.make_safe()
    stands = world.standing()
    world.go_on()
    thread.join(FOR_GOOD_S if not safe else 60.0)
    world.close()
    dark = safe and not stands.shutter_open
    return "shutter closed and objective withdrawn while the call hangs" if dark and ended else "**not safe**"


def _counter_jumps() -> str:
    """Lose a frame on the camera's own link, in a sequence."""
    with TemporaryDirectory() as folder:
        config = configuration(
            Path(folder), {"instrument": {"emulation": {"trigger": "true"}, "motion": {"z_sequence": True}}}
        )
    time = SimulatedTime()
    trouble = Trouble(Place(1, 1), FOR_GOOD_S, tampering="camera counts")
    world = WorldHere(config.instrument, config.scan.slides, trouble, WAYS["camera counts"], time)
    try:
        scope = ready(DrivenMicroscope(config.instrument, config.scan.slides, world.open(), time.of_drivers()))
        expose_stack(scope)
    except FrameFault as error:
        return f"taken again: *{error}*"
    finally:
        world.close()
    return "**not seen**"


def _dark_with_light() -> str:
    with bench() as here:
        routine = dark(*CENTRE, 0.0, "parallel", 20.0, 16, 4)
        try:
            shot = next(routine)
            while True:
                shot = routine.send(here.take(shot, shutter_open=True))
        except NotUsable as error:
            return f"not usable: *{error}*"
        except StopIteration:
            return "**usable**"


CHECKS = (
    Check("nobody is at the port", "server", _nobody, ("F5",)),
    Check("another program is at the port", "server", _another_program, ("F5",)),
    Check("a program at the port says nothing", "server", _silent, ("F5", "F13")),
    Check("a call hangs over the bridge", "server", _hang_over_the_bridge, ("F7",)),
    Check("a device is not in the running Micro-Manager", "server", _label_over_the_bridge, ("F15",)),
    Check("no adapters are named", "server", _no_adapters, ("F20",)),
    Check("there is no hardware file", "server", _no_hardware_file, ("F20",)),
    Check("the camera loses a frame on its own link", "camera", _counter_jumps, ("F17",)),
    Check("light gets in while darkness is measured", "sample", _dark_with_light, ("F19",)),
)


def checked() -> dict[str, str]:
    """Try each, in a process that ends with what they leave behind."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_check, args=(theirs,))
    process.start()
    theirs.close()
    try:
        return dict(ours.recv() for _ in CHECKS)
    finally:
        process.kill()
        process.join()
        ours.close()


def _check(pipe: Connection) -> None:
    # pyjavaz asks servers that have ended to let go of what the interpreter collects, and waits for them for ever.
    gc.disable()
    for check in CHECKS:
        pipe.send((check.name, check.act()))
    os._exit(0)
