from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from daemon.records.names import field_file
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import JournalDamaged
from tests.support import small_night as night


def test_resume_keeps_what_is_secured_and_deletes_the_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10**9)
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal:
        night.secure(journal, spool, 1, 1)
        journal.acknowledge(2)  # killed between the acknowledgement and the deletion
        kept = night.secure(journal, spool, 1, 2, raw=1000)
        spool.path(field_file(1, 3)).write_bytes(b"renamed but not journalled")
        (tmp_path / "spool/slide-2/field-0001.ome.tif.part").write_bytes(b"written but not renamed")
        (tmp_path / "spool/slide-2/notes.txt").write_text("a person's")
        assert spool.sweep(journal) == [
            "slide-1/field-0001.ome.tif",
            "slide-1/field-0003.ome.tif",
            "slide-2/field-0001.ome.tif.part",
        ]
        assert all(spool.path(file.name).stat().st_size == file.size for file in kept.files)
        assert (tmp_path / "spool/slide-2/notes.txt").exists()


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_resume_stops_where_a_secured_file_is_gone(tmp_path: Path, damage: str) -> None:
    spool = Spool(tmp_path / "spool", 10**9)
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal:
        night.secure(journal, spool, 1, 1, size=5000)
        path = spool.path(field_file(1, 1))
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(JournalDamaged, match=r"field-0001\.ome\.tif (is missing|has 4999 bytes)"):
            spool.sweep(journal)


def test_room_ends_at_the_bound_and_at_the_end_of_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10_000)
    spool.path(field_file(1, 1)).write_bytes(bytes(6000))
    (tmp_path / "spool/slide-2/field-0001.ome.tif.part").write_bytes(bytes(1000))
    assert spool.used_bytes() == 7000
    assert spool.has_room(3000)
    assert not spool.has_room(3001)
    spool.remove(field_file(1, 1))
    spool.remove(field_file(1, 1))
    assert spool.has_room(3001)
    assert not Spool(tmp_path / "spool", 2**62).has_room(2**61)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "slide-1/../../x.tif", "slide-0/field-0001.ome.tif", "slide-1/field-0001.ome.tif.part",
     "slide-1/objects.parquet", "slide-1\\field-0001.ome.tif", "slide-1/field-0001", "slide-1/field-0001.ome.tif\n",
     "SLIDE-1/field-0001.ome.tif", ""],
)  # fmt: skip
def test_no_name_leads_out_of_the_spool(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a field's file"):
        Spool(tmp_path / "spool", 10**9).path(name)
