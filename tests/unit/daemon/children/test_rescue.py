"""Hardware that cannot be made safe at once is tried again until it is, or the time is over."""

from __future__ import annotations

import asyncio
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from daemon.children.child import Child
from daemon.children.rescue import make_safe_at_last
from daemon.protocols.pipes import Close, Failed, MadeSafe, MicroscopeReady, decode, encode
from daemon.system.process_table import ProcessTable
from tests.support.deadlines import DEADLINE_S


def safe(connection: Connection) -> None:
    connection.send_bytes(encode(MicroscopeReady(backend="", camera="", bits=16, versions={})))
    assert isinstance(decode(connection.recv_bytes()), Close)
    connection.send_bytes(encode(MadeSafe()))


def frozen(connection: Connection) -> None:
    connection.send_bytes(encode(Failed(kind="SettingRefused", message="Micro-Manager hangs", again=False)))


@pytest.mark.parametrize(
    ("failures", "within_s", "comes_safe", "pauses"),
    [(2, 600.0, True, [5.0, 10.0]), (2, 3.0, False, [3.0])],
)
def test_it_is_tried_by_a_growing_pause_and_told_twice(
    tmp_path: Path, failures: int, within_s: float, comes_safe: bool, pauses: list[float]
) -> None:
    told: list[str] = []
    slept: list[float] = []
    targets = [frozen] * failures + [safe]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    spawn = partial(Child, "microscope", ProcessTable(tmp_path))
    trying = make_safe_at_last(lambda: spawn(targets.pop(0)), within_s, told.append, lambda: sum(slept), sleep)

    async def bounded() -> bool:
        return await asyncio.wait_for(trying, DEADLINE_S)

    assert asyncio.run(bounded()) is comes_safe
    assert slept == pauses
    assert "Micro-Manager hangs" in told[0]
    last = [] if comes_safe else ["the hardware is not safe (Micro-Manager hangs)"]
    assert [one.partition(";")[0] for one in told[1:]] == last
