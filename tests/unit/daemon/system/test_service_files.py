"""Files of the service managers: whatever a path is called, the same words come out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from daemon.system.errors import Refused
from daemon.system.service_files import NAMESPACE, service_name, task, unit, write_service
from tests.support.emulated_night import lamelle, write_configuration

AWKWARD = [
    "plain",
    "with space",
    "100% sure",
    "ünïcödé ε",
    'a "quote" b',
    "back\\slash",
    "$HOME ${x}",
    "tail\\",
    "%n;#'",
]
TASK = f"{{{NAMESPACE}}}"


def systemd_words(line: str) -> list[str]:
    """Words of an ExecStart as systemd.service(5) reads them: quotes, backslashes, then doubled per cent signs."""
    words, word, quoted, rest = [], "", False, iter(line)
    for letter in rest:
        if letter == "\\":
            word += next(rest)
        elif letter == '"':
            quoted = not quoted
        elif letter == " " and not quoted:
            words.append(word)
            word = ""
        else:
            word += letter
    assert not quoted
    words.append(word)
    assert not any("%" in each.replace("%%", "") for each in words)
    return [each.replace("%%", "%") for each in words]


def windows_words(line: str) -> list[str]:
    """Words of a command line as CommandLineToArgvW reads them."""
    words, word, quoted, slashes, begun = [], "", False, 0, False
    for letter in [*line, " "]:
        if letter == "\\":
            slashes, begun = slashes + 1, True
            continue
        if letter == '"':
            word += "\\" * (slashes // 2) + ('"' if slashes % 2 else "")
            quoted, begun = quoted ^ (slashes % 2 == 0), True
        else:
            word += "\\" * slashes
            if letter in " \t" and not quoted:
                if begun:
                    words.append(word)
                word, begun = "", False
            else:
                word, begun = word + letter, True
        slashes = 0
    assert not quoted
    return words


def expected(config: Path, run: Path) -> list[str]:
    return ["-m", "daemon", "scan", str(config), "--run", str(run), "--unattended"]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_unit_runs_the_night_whatever_its_paths_are_called(name: str, tmp_path: Path) -> None:
    config, run = tmp_path / name / "night.yaml", tmp_path / name
    lines = unit(config, run, "somebody").splitlines()
    (command,) = [line.removeprefix("ExecStart=:") for line in lines if line.startswith("ExecStart=")]
    assert systemd_words(command) == [sys.executable, *expected(config, run)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = []
    for number, name in enumerate(AWKWARD):
        units.append(tmp_path / f"lamelle-{number}.service")
        units[-1].write_text(unit(tmp_path / name / "night.yaml", tmp_path / name, "root"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "lamelle-" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
    # It would have seen a program that is not there.
    units[0].write_text(units[0].read_text().replace(sys.executable, f"{sys.executable} not there"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(units[0])], capture_output=True, text=True, check=False)
    assert "not there" in done.stderr


def test_a_unit_restarts_after_a_crash_and_not_after_an_end(tmp_path: Path) -> None:
    lines = unit(tmp_path / "night.yaml", tmp_path / "run", "somebody").splitlines()
    for line in ("Restart=on-failure", "SuccessExitStatus=3 130", "RestartPreventExitStatus=2", "KillMode=process"):
        assert line in lines


@pytest.mark.parametrize("name", [*AWKWARD, "<a> & b"])
def test_a_task_runs_the_night_whatever_its_paths_are_called(name: str, tmp_path: Path) -> None:
    config, run = tmp_path / name / "night.yaml", tmp_path / name
    content = task(config, run)
    assert content.startswith(b"\xff\xfe")
    root = ElementTree.fromstring(content.decode("utf-16"))
    assert root.findtext(f"{TASK}Actions/{TASK}Exec/{TASK}Command") == sys.executable
    arguments = root.findtext(f"{TASK}Actions/{TASK}Exec/{TASK}Arguments")
    assert arguments is not None
    assert windows_words(arguments) == expected(config, run)


def test_a_task_is_begun_by_registration_and_restart_and_one_runs_at_a_time(tmp_path: Path) -> None:
    root = ElementTree.fromstring(task(tmp_path / "night.yaml", tmp_path / "run").decode("utf-16"))
    triggers = root.find(f"{TASK}Triggers")
    assert triggers is not None
    assert [each.tag for each in triggers] == [f"{TASK}BootTrigger", f"{TASK}RegistrationTrigger"]
    for each in triggers:
        # In the order of the schema's triggerBaseType.
        assert [part.tag for part in each] == [f"{TASK}Enabled", f"{TASK}Repetition"]
        assert each.findtext(f"{TASK}Repetition/{TASK}Interval") == "PT5M"
    settings = {part.tag.removeprefix(TASK): part.text for part in root.iterfind(f"{TASK}Settings/*")}
    assert settings["MultipleInstancesPolicy"] == "IgnoreNew"
    assert settings["ExecutionTimeLimit"] == "PT0S"
    assert settings["StopIfGoingOnBatteries"] == "false"
    principal = root.find(f"{TASK}Principals/{TASK}Principal")
    actions = root.find(f"{TASK}Actions")
    assert principal is not None
    assert actions is not None
    assert principal.get("id") == actions.get("Context")


def test_names_are_letters_and_tell_folders_apart(tmp_path: Path) -> None:
    names = {service_name(tmp_path / name) for name in AWKWARD} | {service_name(tmp_path / "other" / "plain")}
    assert len(names) == len(AWKWARD) + 1
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in names)


@pytest.mark.slow
def test_the_command_writes_the_file_and_says_what_to_do_with_it(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    for system, ending, told in (("systemd", ".service", "systemctl enable --now"), ("windows", ".xml", "schtasks")):
        done = lamelle("service", config, "--run", tmp_path / "run", "--into", tmp_path, "--for", system)
        assert done.returncode == 0, done.stderr
        (file,) = tmp_path.glob(f"lamelle-*{ending}")
        assert str(file) in done.stdout
        assert told in done.stdout


def test_a_path_that_no_file_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="contains a character"):
        write_service(tmp_path / "night.yaml", tmp_path / "two\nlines", tmp_path, "systemd")
    for name in ("%TEMP%", "$(Arg0)"):
        with pytest.raises(Refused, match="a task of Windows replaces"):
            task(tmp_path / name / "night.yaml", tmp_path / "run")
    with pytest.raises(Refused, match="--into"):
        write_service(tmp_path / "night.yaml", tmp_path / "run", tmp_path / "absent", "systemd")
