"""Redo, retake and resume with kills between them, at length: drawn orders, and whole nights as processes."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset
from daemon.records.names import field_file
from daemon.records.records import FieldSecured
from daemon.report.gather import gather
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.run_folder.journal import read_records
from daemon.system.crash_points import STRUCK
from daemon.system.errors import Exit
from tests.support import small_night
from tests.support.attempts_in_any_order import AttemptsInAnyOrder
from tests.support.emulated_night import lamelle, living, write_configuration

TestAttempts = AttemptsInAnyOrder.TestCase
TestAttempts.settings = settings(
    max_examples=500, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)

FIELDS = 4
FAULTS = [
    {"kind": "dropped_frame", "slide": 1, "fields": [2], "attempts": 1},
    {"kind": "dark_frame", "slide": 2, "fields": [4], "attempts": 3},
]
"""Field 2 of mini-slide 1 is had by its retake, field 4 of mini-slide 2 when it is taken for the fourth time."""
ORDERS = ("slide 2", "skipped", "slide 1 fields 1-2")
POINTS = (
    "mid exposure", "frame announced", "analysis running", "spool written", "spool renamed", "journalled",
    "file without catalog", "acknowledgement lost",
)  # fmt: skip
Attempts = dict[tuple[int, int, int], tuple[float, int, str] | None]
"""Of every attempt that was recorded z of the first plane, counted objects and a hash of pixels; None of others."""


class Sequence:
    """A night that is begun, redone and closed three times."""

    def __init__(self, folder: Path, elsewhere: bool) -> None:
        self.run = folder / "run"
        self.dataset = folder / "elsewhere" if elsewhere else self.run / "dataset"
        self.endpoint = small_night.free_endpoint() if elsewhere else None
        recorder = {"recorder": {"endpoint": self.endpoint}} if elsewhere else {}
        self.config = write_configuration(
            folder,
            slides=2,
            fields=FIELDS,
            frame_px=256,
            emulation={"faults": FAULTS},
            retry={"attempts": 1, "field_patience_s": 0},
            **recorder,
        )

    def scan(self, *more: str, kills: list[str]) -> int:
        """Begin, or go on, until the night is closed, killed on the way."""
        while True:
            (self.run / STRUCK).unlink(missing_ok=True)
            crash = kills.pop() if kills else None
            done = lamelle("scan", self.config, "--run", self.run, *more, crash=crash)
            assert done.returncode != Exit.REFUSED, done.stderr
            ended = done.returncode in (Exit.COMPLETE, Exit.SKIPPED)
            if ended:
                assert not living(self.run)
                return done.returncode
            # An order that was killed stands in the record, and is gone on with.
            more = ("--resume",)

    def journalled(self) -> int:
        try:
            return len(read_records(self.run / "journal.sqlite"))
        except Exception:  # noqa: BLE001 - not there yet
            return 0

    @contextmanager
    def recorder(self, dies_after: int) -> Iterator[None]:
        """A recorder elsewhere, killed and started again after so many records; nothing where it is here."""
        if self.endpoint is None:
            yield
            return
        recorders = [small_night.RecorderProcess(self.dataset, self.endpoint)]
        over, until = threading.Event(), self.journalled() + dies_after

        def kill() -> None:
            while self.journalled() < until and not over.wait(0.05):
                pass
            recorders[-1].kill()
            over.wait(1.0)
            recorders.append(small_night.RecorderProcess(self.dataset, str(self.endpoint)))

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join()
            recorders[-1].stop()

    def attempts(self) -> Attempts:
        made: Attempts = {}
        with Dataset.open(self.dataset) as dataset:
            for one in dataset.attempts():
                name = (one.slide, one.field, one.attempt)
                assert name not in made
                made[name] = None
                if isinstance(one, FieldSecured):
                    pixels = hashlib.sha256()
                    with read_field_file(self.dataset / field_file(one.slide, one.field, attempt=one.attempt)) as file:
                        for row in file.objects:
                            pixels.update(file.crop(row).tobytes())
                    made[name] = (one.first_z_um, sum(row.counted for row in one.objects), pixels.hexdigest())
        return made

    def check(self) -> None:
        """See that each field counts once, and that whoever tells says the same of it."""
        made = self.attempts()
        counting = {
            place: max(
                (name[2] for name in made if name[:2] == place),
                key=lambda attempt: (made[*place, attempt] is not None, attempt),
            )
            for place in {name[:2] for name in made}
        }
        found = {place: made[*place, attempt] for place, attempt in counting.items()}
        objects = sum(one[1] for one in found.values() if one is not None)
        skipped = sum(one is None for one in found.values())
        told = json.loads(lamelle("inspect", self.dataset, "--json").stdout)
        assert (told["complete"], told["gaps"], told["duplicates"], told["contradictions"]) == (True, 0, 0, 0)
        assert told["fields"] == {"planned": 2 * FIELDS, "recorded": 2 * FIELDS - skipped, "skipped": skipped}
        assert told["objects"] == objects
        again = {(one["slide"], one["field"], one["attempt"]): one["counts"] for one in told["again"]}
        assert again == {name: counting[name[:2]] for name in made if name[2] > 1}
        beat = read_heartbeat(self.run)
        assert (beat.secured, beat.skipped, beat.objects) == (2 * FIELDS - skipped, skipped, objects)
        assert beat.again_made == beat.again_ordered
        with Dataset.open(self.dataset) as dataset:
            assert dataset.verify() == []
            numbers, _ = gather(dataset)
        assert (numbers.recorded, len(numbers.skipped), numbers.total.number) == (
            2 * FIELDS - skipped,
            skipped,
            objects,
        )
        tables = [pq.read_table(path) for path in self.dataset.glob("slide-*/objects.parquet")]
        assert sum(sum(table["counted"].to_pylist()) for table in tables) == objects
        assert not [path for path in (self.run / "spool").rglob("*") if path.is_file()]


def played(folder: Path, elsewhere: bool, kill: Callable[[], list[str]], dies_after: Callable[[], int]) -> Attempts:
    """Play the whole sequence; what was made in the end."""
    night = Sequence(folder, elsewhere)
    with night.recorder(dies_after()):
        assert night.scan(kills=kill()) == Exit.SKIPPED
        night.check()
    for order, status in zip(ORDERS, (Exit.SKIPPED, Exit.COMPLETE, Exit.COMPLETE), strict=True):
        before = night.attempts()
        with night.recorder(dies_after()):
            assert night.scan("--redo", order, kills=kill()) == status
            night.check()
        # What was made before is there as it was.
        assert before.items() <= night.attempts().items()
    done = lamelle("report", night.dataset)
    assert done.returncode == 0
    page = (night.dataset / "report.html").read_text("utf-8")
    assert "taken again as ordered: attempt 2 counts" in page
    assert "taken again after a fault: attempt 2; attempt 3 counts" in page
    assert re.search(r"taken again after a fault: attempt 2 was skipped \(.*\); attempt 4 counts", page)
    return night.attempts()


@pytest.fixture(scope="module")
def undisturbed_attempts(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    """What the sequence makes where nothing is killed."""
    made = played(tmp_path_factory.mktemp("undisturbed"), False, list, lambda: 10**6)
    # Another attempt at a field has other noise.
    both = made[2, 1, 1], made[2, 1, 2]
    assert None not in both
    assert both[0] != both[1]
    return made


@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder here", "recorder elsewhere"])
@pytest.mark.parametrize("seed", range(3))
def test_a_night_that_is_killed_again_and_again_is_the_same_night(
    undisturbed_attempts: Attempts, seed: int, elsewhere: bool, tmp_path: Path
) -> None:
    chance = random.Random(f"{seed} {elsewhere}")

    def kill() -> list[str]:
        """Where the night is killed, and where again when it is gone on with."""
        victims = ("supervisor", "all", "supervisor,microscope", "analysis") + ("recorder",) * (not elsewhere)
        points = POINTS[: -2 * elsewhere or None]
        return [f"{chance.choice(points)}|{chance.randint(1, 3)}|{chance.choice(victims)}" for _ in range(2)]

    made = played(tmp_path, elsewhere, kill, lambda: chance.randint(2, 6))
    assert made == undisturbed_attempts
