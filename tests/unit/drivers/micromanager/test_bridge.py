import gc
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyjavaz
import pytest
import zmq

from drivers.backends import check_equipment
from drivers.errors import FieldFault, OutsideWindow, SettingRefused
from drivers.micromanager.handshake import ServerState, probe
from drivers.microscope import Sweep
from drivers.open import open_microscope
from drivers.settings import Instrument
from tests.support.bridge_server import VERSION, serve
from tests.support.deadlines import DEADLINE_S, END_S
from tests.support.instruments import HARDWARE, TRIGGERED, child, expose, instrument, ready, slides, states_of


def bridged(port: int, **changes: Any) -> Instrument:
    settings = {"backend": "bridge", "bridge_port": port, "hardware": None, "emulation": None, "frame_px": (128, 128)}
    return instrument(**{**settings, **changes})


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """Port of a bridge in a process of its own, the parameter being its hardware file."""
    with running(getattr(request, "param", TRIGGERED)) as (port, _, _):
        yield port


@contextmanager
def running(hardware: Path, version: str = VERSION) -> Iterator[tuple[int, BaseProcess, Connection]]:
    with child(serve, hardware, version) as (process, pipe):
        assert pipe.poll(DEADLINE_S)
        port = pipe.recv()
        yield port, process, pipe
        # Java objects that the interpreter still holds tell the server so when they go, and wait for its answer.
        gc.collect()
    pyjavaz.server_terminated(port)


@pytest.mark.parametrize("z_sequence", [True, False])
def test_the_same_driver_runs_a_stack_over_the_bridge(server: int, z_sequence: bool) -> None:
    motion = {"withdrawn_z_um": -280, "z_sequence": z_sequence}
    scope = ready(open_microscope(bridged(server, motion=motion), slides()))
    assert scope.identity.camera == "SequenceTester TCamera-0"
    stack, frames = expose(scope)
    assert states_of(stack) == [(c, z) for c in (0, 1) for z in (-1.0, -0.5, 0.0, 0.5)]
    assert [(f.c, f.z, f.image_number) for f in frames] == [(c, z, z) for c in (0, 1) for z in range(4)]
    scope.close()
    scope.close()


def test_limits_and_refusals_hold_over_the_bridge(server: int) -> None:
    wrong = {"crossed": {"group": "Polarization", "preset": "Cross", "exposure_ms": 1}}
    with pytest.raises(SettingRefused, match=r"instrument\.polarizations\.crossed"):
        open_microscope(bridged(server, polarizations=wrong), slides())
    with pytest.raises(SettingRefused, match=r"instrument\.devices\.focus is 'Piezo'"):
        open_microscope(bridged(server, devices={"focus": "Piezo"}), slides())
    scope = ready(open_microscope(bridged(server), slides()))
    with pytest.raises(OutsideWindow):
        scope.focus(61.0)
    scope.focus(1.0)
    scope.make_safe()
    assert scope.position().z_um == pytest.approx(-280, abs=0.2)
    with pytest.raises(FieldFault, match="made safe"):
        scope.focus(1.0)
    scope.close()


@pytest.mark.parametrize("server", [HARDWARE], indirect=True)
def test_sixteen_bit_frames_cross_the_bridge_and_errors_keep_their_text(server: int) -> None:
    scope = ready(open_microscope(bridged(server, frame_px=(512, 512)), slides()))
    stack, _ = expose(scope)
    assert stack.dtype == np.uint16
    assert stack.max() > 255
    limits = {"x_um": {"low": 0, "high": 1e6}, "y_um": {"low": 0, "high": 1e6}, "z_um": {"low": -900, "high": 900}}
    scope.close()
    far = bridged(server, frame_px=(512, 512), travel=limits, motion={"withdrawn_z_um": -800})
    scope = open_microscope(far, slides())
    with pytest.raises(FieldFault, match="Position out of range"):
        scope.open_slide(1)
    assert not scope.make_safe()
    assert "Position out of range" in scope.trouble[0]
    scope.close()


def test_no_micromanager_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SettingRefused, match=r"instrument\.bridge_port is \d+, but nothing answers at port"):
            open_microscope(bridged(taken.getsockname()[1]), slides())


def test_a_frame_by_sequence_costs_two_round_trips_at_most() -> None:
    motion = {"withdrawn_z_um": -280, "z_sequence": True}
    sweep = Sweep(-5.0, 0.5, 15, ("crossed", "parallel"), (0, 1))
    with running(TRIGGERED) as (port, _, pipe):
        scope = ready(open_microscope(bridged(port, motion=motion), slides()))
        pipe.send("asked")
        pipe.recv()
        stack, frames = expose(scope, sweep)
        pipe.send("asked")
        asked = pipe.recv()
        assert len(states_of(stack)) == len(frames) == 30
        # From the start of the camera on: what goes before is done once a polarization.
        first, second = (number for number, name in enumerate(asked) if name == "startSequenceAcquisition")
        ends = [number for number, name in enumerate(asked) if name == "isSequenceRunning" and number > first]
        between = [asked[first + 1 : ends[0]], asked[second + 1 : ends[-1]]]
        assert [Counter(names)["popNextImage"] for names in between] == [13, 13]
        assert max(len(names) for names in between) <= 2 * 15
        scope.close()


def test_the_buffer_is_as_large_as_the_settings_say(server: int) -> None:
    scope = open_microscope(bridged(server, buffer_mb=40), slides())
    assert scope._equipment._core.get_circular_buffer_memory_footprint() == 40  # type: ignore[attr-defined]
    scope.close()


@pytest.mark.slow
def test_what_hangs_does_not_keep_the_hardware_from_being_made_safe() -> None:
    with running(HARDWARE) as (port, _, pipe):
        scope = ready(open_microscope(bridged(port, frame_px=(512, 512)), slides()))
        pipe.send("hang")
        assert pipe.recv() == "hangs"

        def expose_all() -> None:
            with pytest.raises(FieldFault, match="made safe"):
                expose(scope)

        thread = threading.Thread(target=expose_all)
        thread.start()
        try:
            assert probe_hangs(port)
            assert scope.make_safe()
        finally:
            pipe.send("go on")
            thread.join(END_S)
        assert not thread.is_alive()
        at = scope.position()
        assert at.z_um == pytest.approx(-280, abs=0.2)
        assert probe(port).state == ServerState.ANSWERS
        scope.close()


def probe_hangs(port: int) -> bool:
    """Whether the first socket hangs, as it does once the exposure has been asked for."""
    end = time.monotonic() + DEADLINE_S
    while probe(port, within_s=0.3).state != ServerState.HANGS:
        if time.monotonic() > end:
            return False
    return True


def test_who_answers_at_the_port_is_told_apart() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert probe(free.getsockname()[1]).state == ServerState.GONE
        free.listen()
        # A process that is frozen takes connections, and says nothing.
        assert probe(free.getsockname()[1], within_s=0.1).state == ServerState.HANGS
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9.6")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        assert probe(other.getsockname()[1]).state == ServerState.ANOTHER_PROGRAM
        thread.join(END_S)
    with running(HARDWARE, "4.0.0") as (port, _, _):
        told = probe(port)
        assert (told.state, told.version) == (ServerState.ANOTHER_VERSION, "4.0.0")
        with pytest.raises(SettingRefused, match=r"instrument\.bridge_port is \d+, but .* speaks version 4\.0\.0"):
            open_microscope(bridged(port), slides())


def test_a_zeromq_server_that_is_no_micromanager_is_told() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            other.recv()
            other.send(b"what?")

        thread = threading.Thread(target=answer)
        thread.start()
        assert probe(port).state == ServerState.ANOTHER_PROGRAM
        thread.join(END_S)


def test_checking_asks_a_running_micromanager_for_devices_and_presets(server: int) -> None:
    check_equipment(bridged(server), 9, 10)
    for changes, told in (
        ({"devices": {"focus": "Piezo"}}, r"instrument\.devices\.focus is 'Piezo', which the running Micro-Manager"),
        ({"light_on": ("Lamp", "On")}, r"instrument\.light_on is Lamp/On, a preset that the running"),
    ):
        with pytest.raises(SettingRefused, match=told):
            check_equipment(bridged(server, **changes), 9, 10)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        check_equipment(bridged(free.getsockname()[1]), 9, 10)
