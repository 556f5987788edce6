"""Instruments for the tests of the drivers: small frames, no waiting unless asked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import msgpack
import numpy as np

from drivers.microscope import Exposure, Frame, Microscope, Stack, Sweep
from drivers.settings import Instrument, MiniSlide
from tests.support.deadlines import END_S
from tests.support.places import CONFIGS, ROOT

HARDWARE = CONFIGS / "emulated.cfg"
NO_TIMING = {"xy_ms": 0, "z_ms": 0, "polarizer_ms": 0}
CENTRE = (15_000.0, 20_000.0)
OTHER_CENTRE = (40_000.0, 20_000.0)
SWEEP = Sweep(-1.0, 0.5, 4, ("crossed", "parallel"), (0, 1))


def instrument(**changes: Any) -> Instrument:
    """The emulated instrument with small frames and short deadlines."""
    values: dict[str, Any] = {
        "name": "small",
        "backend": "emulated",
        "hardware": HARDWARE,
        "polarizations": {
            "crossed": {"group": "Polarization", "preset": "Crossed", "exposure_ms": 20},
            "parallel": {"group": "Polarization", "preset": "Parallel", "exposure_ms": 20},
        },
        "frame_px": (192, 256),
        "pixel_um": 0.059,
        "travel": {
            "x_um": {"low": 0, "high": 110_000},
            "y_um": {"low": 0, "high": 75_000},
            "z_um": {"low": -300, "high": 100},
        },
        "motion": {"withdrawn_z_um": -280},
        "deadlines": {"move_s": 0.5, "focus_s": 0.3, "switch_s": 0.3, "frame_s": 0.5},
        "buffer_mb": 16,
        "emulation": {"seed": 7, "timing": NO_TIMING},
    }
    return Instrument.model_validate({**values, **changes})


def emulated(**emulation: Any) -> Instrument:
    """The emulated instrument with other emulation settings."""
    return instrument(emulation={"seed": 7, "timing": NO_TIMING, **emulation})


def slides() -> tuple[MiniSlide, MiniSlide]:
    window = {"low": -60, "high": 60}
    return tuple(  # type: ignore[return-value]
        MiniSlide.model_validate(
            {"position": n, "centre_um": centre, "size_um": (10_000, 10_000), "z_um": 0, "z_window_um": window}
        )
        for n, centre in ((1, CENTRE), (2, OTHER_CENTRE))
    )


def buffer_for(scope: Microscope, sweep: Sweep) -> Stack:
    height, width = scope.identity.frame_height_px, scope.identity.frame_width_px
    return np.zeros((len(sweep.channels), sweep.planes, height, width), np.uint16)


def expose(
    scope: Microscope, sweep: Sweep = SWEEP, field: int = 1, exposed: int = 0, attempt: int = 1
) -> tuple[Stack, list[Frame]]:
    into, frames = buffer_for(scope, sweep), list[Frame]()
    scope.expose_stack(Exposure(1, field, exposed, attempt), sweep, into, frames.append)
    return into, frames


def ready(scope: Microscope) -> Microscope:
    """Prepare, open the first mini-slide, go to its centre, light on."""
    scope.prepare()
    scope.open_slide(1)
    scope.move(*CENTRE)
    scope.light(True)
    return scope


@contextmanager
def child(work: Callable[..., None], *args: Any) -> Iterator[tuple[multiprocessing.process.BaseProcess, Connection]]:
    """Run `work(pipe, *args)` in a spawned process, and end it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *args))
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join(END_S)
        process.close()
        here.close()


TRIGGERED = ROOT / "tests" / "support" / "sequence_tester.cfg"


def states_of(stack: np.ndarray) -> list[tuple[int, float]]:
    """Polarizer position and z that the SequenceTester camera wrote into each frame, in storage order."""
    found = []
    for frame in stack.reshape(-1, *stack.shape[2:]):
        unpacker = msgpack.Unpacker()
        unpacker.feed(frame.astype(np.uint8).tobytes())
        settings = {tuple(key): value[1] for key, value in unpacker.unpack()[5]}
        found.append((settings["TSwitcher-0", "Position"], settings["TZStage-0", "ZPositionUm"]))
    return found
