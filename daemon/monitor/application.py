"""Routes of the page: each of them is guarded, small, and none leads out of the page's folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from daemon.config.model import CurveKeys
from daemon.live.follower import NightView
from daemon.live.order_client import give_order
from daemon.monitor.feed import MAX_BROWSERS, Feed
from daemon.protocols.sockets import seen_from_here
from daemon.system.errors import LamelleError
from daemon.web.access import Door
from daemon.web.answers import PageFiles, body_of, explain, fail, told
from daemon.web.gate import Guard
from daemon.web.login import Login
from daemon.web.morning import MORNING_PAGE, RUNNING_PAGE

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
        self._files = PageFiles("daemon.monitor")
        self._login = Login(door)

    def application(self) -> Starlette:
        """Everything behind the guard."""

        @asynccontextmanager
        async def life(_: Starlette) -> AsyncIterator[None]:
            self._feed.start()
            try:
                yield
            finally:
                await asyncio.to_thread(self._feed.close)
                if morning is not None:
                    await morning.close()

        morning = self._feed.place.morning
        application = Starlette(
            routes=[
                Route("/", self.home, methods=["GET"]),
                Route(RUNNING_PAGE, self.file, methods=["GET"]),
                Route(f"{RUNNING_PAGE}/{{name}}", self.file, methods=["GET"]),
                Route("/morning", self.morning, methods=["GET"]),
                Route("/stream", self.stream, methods=["GET"]),
                Route("/picture/field/{slide:int}/{field:int}/{view:int}", self.field_picture, methods=["GET"]),
                Route("/picture/object/{slide:int}/{field:int}/{number:int}", self.strip, methods=["GET"]),
                Route("/metrics", self.metrics, methods=["GET"]),
                Route("/order", self.order, methods=["POST"]),
                *self._login.routes(),
                *([] if morning is None else [Mount("/", morning)]),
            ],
            middleware=[Middleware(Guard, door=self._door)],
            exception_handlers={HTTPException: explain, Exception: fail},
            lifespan=life,
        )
        application.router.redirect_slashes = False
        return application

    async def home(self, request: Request) -> Response:
        """Give the page of the night while it runs, and lead to what it recorded once it is over."""
        over = await asyncio.to_thread(self._feed.is_over)
        return await (self.morning if over else self.file)(request)

    async def morning(self, request: Request) -> Response:
        """Lead to what the night recorded; where that cannot be shown, to the page that says why."""
        place = self._feed.place
        place.trouble = "" if place.morning is None else await place.morning.open()
        if place.morning is None or place.trouble:
            return (
                self._files.answer("index.html")
                if request.scope["path"] == "/"
                else RedirectResponse(RUNNING_PAGE, 303)
            )
        return RedirectResponse(MORNING_PAGE, 303)

    async def file(self, request: Request) -> Response:
        """Give a file of the page; there are no others than those read at the start."""
        return self._files.answer(request.path_params.get("name", "index.html"))

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
            return _order_told(403, accepted=False, message="this page takes no orders")
        try:
            asked = msgspec.json.decode(await body_of(request), type=AskedOrder)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _order_told(400, accepted=False, message="that is not an order")
        who, where = self._login.who(request), lambda: seen_from_here(control, self._place())
        try:
            answer = await asyncio.to_thread(give_order, where, self._keys, asked.name, who, asked.slide)
        except LamelleError as error:
            return _order_told(502, accepted=False, message=str(error))
        _log.info("order %s of %s: %s", asked.name, who, answer.message)
        return _order_told(200, accepted=answer.accepted, message=answer.message)

    def _picture(self, find: Callable[[NightView], bytes | None]) -> Response:
        with self._feed.watcher.lock:
            image = find(self._feed.watcher.view)
        if image is None:
            raise HTTPException(404)
        return Response(image, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


def _order_told(status: int, *, accepted: bool, message: str) -> Response:
    return told({"accepted": accepted, "message": message}, status)
