"""Files by which the system's own service manager runs a night: a systemd unit, a task of Windows."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from daemon.system.durable_files import replacing
from daemon.system.errors import Refused

System = Literal["systemd", "windows"]
NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def write_service(config: Path, run: Path, into: Path, system: System | None) -> str:
    """Write the file for a night; returns what to do with it.

    Raises
    ------
    Refused
        A path cannot stand in such a file, or the file cannot be written.
    """
    system = system or ("windows" if os.name == "nt" else "systemd")
    config, run = config.resolve(), run.resolve()
    for path in (config, run, Path(sys.executable)):
        if not str(path).isprintable():
            raise Refused(f"the path {str(path)!r} contains a character that a service file cannot hold; rename it")
    name = service_name(run)
    if system == "systemd":
        file, content = into / f"{name}.service", unit(config, run, getpass.getuser()).encode()
        told = (
            f"{file}\n"
            f"begin and go on after a restart:  sudo cp {_shown(file)} /etc/systemd/system/ && "
            f"sudo systemctl daemon-reload && sudo systemctl enable --now {name}\n"
            f"stop for the time being:          sudo systemctl stop {name}\n"
            f"when the night is over:           sudo systemctl disable {name}"
        )
    else:
        file, content = into / f"{name}.xml", task(config, run)
        told = (
            f"{file}\n"
            f"begin, and go on after a restart (as administrator):  schtasks /Create /TN {name} /XML {_shown(file)}\n"
            f"when the night is over:                               schtasks /Delete /TN {name} /F"
        )
    try:
        with replacing(file) as stream:
            stream.write(content)
    except OSError as error:
        raise Refused(f"{file} cannot be written ({error.strerror}); name another folder with --into") from error
    return told


def service_name(run: Path) -> str:
    """Name of a night's service: of its folder, in letters that every system takes, and of where that lies."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", run.name).strip("-")[:40]
    return f"lamelle-{word}-{hashlib.sha256(str(run).encode()).hexdigest()[:6]}"


def unit(config: Path, run: Path, user: str) -> str:
    """Write a unit of systemd that runs a night, and goes on with it after a crash or a restart of the computer.

    Ends that the night has said itself are no failures to systemd, but for a refusal, which comes again each time.
    """
    command = " ".join(_quoted(word) for word in _scan(config, run))
    return f"""\
# The night in {_specifiers(str(run))}, run by systemd; written by `lamelle service`.
[Unit]
Description=lamelle: the night in {_specifiers(run.name)}
RequiresMountsFor={_quoted(str(run))} {_quoted(str(config))}
# A night that crashes again and again is a person's to look at.
StartLimitIntervalSec=1h
StartLimitBurst=5

[Service]
Type=exec
User={_specifiers(user)}
# The colon: no $ in a path is a variable.
ExecStart=:{command}
Restart=on-failure
RestartSec=15
SuccessExitStatus=3 130
RestartPreventExitStatus=2
# Only the scan itself is told to end: it makes the hardware safe and ends its own processes. Where it crashed, the
# process of the microscope makes safe by itself, and the watcher lives on to tell.
KillMode=process
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
"""


def task(config: Path, run: Path) -> bytes:
    """Write a task of Windows (UTF-16, for `schtasks /XML`) that runs a night, and goes on with it as `unit` does.

    Windows restarts a task that did not start, not one that ended badly. So it is started again every five minutes,
    which is ignored while it runs, and does nothing once the night has ended.

    Raises
    ------
    Refused
        A path holds what Windows would replace by something else, and offers no way to write.
    """
    for word in _scan(config, run):
        if re.search(r"%[^%]+%|\$\(", word):
            raise Refused(f"{word!r} holds a %name% or $(, which a task of Windows replaces; rename it")
    root = ElementTree.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})

    def put(path: str, text: str) -> None:
        at = root
        *folders, name = path.split("/")
        for folder in folders:
            found = at.find(folder)
            at = ElementTree.SubElement(at, folder) if found is None else found
        ElementTree.SubElement(at, name).text = text

    put("RegistrationInfo/Description", f"lamelle: the night in {run}")
    for trigger in ("BootTrigger", "RegistrationTrigger"):
        put(f"Triggers/{trigger}/Enabled", "true")
        put(f"Triggers/{trigger}/Repetition/Interval", "PT5M")
    principal = ElementTree.SubElement(ElementTree.SubElement(root, "Principals"), "Principal", {"id": "Author"})
    ElementTree.SubElement(principal, "LogonType").text = "S4U"
    ElementTree.SubElement(principal, "RunLevel").text = "LeastPrivilege"
    for key, value in (
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("StartWhenAvailable", "true"),
        ("ExecutionTimeLimit", "PT0S"),
        ("Priority", "4"),
    ):
        put(f"Settings/{key}", value)
    program, *words = _scan(config, run)
    actions = ElementTree.SubElement(root, "Actions", {"Context": "Author"})
    execute = ElementTree.SubElement(actions, "Exec")
    ElementTree.SubElement(execute, "Command").text = program
    ElementTree.SubElement(execute, "Arguments").text = subprocess.list2cmdline(words)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'.encode("utf-16")


def _scan(config: Path, run: Path) -> list[str]:
    return [sys.executable, "-m", "daemon", "scan", str(config), "--run", str(run), "--unattended"]


def _quoted(word: str) -> str:
    """One word of a unit, whatever is in it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_specifiers(escaped)}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _shown(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
