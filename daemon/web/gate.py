"""What stands before every route of the page: strangers, other pages and large requests are refused there."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.web.access import Door

COOKIE = "lamelle-session"
MAX_URL_BYTES = 512
LOGIN = "/login"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with that, browsers send their own forms as of origin "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Middleware before everything: refuses large requests and strangers, and sets the headers of every answer.

    Parameters
    ----------
    application
        what lies behind.
    door
        who may see it.
    """

    def __init__(self, application: ASGIApp, door: Door) -> None:
        self._application = application
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in more if one[0] not in present)]
            await send(message)

        refusal = self._refusal(Request(scope))
        answer = self._application if refusal is None else refusal
        await answer(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        # Not `request.url`, which is put together from what a stranger writes: routes are found by this path, too.
        door, path = self._door, request.scope["path"]
        if request.method not in ("GET", "POST"):
            return PlainTextResponse("refused", 405, {"allow": "GET, POST"})
        if len(request.scope["raw_path"]) + len(request.scope["query_string"]) > MAX_URL_BYTES:
            return PlainTextResponse("the address is too long", 414)
        if not door.allows_host(request.headers.get("host", "")):
            return PlainTextResponse("this page answers to the names of its own computer only", 421)
        if request.method == "POST" and not _same_origin(request):
            return PlainTextResponse("that came from another page", 403)
        if not door.guarded or path == LOGIN:
            return None
        if door.session(request.cookies.get(COOKIE, "")) is not None:
            return None
        bearer = request.headers.get("authorization", "")
        if bearer:
            if (wait_s := door.wait_s(address_of(request))) > 0:
                return _wait(wait_s)
            if bearer.startswith("Bearer ") and door.knows(bearer.removeprefix("Bearer "), address_of(request)):
                return None
        if request.method == "GET" and path == "/":
            return RedirectResponse(LOGIN, 303)
        return PlainTextResponse("this needs the token", 401, {"www-authenticate": "Bearer"})


def address_of(request: Request) -> str:
    """Address that a request came from."""
    return "?" if request.client is None else request.client.host


def _same_origin(request: Request) -> bool:
    """Whether a request that changes something comes from this very page, or from no page at all but with a token."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("authorization", "").startswith("Bearer ")
    try:
        return urlsplit(origin).netloc == request.headers.get("host", "")
    except ValueError:
        return False


def _wait(wait_s: float) -> Response:
    return PlainTextResponse("too many wrong tokens; wait", 429, {"retry-after": f"{wait_s:.0f}"})
