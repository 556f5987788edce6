"""`lamelle view`: serve the nights of datasets in the browser until interrupted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from daemon.view.actions import FIELD_ACTIONS
from daemon.view.application import MorningPage
from daemon.view.nights import ShownNights
from daemon.web.server import PageAddress, PageServer, set_up_log


def view(places: Sequence[Path], http: str, token_file: Path | None, console: Console) -> None:
    """Serve the pages of nights until interrupted.

    Parameters
    ----------
    places
        datasets, run folders, or folders that hold some.
    http
        `HOST:PORT` of the page; port 0 takes a free one.
    token_file
        file with the token that the page asks for.
    console
        where the address is told.

    Raises
    ------
    Refused
        There is no night, an address or the token cannot be used, or others could reach the page without a token.
    """
    served = PageAddress.of(http, token_file)
    nights = ShownNights(places)
    for note in nights.notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    set_up_log("lamelle.view")
    page = MorningPage(nights, served.door, FIELD_ACTIONS)
    with served.bind() as listening:
        address = served.address(listening)
        ready = lambda: console.print(f"open {address}", highlight=False, soft_wrap=True)  # noqa: E731
        PageServer(page.application(), Counter(), ready).run([listening])
