"""The night that is cut: `python -m tests.support.powercut.scene FOLDER RUN`, with the shim preloaded.

Journal, spool, sender and recorder in one process, a few small fields; RUN is where `daemon.system.crash_points` looks
for the processes to kill. After each durable step of the journal the number of its last record is written to `marks`,
which tells the test what was promised when.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from daemon.delivery.sender import Sender
from daemon.delivery.session import Pace
from daemon.records.records import AnyRecord
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from tests.support import small_night as night

SLIDES, FIELDS = 2, 3
PACE = Pace(beat_s=0.2, lost_s=10.0, retry_s=0.05)
SKIPPED = (1, 2)
CHUNK_BYTES = 4096


def size_of(slide: int, field: int) -> tuple[int, int]:
    """Bytes of a field's file and of its raw stack (0 for none)."""
    return 9_000 + 700 * slide + 90 * field, 5_000 if field == 3 else 0


def perform(folder: Path, endpoint: str, steps: int | None = None, marks: int | None = None) -> None:
    """Take the night, from wherever it stands, to its end, or `steps` fields further."""
    path = folder / "journal.sqlite"
    started = night.started(slides=SLIDES, fields=FIELDS)
    spool = Spool(folder / "spool", 10**8)

    def promise(journal: Journal) -> None:
        if marks is not None:
            os.write(marks, b"%d\n" % journal.last_seq())

    with closing(Journal.open(path) if path.exists() else Journal.create(path, started)) as journal:
        spool.sweep(journal)
        promise(journal)
        sender = Sender(path, spool, endpoint, emit=_tell, chunk_bytes=CHUNK_BYTES, credit_bytes=20_000, pace=PACE)
        sender.start()
        try:
            for slide, field in _missing(journal)[:steps]:
                if (slide, field) == SKIPPED:
                    journal.append(night.skipped(slide, field), night.event())
                else:
                    night.secure(journal, spool, slide, field, *size_of(slide, field))
                promise(journal)
                sender.wake()
            if not _missing(journal):
                for record in _closing(journal):
                    journal.append(record)
                    promise(journal)
                sender.wake()
            night.until(lambda: sender.status().acknowledged_seq == journal.last_seq(), "delivery")
        finally:
            sender.stop(0)


def _missing(journal: Journal) -> list[tuple[int, int]]:
    done = journal.done()
    places = [(slide, field) for slide in range(1, SLIDES + 1) for field in range(1, FIELDS + 1)]
    return [place for place in places if place not in done]


def _closing(journal: Journal) -> list[AnyRecord]:
    records: list[AnyRecord] = [
        night.slide_closed(slide, FIELDS) for slide in range(1, SLIDES + 1) if slide not in journal.closed_slides()
    ]
    return records if journal.night_closed() else [*records, night.night_closed(SLIDES * FIELDS)]


def _tell(_level: str, name: str, message: str) -> None:
    raise RuntimeError(f"{name}: {message}")


def main(folder: Path, run: Path) -> None:
    """Take a few fields of the night, and after everything was closed and opened again the rest."""
    marks = os.open(folder / "marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with night.recorder_thread(folder / "dataset", run=run) as endpoint:
        perform(folder, endpoint, steps=2, marks=marks)
    with night.recorder_thread(folder / "dataset") as endpoint:
        perform(folder, endpoint, marks=marks)
    os.close(marks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
