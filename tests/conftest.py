"""What several tests of whole nights compare with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulated_night import Digest, digest, lamelle, living, write_configuration


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digest]:
    """The run folder of a night that nothing befell, and what it recorded."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run = folder / "run"
    done = lamelle("scan", write_configuration(folder), "--run", run)
    assert done.returncode == 0, done.stderr
    assert not living(run)
    return run, digest(run)
