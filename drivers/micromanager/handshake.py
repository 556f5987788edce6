"""Who answers at the port of a running Micro-Manager: asked over a socket of its own, so that nothing hangs.

The bridge proper (pyjavaz) has no deadline: what it asks of a Micro-Manager that is frozen it waits for without end.
Before it is opened, and when a call of it does not come back, this module finds out how the server stands.

The wire: ZeroMQ REP on 127.0.0.1, one message of JSON (iso-8859-1) each way.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import zmq

from drivers.errors import SettingRefused, said_by
from drivers.settings import Instrument

HERE = "127.0.0.1"
CONNECT_S, ANSWER_S = 2.0, 5.0
"""A Micro-Manager that takes an image, or writes one, may be busy for a second and more."""
SIGNATURE = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f"
"""What either side of a ZeroMQ connection says first, unasked."""
MAJOR = "5"
"""Of the server's version, as the bridge speaks it."""
CORE = "mmcorej.CMMCore"
STRING = "java.lang.String"


class ServerState(StrEnum):
    """How a server stands."""

    ANSWERS = "answers"
    GONE = "gone"
    HANGS = "hangs"
    ANOTHER_PROGRAM = "another program"
    ANOTHER_VERSION = "another version"


@dataclass(frozen=True)
class Server:
    """How the server at a port stands.

    Attributes
    ----------
    version
        of its protocol; empty where it did not say.
    message
        what that means, and the remedy.
    """

    state: ServerState
    message: str
    version: str = ""


def probe(port: int, within_s: float = ANSWER_S) -> Server:
    """Find out how the server at a port stands, in `CONNECT_S` and twice `within_s` at most."""
    at = f"the server at port {port}"
    try:
        greeting = _greeting(port, within_s)
    except TimeoutError:
        return Server(
            ServerState.HANGS,
            f"{at} takes connections but says nothing: Micro-Manager hangs, or another program has the port; see to it",
        )
    except OSError:
        return Server(
            ServerState.GONE,
            f"nothing answers at port {port}; start Micro-Manager and switch on its server "
            "(Tools > Options > Run server on port)",
        )
    another = Server(
        ServerState.ANOTHER_PROGRAM,
        f"{at} is another program, not Micro-Manager; give the port that Micro-Manager shows (Tools > Options)",
    )
    if greeting[:1] != SIGNATURE[:1]:
        return another
    try:
        with _wire(port, within_s) as wire:
            reply = wire.ask({"command": "connect", "debug": False})
    except TimeoutError:
        return Server(
            ServerState.HANGS, f"{at} did not answer within {within_s:g} s: Micro-Manager hangs, or is busy; see to it"
        )
    except ValueError:
        return another
    version = str(reply.get("version", "2.0.0"))
    if reply.get("type") != "none":
        return another
    if version.partition(".")[0] != MAJOR:
        return Server(
            ServerState.ANOTHER_VERSION,
            f"{at} speaks version {version} of the bridge, this program version {MAJOR}; install a Micro-Manager 2.0 "
            "that fits",
            version,
        )
    return Server(ServerState.ANSWERS, f"{at} answers, version {version}", version)


def _greeting(port: int, within_s: float) -> bytes:
    with socket.create_connection((HERE, port), CONNECT_S) as probed:
        probed.settimeout(within_s)
        # A program that waits for a line gets one, and says who it is.
        probed.sendall(SIGNATURE + b"\r\n\r\n")
        return probed.recv(len(SIGNATURE))


class _Wire:
    """Asks the server one thing at a time, each within a deadline."""

    def __init__(self, connected: zmq.Socket[bytes], within_s: float) -> None:
        self._socket = connected
        self._within_s = within_s

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Ask, and return the answer; raises `TimeoutError`, or `ValueError` for what is no answer."""
        self._socket.send_multipart([b"", json.dumps(message).encode("iso-8859-1")])
        if not self._socket.poll(round(self._within_s * 1e3)):
            raise TimeoutError(f"no answer within {self._within_s:g} s")
        reply = json.loads(self._socket.recv_multipart()[1].decode("iso-8859-1"))
        if not isinstance(reply, dict):
            raise ValueError(f"{reply!r} is no answer of Micro-Manager")
        return reply


@contextmanager
def _wire(port: int, within_s: float) -> Iterator[_Wire]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as connected:
        connected.linger = 0
        connected.connect(f"tcp://{HERE}:{port}")
        yield _Wire(connected, within_s)


def check_running(instrument: Instrument) -> None:
    """Refuse devices and presets that a running Micro-Manager does not have; one that is not running is not asked.

    Nothing of it is changed.

    Raises
    ------
    SettingRefused
        It says what does not fit.
    """
    port = instrument.bridge_port
    server = probe(port)
    if server.state in (ServerState.GONE, ServerState.HANGS):
        return
    refuse_unless_it_answers(port, server)
    try:
        with _wire(port, ANSWER_S) as wire:
            _CoreAsked(wire).check(instrument)
    except (TimeoutError, ValueError, KeyError) as error:
        raise SettingRefused(
            f"instrument.bridge_port is {port}, whose server did not say what devices it has ({said_by(error)}); "
            "see to Micro-Manager"
        ) from error


def refuse_unless_it_answers(port: int, server: Server) -> None:
    """Refuse a server that does not answer, as a setting."""
    if server.state != ServerState.ANSWERS:
        raise SettingRefused(f"instrument.bridge_port is {port}, but {server.message}")


class _CoreAsked:
    """The core of a running Micro-Manager, asked without the bridge."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        request = {"command": "constructor", "classpath": CORE, "argument-types": [], "arguments": []}
        self._hash = wire.ask({**request, "argument-deserialization-types": []})["hash-code"]

    def check(self, instrument: Instrument) -> None:
        try:
            for role, label in instrument.devices.model_dump().items():
                if label is not None and self._call("getDeviceName", label)["type"] == "exception":
                    raise SettingRefused(
                        f"instrument.devices.{role} is {label!r}, which the running Micro-Manager does not have; "
                        "give a label that stands there"
                    )
            presets = {
                f"instrument.polarizations.{state}": (one.group, one.preset)
                for state, one in instrument.polarizations.items()
            }
            lights = {"instrument.light_on": instrument.light_on, "instrument.light_off": instrument.light_off}
            for key, preset in {**presets, **lights}.items():
                if preset is not None and self._call("isConfigDefined", *preset).get("value") is not True:
                    raise SettingRefused(
                        f"{key} is {'/'.join(preset)}, a preset that the running Micro-Manager does not have; "
                        "give one that stands there"
                    )
        finally:
            self._wire.ask({"command": "destructor", "hash-code": self._hash, "java_class_name": CORE})

    def _call(self, name: str, *arguments: str) -> dict[str, Any]:
        types = [STRING] * len(arguments)
        return self._wire.ask(
            {
                "command": "run-method",
                "static": False,
                "hash-code": self._hash,
                "java_class_name": CORE,
                "name": name,
                "argument-types": types,
                "argument-deserialization-types": types,
                "arguments": list(arguments),
            }
        )
