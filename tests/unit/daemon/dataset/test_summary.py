"""Inspection: counts for scripts, tables for people, nothing that a name could break."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from daemon.dataset.held import ByteTotals, FieldTotals
from daemon.dataset.summary import DatasetSummary, SlideSummary, show, size, summarise
from daemon.records.events import EventName
from daemon.system.errors import Refused
from tests.support.small_dataset import NIGHT, make_dataset, sample_of


def shown(folder: Path) -> str:
    out = io.StringIO()
    show(summarise(folder), Console(file=out, width=140))
    return out.getvalue()


@pytest.mark.parametrize("where", ["dataset", "run folder"])
def test_a_summary_counts_what_is_there(tmp_path: Path, where: str) -> None:
    fields = make_dataset(tmp_path / "dataset", slides=2, fields=2, objects=4)
    summary = summarise(tmp_path / "dataset" if where == "dataset" else tmp_path)
    assert msgspec.json.decode(msgspec.json.encode(summary), type=DatasetSummary) == summary
    assert summary.night == NIGHT
    assert summary.slides == 2
    assert summary.fields == FieldTotals(planned=6, recorded=4, skipped=2)
    assert (summary.gaps, summary.duplicates, summary.complete) == (0, 0, True)
    assert (summary.objects, summary.seen_again, summary.below_threshold) == (8, 4, 4)
    stack = 2 * 5 * 300 * 300 * 2
    assert summary.bytes == ByteTotals(raw=4 * stack, recorded=sum(file.size for f in fields for file in f.files))
    assert summary.per_slide[1] == SlideSummary(
        slide=2, sample=sample_of(2), planned=3, recorded=2, skipped=1, objects=4, seen_again=2, below_threshold=2,
        closed=True,
    )  # fmt: skip
    assert [(row.slide, row.field) for row in summary.skipped] == [(1, 3), (2, 3)]
    assert summary.events[0].message == "the stage [xy] did not arrive: tried 3 times, field skipped"


def test_people_see_slides_skipped_fields_and_events(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    text = shown(tmp_path)
    assert NIGHT in text
    assert sample_of(2) in text
    # Two skipped fields and one kind of event.
    assert text.count("the stage [xy] did not arrive") == 3
    assert "tried 3 times, field skipped" in text
    assert "1/3, 2/3" in text
    assert "complete, but with skipped fields" in text


def test_what_an_archive_left_out_is_told_at_the_end(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    summary = summarise(tmp_path)
    left_out = replace(summary.events[0], name=EventName.LEFT_OUT, message="it cannot be read", names=("a.tif",))
    whole = replace(summary, fields=FieldTotals(planned=4, recorded=4, skipped=0), skipped=(), events=(left_out,))
    show(whole, Console(file=(out := io.StringIO()), width=140))
    *_, need, end, _ = out.getvalue().replace("\n\n", "\n").split("\n")
    assert need.rstrip() == "Look at 1 file or folder of the archive that was not read: it cannot be read: a.tif."
    assert end.endswith(": complete, but with files left out")


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    (tmp_path / "slide-1" / "field-0001.ome.tif").unlink()
    summary = summarise(tmp_path)
    assert summary.gaps == 1
    assert not summary.complete
    assert "1 gap, 0 duplicates: not complete" in shown(tmp_path)
    assert [(fault.kind, fault.name) for fault in summary.faults] == [("gap", "slide-1/field-0001.ome.tif")]
    assert "slide-1/field-0001.ome.tif" in shown(tmp_path)


def test_of_many_that_are_missing_ten_are_shown_and_all_are_in_json(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=2, fields=6, objects=1)
    for path in tmp_path.glob("slide-*/field-*"):
        path.unlink()
    assert len(summarise(tmp_path).faults) == 12
    assert shown(tmp_path).count(".ome.tif") == 10
    assert "and 2 more: see --json" in shown(tmp_path)


def test_a_folder_without_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=tmp_path.name):
        summarise(tmp_path)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e8, "250.0 MB"), (3e12, "3.0 TB")]
)
def test_sizes_read_as_people_write_them(count: int, text: str) -> None:
    assert size(count) == text
