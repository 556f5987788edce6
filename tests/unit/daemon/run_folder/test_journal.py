from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from daemon.records.names import field_file
from daemon.records.records import FieldSecured, FieldSkipped, FileEntry, decode
from daemon.run_folder.journal import Journal
from daemon.system.errors import JournalDamaged, Refused
from tests.support import small_night as night
from tests.support.deadlines import DEADLINE_S


def _file(slide: int, field: int) -> tuple[FileEntry, ...]:
    return (night.entry(field_file(slide, field), b"pixels"),)


def test_what_was_appended_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal.create(path, night.started())) as journal:
        assert journal.append(night.secured(1, 2, _file(1, 2)), night.event("first")) == 3
        assert journal.append(night.skipped(1, 1), night.secured(1, 3, _file(1, 3))) == 5
        assert journal.append(night.slide_closed(1, recorded=2, skipped=1)) == 6
    with closing(Journal.open(path)) as journal:
        assert journal.started() == night.started()
        assert journal.done() == {(1, 1): "skipped", (1, 2): "field", (1, 3): "field"}
        fields = journal.slide_fields(1)
        assert [type(field) for field in fields] == [FieldSkipped, FieldSecured, FieldSecured]
        assert [field.field for field in fields] == [1, 2, 3]
        assert fields[1] == night.secured(1, 2, _file(1, 2))
        assert journal.slide_fields(2) == []
        assert journal.closed_slides() == {1}
        assert [event.message for event in journal.events()] == ["first"]
        assert not journal.night_closed()
        assert [seq for seq, _ in journal.pending(after=2, limit=2)] == [3, 4]
        assert decode(journal.pending(after=5, limit=9)[0][1]) == night.slide_closed(1, recorded=2, skipped=1)


def test_a_field_stands_in_the_journal_once_and_a_refused_append_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal:
        journal.append(night.secured(1, 1, _file(1, 1)))
        with pytest.raises(JournalDamaged, match="slide 1 field 1"):
            journal.append(night.event("lost with it"), night.skipped(1, 1))
        assert journal.last_seq() == 2
        assert journal.events() == []
        journal.append(night.slide_closed(1, 1))
        with pytest.raises(JournalDamaged, match="slide 1 closed"):
            journal.append(night.slide_closed(1, 1))
        journal.append(night.night_closed(1))
        with pytest.raises(JournalDamaged, match="closed night"):
            journal.append(night.event())


def test_what_no_recorder_could_take_is_refused_before_it_is_journalled(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started(fields=3))) as journal:
        with pytest.raises(ValueError, match="slide 1 field 4 is not planned"):
            journal.append(night.skipped(1, 4))
        with pytest.raises(ValueError, match=r"field-0002"):
            journal.append(night.secured(1, 1, _file(1, 2)))
        assert journal.last_seq() == 1


def test_acknowledgements_only_grow_and_never_pass_the_end(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal:
        journal.append(night.event(), night.event())
        assert journal.acknowledged() == 0
        journal.acknowledge(3)
        journal.acknowledge(2)
        assert journal.acknowledged() == 3
        with pytest.raises(JournalDamaged, match="4 cannot be acknowledged"):
            journal.acknowledge(4)


def test_two_threads_with_their_own_journals_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal.create(path, night.started())) as journal:

        def acknowledge_all() -> None:
            with closing(Journal.open(path)) as other:
                while other.acknowledged() < 41:
                    other.acknowledge(other.last_seq())

        thread = threading.Thread(target=acknowledge_all)
        thread.start()
        for number in range(40):
            journal.append(night.event(str(number)))
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        assert [event.message for event in journal.events()] == [str(number) for number in range(40)]
        assert journal.acknowledged() == 41


def test_other_files_and_other_versions_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with pytest.raises(Refused, match="does not exist"):
        Journal.open(path)
    Journal.create(path, night.started()).close()
    with pytest.raises(Refused, match="there already"):
        Journal.create(path, night.started("another"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(Refused, match="version 99, this program reads version 3"):
        Journal.open(path)
    foreign = tmp_path / "foreign.sqlite"
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE things (name TEXT)")
    with pytest.raises(Refused, match="not a lamelle journal"):
        Journal.open(foreign)
    foreign.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Refused, match="cannot be read"):
        Journal.open(foreign)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DELETE FROM records WHERE seq = 2", "restore it from a copy"),
        ("UPDATE delivery SET acknowledged = 9", "9 are acknowledged"),
        ("UPDATE records SET body = x'00' WHERE seq = 1", "cannot be read"),
    ],
)
def test_a_journal_that_contradicts_itself_is_not_believed(tmp_path: Path, damage: str, sentence: str) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal.create(path, night.started())) as journal:
        journal.append(night.event(), night.event())
    with closing(sqlite3.connect(path)) as database:
        database.execute(damage)
        database.commit()
    with pytest.raises(JournalDamaged, match=sentence):
        Journal.open(path)
