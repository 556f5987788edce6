"""Tells a person: through Apprise, through a command of the user's, and by pings that stop when the computer dies."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

import apprise
import msgspec

from daemon.alerts.model import Alert
from daemon.config.model import AlertKind, Alerts
from daemon.system.errors import Refused

COMMAND_S = 60.0
PING_S = 10.0
RETRY_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 600.0, 600.0, 1200.0, 1200.0, 1800.0)
"""How long after each failure it is tried again: for an hour and three quarters in all, then it is given up."""
TYPES: dict[AlertKind, apprise.NotifyType] = {
    "crashed": apprise.NotifyType.FAILURE,
    "hung": apprise.NotifyType.FAILURE,
    "stopped": apprise.NotifyType.FAILURE,
    "not safe": apprise.NotifyType.FAILURE,
    "goes on": apprise.NotifyType.INFO,
    "slide finished": apprise.NotifyType.INFO,
    "finished": apprise.NotifyType.SUCCESS,
}
"""How grave an alert is; those that are not named are warnings."""

_log = logging.getLogger(__name__)


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is still to reach a channel; `channel` is the channel's key."""

    alert: Alert
    channel: str
    failures: int = 0
    due_utc: float = 0.0


class Origin(msgspec.Struct, frozen=True):
    """What a message says of where it comes from: the night's name and its run folder."""

    night: str
    run: Path

    def title(self, alert: Alert) -> str:
        """Say in a line what happened."""
        return f"lamelle: {alert.kind}"

    def body(self, alert: Alert) -> str:
        """Write what happened and what to do, then where and when."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(alert.utc))
        return f"{_plain(alert.text)}\n\nNight {self.night} in {self.run} on {socket.gethostname()}, {when}"


class Channel(Protocol):
    """A way to a person. `name` may be written down, `key` tells channels apart; neither gives a secret away."""

    name: str
    key: str

    def send(self, alert: Alert, place: Origin) -> str | None:
        """Send an alert; returns why that did not succeed, None where it did."""


class Address:
    """One Apprise URL.

    Raises
    ------
    Refused
        Apprise does not know such an address; the sentence does not hold it.
    """

    def __init__(self, url: str, where: str) -> None:
        asset = apprise.AppriseAsset(app_id="lamelle", app_desc="lamelle", async_mode=False)
        # What apprise logs of an address it does not take holds the address.
        with _Listening() as heard:
            target = apprise.Apprise.instantiate(url, asset=asset)
        if target is None:
            begins = f", {url.partition('://')[0]}://..." if "://" in url else ""
            said = f" ({_without(url, heard.lines[0])})" if heard.lines else ""
            raise Refused(
                f"{where} is not an address that Apprise accepts{begins}{said}; "
                "its documentation lists how each service is written"
            )
        self._url = url
        self._target = target
        self.name = f"{where} ({urlsplit(url).scheme}://...)"
        self.key = hashlib.sha256(url.encode()).hexdigest()[:12]

    def send(self, alert: Alert, place: Origin) -> str | None:
        """Send through Apprise."""
        kind = TYPES.get(alert.kind, apprise.NotifyType.WARNING)
        try:
            with _Listening() as heard:
                sent = self._target.notify(body=place.body(alert), title=place.title(alert), notify_type=kind)
        except Exception as error:  # noqa: BLE001 - a hundred services' plugins must not end the watcher
            return _without(self._url, f"{type(error).__name__}: {error}")
        if sent:
            return None
        return _without(self._url, "; ".join(heard.lines)) or "it was not accepted, and no reason was given"


class Command:
    """A program of the user's; the message is its last argument, and its environment says what happened where."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self.name = f"alerts.command {Path(command[0]).name}"
        self.key = "command"

    def send(self, alert: Alert, place: Origin) -> str | None:
        """Run the program and wait for its end."""
        said = {
            "LAMELLE_EVENT": alert.kind,
            "LAMELLE_TITLE": place.title(alert),
            "LAMELLE_NIGHT": place.night,
            "LAMELLE_RUN": str(place.run),
        }
        try:
            done = subprocess.run(  # noqa: S603 - the user's own program, without a shell
                [*self._command, place.body(alert)],
                env={**os.environ, **said},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it did not end within {COMMAND_S:g} s and was ended"
        except OSError as error:
            return f"it does not start ({error.strerror})"
        return None if done.returncode == 0 else f"it ended with status {done.returncode}"


class DeadMan:
    """A URL that is asked for while all is well; who watches it says so when that stops."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ping(self) -> str | None:
        """Give a sign of life; returns why it did not succeed."""
        request = urllib.request.Request(self._url, headers={"User-Agent": "lamelle"})  # noqa: S310 - see `read_dead_man`
        try:
            with urllib.request.urlopen(request, timeout=PING_S) as answer:  # noqa: S310
                answer.read(1024)
        except OSError as error:
            return _without(self._url, str(error))
        return None


def read_channels(settings: Alerts) -> list[Channel]:
    """Everyone who is to be told.

    Raises
    ------
    Refused
        A file cannot be read, an address is none, or the command cannot be run safely.
    """
    channels: list[Channel] = []
    if settings.urls is not None:
        lines = enumerate(_lines("alerts.urls", settings.urls), 1)
        urls = [(number, line) for number, line in lines if line and not line.startswith("#")]
        if not urls:
            raise Refused(f"alerts.urls {str(settings.urls)!r} holds no address; write one Apprise URL a line")
        channels += [Address(url, f"alerts.urls line {number}") for number, url in urls]
    if settings.command:
        if Path(settings.command[0]).suffix.lower() in (".bat", ".cmd"):
            raise Refused(
                f"alerts.command begins with {settings.command[0]!r}, a batch file, which would read the message as "
                "commands; name a program, such as powershell with -File"
            )
        channels.append(Command(settings.command))
    return channels


def read_dead_man(settings: Alerts) -> DeadMan | None:
    """Read where signs of life go; raises `Refused` where the file holds no URL of http or https."""
    if settings.dead_man is None:
        return None
    lines = [line for line in _lines("alerts.dead_man", settings.dead_man) if line and not line.startswith("#")]
    if len(lines) != 1 or urlsplit(lines[0]).scheme not in ("http", "https") or not urlsplit(lines[0]).hostname:
        raise Refused(f"alerts.dead_man {str(settings.dead_man)!r} does not hold one http or https URL; write it there")
    return DeadMan(lines[0])


def deliver(
    outbox: Sequence[Pending], channels: Sequence[Channel], place: Origin, now: float
) -> tuple[tuple[Pending, ...], bool]:
    """Send what is due; returns what still waits, and whether anything changed. What cannot be sent is logged."""
    known = {channel.key: channel for channel in channels}
    waiting: list[Pending] = []
    for pending in outbox:
        channel = known.get(pending.channel)
        if channel is None:
            _log.warning("%s is no longer sent: its address has been removed", pending.alert.kind)
        elif pending.due_utc > now:
            waiting.append(pending)
        elif (why := channel.send(pending.alert, place)) is None:
            _log.info("sent %s through %s", pending.alert.kind, channel.name)
        elif pending.failures < len(RETRY_S):
            _log.warning("%s could not be sent through %s: %s", pending.alert.kind, channel.name, why)
            later = now + RETRY_S[pending.failures]
            waiting.append(msgspec.structs.replace(pending, failures=pending.failures + 1, due_utc=later))
        else:
            _log.error("gave up sending %s through %s: %s", pending.alert.kind, channel.name, why)
    return tuple(waiting), tuple(waiting) != tuple(outbox)


class _Listening(logging.Handler):
    """Keeps what apprise logs, and what it sends with, for us and out of the log, where addresses would stand."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._loggers = [logging.getLogger(name) for name in ("apprise", "urllib3", "requests")]

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Self:
        self._loggers[0].addHandler(self)
        self._propagated = [logger.propagate for logger in self._loggers]
        for logger in self._loggers:
            logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._loggers[0].removeHandler(self)
        for logger, propagated in zip(self._loggers, self._propagated, strict=True):
            logger.propagate = propagated


def _lines(key: str, path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise Refused(f"{key} {str(path)!r} cannot be read ({error.strerror}); correct the path") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{key} {str(path)!r} is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _without(url: str, text: str) -> str:
    """Text without any part of an address: tokens and passwords are among them."""
    parts = {part for whole in (url, unquote(url)) for part in re.split(r"[/:?&=@#,\s]+", whole.rpartition("://")[2])}
    for part in sorted((part for part in parts if len(part) > 2), key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def _plain(text: str) -> str:
    """One line that a sample's name cannot break."""
    return "".join(c if c.isprintable() else " " for c in text)
