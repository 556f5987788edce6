"""The report of a night: on its own, whole, right in its numbers, whatever the night was."""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from rich.console import Console
from scipy.stats import chi2, poisson
from typer.testing import CliRunner

from calibration.counting.poisson import interval
from daemon.cli.app import app
from daemon.config.loading import freeze
from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.events import EventName
from daemon.records.records import AnyRecord, AttemptsOrdered, Event, FieldSecured, NightClosed, encode
from daemon.records.states import NightState
from daemon.report import words
from daemon.report.gather import gather
from daemon.report.objects import FINEST, SHOWN, doubtful, finest
from daemon.report.report import report
from daemon.report.timing import CHANGING, REPEATING, STANDING, STARTING, WAITING, time_night
from daemon.report.verdict import RunFolderStanding, verdict_of
from daemon.run_folder.journal import Journal
from daemon.system.errors import Refused
from daemon.verdict.verdict import ACTIONS
from tests.support import small_night as night
from tests.support.configuration_files import night as configured
from tests.support.emulated_night import Digest
from tests.support.small_dataset import make_dataset

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(1)> $\\frac{$ 中文'

DAY_S = 86_400.0


class Parsed(HTMLParser):
    """What a page refers to, its tags, and its texts."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))


def pages_of(paper: Path) -> int:
    """Pages of a PDF, by way of its table of objects: trailer, catalog, tree of pages."""
    data = paper.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    table = int(data[data.rindex(b"startxref") + 9 :].split()[0])
    assert data[table : table + 4] == b"xref"
    entries = re.findall(rb"(\d{10}) \d{5} [nf]", data[table:])

    def thing(number: int) -> bytes:
        begin = int(entries[number])
        return data[begin : data.index(b"endobj", begin)]

    def reference(body: bytes, name: bytes) -> int:
        found = re.search(rb"/" + name + rb" (\d+) 0 R", body)
        assert found is not None
        return int(found[1])

    tree = thing(reference(thing(reference(data[data.rindex(b"trailer") :], b"Root")), b"Pages"))
    count = re.search(rb"/Count (\d+)", tree)
    assert count is not None
    assert len(re.findall(rb"/Type /Page\b", data)) == int(count[1])
    return int(count[1])


def quiet() -> Console:
    return Console(file=io.StringIO())


def made(folder: Path, tmp_path: Path) -> tuple[Parsed, Path]:
    """Report a folder into a new one; the page as parsed, and the PDF."""
    written = report(folder, tmp_path / "out" / "night.html", quiet())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["night.html", "night.pdf"]
    parsed = Parsed(written.page)
    assert all(one.startswith(("data:image/", "#")) for one in parsed.references)
    assert not {"script", "link", "iframe", "object", "embed", "form", "meta http-equiv"} & set(parsed.tags)
    assert "url(http" not in written.page.read_text(encoding="utf-8")
    assert pages_of(written.paper) >= 1
    return parsed, written.paper


def catalogued(folder: Path, records: list[AnyRecord]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return folder


@pytest.fixture(scope="module")
def reported(undisturbed: tuple[Path, Digest], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parsed, Path]:
    """A run folder, and the report that the command wrote into its dataset."""
    run = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(undisturbed[0], run)
    done = CliRunner().invoke(app, ["report", str(run)])
    assert done.exit_code == 0, done.output
    assert (run / "dataset" / "report.html").exists()
    return run, Parsed(run / "dataset" / "report.html"), run / "dataset" / "report.pdf"


def test_a_page_stands_on_its_own(reported: tuple[Path, Parsed, Path]) -> None:
    run, page, paper = reported
    assert all(one.startswith(("data:image/", "#")) for one in page.references)
    assert page.references.count("") == 0
    assert {"h1", "table", "svg", "img"} <= set(page.tags)
    assert "script" not in page.tags
    assert any(text.startswith("Complete: 6 of 6 fields recorded, ") for text in page.texts)
    # It was not calibrated, which needs somebody; nothing else does.
    assert any(text.startswith("Calibrate: no calibration of dark, ") for text in page.texts)
    assert not any(text.startswith(tuple(ACTIONS.values())) for text in page.texts)
    assert pages_of(paper) >= 3
    html = (run / "dataset" / "report.html").read_text(encoding="utf-8")
    identities = re.findall(r'\bid="([^"]+)"', html)
    assert len(identities) == len(set(identities))
    assert len(html) < 3e6
    assert not list((run / "dataset").glob("*.part"))
    with Dataset.open(run) as dataset:
        assert dataset.totals().complete


def test_numbers_equal_sums_over_the_catalog_and_the_tables(reported: tuple[Path, Parsed, Path]) -> None:
    run, page, _ = reported
    with Dataset.open(run) as dataset:
        numbers, _ = gather(dataset)
    counting = "SELECT count(*) FROM objects WHERE in_exclusive_tile AND NOT below_threshold AND slide = ?"
    with closing(sqlite3.connect(run / "dataset" / "catalog.sqlite")) as catalog:
        for slide in numbers.slides:
            assert catalog.execute(counting, (slide.slide,)).fetchone() == (slide.total.number,)
    tables = {n: pq.read_table(run / "dataset" / f"slide-{n}" / "objects.parquet").to_pylist() for n in (1, 2)}
    config = configured(run)
    frame_um = 512 * config.instrument.pixel_um
    area = (frame_um * (1 - config.scan.pattern.overlap)) ** 2 / 1e6
    for slide in numbers.slides:
        rows = [r for r in tables[slide.slide] if r["in_exclusive_tile"] and not r["below_threshold"]]
        fields = {r["field"] for r in rows}
        for kind in slide.kinds:
            assert kind.count.number == sum(r["class_name"] == kind.name for r in rows)
        for field in slide.fields:
            assert field.objects == sum(r["field"] == field.field for r in rows)
        n = slide.total.number
        assert len(fields) <= slide.recorded == 3
        assert slide.area_mm2 == pytest.approx(3 * area)
        assert slide.total.per_mm2 is not None
        assert slide.total.per_mm2[0] == pytest.approx(n / (3 * area))
        assert (slide.total.low, slide.total.high) == pytest.approx(
            (chi2.ppf(0.025, 2 * n) / 2, chi2.ppf(0.975, 2 * n + 2) / 2)
        )
        assert f"{slide.slide} \u00b7 MD-0{slide.slide}" in page.texts
    total = sum(slide.total.number for slide in numbers.slides)
    assert total == numbers.total.number > 0
    assert str(total) in page.texts
    assert sum(kind.count.number for kind in numbers.kinds) == total
    every = [r for rows in tables.values() for r in rows]
    lengths = [r["length_um"] for r in every if r["length_um"] is not None]
    (coccoliths,) = (kind for kind in numbers.kinds if kind.name == "coccolith")
    assert coccoliths.length_um is not None
    assert min(lengths) <= coccoliths.length_um <= max(lengths)


@pytest.mark.parametrize("count", [0, 1, 7, 400])
def test_an_interval_leaves_as_much_beyond_each_end_as_it_says(count: int) -> None:
    low, high = interval(count)
    assert poisson.cdf(count, high) == pytest.approx(0.025)
    assert (1 - poisson.cdf(count - 1, low) if count else 0.025) == pytest.approx(0.025)


def test_the_time_of_a_night_is_accounted_for(reported: tuple[Path, Parsed, Path]) -> None:
    run, page, _ = reported
    with Dataset.open(run) as dataset:
        numbers, _ = gather(dataset)
    timing = time_night(numbers)
    assert timing is not None
    assert timing.seconds == pytest.approx(numbers.seconds, rel=0.02)
    assert {span.what for span in timing.spans} >= {CHANGING, "exposures"}
    assert timing.needed_s is not None
    assert "Where the time went" in page.texts


@pytest.mark.slow
def test_hostile_names_are_only_shown(tmp_path: Path) -> None:
    config = configured(tmp_path, {"detector.classes": [EVIL, "coccolith"]})
    started = replace(
        night.started(night=EVIL, slides=1, fields=3),
        configuration=freeze(config),
        samples={1: {"sample": EVIL, EVIL: EVIL}},
    )
    rows = tuple(replace(night.object_row(n), class_name=EVIL, length_um=2.0 + n) for n in range(6))
    records: list[AnyRecord] = [started]
    records += [replace(night.secured(1, field, ()), objects=rows, sample=EVIL) for field in (1, 2)]
    records += [replace(night.skipped(1, 3), reason=EVIL, sample=EVIL), night.event(EVIL)]
    page, _ = made(catalogued(tmp_path / "dataset", [*records, night.night_closed(2, 1)]), tmp_path)
    assert page.text.count(EVIL) > 6
    # Objects without a file have no picture, and say so.
    assert page.text.count("lists no file") == SHOWN


@pytest.mark.slow
def test_an_empty_night_and_blank_slides_are_reported(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", slides=2, objects=0)
    page, _ = made(tmp_path, tmp_path)
    assert any(text.startswith("Complete: 4 of 6 fields recorded, 2 skipped, ") for text in page.texts)
    assert page.text.count("Look at mini-slides 1-2: nothing was found in 4 fields.") == 1
    begun = catalogued(tmp_path / "begun", [night.started()])
    shutil.rmtree(tmp_path / "out")
    page, _ = made(begun, tmp_path)
    assert "Not complete: 0 of 6 fields are done." in page.text


@pytest.mark.slow
def test_a_night_that_was_never_measured_or_has_one_polarization_is_reported(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", slides=3, channels=1)
    page, _ = made(tmp_path, tmp_path)
    # Of four objects of a field one is below the threshold and one another field's.
    assert "12" in page.texts
    # Six of each class as its finest; those of one class are cut, and so the most doubtful too.
    assert page.tags.count("img") == 12 + 6
    assert page.text.count("tried 3 times, field skipped") == 1
    assert page.text.count("the stage [xy] did not arrive") > 3


@pytest.mark.slow
def test_an_interrupted_night_is_read_from_its_journal_while_it_is_held(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with closing(Journal.create(run / "journal.sqlite", night.started())) as journal:
        journal.append(night.secured(1, 1, ()), night.secured(1, 2, ()))
        journal.note(
            Event(utc=1.8e9, monotonic_s=1.0, level="warning", name=EventName.INTERRUPTED, message="by a person")
        )
        page, _ = made(run, tmp_path)
        journal.append(night.secured(1, 3, ()))
    assert "Stopped by a person: 2 of 6 fields are done." in page.texts
    assert "lamelle scan CONFIG --run DIR --resume" in page.text
    assert (run / "spool").exists() is False
    with pytest.raises(Refused):
        report(tmp_path / "nowhere", None, quiet())


def test_how_it_ended_is_told_in_one_sentence(tmp_path: Path) -> None:
    def verdict(
        *records: AnyRecord, standing: RunFolderStanding | None = None, faults: int = 0
    ) -> tuple[str, str, str]:
        with Dataset.open(
            catalogued(tmp_path / str(len(list(tmp_path.iterdir()))), [night.started(), *records])
        ) as one:
            judged = verdict_of(one, standing, faults)
        return judged.headline, judged.tone, " ".join(judged.needs)

    fields = [night.secured(slide, field, ()) for slide in (1, 2) for field in (1, 2, 3)]
    late = 1.9e9
    stopped = Event(utc=late, monotonic_s=1.0, level="error", name=EventName.NIGHT_STOPPED, message="stage stuck")
    unsafe = Event(utc=late, monotonic_s=1.0, level="error", name=EventName.NOT_SAFE, message="check the shutter")
    alive = RunFolderStanding(alive=True, state=NightState.SCANNING, reason="")
    assert verdict(*fields, night.night_closed(6)) == ("Complete: 6 of 6 fields recorded, 12 objects.", "good", "")
    assert verdict(*fields, night.night_closed(6), faults=2)[1] == "bad"
    assert verdict(*fields[:3], standing=alive) == ("Scanning: 3 of 6 fields are done.", "running", "")
    sentence, tone, needs = verdict(*fields[:3], stopped, unsafe)
    assert (sentence, tone) == ("Stopped by a fault: stage stuck. 3 of 6 fields are done.", "bad")
    assert needs.startswith("See to the microscope at once: check the shutter.")
    for state, told in (
        (NightState.STOPPED, "Stopped by a fault"),
        (NightState.INTERRUPTED, "Stopped by a person"),
        (NightState.TERMINATED, "Ended by the system"),
        (NightState.NOT_DELIVERED, "Not"),
        (NightState.REFUSED, "Could not begin: r."),
    ):
        assert verdict(*fields[:3], standing=RunFolderStanding(alive=False, state=state, reason="r"))[0].startswith(
            told
        )
    left = RunFolderStanding(alive=False, state=NightState.NOT_DELIVERED, reason="9 records wait")
    sentence, tone, needs = verdict(*fields, night.night_closed(6), standing=left)
    assert (sentence, tone) == ("Complete here, but not all is delivered.", "bad")
    assert "9 records wait" in needs
    killed = RunFolderStanding(alive=False, state=NightState.SCANNING, reason="")
    assert verdict(*fields[:3], standing=killed)[0].startswith("Ended without a word")
    paused = replace_standing(alive, NightState.PAUSED, "the disk is full")
    assert verdict(*fields[:3], standing=paused)[:2] == ("Paused: the disk is full. 3 of 6 fields are done.", "warning")
    later = replace(fields[3], utc=late + 1)
    assert "stage stuck" not in verdict(*fields[:3], stopped, later)[0]
    waiting = [replace(fields[0], analysed=False), *fields[1:]]
    assert (
        verdict(*waiting, night.night_closed(6))[0]
        == "Complete: 6 of 6 fields recorded, 1 not analysed yet, 12 objects."
    )


def replace_standing(standing: RunFolderStanding, state: NightState, reason: str) -> RunFolderStanding:
    return RunFolderStanding(standing.alive, state, reason)


def test_time_goes_to_what_it_was_lost_to(tmp_path: Path) -> None:
    begin = 1_700_000_000.0

    def field(slide: int, number: int, at: float) -> FieldSecured:
        given = night.secured(slide, number, ())
        return replace(given, exposed_utc=begin + at, utc=begin + at + 2, seconds={"move": 0.5, "expose": 1.0})

    paused = Event(utc=begin + 16, monotonic_s=1.0, level="warning", name=EventName.PAUSED, message="disk full")
    records: list[AnyRecord] = [night.started(), field(1, 1, 10.5), field(1, 2, 12.5), paused, field(1, 3, 30.5)]
    records += [field(2, 1, 40.5), NightClosed(utc=begin + 50, recorded=4, skipped=0)]
    with Dataset.open(catalogued(tmp_path / "d", records)) as dataset:
        timing = time_night(gather(dataset)[0])
    assert timing is not None
    spans = {span.what: span.seconds for span in timing.spans}
    assert spans[STANDING] == pytest.approx(30 - 13.5)
    assert spans[CHANGING] == pytest.approx(40 - 31.5)
    assert spans[WAITING] == pytest.approx(0.5)
    assert sum(spans.values()) == pytest.approx(50)
    assert [(slow.slide, slow.field) for slow in timing.slowest] == [(1, 3)]

    # Days later one field is taken again: the days are nobody's, and what does not count any more took its time.
    again = replace(field(1, 2, 3 * DAY_S + 5.5), attempt=2, purpose=Purpose.REDO)
    order = AttemptsOrdered(utc=begin + 3 * DAY_S, purpose=Purpose.REDO, attempts=(AttemptName(1, 2, 2),))
    records += [order, again, NightClosed(utc=begin + 3 * DAY_S + 10, recorded=4, skipped=0)]
    with Dataset.open(catalogued(tmp_path / "again", records)) as dataset:
        numbers, _ = gather(dataset)
    timing = time_night(numbers)
    assert timing is not None
    spans = {span.what: span.seconds for span in timing.spans}
    assert sum(spans.values()) == pytest.approx(60) == pytest.approx(numbers.seconds)
    assert spans[REPEATING] == pytest.approx(1.5)
    assert spans[STARTING] == pytest.approx(10 + 8.5 + 5)
    assert [slide.seconds for slide in numbers.slides] == [pytest.approx(50 - 10.5 + 6.5), pytest.approx(1.0)]


def test_a_field_that_was_taken_again_stands_in_one_row(tmp_path: Path) -> None:
    """Skipped thrice: once, with how often it was tried again; with an attempt that counts: by its last attempt."""
    vain, found, redone = night.skipped(1, 1), night.skipped(1, 2), night.secured(1, 3, ())
    records: list[AnyRecord] = [night.started(), vain, found, redone]
    for attempt, purpose in ((2, Purpose.RETAKE), (3, Purpose.REDO)):
        names = tuple(AttemptName(1, field, attempt) for field in (1, 2, 3))
        records.append(AttemptsOrdered(utc=50.0, purpose=purpose, attempts=names))
        records.append(replace(vain, attempt=attempt, purpose=purpose))
        taken = found if attempt == 2 else night.secured(1, 2, ())
        records.append(replace(taken, attempt=attempt, purpose=purpose))
        records.append(replace(night.skipped(1, 3), attempt=attempt, purpose=purpose))
    with Dataset.open(catalogued(tmp_path / "d", records)) as dataset:
        table = words.skipped(gather(dataset)[0])
    why = "stage stuck: it did not arrive"
    assert table.rows == (
        (f"{why}; taken again 2 times in vain", "1", "1", "3"),
        ("taken again as ordered: attempt 3 counts", "1", "2", "1"),
        (f"taken again as ordered: attempt 3 was skipped ({why}); attempt 1 counts", "1", "3", "3"),
    )


def test_the_finest_are_whole_and_sure_and_the_doubtful_are_not(reported: tuple[Path, Parsed, Path]) -> None:
    with Dataset.open(reported[0]) as dataset:
        numbers, objects = gather(dataset)
    rows, doubt = dict(finest(objects, numbers.taxonomy)), doubtful(objects)
    assert list(rows) == [kind.name for kind in numbers.kinds if kind.count.number]
    assert sum(len(row) for row in rows.values()) <= FINEST
    fine = rows["coccolith"]
    assert 0 < len(fine) <= SHOWN
    assert fine.usable("size").all()
    assert not fine["best_plane_at_edge"].any()
    assert (fine["score"] >= 0.9).all()
    assert set(fine["slide"].tolist()) == {1, 2}
    assert len(doubt) == min(SHOWN, len(doubt))
    flags = sum(np.array([bool(flag) for flag in doubt[name]]) for name in ("overlapping", "touches_edge", "defocused",
                "outline_clipped", "best_plane_at_edge", "background_disturbed"))  # fmt: skip
    assert ((flags > 0) | (doubt["score"] <= 0.8) | (doubt["calcite_equivalent_deviation_pg"] > 0)).all()
    places = {(a, b, c) for a, b, c in zip(fine["slide"], fine["field"], fine["number"], strict=True)}
    assert not places & {(a, b, c) for a, b, c in zip(doubt["slide"], doubt["field"], doubt["number"], strict=True)}
