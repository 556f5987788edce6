"""The folder of one night: what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.records.names import CATALOG, LOCK, LOG, PROCESSES


@dataclass(frozen=True)
class RunFolder:
    """The run folder: names of what lies in it."""

    path: Path

    @property
    def configuration(self) -> Path:
        """The frozen configuration."""
        return self.path / "run.yaml"

    @property
    def lock(self) -> Path:
        """Held by the program that runs the night."""
        return self.path / LOCK

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.path / "journal.sqlite"

    @property
    def spool(self) -> Path:
        """The spool."""
        return self.path / "spool"

    @property
    def dataset(self) -> Path:
        """The dataset, where the recorder is local."""
        return self.path / "dataset"

    @property
    def processes(self) -> Path:
        """Which processes belong to the night."""
        return self.path / PROCESSES

    @property
    def heartbeat(self) -> Path:
        """How the night stood a moment ago."""
        return self.path / "heartbeat.json"

    @property
    def endpoints(self) -> Path:
        """Where the night can be reached."""
        return self.path / "endpoints.json"

    @property
    def log(self) -> Path:
        """Logs, a file a process."""
        return self.path / LOG

    @property
    def guard(self) -> Path:
        """What the watcher that tells alerts has told."""
        return self.path / "guard.json"

    @property
    def guard_lock(self) -> Path:
        """Held by that watcher."""
        return self.path / "guard.lock"


def find_dataset(folder: Path) -> Path | None:
    """Return where the dataset lies that `folder` is, or that lies in the run folder `folder`; None if nowhere."""
    return next((one for one in (folder, RunFolder(folder).dataset) if (one / CATALOG).exists()), None)
