"""A web server of this computer that alerts and pings are sent to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "kX9-token"


class Target:
    """What arrived, in order: alerts as (kind, text), pings as their paths. `refusing` makes it answer 503."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.pings: list[str] = []
        self.refused = 0
        self.refusing = False
        self.port = 0

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.alerts]

    def write_addresses(self, folder: Path) -> dict[str, str]:
        """Files of addresses that lead here, and the keys of `alerts:` that name them."""
        (folder / "urls.txt").write_text(f"# the test's\njson://127.0.0.1:{self.port}/{SECRET}\n", encoding="utf-8")
        (folder / "dead-man.txt").write_text(f"http://127.0.0.1:{self.port}/ping/{SECRET}\n", encoding="utf-8")
        return {"urls": str(folder / "urls.txt"), "dead_man": str(folder / "dead-man.txt")}


@contextmanager
def alert_target() -> Iterator[Target]:
    target = Target()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if target.refusing:
                target.refused += 1
            else:
                target.messages.append(body)
                target.alerts.append((body["title"].removeprefix("lamelle: "), body["message"]))
            self.send_response(503 if target.refusing else 200)
            self.end_headers()

        def do_GET(self) -> None:
            target.pings.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        target.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield target
        finally:
            server.shutdown()
            thread.join()
