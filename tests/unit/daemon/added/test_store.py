"""What is added beside a dataset: the union of its parts, whatever else lies there and whoever folds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daemon.added.store import METADATA, AddedKind, AddedStore, folders_beside, identified
from daemon.system.errors import Refused
from tests.support.deadlines import END_S
from tests.support.notes_beside import NIGHT, NOTES, held, notes, store, working
from tests.support.small_disk import fill, remount, small_disk


def many_parts(folder: Path, count: int) -> None:
    own = store(folder)
    for number in range(count):
        own.add(notes(number))


def part_of(folder: Path) -> Path:
    (path,) = folder.glob("*.parquet")
    return path


def test_a_row_is_known_by_the_hash_that_the_documents_describe() -> None:
    rows = pa.table({"at": [5], "text": ["é"], "n": [None]}, schema=NOTES.schema)
    # printf '["notes",{"at":5,"text":"\\u00e9"}]' | sha256sum
    assert identified(NOTES, rows)["row"].to_pylist() == [HASH]
    wider = AddedKind("notes", 2, NOTES.schema.append(pa.field("added", pa.string())))
    later = rows.append_column("added", pa.nulls(1, pa.string()))
    assert identified(wider, later)["row"].to_pylist() == [HASH]


def test_rows_are_there_once_however_often_and_in_whatever_order_they_come(tmp_path: Path) -> None:
    assert store(tmp_path).add(notes(1, 2, 3, 2)) == 3
    assert store(tmp_path).add(notes(4, 3, 1)) == 1
    one = store(tmp_path)
    assert [one.add(notes(5)), one.add(notes(5)), one.add(notes(1, 2, 3, 4, 5))] == [1, 0, 0]
    assert held(tmp_path) == [1, 2, 3, 4, 5]
    assert len(list(tmp_path.iterdir())) == 3


HASH = "48f5180049225ee42fbbb53973e263b4c7bc12bd434e92ff735b79abb54c0274"


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def edited(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    changed = table.set_column(1, "text", pa.array(["another"] * len(table)))
    pq.write_table(changed, path)


def with_a_column(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(table.append_column("more", pa.array([1] * len(table))), path)


def without_head(path: Path) -> None:
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(None), path)


def head(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pq.ParquetFile(path).read()
        before = msgspec.json.decode(table.schema.metadata[METADATA])
        plain = before | {"versions": {"lamelle": "9.9"}} | changes
        pq.write_table(table.replace_schema_metadata({METADATA: msgspec.json.encode(plain)}), path)

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (torn, "cannot be read"), (emptied, "cannot be read"),
        (edited, "was changed after it was written"), (with_a_column, "was changed after it was written"),
        (without_head, "was not written by lamelle"), (head(kind=3), "has a head that cannot be read"),
        (head(version=2), "was written by lamelle 9.9, a later version"),
        (head(kind="spikes"), "says that it holds spikes, which its name does not"),
        (head(rows_sha256="ab"), "was changed after it was written"),
        (head(night="another"), "is of night another, not of"),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be_read_is_named_and_hides_no_other(
    damage: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    store(tmp_path).add(notes(1, 2))
    broken = part_of(tmp_path)
    damage(broken)
    store(tmp_path).add(notes(3))
    found = store(tmp_path).read()
    assert [(one.name, said in one.what) for one in found.unread] == [(str(broken), True)]
    assert held(tmp_path) == [3]
    assert store(tmp_path).add(notes(1, 2)) == 2, "what cannot be read is not known"
    assert store(tmp_path).fold(above=1) == 2
    assert broken.exists()
    assert held(tmp_path) == [1, 2, 3]


def test_a_bit_that_flips_changes_nothing_or_is_told(tmp_path: Path) -> None:
    store(tmp_path).add(notes(1, 2))
    path = part_of(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        found = store(tmp_path).read()
        assert found.unread or found.table["text"].to_pylist() == ["é 2", "é 1"], at


def test_foreign_files_are_named_and_other_kinds_are_not(tmp_path: Path) -> None:
    store(tmp_path).add(notes(1))
    other = AddedKind("spikes", 1, pa.schema([("x", pa.int64())]))
    AddedStore(other, NIGHT, [tmp_path]).add(pa.table({"x": [1]}))
    (tmp_path / "a folder").mkdir()
    copied = tmp_path / "notes (conflicted copy).parquet"
    copied.write_bytes(next(tmp_path.glob("notes-*")).read_bytes())
    for name in ("notes.xlsx", "notes-1.parquet.part"):
        (tmp_path / name).write_bytes(b"?")
    found = store(tmp_path).read()
    assert {Path(one.name).name: one.what.split(";")[0].split(":")[0] for one in found.unread} == {
        "notes.xlsx": "was not written by lamelle",
        "notes-1.parquet.part": "is not complete",
    }
    assert held(tmp_path) == [1]


def test_a_night_is_the_same_however_its_letters_are_composed(tmp_path: Path) -> None:
    store(tmp_path, night="2026-11-21 A\u030a").add(notes(1))
    assert held(tmp_path) == [1]
    composed, apart = folders_beside(tmp_path, "Å"), folders_beside(tmp_path, "A\u030a")
    assert composed == apart
    assert folders_beside(tmp_path, "a/b") != folders_beside(tmp_path, "a_b")


def test_folding_keeps_every_row_and_what_it_did_not_read(tmp_path: Path) -> None:
    for number in range(6):
        store(tmp_path).add(notes(number, number + 1))
    assert store(tmp_path).fold(above=6) == 0
    assert store(tmp_path).fold(above=5) == 6
    assert held(tmp_path) == list(range(7))
    assert len(list(tmp_path.iterdir())) == 1
    assert store(tmp_path).fold(above=0) == 0


def test_programs_that_add_and_fold_at_once_lose_nothing_and_hide_nothing(tmp_path: Path) -> None:
    many_parts(tmp_path, 10)
    with working(tmp_path, "churn"), working(tmp_path, "churn"):
        own = store(tmp_path)
        seen: list[int] = []
        for number in range(10, 25):
            own.add(notes(number))
            own.fold(above=1)
            before, seen = seen, held(tmp_path)
            assert set(before) | set(range(number + 1)) <= set(seen)
    there = held(tmp_path)
    assert there == list(range(25)) + list(range(1000, 1000 + len(there) - 25))


@pytest.mark.slow
def test_a_program_that_is_killed_while_it_folds_loses_nothing(tmp_path: Path) -> None:
    for kill_when in ("part", "first removed"):
        folder = tmp_path / kill_when
        many_parts(folder, 20)
        before = set(folder.iterdir())
        with working(folder, "fold") as process:
            while process.poll() is None:
                now = set(folder.iterdir())
                new = now - before
                part = any(path.suffix == ".part" for path in new)
                if part if kill_when == "part" else not before <= now:
                    process.kill()
                    break
            process.wait(END_S)
        assert held(folder) == list(range(20))
        store(folder).fold(above=1)
        assert held(folder) == list(range(20))


def test_what_is_added_to_a_disk_that_is_full_is_refused_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        folder = disk / "added"
        store(folder).add(notes(1))
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            store(folder).add(notes(*range(2, 3000)))
        assert [path.suffix for path in folder.iterdir()] == [".parquet"]
        (disk / "filler").unlink()
        assert store(folder).add(notes(1, 2)) == 1
        assert held(folder) == [1, 2]


def test_where_nothing_can_be_written_it_lies_next_to_it_and_is_read_with_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with small_disk(run / "dataset", megabytes=1) as dataset:
        inside, next_to_it = folders_beside(dataset, NIGHT)
        AddedStore(NOTES, NIGHT, [inside]).add(notes(1))
        remount(dataset, "ro")
        both = AddedStore(NOTES, NIGHT, [inside, next_to_it])
        assert both.add(notes(1, 2)) == 1
        assert next_to_it.parent == run
        assert len(list(next_to_it.iterdir())) == 1
        assert both.fold(above=0) == 0
        assert both.read().table.num_rows == 2
        with pytest.raises(Refused, match=r"added cannot be written to \(Read-only file system\); .* --beside"):
            AddedStore(NOTES, NIGHT, [inside]).add(notes(3))
        named = folders_beside(dataset, NIGHT, tmp_path / "laptop")
        three = AddedStore(NOTES, NIGHT, named)
        three.add(notes(3))
        assert three.read().table.num_rows == 3
        assert named[0].parent == tmp_path / "laptop"
