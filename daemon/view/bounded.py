"""What was made lately, kept up to a number of bytes: what was not asked for the longest goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class BoundedCache(Generic[Made]):
    """Keeps things by name; may be used by several threads.

    Parameters
    ----------
    most_bytes
        that all of them together may have. What alone is larger is made each time.
    size
        says how many bytes one has.
    """

    def __init__(self, most_bytes: int, size: Callable[[Made], int]) -> None:
        self._most, self._size = most_bytes, size
        self._kept: OrderedDict[Hashable, Made] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        """That are kept now."""

    def get(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """Give what has this name; it is made where it is not kept, whose errors pass through."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        made = make()
        size = self._size(made)
        with self._lock:
            if name not in self._kept and size <= self._most:
                self._kept[name] = made
                self.bytes += size
            while self.bytes > self._most:
                _, gone = self._kept.popitem(last=False)
                self.bytes -= self._size(gone)
        return made
