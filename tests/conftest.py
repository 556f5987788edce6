"""What holds for every test: it leaves no thread, process or socket behind. And the night that many compare with."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from hypothesis import settings
from rich.console import Console
from zmq.utils.garbage import GarbageCollectorThread

from daemon.planning.specimens import make_specimens
from drivers.settings import Emulation
from drivers.virtual_slide.profiles import kinds_of
from drivers.virtual_slide.slide import cabinet_of
from tests.support.deadlines import END_S, LONG_S
from tests.support.emulated_night import SAID, Digest, digest, lamelle, living, write_configuration
from tests.support.places import ROOT

TRACKER = "multiprocessing.resource_tracker"
"""Python's own helper process, started with the first spawn or shared memory and kept until the interpreter ends."""


settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_sessionstart() -> None:
    """Make the specimens of the emulated nights, about a minute the first time on a machine."""
    # The workers share the cores: threads of torch that wait for one another would burn the time of all.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A shell that runs the tests in the background has Ctrl-C ignored, and every process would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    make_specimens(cabinet_of(Emulation()), kinds_of("easy"), Console())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the folder they lie in, and those that look at the undisturbed night."""
    for item in items:
        room = item.path.relative_to(ROOT / "tests").parts[0]
        if room == "nights" or "undisturbed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.night)
        if room in ("browser", "long"):
            item.add_marker(room)
        if room == "long":
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    before = _present()
    yield
    until = time.monotonic() + END_S
    while (left := _present() - before) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.02)
    assert not left, f"left behind: {', '.join(sorted(left))}"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digest]:
    """The run folder of a night that nothing befell, and what it recorded; beside the folder lies what it printed.

    All workers look at the same one, so whoever changes anything takes a copy.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    run, said = folder / "run", folder / SAID
    with FileLock(folder.with_suffix(".lock")):
        if not said.exists():
            folder.mkdir()
            done = lamelle("scan", write_configuration(folder), "--run", run)
            assert done.returncode == 0, done.stderr
            assert not living(run)
            said.write_text(done.stdout, encoding="utf-8")
    return run, digest(run)


@pytest.fixture(scope="session")
def exported_models(pytestconfig: pytest.Config) -> Path:
    """Where models stay from one run of the tests to the next, as an export takes ten seconds; see `keep`.

    A model is found by what it was made of and by the modules that made it, so no change of these goes untested.
    """
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("models")


def _present() -> set[str]:
    process = psutil.Process()
    # The collector of zmq keeps messages that were sent without a copy; one a process, to its end.
    threads = [thread for thread in threading.enumerate() if not isinstance(thread, GarbageCollectorThread)]
    present = {f"thread {thread.name} ({thread.ident})" for thread in threads}
    # One that is not bound has no address, whatever the stubs say.
    ends: list[tuple[int, Any]] = [(end.fd, end.laddr) for end in process.net_connections("all")]
    present |= {f"socket {number} at {address}" for number, address in ends if address}
    present |= {f"process {name}" for child in process.children(recursive=True) if (name := _named(child))}
    return present


def _named(child: psutil.Process) -> str | None:
    try:
        command = " ".join(child.cmdline())
        return None if TRACKER in command else f"{child.pid}: {command}"
    except psutil.NoSuchProcess:
        return None
