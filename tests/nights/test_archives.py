"""`lamelle detect` and `analyse --into`: what a night would find, whatever is killed, and bad images told."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import signal
import struct
import sys
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from rich.console import Console

from daemon.analysis.field_output import FUSED, RAW, write_fused, write_raw
from daemon.cli import results
from daemon.config.loading import freeze
from daemon.dataset.catalog import Catalog
from daemon.dataset.field_file import read_field_file
from daemon.dataset.held import FieldTotals
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import show, summarise
from daemon.exchange.annotations import propose
from daemon.exchange.kept_stacks import find_known_stacks
from daemon.exchange.objects import extract
from daemon.figures.choice import ObjectChoice
from daemon.figures.contact_sheet import draw_sheet
from daemon.records.events import EventName
from daemon.records.names import CATALOG, PROCESSES, field_file
from daemon.records.records import (
    AnyRecord,
    FieldSecured,
    FieldSkipped,
    FocusResult,
    NightClosed,
    NightStarted,
    SlideClosed,
    encode,
)
from daemon.report.verdict import verdict_of
from daemon.reprocessing.analyse import analyse_anew, catch_up
from daemon.reprocessing.archive import ArchiveSettings
from daemon.reprocessing.detect import detect
from daemon.system import crash_points
from daemon.system.errors import Exit, Refused
from inference.analyser import Analyser
from inference.annotations import coco_reading, cvat
from inference.annotations.stacks import find_stacks, read_stack
from inference.errors import AnnotationError
from inference.network.weights_file import find_weights
from inference.settings import DetectorSettings
from tests.support import emulated_stacks
from tests.support.deadlines import DEADLINE_S
from tests.support.emulated_night import lamelle, running
from tests.support.micromanager_files import write_images, write_stacks
from tests.support.ndtiff_files import Place, write_ndtiff
from tests.support.small_night import until

SETTINGS = ArchiveSettings(pixel_um=0.059)
STACKS = {"f2.ome.tif": 1, "f10.ome.tif": -1}
"""Names in the order of people, and which way round their rows are."""
BAD = {
    "cut.jpg": "it is damaged",
    "cut.tif": "the file is cut off",
    "float.tif": "its pixels are float32",
    "huge.png": "more pixels than can be analysed at once",
    "large.png": "12000 x 6000 px of 0.059 um, more than can be analysed at once",
    "small.png": "1 x 1 px of 0.059 um, too small",
    "words.png": "it is no image",
}

LEFT_OUT = ("core 2/film.mp4", "core 10/film.mp4", "core 10/scan.psd")


class Ran(NamedTuple):
    images: Path
    into: Path
    pixels: NDArray[np.uint16]
    status: Exit
    output: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """An archive of two stacks and of bad images around a good one, gone through without interruption."""
    folder = tmp_path_factory.mktemp("archive")
    images = folder / "images"
    pixels, _ = emulated_stacks.stack(emulated_stacks.night(frame_px=256, planes=5, seed=12), 3, 0.0)
    for name, way in STACKS.items():
        write_stack(images / "core 2" / name, pixels[:, :, ::way])
    write_bad(images / "core 10", pixels[1, 2])
    for name in LEFT_OUT:
        (images / name).write_bytes(b"\0")
    (images / "core 2" / "metadata.txt").write_text("said of images", encoding="utf-8")
    out = io.StringIO()
    status = detect([images], folder / "into", SETTINGS, 2, Console(file=out, width=200))
    return Ran(images, folder / "into", pixels, status, out.getvalue())


def write_stack(path: Path, pixels: NDArray[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "axes": "CZYX", "PhysicalSizeX": 0.059, "PhysicalSizeY": 0.059, "PhysicalSizeZ": 0.5,
        "Channel": {"Name": ["crossed", "parallel"]},
    }  # fmt: skip
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)


def write_bad(folder: Path, frame: NDArray[np.uint16]) -> None:
    folder.mkdir()
    cv2.imwrite(str(folder / "good.png"), frame)
    tifffile.imwrite(folder / "cut.tif", frame)
    cv2.imwrite(str(folder / "cut.jpg"), (frame // 256).astype(np.uint8))
    for name in ("cut.tif", "cut.jpg"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    tifffile.imwrite(folder / "float.tif", np.full((300, 300), np.nan, np.float32))
    cv2.imwrite(str(folder / "small.png"), frame[:1, :1])
    for name, size in (("huge.png", (20_000, 20_000)), ("large.png", (12_000, 6_000))):
        (folder / name).write_bytes(claiming((folder / "small.png").read_bytes(), *size))
    (folder / "words.png").write_text("not pixels", encoding="utf-8")


def claiming(png: bytes, width: int, height: int) -> bytes:
    """Change the size in a PNG's header."""
    header = png[12:16] + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def contents(into: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the catalog holds, but for the times at which things were done."""
    with Dataset.open(into) as dataset:
        tables = {
            "fields": "slide, field, state, sample, reason, sources, exposed_utc, focus_z_um, shape_czyx, device",
            "files": "*",
            "objects": "*",
            "samples": "slide, planned, columns",
            "night": "night, configuration, weights_sha256",
        }
        query = dataset._database.execute
        return {name: sorted(query(f"SELECT {columns} FROM {name}"), key=repr) for name, columns in tables.items()}


def test_what_is_found_is_what_the_analyser_finds(ran: Ran) -> None:
    detector = SETTINGS.detector.model_copy(update={"runtime": "torch"})
    analyser = Analyser(detector, SETTINGS.crops, SETTINGS.focus, 0.059, ("crossed", "parallel"))
    for field, (name, way) in enumerate(STACKS.items(), start=1):
        expected = analyser.analyse(ran.pixels[:, :, ::way])
        assert expected.objects
        with read_field_file(ran.into / field_file(1, field)) as file:
            rows = [(row.box, row.class_name, row.best_plane) for row in file.objects]
            assert rows == [(one.box, one.class_name, one.best_plane) for one in expected.objects]
            for row, one in zip(file.objects, expected.objects, strict=True):
                assert row.score == pytest.approx(one.score, abs=1e-3)
                np.testing.assert_array_equal(file.crop(row), one.crop)
                np.testing.assert_array_equal(file.fused(row), one.fused)
            (source,) = file.provenance.sources
        path = ran.images / source.name
        assert path.name == name
        assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_bad_images_are_told_and_the_rest_is_found(ran: Ran) -> None:
    assert ran.status == Exit.SKIPPED
    summary = summarise(ran.into)
    assert summary.complete
    assert summary.fields == FieldTotals(planned=10, recorded=3, skipped=7)
    assert (summary.gaps, summary.duplicates) == (0, 0)
    reasons = {Path(row.sources[0]).name: row.reason for row in summary.skipped}
    assert reasons.keys() == BAD.keys()
    told = {name: event.message for event in summary.events for name in event.names}
    assert told == {name: f"its suffix {name[-4:]!r} is none that is read" for name in LEFT_OUT}
    assert "left out: its suffix '.mp4' is none that is read: core 2/film.mp4, core 10/film.mp4" in ran.output
    show(summary, Console(file=(shown := io.StringIO()), width=200))
    assert "Look at 3 files or folders of the archive that were not read: there are 2 reasons;" in shown.getvalue()
    with Dataset.open(ran.into) as dataset:
        assert any(need.startswith("Look at 3 files or folders") for need in verdict_of(dataset, None, 0).needs)
    counts = "14 files or recordings there: 10 make 10 fields, 3 left out, sidecars 1"
    assert [event.message for event in summary.events if event.name is EventName.LISTED] == [counts]
    for name, sentence in BAD.items():
        assert sentence in reasons[name]
        assert f"core 10/{name} is skipped: {reasons[name]}" in ran.output
    assert "2 core 10: 10/10 fields, 7 skipped" in ran.output


def test_everything_that_reads_a_dataset_reads_it(ran: Ran, tmp_path: Path) -> None:
    with Dataset.open(ran.into) as dataset:
        table = dataset.objects(1).to_pylist()
        assert dataset.verify() == []
    assert {row["field_sources"][0]["name"] for row in table} == {f"core 2/{name}" for name in STACKS}
    assert {row["sample_folder"] for row in table} == {"core 2"}
    count = extract(ran.into, tmp_path / "objects", ObjectChoice(), ("tiff", "gif"))
    assert count == sum(not row["below_threshold"] for row in table) > 0
    assert draw_sheet(ran.into, tmp_path / "sheet.png").objects > 0


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there a Ctrl-C reaches this process too")
def test_a_killed_and_an_interrupted_command_go_on_to_the_same_dataset(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First all processes are killed, then somebody interrupts, then the worker is killed."""
    into = tmp_path / "into"
    command = ("detect", ran.images, "--into", into, "--pixel-um", "0.059", "--workers", "1")
    killed = lamelle(*command, crash="file without catalog|4|all")
    assert killed.returncode not in Exit.__members__.values()
    assert summarise(into).fields.recorded + summarise(into).fields.skipped == 3
    (into / PROCESSES).unlink()
    with running(*command, output=tmp_path / "output") as process:
        until((into / PROCESSES).exists, "workers")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == Exit.INTERRUPTED
    assert "interrupted; the same command goes on" in (tmp_path / "output").read_text(encoding="utf-8")
    (into / crash_points.STRUCK).unlink()
    monkeypatch.setattr(crash_points, "_armed", ())
    monkeypatch.setenv(crash_points.VARIABLE, "spool written|1|worker-1")
    assert detect([ran.images], into, SETTINGS, 1, Console(quiet=True)) == Exit.SKIPPED
    assert (into / crash_points.STRUCK).exists()
    assert contents(into) == contents(ran.into)
    before = (into / "catalog.sqlite").read_bytes()
    assert detect([ran.images], into, SETTINGS, 2, Console(quiet=True)) == Exit.SKIPPED
    assert (into / "catalog.sqlite").read_bytes() == before
    assert not list(into.rglob("*.part"))


def test_what_was_found_is_proposed_to_a_person_and_read_back_as_not_validated(ran: Ran, tmp_path: Path) -> None:
    with Dataset.open(ran.into) as dataset:
        fields = [field for field in dataset.fields() if isinstance(field, FieldSecured)]
    expected = {field.sources[0].name: sorted(row.box for row in field.objects if row.score >= 0.3) for field in fields}
    assert sum(map(len, expected.values())) > 5
    for name, read in (("boxes.xml", cvat.read), ("boxes.json", coco_reading.read)):
        proposed = propose(ran.into, tmp_path / name, 0.3)
        assert proposed == (len(fields), sum(map(len, expected.values())), 0, len(STACKS), 0, 0)
        found = read((tmp_path / name).read_bytes(), name).dataset
        assert all(category.name.endswith("_NV") for category in found.categories)
        of_picture = found.by_picture()
        boxes = {picture.file_name: [a.bbox for a in of_picture[picture.id]] for picture in found.images}
        assert {
            name: sorted((round(x), round(y), round(x + w), round(y + h)) for x, y, w, h in each)
            for name, each in boxes.items()
        } == expected
    # Laid beside the images, the JSON trains: stacks are known as such, and nothing in them is validated.
    shutil.copy(tmp_path / "boxes.json", ran.images / "coco.json")
    held = find_stacks([ran.images], DetectorSettings().classes)
    (ran.images / "coco.json").unlink()
    assert {a.iscrowd for one in held.stacks for a in one.annotations} == {1}
    by_name = {one.picture.file_name: one for one in held.stacks}
    np.testing.assert_array_equal(ran.pixels[:, :, ::1], read_stack(by_name["core 2/f2.ome.tif"]))


def test_stacks_of_an_archive_are_drawn_for_annotation_and_found_again(ran: Ran, tmp_path: Path) -> None:
    proposed = propose(ran.into, tmp_path / "task.zip", 0.3, ran.images)
    assert (proposed.drawn, proposed.undrawn, proposed.absent) == (len(STACKS), 0, 0)
    with zipfile.ZipFile(tmp_path / "task.zip") as archive:
        *drawn, single = [name for name in archive.namelist() if name.startswith("images/")]
        assert [re.sub("-[0-9a-f]{8}", "", name) for name in drawn] == [
            f"images/slide-1/field-000{n}.jpg" for n in (1, 2)
        ]
        assert single == "images/core 10/good.png"
        assert archive.read(single) == (ran.images / "core 10" / "good.png").read_bytes()
        for name in drawn:
            picture = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
            assert picture is not None
            assert picture.shape == (*ran.pixels.shape[2:], 3)
    known = find_known_stacks([ran.into], [ran.images])
    *stacks, good = find_stacks([tmp_path / "task.zip"], DetectorSettings().classes, stacks=known).stacks
    assert [one.path for one in stacks] == [ran.images / "core 2" / name for name in STACKS]
    for one, way in zip(stacks, STACKS.values(), strict=True):
        np.testing.assert_array_equal(ran.pixels[:, :, ::way], read_stack(one))
    np.testing.assert_array_equal(ran.pixels[1, 2], read_stack(good)[0, 0])
    assert good.pixel_um == 0.059
    with pytest.raises(AnnotationError, match=r"holds no 'core 2/f2\.ome\.tif' as it was"):
        propose(ran.into, tmp_path / "other.zip", 0.3, tmp_path)
    assert not list(tmp_path.glob("other*"))


def test_what_is_missing_in_a_proposal_is_told_and_nothing_else(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A zip without the single picture, a COCO file beside the stacks, which lacks nothing."""

    def told(into: Path) -> list[str]:
        results.propose(ran.into, into, 0.3)
        return capsys.readouterr().out.splitlines()[1:]

    assert told(tmp_path / "task.zip") == [
        "2 of these are stacks of an archive, not drawn; name the archive's folder with --images to draw pictures",
        "1 of these pictures is not in the zip; name the folder of the images with --images to put them in",
    ]
    beside = ran.images / "coco.json"
    assert told(beside) == []
    beside.unlink()


@pytest.mark.long
def test_stacks_of_recordings_come_back_from_their_pictures(tmp_path: Path) -> None:
    """Several in a file, in folders that are recordings as a whole; the words for the states are the archive's."""
    images, into = tmp_path / "images", tmp_path / "into"
    random = np.random.default_rng(3)
    positions = {name: random.integers(100, 4000, (2, 2, 70, 80)).astype(np.uint16) for name in ("A", "B")}
    write_stacks(images / "one", positions, one_file=True)
    write_images(images / "many", positions, version=2)
    planes: dict[Place, NDArray[Any]] = {
        (("channel", word), ("position", place), ("z", z)): stack[c, z]
        for place, stack in enumerate(positions.values())
        for c, word in enumerate(("LR", "LL"))
        for z in range(2)
    }
    write_ndtiff(images / "tiles", planes)
    settings = ArchiveSettings(pixel_um=0.118, step_um=0.5, polarizations=("parallel=LL", "crossed=LR"))
    assert detect([images], into, settings, 1, Console(quiet=True)) == Exit.COMPLETE
    assert propose(into, tmp_path / "task.zip", 0.5, images).drawn == 6
    known = find_known_stacks([into], [images])
    found = find_stacks([tmp_path / "task.zip"], DetectorSettings().classes, stacks=known).stacks
    assert len({str(one.path) for one in found}) == 6
    for one, truth in zip(found, 3 * [*positions.values()], strict=True):
        order = [("crossed", "parallel").index(state) for state in one.polarizations]
        np.testing.assert_array_equal(read_stack(one), truth[order])


def test_what_nobody_can_annotate_is_not_proposed(ran: Ran, kept: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is nothing to annotate"):
        propose(kept, tmp_path / "boxes.json", 0.3)
    assert not list(tmp_path.glob("boxes*"))


def test_another_question_is_refused(ran: Ran, tmp_path: Path) -> None:
    def refused(images: Path, settings: ArchiveSettings, sentence: str) -> None:
        with pytest.raises(Refused, match=sentence):
            detect([images], ran.into, settings, 1, Console(quiet=True))

    sharper = SETTINGS.detector.model_copy(update={"threshold": 0.7})
    refused(ran.images, SETTINGS.model_copy(update={"detector": sharper}), "detector.threshold 0.5, now it is 0.7")
    refused(ran.images, SETTINGS.model_copy(update={"pixel_um": 0.1}), "pixel_um 0.059, now it is 0.1")
    refused(ran.images, ArchiveSettings(), "cut.jpg': it does not say how large its pixels are; give --pixel-um")
    more = tmp_path / "images"
    shutil.copytree(ran.images, more)
    shutil.copy(more / "core 10" / "good.png", more / "core 10" / "another.png")
    refused(more, SETTINGS, r"archive.core 10.stacks 8, now it is 9")


@pytest.fixture
def kept(ran: Ran, tmp_path: Path) -> Path:
    """A night of two fields, one not analysed and one skipped."""
    return keep_night(ran, tmp_path / "kept", RAW)


def keep_night(ran: Ran, folder: Path, part: str) -> Path:
    """Make that night, which keeps its field as a raw stack, or fused."""
    config = emulated_stacks.night(frame_px=256, planes=5)
    weights = find_weights("slim").sha256
    with read_field_file(ran.into / field_file(1, 1)) as file:
        known = file.provenance
    provenance = msgspec.structs.replace(known, night="N", tile_um=(-1e9, -1e9, 0.0, 1e9), sources=())
    path = folder / field_file(1, 1, part)
    path.parent.mkdir(parents=True)
    if part == FUSED:
        analyser = Analyser(
            config.detector, config.crops, config.focus, known.pixel_um, known.polarizations, detects=False
        )
        whole = write_fused(path, provenance, ran.pixels, analyser.analyse(ran.pixels))
    else:
        whole = write_raw(path, provenance, ran.pixels)
    records: list[AnyRecord] = [
        NightStarted(
            utc=1.0, night="N", configuration=freeze(config), samples={1: {"sample": "core-1"}}, planned={1: 2},
            versions={}, weights_sha256=weights,
        ),
        FieldSecured(
            utc=1.0, slide=1, field=1, sample="core-1", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=0.5,
            polarizations=known.polarizations, shape_czyx=known.shape_czyx, attempts=1, exposed_utc=1.0,
            exposed_monotonic_s=1.0, seconds={}, focus=FocusResult(z_um=1.0, at_edge=False, contrast=2.0), objects=(),
            files=(whole,), analysed=False,
        ),
        FieldSkipped(utc=1.0, slide=1, field=2, sample="core-1", reason="stage stuck", attempts=3),
        SlideClosed(utc=1.0, slide=1, sample="core-1", recorded=1, skipped=1),
        NightClosed(utc=1.0, recorded=1, skipped=1),
    ]  # fmt: skip
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return folder


def test_a_dataset_of_a_night_is_left_alone(ran: Ran, kept: Path) -> None:
    with pytest.raises(Refused, match="holds 'N', which is something else"):
        detect([ran.images], kept, SETTINGS, 1, Console(quiet=True))
    with pytest.raises(Refused, match=r"catalog\.sqlite is a file; name a folder"):
        detect([ran.images], kept / CATALOG, SETTINGS, 1, Console(quiet=True))


def test_raw_stacks_are_analysed_anew_into_another_dataset(ran: Ran, kept: Path, tmp_path: Path) -> None:
    status = analyse_anew(kept, tmp_path / "anew", {"threshold": 0.6, "runtime": "torch"}, 1, Console(quiet=True))
    assert status == Exit.SKIPPED
    assert summarise(kept).not_analysed == 1
    summary = summarise(tmp_path / "anew")
    assert summary.complete
    assert [row.reason for row in summary.skipped] == ["skipped in the night: stage stuck"]
    with read_field_file(tmp_path / "anew" / field_file(1, 1)) as file, Dataset.open(ran.into) as known:
        (before, *_) = known.fields(1)
        assert isinstance(before, FieldSecured)
        assert [row.box for row in file.objects] == [row.box for row in before.objects]
        assert all(row.in_exclusive_tile == (row.x_um < 0) for row in file.objects)
        assert {row.in_exclusive_tile for row in file.objects} == {True, False}
        assert [source.name for source in file.provenance.sources] == [field_file(1, 1, "raw")]
        assert file.provenance.night.startswith("N-")


def test_fused_fields_that_were_kept_are_analysed_anew_and_hold_what_the_stacks_did(ran: Ran, tmp_path: Path) -> None:
    kept = keep_night(ran, tmp_path / "run" / "dataset", FUSED)
    analyse_anew(kept, tmp_path / "anew", {"runtime": "torch"}, 1, Console(quiet=True))
    with Dataset.open(tmp_path / "anew") as anew, Dataset.open(ran.into) as known:
        found, before = anew.fields(1)[0], known.fields(1)[0]
        assert isinstance(found, FieldSecured)
        assert isinstance(before, FieldSecured)
    assert found.shape_czyx == (*before.shape_czyx[:1], 1, *before.shape_czyx[2:])
    boxes, others = (
        np.array([row.box for row in field.objects if not row.below_threshold]) for field in (found, before)
    )
    assert len(boxes) == len(others) > 1
    assert np.abs(boxes - others).max() <= 3
    task, run = tmp_path / "task.zip", tmp_path / "run"
    assert propose(tmp_path / "anew", task, 0.5, run).drawn == 1
    (back,) = find_stacks(
        [task], SETTINGS.detector.classes, stacks=find_known_stacks([tmp_path / "anew"], [run])
    ).stacks
    with tifffile.TiffFile(kept / field_file(1, 1, FUSED)) as tiff:
        np.testing.assert_array_equal(read_stack(back)[:, 0], tiff.asarray())


def test_only_a_complete_night_with_its_own_weights_is_caught_up_with(kept: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    with pytest.raises(Refused, match="are not those of the night"):
        catch_up(kept, other, 1, Console(quiet=True))
    with closing(Catalog(kept)) as catalog:
        catalog.database.execute("UPDATE night SET closed_utc = NULL")
    with pytest.raises(Refused, match="is not complete; finish it"):
        catch_up(kept, None, 1, Console(quiet=True))
