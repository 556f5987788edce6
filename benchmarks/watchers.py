"""Do watchers slow a night? Pairs of the same night, alone and with twenty who watch, in turns.

    python -m benchmarks.watchers [--pairs 10] [--fields 30] [--watchers 20]

Of the watchers one is suspended once it has joined, and one hears through a line of 1 Mbit/s; all others follow as fast
as they can. They run on the same computer, so what they take of its processor counts as well. Prints seconds a field of
each night, the median of the pairs' ratios, and the unique memory (USS) of the night's supervisor early and late. Then
what `Broadcaster.publish` takes under the same watchers, p50, p95 and p99, with messages as large as a night's, ten
times as often.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from daemon.config.model import Watch
from daemon.dataset.reader import Dataset
from daemon.live.follower import Follower
from daemon.live.publisher import Broadcaster
from daemon.protocols.watching import FieldDone, Overview, State
from daemon.records.records import FieldSecured
from daemon.records.states import NightState
from daemon.run_folder.endpoints import find_endpoint
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.system.process_table import read_processes
from tests.support.emulated_night import running, write_configuration
from tests.support.small_night import until
from tests.support.stream_messages import ABOUT

NIGHT_S = 600
LINE_BYTES_S = 125_000
SLOW_HOST = "127.0.0.2"
"""Loopback, too; on systems other than Linux it may have to be set up."""
VIEWS = ("fused", "crossed", "parallel")
VIEW_BYTES = 120_000
PUBLISHED, EVERY_S = 600, 0.1


def main() -> None:
    """Run the nights and the broadcaster, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--fields", type=int, default=30)
    parser.add_argument("--watchers", type=int, default=20)
    given = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(given.pairs):
            taken: dict[int, float] = {}
            for count in (0, given.watchers)[:: 1 if pair % 2 else -1]:
                taken[count], memory = night(Path(folder) / f"{pair}-{count}", given.fields, count)
                early, late = memory[len(memory) // 4], memory[-1]
                print(f"{count:3} watchers: {taken[count]:.3f} s a field, supervisor {early:.1f} to {late:.1f} MB")
            ratios.append(taken[given.watchers] / taken[0])
            print(f"pair {pair + 1} of {given.pairs}: {ratios[-1]:.3f}")
    print(f"median of the ratios {median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")
    publish(given.watchers)


def night(folder: Path, fields: int, watchers: int) -> tuple[float, list[float]]:
    """Run a night; seconds from field to field, and the supervisor's USS in MB while it ran."""
    folder.mkdir()
    timing = {"xy_ms": 150, "z_ms": 15, "polarizer_ms": 120}
    config = write_configuration(folder, slides=1, fields=fields, frame_px=1024, emulation={"timing": timing})
    run, memory = folder / "run", list[float]()
    with running("scan", config, "--run", run, output=folder / "scan.txt") as scan:
        until(lambda: (run / "heartbeat.json").exists() and read_heartbeat(run).secured > 0, "a field", NIGHT_S)
        supervisor = read_processes(run)["supervisor"].find()
        assert supervisor is not None
        with watched((find_endpoint(str(run))(), find_endpoint(str(run), "publish")()), watchers):
            # Not to the very end: what it shares with the other processes is its own once they go.
            while read_heartbeat(run).secured < fields - 2:
                memory.append(supervisor.memory_full_info().uss / 1e6)
                time.sleep(0.5)
            assert scan.wait(NIGHT_S) == 0
    with Dataset.open(run) as dataset:
        done = [one.exposed_monotonic_s for one in dataset.fields() if isinstance(one, FieldSecured)]
    return (done[-1] - done[2]) / (len(done) - 3), memory


def publish(watchers: int) -> None:
    """Time the broadcaster alone."""
    broadcaster = Broadcaster(Watch(), ABOUT)
    broadcaster.start()
    image, taken_s, process = os.urandom(VIEW_BYTES), list[float](), psutil.Process()
    try:
        bound = broadcaster.snapshot_endpoint, broadcaster.publish_endpoint
        with watched(bound, watchers, lambda: broadcaster.publish(State(state=NightState.SCANNING))):
            before = process.memory_full_info().uss
            for field in range(PUBLISHED):
                done = FieldDone(slide=1, field=field, utc=time.time(), x_um=0.0, y_um=0.0)
                overview = Overview(slide=1, field=field, sample="a", frame_px=(2048, 2048), views=VIEWS, objects=())
                for body, images in ((done, ()), (overview, (image,) * len(VIEWS))):
                    begun_s = time.perf_counter()
                    broadcaster.publish(body, *images)
                    taken_s.append(time.perf_counter() - begun_s)
                time.sleep(EVERY_S)
            after = process.memory_full_info().uss
    finally:
        broadcaster.close()
    p50, p95, p99 = 1000 * np.percentile(taken_s, [50, 95, 99])
    print(
        f"publish: p50 {p50:.3f}, p95 {p95:.3f}, p99 {p99:.3f} ms, most {1000 * max(taken_s):.1f} ms; "
        f"{broadcaster.dropped} messages dropped, memory {before / 1e6:.1f} to {after / 1e6:.1f} MB"
    )


@contextmanager
def watched(bound: tuple[str, str], count: int, speak: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Have so many watch: one suspended, one behind a slow line, the rest well.

    Parameters
    ----------
    bound
        endpoints for snapshots, and of the stream.
    speak
        makes the night say something, which joining waits for.
    """
    if not count:
        yield
        return
    context = multiprocessing.get_context("spawn")
    ending = context.Event()
    endpoint, ports = bound[0], tuple(int(one.rpartition(":")[2]) for one in bound)
    groups = [(endpoint, count - 2), (endpoint, 1), (endpoint.replace("127.0.0.1", SLOW_HOST), 1)]
    line = context.Process(target=slow_line, args=(ports, ending), daemon=True)
    line.start()
    joined = [context.Event() for _ in groups]
    watching = [
        context.Process(target=watch, args=(*group, told, ending), daemon=True)
        for group, told in zip(groups, joined, strict=True)
    ]
    for each in watching:
        each.start()
    end_s = time.monotonic() + 60
    while not all(told.is_set() for told in joined):
        assert time.monotonic() < end_s, "not everybody joined"
        speak()
        time.sleep(0.2)
    suspended = psutil.Process(watching[1].pid)
    suspended.suspend()
    try:
        yield
    finally:
        suspended.resume()
        ending.set()
        for each in (*watching, line):
            each.join(20)
            each.kill()


def watch(endpoint: str, count: int, joined: threading.Event, ending: threading.Event) -> None:
    """Follow a night so many times over in this process."""
    watchers = [Follower(lambda: endpoint, None, lambda _: None) for _ in range(count)]
    for each in watchers:
        each.start()
    while not ending.wait(0.1):
        if all(each.joined for each in watchers):
            joined.set()
    for each in watchers:
        each.close()


def slow_line(ports: tuple[int, ...], ending: threading.Event) -> None:
    """Pass on what is said at some ports of 127.0.0.1, at the same ports of `SLOW_HOST` and no faster than the line."""
    for port in ports:
        server = socket.create_server((SLOW_HOST, port))
        threading.Thread(target=serve, args=(server, port), daemon=True).start()
    ending.wait()


def serve(server: socket.socket, port: int) -> None:
    """Connect whoever comes to the same port of 127.0.0.1."""
    while True:
        near, _ = server.accept()
        try:
            far = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:  # the night has ended
            near.close()
            continue
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=pass_on, args=(one, other), daemon=True).start()


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Pass on bytes no faster than the line."""
    with suppress(OSError):  # one of them hung up
        while piece := one.recv(LINE_BYTES_S // 20):
            other.sendall(piece)
            time.sleep(len(piece) / LINE_BYTES_S)
    one.close()
    other.close()


if __name__ == "__main__":
    main()
