"""Routes of the page: each of them is guarded, small, and none leads out of the page's folder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated, Literal
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon.config.model import CurveKeys
from daemon.live.follower import NightView
from daemon.live.order_client import give_order
from daemon.monitor.access import SESSION_S, Door
from daemon.monitor.feed import MAX_BROWSERS, Feed
from daemon.monitor.gate import COOKIE, LOGIN, Guard, address_of
from daemon.protocols.sockets import seen_from_here
from daemon.system.errors import LamelleError

MAX_BODY_BYTES = 2048
MAX_NAME = 60
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
SCRIPT = "text/javascript; charset=utf-8"

_log = logging.getLogger("lamelle.monitor")


class AskedOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the page wants done."""

    name: Literal["pause", "resume", "skip", "stop"]
    slide: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None


class Page:
    """What the routes answer.

    Parameters
    ----------
    feed
        the night.
    door
        who may see it.
    keys
        for the socket that takes orders.
    place
        endpoint of snapshots.
    registry
        what `/metrics` tells.
    """

    def __init__(
        self, feed: Feed, door: Door, keys: CurveKeys | None, place: Callable[[], str], registry: CollectorRegistry
    ) -> None:
        self._feed = feed
        self._door = door
        self._keys = keys
        self._place = place
        self._registry = registry
        folder = resources.files("daemon.monitor") / "page"
        kinds = FILES | {one.name: SCRIPT for one in folder.iterdir() if one.name.endswith(".js")}
        self._files = {name: ((folder / name).read_bytes(), kind) for name, kind in kinds.items()}
        self._login = (folder / "login.html").read_text("utf-8")

    def application(self) -> Starlette:
        """Everything behind the guard."""

        @asynccontextmanager
        async def life(_: Starlette) -> AsyncIterator[None]:
            self._feed.start()
            try:
                yield
            finally:
                await asyncio.to_thread(self._feed.close)

        application = Starlette(
            routes=[
                Route("/", self.file, methods=["GET"]),
                Route("/file/{name}", self.file, methods=["GET"]),
                Route("/stream", self.stream, methods=["GET"]),
                Route("/picture/field/{slide:int}/{field:int}/{view:int}", self.field_picture, methods=["GET"]),
                Route("/picture/object/{slide:int}/{field:int}/{number:int}", self.strip, methods=["GET"]),
                Route("/metrics", self.metrics, methods=["GET"]),
                Route("/order", self.order, methods=["POST"]),
                Route(LOGIN, self.show_login, methods=["GET"]),
                Route(LOGIN, self.log_in, methods=["POST"]),
                Route("/logout", self.log_out, methods=["POST"]),
            ],
            middleware=[Middleware(Guard, door=self._door)],
            exception_handlers={HTTPException: _explain, Exception: _fail},
            lifespan=life,
        )
        application.router.redirect_slashes = False
        return application

    async def file(self, request: Request) -> Response:
        """Give a file of the page; there are no others than those read at the start."""
        held = self._files.get(request.path_params.get("name", "index.html"))
        if held is None:
            raise HTTPException(404)
        return Response(held[0], media_type=held[1], headers={"cache-control": "no-cache"})

    async def stream(self, _: Request) -> Response:
        """Stream everything, then every change."""
        if len(self._feed.browsers) >= MAX_BROWSERS:
            return PlainTextResponse(f"{MAX_BROWSERS} pages are open already; close one", 503)
        return StreamingResponse(self._feed.stream(), media_type="text/event-stream")

    async def field_picture(self, request: Request) -> Response:
        """Give a view of a mini-slide's last field; not of an older one."""
        slide, field, view = (request.path_params[name] for name in ("slide", "field", "view"))

        def find(known: NightView) -> bytes | None:
            overview, images = known.overviews.get(slide, (None, ()))
            return images[view] if overview is not None and overview.field == field and view < len(images) else None

        return self._picture(find)

    async def strip(self, request: Request) -> Response:
        """Give the focus strip of one of the newest objects."""
        slide, field, number = (request.path_params[name] for name in ("slide", "field", "number"))

        def find(known: NightView) -> bytes | None:
            strips = (
                strip
                for body, images in known.specimens
                if (body.slide, body.field) == (slide, field)
                for specimen, strip in zip(body.specimens, images, strict=True)
                if specimen.number == number
            )
            return next(strips, None)

        return self._picture(find)

    async def metrics(self, _: Request) -> Response:
        """Return the numbers, as Prometheus reads them."""
        text = await asyncio.to_thread(generate_latest, self._registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def order(self, request: Request) -> Response:
        """Pass an order on to the night, and its answer back."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415)
        with self._feed.watcher.lock:
            control, allowed = self._feed.watcher.view.control, self._feed.link().orders
        if not allowed or control is None:
            return _told(403, accepted=False, message="this page takes no orders")
        try:
            asked = msgspec.json.decode(await _body(request), type=AskedOrder)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _told(400, accepted=False, message="that is not an order")
        who, where = self._who(request), lambda: seen_from_here(control, self._place())
        try:
            answer = await asyncio.to_thread(give_order, where, self._keys, asked.name, who, asked.slide)
        except LamelleError as error:
            return _told(502, accepted=False, message=str(error))
        _log.info("order %s of %s: %s", asked.name, who, answer.message)
        return _told(200, accepted=answer.accepted, message=answer.message)

    async def show_login(self, _: Request) -> Response:
        """Ask for the token."""
        return self._login_page(200, "")

    async def log_in(self, request: Request) -> Response:
        """Open a session for who knows the token."""
        if not self._door.guarded:
            return RedirectResponse("/", 303)
        typed = parse_qs((await _body(request)).decode("utf-8", "replace"), max_num_fields=4)
        token, who = (typed.get(name, [""])[0].strip() for name in ("token", "who"))
        address = address_of(request)
        if (wait_s := self._door.wait_s(address)) > 0:
            return self._login_page(429, f"Wait {wait_s:.0f} s, then try again.", {"retry-after": f"{wait_s:.0f}"})
        if not self._door.knows(token, address):
            return self._login_page(401, "That is not the token.")
        name = re.sub(r"[^\w .,@'-]", "", who)[:MAX_NAME].strip()
        answer = RedirectResponse("/", 303)
        session = self._door.open_session(name)
        answer.set_cookie(COOKIE, session, max_age=int(SESSION_S), httponly=True, samesite="strict", path="/")
        return answer

    async def log_out(self, request: Request) -> Response:
        """End a session."""
        self._door.close_session(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(LOGIN, 303)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    def _picture(self, find: Callable[[NightView], bytes | None]) -> Response:
        with self._feed.watcher.lock:
            image = find(self._feed.watcher.view)
        if image is None:
            raise HTTPException(404)
        return Response(image, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    def _who(self, request: Request) -> str:
        session = self._door.session(request.cookies.get(COOKIE, ""))
        return session.who if session is not None and session.who else f"page at {address_of(request)}"

    def _login_page(self, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        page = self._login.replace("{{message}}", html.escape(message))
        # Nothing but this page is served without the token, so its style stands in it, allowed by its hash.
        style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        more = {"content-security-policy": policy, **(headers or {})}
        return Response(page, status, more, "text/html; charset=utf-8")


async def _body(request: Request) -> bytes:
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


def _told(status: int, *, accepted: bool, message: str) -> Response:
    body = msgspec.json.encode({"accepted": accepted, "message": message})
    return Response(body, status, media_type="application/json")


async def _explain(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return PlainTextResponse({404: "there is nothing here", 413: "that is too large"}.get(status, "refused"), status)


async def _fail(_: Request, error: Exception) -> Response:
    _log.error("a request failed", exc_info=error)
    return PlainTextResponse("the monitor failed at this; its log says why", 500)
