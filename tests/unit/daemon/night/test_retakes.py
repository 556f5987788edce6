"""What a person writes behind `--redo`, understood as it stands or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.night.retakes import ordered
from daemon.run_folder.journal import Journal
from daemon.system.errors import Refused
from tests.support import small_night as night


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Of mini-slide 1 three fields were taken, of mini-slide 2 two; field 2 of each was skipped."""
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started(slides=2, fields=3))) as journal:
        for slide, field in ((1, 1), (1, 3), (2, 1)):
            journal.append(night.secured(slide, field, ()))
        journal.append(night.skipped(1, 2), night.skipped(2, 2))
        yield journal


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("slide 1", [(1, 1), (1, 2), (1, 3)]),
        ("SLIDE 2;", [(2, 1), (2, 2)]),
        ("slide 1 field 3", [(1, 3)]),
        ("mini-slide 1 fields 1 - 2, 3; slide 2 fields 1", [(1, 1), (1, 2), (1, 3), (2, 1)]),
        ("skipped", [(1, 2), (2, 2)]),
        ("skipped; slide 2 field 1", [(1, 2), (2, 1), (2, 2)]),
    ],
)
def test_a_selection_is_understood(journal: Journal, text: str, places: list[tuple[int, int]]) -> None:
    assert [(name.slide, name.field) for name in ordered(journal, text)] == places
    assert {name.attempt for name in ordered(journal, text)} == {2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no field that was taken or skipped"),
        ("slide 9; slide 1", "names mini-slide 9, which the night does not have"),
        ("slide 2 field 3", "slide 2 field 3, which was not taken yet"),
        ("slide 1 fields 3-2", "names fields 3-2, but those of mini-slide 1 run from 1 to 3"),
        ("slide 1 fields 0", "names fields 0, but"),
        ("slide 1 fields 1-999999999", "names fields 1-999999999, but"),
        ("slide 1 fields 1-9999999999", "is not understood"),
        ("slide 1 fields -1", "is not understood"),
        ("slide 1 fields 2-", "is not understood"),
        ("slide 1 fields 3--5", "is not understood"),
        ("slide 1 fields 1,,2", "is not understood"),
        ("slide 1 fields", "is not understood"),
        ("fields 1", "is not understood"),
    ],
)
def test_what_is_no_selection_is_refused_whole(journal: Journal, text: str, told: str) -> None:
    with pytest.raises(Refused, match=f"--redo .*{told}"):
        ordered(journal, text)
