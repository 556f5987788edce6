from __future__ import annotations

from contextlib import closing
from pathlib import Path

from daemon.durable import sha256_of
from daemon.journal import Journal
from daemon.sender import Sender
from daemon.spool import Spool
from tests import small_night as night


def test_a_night_reaches_the_recorder_whole_and_leaves_the_spool_empty(tmp_path: Path) -> None:
    told: list[tuple[str, str, str]] = []
    spool = Spool(tmp_path / "spool", 10**9)
    with (
        closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal,
        night.recorder_thread(tmp_path / "dataset") as endpoint,
    ):
        sender = Sender(journal.path, spool, endpoint, tell=lambda *words: told.append(words), chunk_bytes=16_384)
        sender.start()
        records = []
        for slide in (1, 2):
            for field in (1, 2, 3):
                records.append(night.secure(journal, spool, slide, field, raw=200_000 if field == 2 else 0))
                sender.wake()
        last = journal.append(*night.closing_records())
        sender.wake()
        sender.stop(night.DEADLINE_S)
        assert sender.status().acknowledged_seq == last
        assert sender.status().backlog_records == 0
        for record in records:
            for file in record.files:
                assert sha256_of(tmp_path / "dataset" / file.name) == file.sha256
        assert spool.used_bytes() == 0
        assert told == []
