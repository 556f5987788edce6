"""The morning page as a part of another server: nothing of it is loaded before somebody opens it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from daemon.run_folder.folder import find_dataset
from daemon.system.errors import LamelleError
from daemon.web.access import Door
from daemon.web.morning import RunningNight

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from daemon.view.application import MorningPage

PLACES = frozenset(
    {"nights", "night", "objects", "field", "object", "file", "data", "picture", "report", "paper", "act"}
)
"""First words of its addresses; a request for another one opens nothing."""


class MorningAfter:
    """The morning page of one night, made when it is asked for.

    Parameters
    ----------
    place
        run folder or dataset.
    door
        who may see it.
    running
        how the night stands that the other page follows; None while it knows of none.
    """

    def __init__(self, place: Path, door: Door, running: Callable[[], RunningNight | None]) -> None:
        self._place, self._door, self._running = place, door, running
        self._opening = asyncio.Lock()
        self._page: MorningPage | None = None
        self._pages: Starlette | None = None

    def find_dataset(self) -> bool:
        """Say whether there is a dataset."""
        return find_dataset(self._place) is not None

    @property
    def is_open(self) -> bool:
        """Whether somebody has opened it."""
        return self._pages is not None

    async def open(self) -> str:
        """Make it ready; return a sentence on why it cannot be, or nothing. It is tried again each time."""
        async with self._opening:
            if self._pages is None:
                try:
                    self._page, self._pages = await asyncio.to_thread(self._make)
                except (LamelleError, OSError) as error:
                    return str(error)
        return ""

    async def close(self) -> None:
        """Read no more, and let go of files."""
        if self._page is not None:
            await asyncio.to_thread(self._page.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"].split("/")[1] not in PLACES or await self.open() or self._pages is None:
            raise HTTPException(404)
        await self._pages(scope, receive, send)

    def _make(self) -> tuple[MorningPage, Starlette]:
        from daemon.view.actions import FIELD_ACTIONS
        from daemon.view.application import MorningPage
        from daemon.view.nights import ShownNights

        page = MorningPage(ShownNights([self._place]), self._door, FIELD_ACTIONS, self._running)
        page.start()
        return page, page.pages()
