"""A night on the microscope that docs/adding-a-microscope.md shows, its package installed from that page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tifffile

from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset
from daemon.records.names import field_file
from daemon.records.records import FieldSecured
from daemon.system.errors import Exit
from daemon.system.process_table import read_processes
from tests.support.emulated_night import lamelle, living, running
from tests.support.other_back_ends import install_shown, write_shown_configuration
from tests.support.process_logs import times, wait_for

SAFE = ["stop", "light False", "z -280.0"]


def test_a_package_from_the_page_scans_a_mini_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed, run = tmp_path / "installed", tmp_path / "run"
    commands = tmp_path / "commands.txt"
    install_shown(installed)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]))
    config = write_shown_configuration(tmp_path)
    assert "Plan of the night" in lamelle("check", config).stdout
    assert not commands.exists()

    with running("scan", config, "--run", run, output=tmp_path / "out.txt") as night:
        wait_for(lambda: bool(times(run, "exposing")), "an exposure")
        microscope = read_processes(run)["microscope"]
        night.kill()
        wait_for(lambda: microscope.find() is None, "the end of the microscope's process")
    # It made safe by itself, nobody being left to tell it.
    told = commands.read_text(encoding="utf-8").splitlines()
    assert told[:3] == SAFE
    assert any(told[at : at + 3] == SAFE for at in range(3, len(told)))
    assert [line for line in told if line.startswith("z ")][-1] == "z -280.0"
    wait_for(lambda: set(living(run)) <= {"ring"}, "the end of all processes")

    install_shown(installed, "1.1")
    other = lamelle("scan", config, "--run", run, "--resume")
    assert other.returncode == Exit.REFUSED
    assert "lamelle-pretend 1.0, sha256" in other.stderr
    assert "lamelle-pretend 1.1, sha256" in other.stderr

    install_shown(installed)
    done = lamelle("scan", config, "--run", run, "--resume")
    assert done.returncode == Exit.COMPLETE, done.stderr
    with Dataset.open(run) as dataset:
        begun = dataset.night()
        fields = [one for one in dataset.fields() if isinstance(one, FieldSecured)]
    assert [field.field for field in fields] == [1, 2]
    for field in fields:
        # What was read is what is recorded.
        assert [round(one.exposure_ms, 6) for one in field.read_back] == [2.01, 2.01]
        with read_field_file(run / "dataset" / field_file(field.slide, field.field)) as file:
            assert [round(exposure_ms, 6) for exposure_ms in file.provenance.exposures_ms] == [2.01, 2.01]
        stack = tifffile.imread(run / "dataset" / field_file(field.slide, field.field, "raw"))
        assert stack.shape == (2, 9, 512, 512)
        for c, state in enumerate(field.polarizations):
            for plane in range(9):
                z_um = field.first_z_um + plane * field.step_um
                coded = [int(field.x_um / 10), int(field.y_um / 10), round(100 * (300 + z_um)), len(state)]
                assert stack[c, plane, 0, :4].tolist() == coded
    assert "# back-end lamelle-pretend 1.0, sha256 " in (run / "run.yaml").read_text(encoding="utf-8")
    assert begun is not None
    assert begun.versions["back-end"].startswith("lamelle-pretend 1.0, sha256 ")

    # A package that is broken meanwhile is told where it is used, and hinders nobody who reads.
    (installed / "lamelle_pretend" / "__init__.py").write_text("raise OSError('no licence')", encoding="utf-8")
    broken = lamelle("check", config)
    assert broken.returncode == Exit.REFUSED
    assert "which lamelle-pretend 1.0 offers, but it does not load (OSError: no licence)" in broken.stderr
    assert len(broken.stderr.splitlines()) == 1
    assert lamelle("inspect", run).returncode == 0
