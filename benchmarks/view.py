"""How soon the morning page shows a large night, how evenly its gallery scrolls, and how much memory both ends take.

python -m benchmarks.view [--fields 200] [--objects 63] [--dataset DIR] [--turns 3]

100,000 objects in 8 mini-slides of 200 fields, made as by `benchmarks.report`, unless a dataset is given. `lamelle
view` runs in a process of its own, and a headless Chromium opens its address as soon as it is told. Each turn starts
both anew. A gap is the longest time between two frames while the gallery is scrolled by wheel and thrown to places all
over it; blank is the longest time from such a throw to pictures in all tiles of the screen. Both are told of a gallery
that is opened while the night is still being read, and of one that is opened after that.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from playwright.sync_api import Browser

from benchmarks.report import make
from tests.support.browsing import Visit, browser

WATCH = """(() => {
    window.longest = 0;
    let before = performance.now();
    const look = now => {
        window.longest = Math.max(window.longest, now - before);
        before = now;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})()"""
SHOWN = """(tiles => tiles.length > 10 && tiles.every(one => one.complete && one.naturalWidth > 0))(
    [...document.querySelectorAll('.tile img')].filter(one => {
        const box = one.getBoundingClientRect();
        return box.bottom > 0 && box.top < innerHeight;
    }))"""
WHEELS, WHEEL_PX, EVERY_MS = 150, 400, 30
THROWS = (0.5, 0.93, 0.11, 0.77, 0.3, 0.99, 0.02, 0.61)


@contextmanager
def served(dataset: Path) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """Serve a dataset; gives the process, its address, and how long it took until it told it."""
    begun_s = time.monotonic()
    command = [sys.executable, "-m", "daemon", "view", str(dataset), "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            (address,) = re.findall(r"open (http://\S+)", process.stdout.readline())
            yield process, address, time.monotonic() - begun_s
        finally:
            process.terminate()


def megabytes(process: psutil.Process) -> float:
    """Memory of a process and its children that is theirs alone."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            total += one.memory_full_info().uss / 1e6
    return total


def scrolled(visit: Visit) -> tuple[float, float]:
    """Scroll a gallery; gives the longest gap between frames and the longest time without pictures, s."""
    page = visit.page
    page.evaluate(WATCH)
    page.mouse.move(600, 600)
    for _ in range(WHEELS):
        page.mouse.wheel(0, WHEEL_PX)
        page.wait_for_timeout(EVERY_MS)
    blank = 0.0
    for share in THROWS:
        begun_s = time.monotonic()
        page.evaluate(f"scrollTo(0, document.documentElement.scrollHeight * {share})")
        visit.until(SHOWN)
        blank = max(blank, time.monotonic() - begun_s)
    return page.evaluate("window.longest") / 1000, blank


def turn(made: Browser, dataset: Path) -> None:
    """Look at the night once, from the start of the server on, and print what was seen."""
    with served(dataset) as (process, address, told_s):
        server = psutil.Process(process.pid)
        begun_s = time.monotonic()
        visit = Visit(made, address)
        visit.until("document.querySelector('h1')?.textContent.includes('fields recorded')")
        first_s = time.monotonic() - begun_s
        key = visit.page.evaluate("location.pathname.split('/')[2]")
        visit.page.goto(f"{address}/objects?night={key}")
        visit.until(SHOWN)
        pictures_s = time.monotonic() - begun_s
        busy_gap_s, busy_blank_s = scrolled(visit)
        visit.page.goto(f"{address}/night/{key}")
        visit.until("document.querySelector('#table-samples') && !document.querySelector('.reading')")
        visit.until(f"fetch('/data/night/{key}').then(one => one.json()).then(one => one.read && !one.reading)")
        read_s, read_mb = time.monotonic() - begun_s, megabytes(server)
        begun_s = time.monotonic()
        visit.page.reload()
        visit.until("document.querySelector('h1')?.textContent.includes('fields recorded')")
        again_s = time.monotonic() - begun_s
        begun_s = time.monotonic()
        visit.page.goto(f"{address}/objects?night={key}&sort=doubt")
        visit.until(SHOWN)
        sorted_s = time.monotonic() - begun_s
        gap_s, blank_s = scrolled(visit)
        browser_mb = sum(megabytes(one) for one in psutil.Process().children() if one.pid != process.pid)
        peak_mb = server.memory_full_info().rss / 1e6
        with suppress(OSError):  # Linux alone tells the highest that it ever was
            status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
            peak_mb = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1e3
        print(
            f"address after {told_s:.1f} s; first screen {first_s:.2f} s, again {again_s:.2f} s; first pictures of the "
            f"gallery {pictures_s:.2f} s, of one sorted by doubt {sorted_s:.2f} s; all read after {read_s:.1f} s\n"
            f"  longest gap {gap_s:.3f} s, blank {blank_s:.2f} s; while it is read "
            f"{busy_gap_s:.3f} and {busy_blank_s:.2f} s\n"
            f"  server {read_mb:.0f} MB read, {megabytes(server):.0f} MB in the end, {peak_mb:.0f} MB at most; "
            f"browser {browser_mb:.0f} MB; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        visit.page.context.close()


def main() -> None:
    """Make the dataset, look at it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--objects", type=int, default=63)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        dataset = given.dataset
        if dataset is None:
            dataset = Path(temporary) / "dataset"
            print(f"{make(dataset, given.fields, given.objects)} objects", flush=True)
        for _ in range(given.turns):
            with browser() as made:
                turn(made, dataset)


if __name__ == "__main__":
    main()
