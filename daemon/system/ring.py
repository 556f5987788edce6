"""The ring: shared memory for a few stacks, written by the microscope child and read by the analysis child."""

from __future__ import annotations

import hashlib
from math import prod
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from drivers.microscope import Stack

Shape = tuple[int, int, int, int]


def ring_bytes(slots: int, shape_czyx: Shape) -> int:
    """Size of a ring in bytes."""
    return slots * prod(shape_czyx) * np.dtype(np.uint16).itemsize


def ring_name(run: Path) -> str:
    """Name of the shared memory of a run folder's ring."""
    return "lamelle-" + hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]


class Ring:
    """Slots of one stack each (CZYX, uint16), in memory that was touched once so that frames land without page faults.

    The supervisor owns the ring and hands out slots by number; the children attach by name. A slot keeps its stack
    until the supervisor gives it to the next field, whatever happens to the children.
    """

    def __init__(self, memory: SharedMemory, slots: int, shape_czyx: Shape, *, owner: bool) -> None:
        self.name = memory.name
        self.shape = shape_czyx
        self.slots = slots
        self._memory = memory
        self._owner = owner

    @classmethod
    def create(cls, run: Path, slots: int, shape_czyx: Shape) -> Ring:
        """Create and touch the ring of a run folder; one left by a killed night of the same folder is replaced."""
        name = ring_name(run)
        size = ring_bytes(slots, shape_czyx)
        try:
            memory = SharedMemory(name, create=True, size=size)
        except FileExistsError:
            stale = SharedMemory(name)
            stale.unlink()
            stale.close()
            memory = SharedMemory(name, create=True, size=size)
        ring = cls(memory, slots, shape_czyx, owner=True)
        for slot in range(slots):
            ring.stack(slot)[...] = 0
        return ring

    @classmethod
    def attach(cls, name: str, slots: int, shape_czyx: Shape) -> Ring:
        """Attach to a ring that the supervisor created."""
        return cls(SharedMemory(name), slots, shape_czyx, owner=False)

    def stack(self, slot: int) -> Stack:
        """Array view of a slot, CZYX uint16. Views must be dropped before `close`."""
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} of a ring of {self.slots}")
        size = ring_bytes(1, self.shape)
        return np.ndarray(self.shape, np.uint16, buffer=self._memory.buf, offset=slot * size)

    def close(self) -> None:
        """Let go of the memory; the owner also removes it."""
        self._memory.close()
        if self._owner:
            self._memory.unlink()
