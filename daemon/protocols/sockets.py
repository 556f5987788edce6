"""Which endpoints may be used, and how their sockets are secured: beyond this computer with CURVE keys alone."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import zmq
from zmq.auth.thread import ThreadAuthenticator

from daemon.config.model import CurveKeys
from daemon.system.errors import Refused


def is_local(endpoint: str) -> bool:
    """Whether an endpoint can be reached from this computer only.

    Raises
    ------
    Refused
        It is not an endpoint.
    """
    transport, separator, address = endpoint.partition("://")
    if not separator or transport not in ("tcp", "ipc", "inproc") or not address:
        raise Refused(f"{endpoint!r} is not an endpoint; write it like tcp://127.0.0.1:5555")
    if transport != "tcp":
        return True
    host, separator, port = address.rpartition(":")
    if not separator or not (port == "*" or (port.isdecimal() and 0 < int(port) < 65536)):
        raise Refused(f"endpoint {endpoint!r} has no port; write it like tcp://127.0.0.1:5555")
    return is_loopback(host.removeprefix("[").removesuffix("]"))


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a host; an address of IPv6 stands without brackets."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Role = Literal["server", "client"]
"""A server listens, a client connects."""


def check_endpoint(endpoint: str, keys: CurveKeys | None, role: Role) -> None:
    """Refuse an endpoint that others can reach unless CURVE keys are configured, complete and readable.

    A server's public key is no secret: without a list of clients it would let in everybody who knows it.

    Raises
    ------
    Refused
        The endpoint is malformed, or not loopback and without keys; a key that `role` needs is missing, or its file
        cannot be read.
    """
    local = is_local(endpoint)
    if not local and keys is None:
        raise Refused(
            f"endpoint {endpoint!r} can be reached from other computers; configure CURVE keys for it or use 127.0.0.1"
        )
    if keys is None:
        return
    if role == "client" and keys.server is None:
        raise Refused(
            f"keys.server is missing for endpoint {endpoint!r}; name the file with the public key of the computer to "
            "connect to"
        )
    if role == "server" and not local and keys.clients is None:
        raise Refused(
            f"keys.clients is missing for endpoint {endpoint!r}, so whoever knows this computer's public key could "
            "connect; name the file with the public keys of those who may"
        )
    for path in (keys.public, keys.secret, keys.server, keys.clients):
        if path is not None:
            _read_keys(path)


def seen_from_here(endpoint: str, place: str) -> str:
    """Endpoint as it is reached by whoever reaches another one of the same computer at `place`."""
    port = urlsplit(endpoint).port
    if urlsplit(endpoint).scheme != "tcp" or port is None:
        return endpoint
    host = place.removeprefix("tcp://").rpartition(":")[0]
    return f"tcp://{host}:{port}"


def secure(socket: zmq.Socket[bytes], keys: CurveKeys | None, role: Role) -> None:
    """Set the CURVE keys of a socket, before it binds (server) or connects (client).

    Raises
    ------
    Refused
        A client has no `server` key, or a key file cannot be read.
    """
    if keys is None:
        return
    socket.curve_publickey = _read_keys(keys.public)[0]
    socket.curve_secretkey = _read_keys(keys.secret)[0]
    if role == "server":
        socket.curve_server = True
        return
    if keys.server is None:
        raise Refused("keys.server is missing; name the file with the public key of the computer to connect to")
    socket.curve_serverkey = _read_keys(keys.server)[0]


class KnownClients:
    """Lets clients with a public key from `keys.clients` (one a line) connect to servers of this context, none else.

    Without keys, or without a list of clients, there is nothing to check. Use as a context manager around the life of
    the server sockets.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys | None) -> None:
        self._known = frozenset(_read_keys(keys.clients)) if keys is not None and keys.clients is not None else None
        self._authenticator = ThreadAuthenticator(context) if self._known is not None else None

    def __enter__(self) -> Self:
        if self._authenticator is not None:
            self._authenticator.start()
            self._authenticator.configure_curve_callback("*", credentials_provider=self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._authenticator is not None:
            self._authenticator.stop()

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the client with this public key (Z85) is known; called by the authenticator."""
        return self._known is not None and key in self._known


def _read_keys(path: Path) -> list[bytes]:
    try:
        lines = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"key file {path} cannot be read ({error}); it must hold one Z85 key of 40 characters") from error
    if not lines or any(len(line) != 40 for line in lines):
        raise Refused(f"key file {path} must hold one Z85 key of 40 characters a line")
    return [line.encode("ascii") for line in lines]
