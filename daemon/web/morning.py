"""What the page of a running night and the page on what it recorded know of each other, behind one gate."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from starlette.types import Receive, Scope, Send

from daemon.protocols.watching import Tone

RUNNING_PAGE = "/live"
"""Address of the page of a running night."""
MORNING_PAGE = "/nights"
"""Address of the page on what nights recorded."""


class RunningNight(NamedTuple):
    """A night that another page of the same server follows: how it stands, and whether it runs."""

    address: str
    headline: str
    tone: Tone
    running: bool


class Morning(Protocol):
    """The page on what a night recorded, as the page of the running one leads to it."""

    async def open(self) -> str:
        """Make it ready, where it is not; return a sentence on why it cannot be, or nothing."""

    def find_dataset(self) -> bool:
        """Say whether there is something to open; called often, costs little."""

    async def close(self) -> None:
        """Let go of what it holds."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that the gate let through."""
