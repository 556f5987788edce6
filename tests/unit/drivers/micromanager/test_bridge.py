import gc
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyjavaz
import pytest

from drivers.errors import FieldFault, OutsideWindow, SettingRefused
from drivers.open import open_microscope
from drivers.settings import Instrument
from tests.support.bridge_server import serve
from tests.support.deadlines import DEADLINE_S
from tests.support.instruments import HARDWARE, TRIGGERED, child, expose, instrument, ready, slides, states_of


def bridged(port: int, **changes: Any) -> Instrument:
    settings = {"backend": "bridge", "bridge_port": port, "hardware": None, "emulation": None, "frame_px": (128, 128)}
    return instrument(**{**settings, **changes})


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """Port of a bridge in a process of its own, the parameter being its hardware file."""
    with child(serve, getattr(request, "param", TRIGGERED)) as (_, pipe):
        assert pipe.poll(DEADLINE_S)
        port = pipe.recv()
        yield port
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
    scope.close()


def test_no_micromanager_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SettingRefused, match=r"instrument\.bridge_port is \d+, where nothing answers"):
            open_microscope(bridged(taken.getsockname()[1]), slides())
