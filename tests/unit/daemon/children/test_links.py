"""The supervisor's ends of its children: what a new analysis is told, and a microscope that does not obey."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from msgspec.structs import replace

from daemon.children.analysis_link import AnalysisLink
from daemon.children.child import CLOSE_S, Child
from daemon.children.microscope_link import MicroscopeLink
from daemon.protocols.pipes import (
    Analysed,
    AnalysisReady,
    Close,
    Done,
    Failed,
    Finish,
    FrameLanded,
    MadeSafe,
    MeasureSharpness,
    MicroscopeReady,
    NamingBegins,
    Prepare,
    StackBegins,
    decode,
    encode,
)
from daemon.records.fields import PlannedField
from daemon.system.errors import RequestFailed
from daemon.system.logbook import Logbook
from daemon.system.process_table import ProcessTable
from tests.support.deadlines import DEADLINE_S
from tests.support.process_logs import log
from tests.support.small_night import secured

FIELD = PlannedField(slide=1, field=1, sample="a", x_um=0.0, y_um=0.0, tile_um=(0.0, 0.0, 1.0, 1.0))


def analysis(connection: Connection, mark: Path) -> None:
    """As strict as the real one about the order of what it is told; dies of the first stack that is finished."""
    ready = AnalysisReady(weights_sha256="", runtimes=("torch on cpu, 8 x 8 px",), refusals=("onnxruntime is away",))
    connection.send_bytes(encode(ready))
    slot, landed = -1, 0
    while not isinstance(request := decode(connection.recv_bytes()), Close):
        match request:
            case StackBegins():
                slot, landed = request.slot, 0
            case FrameLanded():
                assert request.slot == slot, f"a plane of slot {request.slot} was announced before its stack"
                landed += 1
            case Finish():
                assert request.slot == slot
                if not mark.exists():
                    mark.touch()
                    os._exit(1)
                connection.send_bytes(encode(analysed(slot, landed)))
                slot = -1


def analysed(slot: int, landed: int) -> Analysed:
    record = replace(secured(1, 1, (), objects=0), seconds={"planes": float(landed)})
    return Analysed(slot=slot, record=record, views=())


def finish(slot: int) -> Finish:
    return Finish(slot=slot, planned=FIELD, first_z_um=0.0, exposed_utc=0.0, bits=16, keep_raw=False)


def test_what_lands_while_a_new_analysis_starts_is_told_once_and_in_order(tmp_path: Path) -> None:
    told: list[tuple[str, str, str]] = []

    async def night() -> list[float]:
        table = ProcessTable(tmp_path)
        reviving = asyncio.Event()

        def tell(level: str, name: str, message: str) -> None:
            told.append((level, name, message))
            if name == "analysis restarted":
                reviving.set()

        link = AnalysisLink(lambda _: Child("analysis", table, analysis, tmp_path / "mark"), tell)
        await link.start()
        link.begin(0)
        for z in range(2):
            link.landed(FrameLanded(slot=0, c=0, z=z))
        link.complete(finish(0))
        link.begin(1)
        link.landed(FrameLanded(slot=1, c=0, z=0))
        first = asyncio.create_task(link.result(0))
        await reviving.wait()
        link.landed(FrameLanded(slot=1, c=0, z=1))
        link.landed(FrameLanded(slot=1, c=0, z=2))
        link.complete(finish(1))
        results = await asyncio.gather(first, link.result(1))
        await link.close()
        return [result.record.seconds["planes"] for result in results]

    assert asyncio.run(asyncio.wait_for(night(), DEADLINE_S)) == [2, 3]
    # What runs the detector is told when it first starts, and not again.
    assert told[:2] == [
        ("warning", "runtime refused", "onnxruntime is away"),
        ("info", "detector", "runs on torch on cpu, 8 x 8 px"),
    ]
    assert [name for _, name, _ in told[2:]] == ["analysis restarted"]


def fragile(connection: Connection, run: Path) -> None:
    """Die of every stack in slot 0 that it is to look at or to draw; refuse the spool once for the one in slot 1."""
    refused = False
    with Logbook(run, "analysis"):
        connection.send_bytes(encode(AnalysisReady(weights_sha256="")))
        while not isinstance(request := decode(connection.recv_bytes()), Close):
            if not isinstance(request, Finish):
                continue
            if request.slot == 0 and not request.undrawn:
                raise FloatingPointError("nothing survives this stack")
            if request.slot == 1 and not (refused or (run / "refused").exists()):
                refused = True
                (run / "refused").touch()
                connection.send_bytes(encode(Failed(kind="OSError", message="no room", again=True)))
                continue
            answer = analysed(request.slot, 0)
            reason = "" if request.fault is None else request.fault.message
            record = replace(answer.record, analysed=not reason, reason=reason)
            connection.send_bytes(encode(replace(answer, record=record)))


@pytest.mark.slow
def test_a_stack_that_nothing_survives_is_kept_raw_and_the_others_are_not(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    async def night() -> list[str]:
        table = ProcessTable(tmp_path)
        link = AnalysisLink(lambda _: Child("analysis", table, fragile, tmp_path), lambda _, *event: told.append(event))
        await link.start()
        for slot in (0, 1, 2):
            link.begin(slot)
            link.complete(finish(slot))
        results = [link.result(0), link.result(2)]
        reasons = [one.record.reason for one in await asyncio.gather(*results)]
        with pytest.raises(RequestFailed, match="no room"):
            await link.result(1)
        reasons.append((await link.result(1)).record.reason)
        await link.close()
        return reasons

    raw, *others = asyncio.run(asyncio.wait_for(night(), DEADLINE_S))
    died = "the analysis process died (FloatingPointError: nothing survives this stack)"
    assert raw == f"the analysis died of it 3 times: {died}"
    assert others == ["", ""]
    restarts = [message for name, message in told if name == "analysis restarted"]
    assert [message.startswith(died) for message in restarts] == [True, True, True, False]
    endings = [line for line in log(tmp_path, "analysis") if line["level"] == "critical"]
    assert [line["exception"].splitlines()[0] for line in endings] == ["Traceback (most recent call last):"] * 3


def tongue_tied(connection: Connection) -> None:
    """Die of every object that it names."""
    connection.send_bytes(encode(AnalysisReady(weights_sha256="", named_by="ab" * 32)))
    while not isinstance(request := decode(connection.recv_bytes()), Close):
        if isinstance(request, Finish):
            if not request.nameless:
                connection.send_bytes(encode(NamingBegins(slot=request.slot)))
                os._exit(1)
            connection.send_bytes(encode(replace(analysed(request.slot, 0), nameless=request.nameless)))


@pytest.mark.slow
def test_what_dies_of_names_is_analysed_without_them_and_soon_nothing_is_named(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    async def night() -> list[Analysed]:
        table = ProcessTable(tmp_path)
        link = AnalysisLink(lambda _: Child("analysis", table, tongue_tied), lambda _, *event: told.append(event))
        await link.start()
        results = []
        for slot in (0, 1, 2, 0):
            link.begin(slot)
            link.complete(finish(slot))
            results.append(await link.result(slot))
        await link.close()
        return results

    results = asyncio.run(asyncio.wait_for(night(), DEADLINE_S))
    assert [one.record.analysed for one in results] == [True] * 4
    died = "the analysis died as it named objects: the analysis process died (exit status 1)"
    assert [one.nameless for one in results] == [died, died, *["the analysis died 2 times as it named objects"] * 2]
    assert [name for name, _ in told] == ["analysis restarted", "not named", "analysis restarted"]
    assert told[1][1] == f"{died}; objects without a name are counted as such, and `lamelle classify` names them later"


def blinded(connection: Connection) -> None:
    """Die of every plane of a focus search."""
    connection.send_bytes(encode(AnalysisReady(weights_sha256="")))
    while not isinstance(request := decode(connection.recv_bytes()), Close):
        if isinstance(request, MeasureSharpness):
            os._exit(1)


@pytest.mark.slow
def test_planes_that_nothing_survives_end_a_focus_search_and_not_the_night(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    async def night() -> None:
        table = ProcessTable(tmp_path)
        link = AnalysisLink(lambda _: Child("analysis", table, blinded), lambda _, *event: told.append(event))
        await link.start()
        with pytest.raises(RequestFailed, match="died"):
            await link.sharpness(0, 3)
        await link.close()

    asyncio.run(asyncio.wait_for(night(), DEADLINE_S))
    assert [name for name, _ in told] == ["analysis restarted", "analysis restarted", "analysis failed"]
    assert told[-1][1].endswith("the field is taken without a search")


def on_gpu(connection: Connection, device: str | None, mark: Path) -> None:
    """Run on a GPU that is lost when the first child dies; a child that should use it does not even start."""
    if mark.exists() and device != "none":
        os._exit(1)
    connection.send_bytes(encode(AnalysisReady(weights_sha256="", device="none" if device else "cuda")))
    while not isinstance(request := decode(connection.recv_bytes()), Close):
        if isinstance(request, Finish):
            if not mark.exists():
                mark.touch()
                os._exit(1)
            connection.send_bytes(encode(analysed(request.slot, 0)))


@pytest.mark.slow
def test_a_night_that_lost_its_gpu_goes_on_without_a_detector(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    asked: list[str | None] = []

    async def night() -> tuple[bool, bool]:
        table = ProcessTable(tmp_path)

        def spawn(device: str | None) -> Child:
            asked.append(device)
            return Child("analysis", table, on_gpu, device, tmp_path / "mark")

        link = AnalysisLink(spawn, lambda level, name, _: told.append((level, name)))
        await link.start()
        before = link.detects
        link.begin(0)
        link.complete(finish(0))
        await link.result(0)
        await link.close()
        return before, link.detects

    assert asyncio.run(asyncio.wait_for(night(), DEADLINE_S)) == (True, False)
    assert asked == [None, "cuda", "none"]
    assert told == [("warning", "analysis restarted"), ("error", "detector lost")]


def stubborn(connection: Connection) -> None:
    """A process in which nothing moves any more."""
    connection.send_bytes(encode(MicroscopeReady(backend="", camera="", bits=16, versions={})))
    connection.recv_bytes()
    connection.send_bytes(encode(Done()))
    time.sleep(DEADLINE_S)


def obedient(connection: Connection) -> None:
    connection.send_bytes(encode(MicroscopeReady(backend="", camera="", bits=16, versions={})))
    while not isinstance(request := decode(connection.recv_bytes()), Close):
        assert isinstance(request, Prepare)
        connection.send_bytes(encode(Done()))
    connection.send_bytes(encode(MadeSafe()))


def dead(connection: Connection) -> None:
    connection.close()


def closing(tmp_path: Path, targets: list[Callable[[Connection], None]]) -> tuple[bool, float, int]:
    """Close a microscope whose processes are these, one after another: whether it is safe, seconds, processes left."""

    async def night() -> tuple[bool, float]:
        spawn = partial(Child, "microscope", ProcessTable(tmp_path))
        link = MicroscopeLink(lambda: spawn(targets.pop(0)), 1.0, 1.0, lambda *_: None, rescue_s=0.0)
        await link.start()
        begun = time.monotonic()
        safe = await link.close()
        took = time.monotonic() - begun
        assert await link.close()
        return safe, took

    safe, took = asyncio.run(asyncio.wait_for(night(), DEADLINE_S))
    return safe, took, len(targets)


def test_a_microscope_that_obeys_is_closed_without_another(tmp_path: Path) -> None:
    safe, took, left = closing(tmp_path, [obedient, obedient])
    assert safe
    assert left == 1
    assert took < CLOSE_S


@pytest.mark.slow
def test_a_microscope_that_does_not_obey_is_replaced_to_make_safe(tmp_path: Path) -> None:
    safe, _, left = closing(tmp_path, [stubborn, obedient])
    assert safe
    assert left == 0


@pytest.mark.slow
def test_what_cannot_be_made_safe_is_told(tmp_path: Path) -> None:
    safe, _, left = closing(tmp_path, [stubborn, dead])
    assert not safe
    assert left == 0
