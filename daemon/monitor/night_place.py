"""What a run folder says of a night that is not heard."""

from __future__ import annotations

from pathlib import Path

from daemon.run_folder.endpoints import read_endpoints, runs_in
from daemon.system.errors import DamagedFile, Refused
from daemon.web.morning import Morning


class NightPlace:
    """Where the night is, as far as this computer knows.

    Parameters
    ----------
    run
        its run folder; None where the monitor knows an endpoint alone.

    Attributes
    ----------
    morning
        the page on what it recorded, if there is one.
    trouble
        why that page could not be opened when it was asked for last; empty where it could.
    """

    def __init__(self, run: Path | None = None) -> None:
        self.run = run
        self.morning: Morning | None = None
        self.trouble = ""

    def here(self) -> bool:
        """Whether what the night recorded is on this computer."""
        return self.morning is not None and self.morning.find_dataset()

    def runs(self) -> bool:
        """Whether its process runs; where nobody can tell, it may."""
        try:
            return self.run is not None and runs_in(self.run)
        except DamagedFile:
            return True

    def where(self) -> str:
        """Say where the night said last that its dataset is; empty where it said nothing."""
        if self.run is None:
            return ""
        try:
            return read_endpoints(self.run).dataset
        except Refused:
            return ""
