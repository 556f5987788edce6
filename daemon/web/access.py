"""Who may see the page: this computer alone, or whoever knows the token."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.protocols.sockets import is_loopback
from daemon.system.errors import Refused
from daemon.system.throttle import Refusals

LEAST_TOKEN = 16
SESSION_S = 14 * 86_400.0
SESSIONS_KEPT = 200
ADDRESSES_KEPT = 1000
LONGEST_WAIT_S = 60.0
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_log = logging.getLogger("lamelle.web")


def split_address(http: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; a host of colons stands in brackets.

    Raises
    ------
    Refused
        It is none.
    """
    host, separator, port = http.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not separator or not bare or not port.isdecimal() or int(port) > 65535 or (":" in bare and bare == host):
        raise Refused(f"--http {http!r} is not an address; write it like 127.0.0.1:8642")
    return bare, int(port)


def read_token(path: Path) -> str:
    """Token of a file, without the white space around it.

    Raises
    ------
    Refused
        The file cannot be read, or its token is too short to keep anybody out.
    """
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"--token-file {path} cannot be read ({error}); write a long random word into it") from error
    if len(token) < LEAST_TOKEN:
        raise Refused(
            f"--token-file {path} holds {len(token)} characters, and at least {LEAST_TOKEN} are needed; "
            "write a longer random word into it"
        )
    return token


def check_reach(host: str, token: str | None) -> None:
    """Refuse a page that others can reach and that asks for no token; raises `Refused`."""
    if token is None and not is_loopback(host):
        raise Refused(
            f"--http {host} can be reached from other computers; name a file with a token with --token-file, or use "
            "127.0.0.1"
        )


@dataclass(frozen=True)
class BrowserSession:
    """A browser that knew the token; `who` is the name that was typed."""

    who: str
    until_s: float


class Door:
    """Lets in who knows the token, and makes guessing slow.

    A wrong token makes its address wait: a second, then two, four, up to a minute. While it waits, nothing from it is
    compared. Without a token everybody is let in whose `Host` names this computer, which keeps out pages of
    others that had a name point here.

    Parameters
    ----------
    token
        None lets everybody of this computer in.
    clock
        monotonic seconds.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = None if token is None else token.encode()
        self._clock = clock
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._refusals = Refusals(_log)

    @property
    def wrong(self) -> int:
        """Tokens that were not right, since the monitor began."""
        return self._refusals.count

    @property
    def guarded(self) -> bool:
        """Whether a token is asked for."""
        return self._token is not None

    def allows_host(self, host: str) -> bool:
        """Whether a `Host` header names this computer; any does where a token guards the page."""
        if self.guarded:
            return True
        name, separator, port = host.rpartition(":")
        if not separator or host.endswith("]") or not port.isdecimal():
            name = host
        return name.removeprefix("[").removesuffix("]").lower() in LOCAL_NAMES

    def wait_s(self, address: str) -> float:
        """Seconds until an address may try a token again."""
        _, until_s = self._tries.get(address, (0, 0.0))
        return max(0.0, until_s - self._clock())

    def knows(self, token: str, address: str) -> bool:
        """Whether this is the token; a wrong one is counted, told in the log, and makes its address wait."""
        if self._token is None or self.wait_s(address) > 0:
            return False
        if hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            self._tries.pop(address, None)
            return True
        tries = self._tries.pop(address, (0, 0.0))[0] + 1
        self._tries[address] = tries, self._clock() + min(2.0 ** (tries - 1), LONGEST_WAIT_S)
        if len(self._tries) > ADDRESSES_KEPT:
            self._tries.popitem(last=False)
        self._refusals.add(f"a wrong token came from {address}")
        return False

    def open_session(self, who: str) -> str:
        """Begin a session; returns its random name, which the cookie holds."""
        name = secrets.token_urlsafe(32)
        self._sessions[name] = BrowserSession(who, self._clock() + SESSION_S)
        if len(self._sessions) > SESSIONS_KEPT:
            self._sessions.popitem(last=False)
        return name

    def session(self, name: str) -> BrowserSession | None:
        """Session of a cookie, if it is one and not over."""
        held = self._sessions.get(name)
        if held is None or held.until_s < self._clock():
            self._sessions.pop(name, None)
            return None
        return held

    def close_session(self, name: str) -> None:
        """End a session, if there is one of this name."""
        self._sessions.pop(name, None)
