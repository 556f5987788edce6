"""How long after a field ended does the page show it? A night, `lamelle monitor` and a browser on one computer.

    python -m benchmarks.latency [--fields 20]

Two mini-slides of so many fields of 1024 x 1024 at the pace of the emulated instrument. The field's end is the
wall-clock time of its record, when it is secured; the page notes when its headline first counts it. Prints p50, p95 and
the worst, and ends with exit status 1 if that is above two seconds, or a field was never shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from daemon.dataset.reader import Dataset
from daemon.records.records import FieldSecured
from daemon.run_folder.folder import RunFolder
from tests.support.browsing import Visit, browser
from tests.support.emulated_night import running, write_configuration
from tests.support.small_night import until

NIGHT_S, MOST_S = 600, 2.0
TIMING = {"xy_ms": 150, "z_ms": 15, "polarizer_ms": 120}
NOTE = """() => {
    const headline = document.querySelector("#headline");
    window.noted = [];
    const note = () => window.noted.push([Date.now() / 1000, headline.textContent]);
    new MutationObserver(note).observe(headline, {subtree: true, childList: true, characterData: true});
    note();
}"""


def main() -> None:
    """Run the night, compare its clock with the page's, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=20, help="of each of two mini-slides")
    fields = parser.parse_args().fields
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        run, told = base / "run", base / "monitor.txt"
        config = write_configuration(base, fields=fields, frame_px=1024, emulation={"timing": TIMING})
        with (
            ExitStack() as stack,
            browser() as made,
            running("scan", config, "--run", run, output=base / "scan.txt") as scan,
        ):
            until(RunFolder(run).endpoints.exists, "the night did not begin", NIGHT_S)
            stack.enter_context(running("monitor", "--connect", run, "--http", "127.0.0.1:0", output=told))
            until(lambda: "open http" in told.read_text("utf-8"), "the monitor does not serve")
            (address,) = re.findall(r"open (\S+)", told.read_text("utf-8"))
            visit = Visit(made, address)
            visit.page.evaluate(NOTE)
            while scan.poll() is None:
                visit.page.wait_for_timeout(500)
            visit.page.wait_for_timeout(1000 * MOST_S)
            noted = visit.page.evaluate("() => window.noted")
        with Dataset.open(run) as dataset:
            ends = sorted(one.utc for one in dataset.fields() if isinstance(one, FieldSecured))
    shown = [(utc, int(count[1])) for utc, text in noted if (count := re.search(r": (\d+) of \d+ fields", text))]
    late = [_first(shown, number) - end for number, end in enumerate(ends, 1) if _first(shown, number) < np.inf]
    p50, p95 = np.percentile(late, [50, 95])
    print(f"{len(ends)} fields in {ends[-1] - ends[0]:.0f} s, {len(late)} of them shown by the headline")
    print(f"end of a field to the page: p50 {p50:.3f} s, p95 {p95:.3f} s, worst {max(late):.3f} s")
    # The headline of a complete night tells no longer how many fields were scanned so far.
    sys.exit(max(late) > MOST_S or len(late) < len(ends) - 1)


def _first(shown: list[tuple[float, int]], number: int) -> float:
    """When the page first counted so many fields, or infinity."""
    return min((utc for utc, count in shown if count >= number), default=np.inf)


if __name__ == "__main__":
    main()
