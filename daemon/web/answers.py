"""What every page answers alike: its files, JSON, and what it says where there is nothing, or too much."""

from __future__ import annotations

import json
import logging
from importlib import resources

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

MAX_BODY_BYTES = 2048
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
LOGIN_PAGE = "login.html"
NOT_FILES = (LOGIN_PAGE,)
"""Served by no route of files: a route of its own fills it in."""

_log = logging.getLogger("lamelle.web")


class PageFiles:
    """The files of a page: those that all pages share, and its own; read once, there are no others.

    Parameters
    ----------
    room
        package whose folder `page` holds its own, such as "daemon.monitor".
    """

    def __init__(self, room: str) -> None:
        folders = [resources.files(package) / "page" for package in ("daemon.web", room)]
        self._files = {
            one.name: (one.read_bytes(), KINDS[ending])
            for folder in folders
            for one in folder.iterdir()
            if (ending := "." + one.name.rpartition(".")[2]) in KINDS and one.name not in NOT_FILES
        }

    def answer(self, name: str) -> Response:
        """Give a file; raises `HTTPException` 404 where there is none of that name."""
        held = self._files.get(name)
        if held is None:
            raise HTTPException(404)
        return Response(held[0], media_type=held[1], headers={"cache-control": "no-cache"})


def told(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON; names of files that are not of Unicode are escaped."""
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:
        body = json.dumps(msgspec.to_builtins(value, str_keys=True)).encode()
    return Response(body, status, headers, media_type="application/json")


def said(text: str, status: int) -> Response:
    """Answer with a sentence; names of files that are not of Unicode are escaped."""
    return PlainTextResponse(text.encode("utf-8", "backslashreplace"), status)


async def body_of(request: Request) -> bytes:
    """Body of a request; raises 413 once it is larger than anything that may come."""
    taken = b""
    try:
        async for chunk in request.stream():
            taken += chunk
            if len(taken) > MAX_BODY_BYTES:
                raise HTTPException(413)
    except ClientDisconnect as error:
        raise HTTPException(400) from error
    return taken


async def explain(_: Request, error: Exception) -> Response:
    """Say in words why there is no answer."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return PlainTextResponse({404: "there is nothing here", 413: "that is too large"}.get(status, "refused"), status)


async def fail(_: Request, error: Exception) -> Response:
    """Say that a request failed; why stands in the log."""
    _log.error("a request failed", exc_info=error)
    return PlainTextResponse("the page failed at this; its log says why", 500)
