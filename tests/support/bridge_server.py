"""A Micro-Manager that is not there: speaks the wire protocol of pycromanager's bridge, a real core behind it.

ZeroMQ REP on 127.0.0.1. A message is JSON (iso-8859-1), followed by pairs of identifier (4 bytes) and array bytes;
in the JSON an array stands as `@` and its identifier in hex. Java objects stay here and are named by a hash code.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pymmcore
import zmq
from mm_test_adapters import device_adapter_path

from tests.support.instruments import instrument

VERSION = "5.1.0"
STRING, DOUBLE, BOOLEAN, INT, LONG = "java.lang.String", "double", "boolean", "int", "long"
VECTOR, CORE = "mmcorej.DoubleVector", "mmcorej.CMMCore"
CONFIGURATION, SETTING, TAGGED = "mmcorej.Configuration", "mmcorej.PropertySetting", "mmcorej.TaggedImage"
METADATA = "mmcorej.Metadata"

# Signatures as MMCoreJ declares them, overloads included; what is not here a running Micro-Manager is not asked for.
METHODS: dict[str, dict[str, list[tuple[str, ...]]]] = {
    CORE: {
        "deviceBusy": [(STRING,)],
        "getVersionInfo": [()],
        "getDeviceLibrary": [(STRING,)],
        "getDeviceName": [(STRING,)],
        "getProperty": [(STRING, STRING)],
        "setProperty": [(STRING, STRING, kind) for kind in (STRING, BOOLEAN, INT, "float", DOUBLE)],
        "isConfigDefined": [(STRING, STRING)],
        "getConfigData": [(STRING, STRING)],
        "setConfig": [(STRING, STRING)],
        "getCurrentConfig": [(STRING,)],
        "setCameraDevice": [(STRING,)],
        "getCameraDevice": [()],
        "getNumberOfCameraChannels": [()],
        "getExposure": [(), (STRING,)],
        "getAutoShutter": [()],
        "getFocusDirection": [(STRING,)],
        "isContinuousFocusDrive": [(STRING,)],
        "isContinuousFocusEnabled": [()],
        "enableContinuousFocus": [(BOOLEAN,)],
        "setExposure": [(DOUBLE,), (STRING, DOUBLE)],
        "snapImage": [()],
        "getImage": [(), (LONG,)],
        "getImageWidth": [()],
        "getImageHeight": [()],
        "getImageBitDepth": [()],
        "getBytesPerPixel": [()],
        "setXYPosition": [(DOUBLE, DOUBLE), (STRING, DOUBLE, DOUBLE)],
        "getXPosition": [(), (STRING,)],
        "getYPosition": [(), (STRING,)],
        "setPosition": [(DOUBLE,), (STRING, DOUBLE)],
        "getPosition": [(), (STRING,)],
        "stop": [(STRING,)],
        "setAutoShutter": [(BOOLEAN,)],
        "setShutterOpen": [(BOOLEAN,), (STRING, BOOLEAN)],
        "getShutterOpen": [(), (STRING,)],
        "isStageSequenceable": [(STRING,)],
        "getStageSequenceMaxLength": [(STRING,)],
        "loadStageSequence": [(STRING, VECTOR)],
        "startStageSequence": [(STRING,)],
        "stopStageSequence": [(STRING,)],
        "startSequenceAcquisition": [(INT, DOUBLE, BOOLEAN), (STRING, INT, DOUBLE, BOOLEAN)],
        "stopSequenceAcquisition": [(), (STRING,)],
        "isSequenceRunning": [(), (STRING,)],
        "isBufferOverflowed": [()],
        "getRemainingImageCount": [()],
        "popNextTaggedImage": [(), (INT,)],
        "popNextImage": [()],
        "popNextImageMD": [(LONG, LONG, METADATA), (METADATA,)],
        "clearCircularBuffer": [()],
        "setCircularBufferMemoryFootprint": [(LONG,)],
        "getCircularBufferMemoryFootprint": [()],
    },
    METADATA: {"Serialize": [()]},
    VECTOR: {"add": [(DOUBLE,)], "size": [()]},
    CONFIGURATION: {"size": [()], "getSetting": [(LONG,)]},
    SETTING: {"getDeviceLabel": [()], "getPropertyName": [()], "getPropertyValue": [()]},
    TAGGED: {},
}
FIELDS = {TAGGED: ["pix", "tags"]}
ARRAYS = {np.dtype(np.uint8): "byte-array", np.dtype(np.uint16): "short-array"}


class BridgeServer:
    """Java's side of the bridge, for one core."""

    def __init__(self, core: Any, open_port: Callable[[BridgeServer], int], version: str = VERSION) -> None:
        self._core = core
        self._open_port = open_port
        self._version = version
        self._objects: dict[int, tuple[str, Any]] = {}
        self._identifiers = itertools.count(1)
        self._arrays: list[tuple[int, bytes]] = []
        self.hanging, self.freed = threading.Event(), threading.Event()
        self.asked: list[str] = []

    def answer(self, request: dict[str, Any]) -> list[bytes]:
        """Message parts of the reply to a request."""
        self.asked.append(request.get("name", request["command"]))
        if self.hanging.is_set() and request.get("name") == "snapImage":
            self.freed.wait()
        self._arrays.clear()
        try:
            reply = getattr(self, "_" + request["command"].replace("-", "_"))(request)
        except Exception as error:  # noqa: BLE001 - every error of the core crosses the bridge as text
            reply = {"type": "exception", "value": f"java.lang.Exception: {error}\n\tat mmcorej"}
        pairs = [(key.to_bytes(4, sys.byteorder), value) for key, value in self._arrays]
        return [json.dumps(reply).encode("iso-8859-1"), *itertools.chain.from_iterable(pairs)]

    def _connect(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"type": "none", "version": self._version}

    def _get_constructors(self, request: dict[str, Any]) -> dict[str, Any]:
        path = request["classpath"]
        return {"type": "none", "api": [{"name": path, "arguments": [], "return-type": "void"}]}

    def _constructor(self, request: dict[str, Any]) -> dict[str, Any]:
        path = request["classpath"]
        made = {CORE: lambda: self._core, VECTOR: list, METADATA: pymmcore.Metadata}[path]()
        if not request.get("new-port"):
            return self._keep(path, made)
        # A server of its own, in a thread of its own, answers for the object.
        another = BridgeServer(self._core, self._open_port)
        return {**another._keep(path, made), "port": self._open_port(another)}

    def _destructor(self, request: dict[str, Any]) -> dict[str, Any]:
        del self._objects[request["hash-code"]]
        return {"type": "none"}

    def _get_field(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._serialize(getattr(self._objects[request["hash-code"]][1], request["name"]))

    def _run_method(self, request: dict[str, Any]) -> dict[str, Any]:
        path, target = self._objects[request["hash-code"]]
        name, types = request["name"], tuple(request["argument-types"])
        if types not in METHODS[path][name]:
            raise TypeError(f"{path}.{name}{types} does not exist")
        arguments = [self._objects[a["hash-code"]][1] if isinstance(a, dict) else a for a in request["arguments"]]
        if path == VECTOR:
            return self._serialize({"add": target.append, "size": target.__len__}[name](*arguments))
        if name == "popNextTaggedImage":
            return self._serialize(target.pop_next_tagged_image())
        return self._serialize(getattr(target, name)(*arguments))

    def _serialize(self, value: Any) -> dict[str, Any]:
        if value is None:
            return {"type": "null"}
        if isinstance(value, str):
            return {"type": "string", "value": value}
        if isinstance(value, bool | int | float):
            return {"type": "primitive", "value": value}
        if isinstance(value, dict):
            return {"type": "object", "class": "JSONObject", "value": json.dumps(value)}
        if isinstance(value, np.ndarray):
            identifier = next(self._identifiers)
            self._arrays.append((identifier, value.tobytes()))
            return {"type": ARRAYS[value.dtype], "value": f"@{identifier:x}"}
        names = {"TaggedImage": TAGGED, "Configuration": CONFIGURATION, "PropertySetting": SETTING}
        return self._keep(names[type(value).__name__], value)

    def _keep(self, path: str, value: Any) -> dict[str, Any]:
        identifier = next(self._identifiers)
        self._objects[identifier] = (path, value)
        methods = [
            {"name": name, "arguments": list(types), "return-type": "java.lang.Object"}
            for name, overloads in METHODS[path].items()
            for types in overloads
        ]
        return {
            "type": "unserialized-object",
            "class": path,
            "hash-code": identifier,
            "interfaces": [path, "java.lang.Object"],
            "fields": FIELDS.get(path, []),
            "api": methods,
        }


def begin_serving(core: Any, version: str = VERSION) -> tuple[BridgeServer, int]:
    """Answer for a core in threads of this process; the first server, and the port that it is at."""
    context = zmq.Context()

    def open_port(server: BridgeServer) -> int:
        socket = context.socket(zmq.REP)
        port = int(socket.bind_to_random_port("tcp://127.0.0.1"))
        threading.Thread(target=_answer, args=(socket, server), daemon=True).start()
        return port

    server = BridgeServer(core, open_port, version)
    return server, open_port(server)


def serve(pipe: Connection, hardware: Path, version: str = VERSION) -> None:
    """Load a hardware file, tell the port through `pipe`, and answer until the process is ended.

    Told `hang`, the first server does not come back from the next exposure until it is told `go on`; told `asked`, it
    tells what it was asked since the last time.
    """
    from drivers.micromanager.core import headless_core

    core = headless_core(instrument(backend="micromanager", hardware=hardware, adapters=device_adapter_path()))
    server, port = begin_serving(core, version)
    pipe.send(port)
    with suppress(EOFError):
        _obey(pipe, server)


def _obey(pipe: Connection, server: BridgeServer) -> None:
    while True:
        match pipe.recv():
            case "hang":
                server.hanging.set()
                pipe.send("hangs")
            case "go on":
                server.hanging.clear()
                server.freed.set()
            case "asked":
                asked, server.asked = server.asked, []
                pipe.send(asked)


def _answer(socket: zmq.Socket[bytes], server: BridgeServer) -> None:
    """Answer at a socket, for ever."""
    while True:
        request, *_ = socket.recv_multipart()
        socket.send_multipart(server.answer(json.loads(request.decode("iso-8859-1"))))
