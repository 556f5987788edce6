"""The same instrument behind the wire of Micro-Manager's bridge: a server in a process of its own, true sockets."""

from __future__ import annotations

import multiprocessing
import re
import threading
import time as wall
from collections.abc import Callable, Sequence
from contextlib import suppress
from ctypes import c_double
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, cast

import pyjavaz

from benchmarks.faults.clock import SimulatedTime
from benchmarks.faults.tampering import WAYS
from benchmarks.faults.world import Shot, Standing, ToldMicroManager, Trouble, WorldHere
from drivers.micromanager.devices import MicroManager, open_bridge
from drivers.microscope import Exposure
from drivers.settings import Instrument, MiniSlide
from tests.support.bridge_server import begin_serving

START_S, END_S = 60.0, 5.0
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class WorldBehindTheWire:
    """An instrument in another process, which is driven over the bridge; its time is that of this one."""

    def __init__(self, instrument: Instrument, slides: Sequence[MiniSlide], trouble: Trouble) -> None:
        context = multiprocessing.get_context("spawn")
        seconds = context.RawValue(c_double, 0.0)
        self.time = SimulatedTime(seconds)
        self._pipe, theirs = context.Pipe()
        self._asking = threading.Lock()
        arguments = (theirs, seconds, instrument, slides, trouble)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_S):
            raise TimeoutError(f"the server of the bridge did not start within {START_S:g} s")
        self.port: int = self._pipe.recv()
        self._instrument = instrument.model_copy(update={"backend": "bridge", "bridge_port": self.port})

    def open(self) -> MicroManager:
        """Connect to it, as a night does."""
        return open_bridge(self._instrument, partial(ToldMicroManager, tell=self._stage, prepare=self._prepare))

    def _stage(self, exposure: Exposure, state: str, plane: int) -> None:
        self._ask("stage", exposure, state, plane)

    def _prepare(self) -> None:
        self._ask("prepare")

    def shots(self) -> list[Shot]:
        """Every frame since the last time that somebody asked."""
        return cast(list[Shot], self._ask("shots"))

    def standing(self) -> Standing:
        """How it truly stands."""
        return cast(Standing, self._ask("standing"))

    def hang(self) -> None:
        """Let the next exposure hang."""
        self._ask("hang")

    def until_it_hangs(self) -> None:
        """Wait until one does."""
        while not self._ask("hangs"):
            wall.sleep(0.01)

    def go_on(self) -> None:
        """Let it go on."""
        self._ask("go on")

    def _ask(self, *question: Any) -> Any:
        with self._asking:
            self._pipe.send(question)
            return self._pipe.recv()

    def close(self) -> None:
        """End the server. Whoever drove it has to end too: pyjavaz does not let go of its sockets."""
        self._process.kill()
        self._process.join(END_S)
        self._process.close()
        self._pipe.close()
        pyjavaz.server_terminated(self.port)


class _JavaNames:
    """The core as the bridge calls it."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, _HUMP.sub("_", name).lower())


def _serve(
    pipe: Connection, seconds: c_double, instrument: Instrument, slides: Sequence[MiniSlide], trouble: Trouble
) -> None:
    world = WorldHere(instrument, slides, trouble, WAYS.get(trouble.tampering or "", {}), SimulatedTime(seconds))
    server, port = begin_serving(_JavaNames(world.core))
    pipe.send(port)

    answers: dict[str, Callable[..., Any]] = {
        "stage": world.core.stage,
        "prepare": world.core.prepare,
        "shots": world.shots,
        "standing": world.standing,
        "hang": server.hanging.set,
        "hangs": lambda: server.asked[-1:] == ["snapImage"],
        "go on": server.freed.set,
    }
    with suppress(EOFError):
        while True:
            name, *arguments = pipe.recv()
            pipe.send(answers[name](*arguments))
