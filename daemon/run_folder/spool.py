"""The spool: files of secured fields that wait for the recorder, bounded in bytes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from daemon.records.names import field_of, inside, slide_folder
from daemon.records.records import FieldSecured, decode
from daemon.run_folder.journal import Journal
from daemon.system.durable_files import PART_SUFFIX, make_folder
from daemon.system.errors import JournalDamaged

RESERVE_BYTES = 4 << 20
"""Left free on the spool's disk, so that the journal can always tell why the night waits."""
_BATCH = 64


class Spool:
    """A folder of files named as they will be in the dataset, such as `slide-1/field-0001.ome.tif`.

    The journal says which of them count. May be used from several threads.
    """

    def __init__(self, folder: Path, bound_bytes: int) -> None:
        self.folder = folder
        self.bound_bytes = bound_bytes
        make_folder(folder)
        for slide in range(1, 9):
            make_folder(folder / slide_folder(slide))

    def path(self, name: str) -> Path:
        """Where the file of that name lies, or will lie; its folder exists."""
        return inside(self.folder, name)

    def used_bytes(self) -> int:
        """Bytes of all files, unfinished ones too."""
        total = 0
        for path in self._files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # acknowledged and removed, or renamed, since it was listed
                continue
        return total

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit under the bound and on the disk."""
        if self.used_bytes() + size > self.bound_bytes:
            return False
        return self.free_bytes() >= size + RESERVE_BYTES

    def free_bytes(self) -> int:
        """Bytes free on the spool's disk."""
        return shutil.disk_usage(self.folder).free

    def remove(self, name: str) -> None:
        """Delete a file that the recorder has; nothing happens if it is gone already."""
        self.path(name).unlink(missing_ok=True)

    def sweep(self, journal: Journal) -> list[str]:
        """Delete what no unacknowledged record speaks of, and verify that everything else is there.

        Call on resume, before any other process writes here.

        Returns
        -------
        list of str
            Names deleted: unfinished files, orphans of fields that were not secured, files acknowledged already.

        Raises
        ------
        JournalDamaged
            A file of a secured field is missing or has another size.
        """
        needed = self._needed(journal)
        for name, size in needed.items():
            path = self.path(name)
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                state = "is missing" if found is None else f"has {found} bytes"
                raise JournalDamaged(
                    f"{path} {state}, but {journal.path} lists it as secured with {size} bytes and not acknowledged; "
                    "restore it from a copy"
                )
        deleted = []
        for path in list(self._files()):
            name = path.relative_to(self.folder).as_posix()
            if name not in needed:
                path.unlink()
                deleted.append(name)
        return sorted(deleted)

    def _needed(self, journal: Journal) -> dict[str, int]:
        needed: dict[str, int] = {}
        after = journal.acknowledged()
        while batch := journal.pending(after, _BATCH):
            for seq, body in batch:
                record = decode(body)
                if isinstance(record, FieldSecured):
                    needed |= {file.name: file.size for file in record.files}
                after = seq
        return needed

    def _files(self) -> Iterator[Path]:
        for slide in range(1, 9):
            for path in (self.folder / slide_folder(slide)).iterdir():
                name = path.relative_to(self.folder).as_posix()
                if field_of(name.removesuffix(PART_SUFFIX)) is not None:
                    yield path
