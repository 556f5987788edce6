"""`lamelle library check`: what is doubtful about a library, as text, JSON, and a page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from daemon.library.examined import Checked, examine, tell
from daemon.library.findings import Finding
from daemon.library.library import Library
from daemon.library.page import write_page
from daemon.system.progress import StageDisplay
from inference.classification.encoder_file import Network


def check(
    folder: Path, page: Path | None, console: Console, *, as_json: bool = False, learn: Network | None = None
) -> Checked:
    """Examine a library, print what was found, and write the page.

    Parameters
    ----------
    page
        HTML file; none if left out.
    learn
        by which network what looks mislabelled is found besides; not looked for if left out.

    Raises
    ------
    Refused
        There is no library in the folder, or nothing in it to learn from.
    WeightsRefused
        There are no published weights for the network.
    """
    library = Library.open(folder)
    further: Sequence[Finding] = ()
    if learn is not None:
        from daemon.library.mislabelled import find_mislabelled

        with StageDisplay(Console(stderr=True, quiet=console.quiet)) as display:
            further = find_mislabelled(library, learn, display)
    checked = examine(library, further)
    tell(checked, console, as_json=as_json)
    if page is not None:
        write_page(page, library, checked)
    return checked
