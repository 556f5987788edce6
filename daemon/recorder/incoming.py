"""A record on its way into a dataset: its files are begun in `incoming/` and get their names once they are whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from daemon.protocols import delivery
from daemon.records.names import INCOMING, inside
from daemon.records.records import AnyRecord, FileEntry
from daemon.system import crash_points
from daemon.system.durable_files import PART_SUFFIX, make_folder, sha256_of, sync_folder
from daemon.system.errors import ProtocolViolation


class RecordingRefused(Exception):
    """What was asked is refused and the session is over."""

    def __init__(self, code: str, reason: str, *, retry: bool) -> None:
        super().__init__(reason)
        self.code = code
        self.retry = retry


class Incoming:
    """A record whose files are coming in, one after the other."""

    def __init__(self, into: Path, seq: int, body: bytes, record: AnyRecord, files: Sequence[FileEntry]) -> None:
        self.seq = seq
        self.body = body
        self.record = record
        self.files = files
        self._into = into
        self._index = -1
        self._part: _IncomingFile | None = None
        self._next_file()

    def continues(self, chunk: delivery.ChunkFollows) -> bool:
        """Whether a chunk is the one that must come next; an overlong one is a protocol violation."""
        part = self._part
        return part is not None and (chunk.seq, chunk.file, chunk.offset) == (self.seq, self._index, part.size)

    def write(self, payload: bytes) -> None:
        """Add a chunk, and give the file its name when it is whole."""
        part = self._part
        assert part is not None
        if part.size + len(payload) > part.entry.size:
            raise ProtocolViolation(f"{part.entry.name} has {part.entry.size} bytes and more came")
        part.write(payload)
        if part.size == part.entry.size:
            self._next_file()

    def whole(self) -> bool:
        """Whether every file lies in its place, durably."""
        return self._index == len(self.files)

    def close(self) -> None:
        """Let go of the file begun; what came of it stays in `incoming/`."""
        if self._part is not None:
            self._part.close()

    def _next_file(self) -> None:
        if self._part is not None:
            part, self._part = self._part, None
            part.place()
        self._index += 1
        while self._index < len(self.files):
            part = _IncomingFile(self._into, self.files[self._index])
            if part.size < part.entry.size:
                self._part = part
                return
            part.place()
            self._index += 1


class _IncomingFile:
    """A file begun in `incoming/`, with the hash of what there is of it."""

    def __init__(self, into: Path, entry: FileEntry) -> None:
        self.entry = entry
        self._target = inside(into, entry.name)
        self._path = into / INCOMING / f"{entry.sha256}{PART_SUFFIX}"
        self._stream = self._path.open("a+b", buffering=0)
        self._stream.seek(0)
        self._hash = hashlib.file_digest(self._stream, "sha256")
        self.size = self._stream.tell()
        self._resumed = self.size > 0

    def write(self, payload: bytes) -> None:
        view, middle = memoryview(payload), len(payload) // 2
        self._write_all(view[:middle])
        crash_points.reach("mid chunk")
        self._write_all(view[middle:])
        self._hash.update(payload)
        self.size += len(payload)

    def _write_all(self, view: memoryview) -> None:
        while view:
            view = view[self._stream.write(view) :]

    def place(self) -> None:
        """Sync the whole file and give it its name in the dataset."""
        if self._hash.hexdigest() != self.entry.sha256 or self.size != self.entry.size:
            self.discard()
            if self._resumed:
                raise RecordingRefused("part", f"what was begun of {self.entry.name} is damaged; say hello", retry=True)
            reason = f"{self.entry.name} came with another sha256 than its record says; its spool file is damaged"
            raise RecordingRefused("hash", reason, retry=False)
        try:
            os.fsync(self._stream.fileno())
        except OSError:
            # After a failed fsync nobody knows what is on the disk: begin the file again.
            self.discard()
            raise
        self._stream.close()
        if self._target.exists() and sha256_of(self._target) != self.entry.sha256:
            reason = f"{self._target} exists with other contents and is not overwritten; move it away"
            raise RecordingRefused("conflict", reason, retry=False)
        make_folder(self._target.parent)
        # Also over a file with the same contents: nobody knows whether that one and its name were ever synced.
        self._path.replace(self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._stream.close()
