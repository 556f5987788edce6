"""The folder of one night: what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.records.names import JOURNAL, SPOOL


@dataclass(frozen=True)
class RunFolder:
    """The run folder: names of what lies in it."""

    path: Path

    @property
    def configuration(self) -> Path:
        """The frozen configuration."""
        return self.path / "run.yaml"

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.path / JOURNAL

    @property
    def spool(self) -> Path:
        """The spool."""
        return self.path / SPOOL

    @property
    def dataset(self) -> Path:
        """The dataset, where the recorder is local."""
        return self.path / "dataset"
