"""The power fails at every sync point of a small night; whatever the disk then holds, the night is completed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.dataset.held import FieldTotals
from daemon.dataset.reader import Dataset
from daemon.records.names import CATALOG, PROCESSES, field_file
from daemon.records.records import FieldSecured, FieldSkipped
from daemon.run_folder.journal import Journal
from daemon.system.crash_points import VARIABLE
from tests.support import small_night as night
from tests.support.deadlines import DEADLINE_S
from tests.support.places import ROOT
from tests.support.powercut import scene
from tests.support.powercut.disk import Disk, View, materialise, read_log
from tests.support.powercut.shim import build, watching


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = build(tmp_path_factory.mktemp("shim"))
    if built is None:
        pytest.skip("the shim that watches syncs needs Linux and a C compiler (cc)")
    return built


def run_under(shim: Path, root: Path, log: Path, arguments: list[str], crash: str | None = None) -> int:
    """Run Python with what it does below `root` logged; returns its exit status."""
    environment = watching(shim, root, log)
    armed = {} if crash is None else {VARIABLE: crash}
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=False, env=environment | armed, cwd=ROOT, timeout=DEADLINE_S).returncode


@pytest.fixture(scope="module")
def log(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The log of a night under the shim, killed twice and run to its end, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("powercut").resolve()
    root, path = folder / "night", folder / "log"
    root.mkdir()
    for crash in ("mid chunk|2|self", "file without catalog|1|self", None):
        run = folder / str(crash).partition("|")[0]  # a run folder is rehearsed in once
        run.mkdir()
        (run / PROCESSES).write_text("{}")
        status = run_under(shim, root, path, ["-m", "tests.support.powercut.scene", str(root), str(run)], crash)
        assert (status == 0) == (crash is None)
    return path, str(root)


def cuts(log: tuple[Path, str]) -> Iterator[tuple[Disk, int]]:
    """The disk just before and just after every sync, and the last record that had been promised by then."""
    path, root = log
    disk = Disk(root)
    for operation in read_log(path):
        syncs = operation.op in "SD"
        if syncs:
            yield disk, _promised(disk)
        disk.apply(operation)
    yield disk, _promised(disk)


def _promised(disk: Disk) -> int:
    return int(disk.file("marks").split()[-1]) if disk.file("marks") else 0


def test_the_log_replays_to_what_the_disk_holds(log: tuple[Path, str]) -> None:
    path, root = log
    disk = Disk(root)
    for operation in read_log(path):
        disk.apply(operation)
    found = {
        file.relative_to(root).as_posix(): file.read_bytes() if file.is_file() else None
        for file in Path(root).rglob("*")
    }
    assert disk.killed() == found


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of nights are completed, and syncing them tells nothing more."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("kind", [pytest.param("pessimistic", marks=pytest.mark.long), "killed", "adversarial"])
def test_a_night_cut_at_any_sync_point_is_completed(log: tuple[Path, str], quick_disk: Path, kind: str) -> None:
    chance = random.Random(1)
    seen: set[bytes] = set()
    for number, (disk, promised) in enumerate(cuts(log)):
        view: View = disk.adversarial(chance) if kind == "adversarial" else getattr(disk, kind)()
        view.pop("marks", None)
        digest = hashlib.sha256(repr(sorted(view.items())).encode() + b"%d" % promised).digest()
        if digest in seen:
            continue
        seen.add(digest)
        if kind == "killed" and number % 3:
            continue  # loses nothing by itself, so fewer moments tell as much
        folder = quick_disk / str(number)
        materialise(view, folder)
        _assert_kept(folder, promised)
        with night.recorder_thread(folder / "dataset") as endpoint:
            scene.perform(folder, endpoint)
        _assert_whole(folder)
        shutil.rmtree(folder)
    assert len(seen) > 20


def _assert_kept(folder: Path, promised: int) -> None:
    """Every record that was promised is journalled, and every record acknowledged is in the dataset."""
    path = folder / "journal.sqlite"
    if not path.exists():
        assert promised == 0
        return
    with closing(Journal.open(path)) as journal:
        assert journal.last_seq() >= promised
        acknowledged = journal.acknowledged()
    if acknowledged:
        with Dataset.open(folder / "dataset") as dataset:
            assert max(seq for seq, _ in dataset.records()) >= acknowledged
            assert dataset.verify() == []


def _assert_whole(folder: Path) -> None:
    with Dataset.open(folder / "dataset") as dataset, closing(Journal.open(folder / "journal.sqlite")) as journal:
        assert dataset.verify() == []
        summary = dataset.totals()
        planned = scene.SLIDES * scene.FIELDS
        assert summary.fields == FieldTotals(planned=planned, recorded=planned - 1, skipped=1)
        assert (summary.gaps, summary.duplicates, summary.complete) == (0, 0, True)
        assert dataset.fields() == [field for slide in (1, 2) for field in journal.slide_fields(slide)]
        for field in dataset.fields():
            if isinstance(field, FieldSkipped):
                assert (field.slide, field.field) == scene.SKIPPED
            elif isinstance(field, FieldSecured):
                size, _ = scene.size_of(field.slide, field.field)
                path = folder / "dataset" / field_file(field.slide, field.field)
                assert path.read_bytes() == night.contents(field.slide, field.field, size)
    assert not any(path.is_file() for path in (folder / "spool").rglob("*"))
    assert (folder / "dataset" / CATALOG).exists()


BEGIN = """
import os, sys
from pathlib import Path
from daemon.dataset.catalog import Catalog
from daemon.run_folder.journal import Journal
from daemon.records.records import encode
from tests.support import small_night as night
folder = Path(sys.argv[1])
"""
OPEN = {
    "journal.sqlite": "opened = Journal.open(folder / 'journal.sqlite')",
    "catalog.sqlite": "opened = Catalog(folder)",
}
COMMIT = {
    "journal.sqlite": "opened.append(night.event())",
    "catalog.sqlite": "opened.commit(1, encode(night.started()))",
}
KILLED = "os._exit(9)"


@pytest.mark.parametrize("name", OPEN)
def test_what_a_killed_process_left_is_synced_before_it_is_believed(shim: Path, tmp_path: Path, name: str) -> None:
    """A process killed within a commit leaves a log that can be read; only a sync makes it last."""
    folder, log = tmp_path.resolve() / "night", tmp_path / "log"
    Journal.create(folder / "journal.sqlite", night.started()).close()
    commit = "\n".join((BEGIN, OPEN[name], COMMIT[name], KILLED))
    assert run_under(shim, folder, tmp_path / "before", ["-c", commit, str(folder)]) == 9
    left = (folder / f"{name}-wal").stat().st_ino
    assert run_under(shim, folder, log, ["-c", "\n".join((BEGIN, OPEN[name], KILLED)), str(folder)]) == 9
    assert ("S", left) in {(operation.op, operation.inode) for operation in read_log(log)}
