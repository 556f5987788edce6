"""The log of one process: a JSON object a line, in files whose size is bounded. Written with the standard `logging`.

Each process writes its own file, `log/PROCESS.jsonl` in the run folder, older ones `PROCESS.jsonl.1` and so on. Every
line reaches the operating system before the call returns, so a killed process loses at most the line it was writing.
What a caller passes as `extra` becomes the line's `fields`:

    logging.getLogger("lamelle.microscope").warning("stage stuck", extra={"slide": 3, "field": 17})
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from daemon.records.names import LOG
from daemon.system.durable_files import make_folder

MAX_BYTES = 8 << 20
FILES_KEPT = 4
"""Bound of one file and how many older ones are kept: at most 40 MB a process."""
MAX_TEXT = 16_000

TALKATIVE = "onnx_ir", "onnxscript"
"""Loggers of libraries that tell of every step of their work; of these only warnings are written."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Logbook:
    """Sends everything this process logs, and what would end it, to its file. A context manager, one a process.

    An error that leaves the context is written with its traceback, since nobody else could any more.

    Parameters
    ----------
    run
        the run folder.
    process
        the process's role, a word that is safe as a file's name.
    level
        least level that is written.
    """

    def __init__(
        self, run: Path, process: str, level: int = logging.INFO, max_bytes: int = MAX_BYTES, kept: int = FILES_KEPT
    ) -> None:
        if not process.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"process {process!r} cannot name a file; use letters, digits, - and _")
        folder = run / LOG
        make_folder(folder)
        self.path = folder / f"{process}.jsonl"
        _end_torn_line(self.path)
        self._handler = _Handler(self.path, max_bytes, kept)
        self._handler.setFormatter(_JsonLine(process))
        self._level = level

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = (root.level, sys.excepthook, threading.excepthook)
        root.addHandler(self._handler)
        root.setLevel(self._level)
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            _log_ending(error)
        root = logging.getLogger()
        level, sys.excepthook, threading.excepthook = self._before
        logging.captureWarnings(capture=False)
        root.setLevel(level)
        root.removeHandler(self._handler)
        self._handler.close()


class _Handler(logging.Handler):
    """Unbuffered and rotating. A full disk costs log lines, never the night: the next line written tells how many."""

    def __init__(self, path: Path, max_bytes: int, kept: int) -> None:
        super().__init__()
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._lost = 0
        self._file = path.open("ab", buffering=0)

    def emit(self, record: logging.LogRecord) -> None:
        if self._lost:
            record.lost_lines = self._lost
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            self._write(line)
        except OSError:
            self._lost += 1
        except (TypeError, ValueError):
            self.handleError(record)
        else:
            self._lost = 0

    def close(self) -> None:
        self._file.close()
        super().close()

    def _write(self, line: bytes) -> None:
        if self._file.tell() + len(line) > self._max_bytes and self._file.tell() > 0:
            self._rotate()
        if self._lost:
            _end_torn_line(self._path)
        written = self._file.write(line)
        if written != len(line):
            raise OSError(f"{written} of {len(line)} bytes were written")

    def _rotate(self) -> None:
        self._file.close()
        # Where the file cannot be renamed (Windows, while somebody reads it) it grows until it can.
        with suppress(OSError):
            for number in range(self._kept - 1, 0, -1):
                if self._older(number).exists():
                    self._older(number).replace(self._older(number + 1))
            self._path.replace(self._older(1))
        self._file = self._path.open("ab", buffering=0)

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class _JsonLine(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process
        self._encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "utc": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "monotonic_s": time.monotonic(),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": os.getpid(),
            "name": record.name,
            "message": record.getMessage()[:MAX_TEXT],
            "fields": {key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-MAX_TEXT:]
        return self._encoder.encode(line).decode()


def _end_torn_line(path: Path) -> None:
    """End the line that a killed process left unfinished, so that the next one stands on its own."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            stream.write(b"\n")


def _log_ending(error: BaseException) -> None:
    logging.getLogger("lamelle").critical("the process ends with an error", exc_info=error)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log_ending(error)
    sys.__excepthook__(kind, error, trace)


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    thread = arguments.thread.name if arguments.thread is not None else "?"
    logging.getLogger("lamelle").critical("a thread ended with an error", exc_info=error, extra={"thread_name": thread})
    threading.__excepthook__(arguments)
