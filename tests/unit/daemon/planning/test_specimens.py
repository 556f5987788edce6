"""What a night says while the specimens of its virtual slide are made."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from daemon.planning import specimens
from drivers.virtual_slide.specimens.cabinet import Cabinet, Report


class Shelf:
    """A cabinet whose specimens are made at once."""

    folder = Path("cache") / "virtual-slide"

    def __init__(self, missing: int) -> None:
        self.left = missing

    def missing(self, kinds: Sequence[str]) -> list[tuple[str, int]]:
        return [(kind, n) for kind in kinds for n in range(self.left)]

    def fill(self, kinds: Sequence[str], report: Report) -> None:
        total = len(self.missing(kinds))
        for done in range(total + 1):
            self.left = total - done
            report(done, total)


def said(shelf: Shelf) -> str:
    out = io.StringIO()
    specimens.make_specimens(cast(Cabinet, shelf), ["emiliania"], Console(file=out, width=100))
    return out.getvalue()


def test_the_folder_the_number_the_rate_and_the_time_left_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 10_000, 15))
    monkeypatch.setattr("daemon.system.progress.time.monotonic", lambda: float(next(times)))
    shelf = Shelf(4)
    lines = said(shelf).splitlines()
    assert "4 specimens" in lines[0]
    assert "once" in lines[0]
    assert str(Shelf.folder) in lines[0]
    # Counts at 15 s intervals from the moment it began: none, then 1 after 30 s.
    assert lines[1] == "specimens: 1/4, 0.0/s, 1 min 30 s left"
    assert shelf.left == 0
    assert said(shelf) == ""
