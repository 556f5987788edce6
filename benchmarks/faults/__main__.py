"""Every fault of the list through whole nights: for 1 s, for 30 s and for good, and over the bridge's wire.

python -m benchmarks.faults [--write docs/faults.md] [--only "the stage is stuck"] [--seed 1] [--at-a-time 2]

Prints a line a night, and ends with exit status 1 where a night is not as it is promised.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.faults.checks import checked
from benchmarks.faults.listing import FAULTS
from benchmarks.faults.night import Outcome
from benchmarks.faults.page import LENGTHS, ONCE, WIRE, problems, told, write
from benchmarks.faults.workers import Case, spent

WIRED_S = 30.0


def main() -> None:
    """Run the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="write the page there")
    parser.add_argument("--only", action="append", choices=[fault.name for fault in FAULTS], help="may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="of where the faults begin")
    parser.add_argument("--at-a-time", type=int, default=2, help="nights that run side by side")
    options = parser.parse_args()
    if options.only is not None and options.write is not None:
        parser.error("a page is written of all faults; leave --only out")
    faults = [fault for fault in FAULTS if options.only is None or fault.name in options.only]
    cases: list[tuple[str, Case]] = []
    for fault in faults:
        lengths = dict[str, float | None](LENGTHS) if fault.lasts else {ONCE: None}
        cases += [(length, Case(fault, lasts_s)) for length, lasts_s in lengths.items()]
        if fault.wired:
            cases.append((WIRE, Case(fault, WIRED_S if fault.lasts else None, wire=True)))
    rows: dict[str, dict[str, Outcome]] = {fault.name: {} for fault in faults}
    wrong = 0
    for number, outcome in spent([case for _, case in cases], options.seed, options.at_a_time):
        length, case = cases[number]
        rows[case.fault.name][length] = outcome
        print(f"{case.fault.name}, {length}: {told(outcome, case.fault)}", flush=True)
        for problem in problems(case.fault, length, outcome):
            wrong += 1
            print(f"    WRONG: {problem}", flush=True)
    checks = checked() if options.only is None else {}
    for name, what in checks.items():
        wrong += "**" in what
        print(f"{name}: {what}")
    if options.write is not None:
        options.write.write_text(write([(fault, rows[fault.name]) for fault in faults], checks), encoding="utf-8")
    count = len(faults) + len(checks)
    print(f"{count} faults, {len(cases)} nights, {wrong} things not as promised")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
