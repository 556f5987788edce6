"""A disk that loses power: replays a log of the shim and tells what may lie on it at any moment."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_HEADER = struct.Struct("<cQQII")
_SECTOR = 512


@dataclass(frozen=True)
class Operation:
    """One line of the log; see powercut.c."""

    op: str
    inode: int
    offset: int
    a: bytes
    b: bytes


def read_log(path: Path) -> Iterator[Operation]:
    log, at = path.read_bytes(), 0
    while at < len(log):
        op, inode, offset, a_size, b_size = _HEADER.unpack_from(log, at)
        at += _HEADER.size
        yield Operation(op.decode(), inode, offset, log[at : at + a_size], log[at + a_size : at + a_size + b_size])
        at += a_size + b_size


@dataclass
class File:
    """`pending` are writes (offset, data) and truncations (size, None) since the last sync, in order."""

    live: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def change(self, offset: int, data: bytes | None) -> None:
        _change(self.live, offset, data)
        self.pending.append((offset, data))

    def sync(self) -> None:
        self.synced = bytes(self.live)
        self.pending.clear()

    def survivor(self, chance: random.Random) -> bytes:
        """What a disk may hold that wrote unsynced sectors in any order, or not at all."""
        left = bytearray(self.synced)
        share = chance.choice((0.0, 0.5, 1.0))
        for offset, data in self.pending:
            if data is None:
                if chance.random() < share:
                    _change(left, offset, None)
                continue
            for start in range(0, len(data), _SECTOR):
                if chance.random() < share:
                    _change(left, offset + start, data[start : start + _SECTOR])
        return bytes(left)


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    end = offset if data is None else offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset:end] = data


Tree = dict[str, File | None]
"""Path to file, or to None for a folder."""
View = dict[str, bytes | None]


@dataclass(frozen=True)
class _NameChange:
    """`remove` and then `add`, both or neither: creations, deletions and renames are atomic."""

    remove: str | None
    add: str | None
    node: File | None

    def folders(self) -> set[str]:
        return {str(PurePosixPath(path).parent) for path in (self.remove, self.add) if path is not None}

    def apply(self, tree: Tree) -> None:
        if self.remove is not None:
            tree.pop(self.remove, None)
        if self.add is not None:
            tree[self.add] = self.node


class Disk:
    """Below `root`: contents count once their file was synced, names once their folder was."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: dict[int, File] = {}
        self._live: Tree = {}
        self._synced: Tree = {}
        self._names: list[_NameChange] = []

    def apply(self, operation: Operation) -> None:
        a, b = operation.a, operation.b
        match operation.op:
            case "C":
                self._files[operation.inode] = File()
                self._rename(_NameChange(None, a.decode(), self._files[operation.inode]))
            case "W":
                self._files[operation.inode].change(operation.offset, a)
            case "T":
                self._files[operation.inode].change(operation.offset, None)
            case "S":
                self._files[operation.inode].sync()
            case "D":
                done = [change for change in self._names if a.decode() in change.folders()]
                for change in done:
                    change.apply(self._synced)
                self._names = [change for change in self._names if change not in done]
            case "R":
                self._rename(_NameChange(a.decode(), b.decode(), self._live[a.decode()]))
            case "U":
                self._rename(_NameChange(a.decode(), None, None))
            case "M":
                self._rename(_NameChange(None, a.decode(), None))
            case other:
                raise ValueError(f"unknown operation {other!r}")

    def _rename(self, change: _NameChange) -> None:
        change.apply(self._live)
        self._names.append(change)

    def file(self, name: str) -> bytes:
        node = self._live.get(f"{self._root}/{name}")
        return b"" if node is None else bytes(node.live)

    def pessimistic(self) -> View:
        """Nothing but what was synced."""
        return self._view(self._synced, lambda node: node.synced)

    def killed(self) -> View:
        """Everything, as after kill -9."""
        return self._view(self._live, lambda node: bytes(node.live))

    def adversarial(self, chance: random.Random) -> View:
        """Of what was not synced, some: sectors in any order, name changes of each folder up to some moment."""
        tree = dict(self._synced)
        until = {folder: chance.randint(0, len(self._names)) for change in self._names for folder in change.folders()}
        for number, change in enumerate(self._names):
            if any(number < until[folder] for folder in change.folders()):
                change.apply(tree)
        return self._view(tree, lambda node: node.survivor(chance))

    def _view(self, tree: Tree, content: Callable[[File], bytes]) -> View:
        view: View = {}
        for path, node in tree.items():
            parents = [str(parent) for parent in PurePosixPath(path).parents if len(str(parent)) > len(self._root)]
            if all(parent in tree for parent in parents):
                name = path[len(self._root) + 1 :]
                view[name] = None if node is None else content(node)
        return view


def materialise(view: View, folder: Path) -> None:
    """Lay a view out as real files."""
    folder.mkdir(parents=True)
    for name, content in view.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
