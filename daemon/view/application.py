"""Routes of the morning page: each is guarded and small, and leads to what nights hold and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from daemon.dataset.reader import Dataset
from daemon.records.names import inside, picture_file
from daemon.records.records import FieldSecured, FieldSkipped
from daemon.system.errors import DamagedFile, LamelleError, Refused
from daemon.view.actions import Action, ActionTarget
from daemon.view.fields import find_field, tell_field, tell_object
from daemon.view.night_told import tell_in_short, tell_night
from daemon.view.nights import ShownNight, ShownNights
from daemon.view.objects import AskedObjects, ShownPlace
from daemon.view.pixels import FieldPixels, FieldPlace
from daemon.web.access import Door
from daemon.web.answers import PageFiles, body_of, explain, fail, said, told
from daemon.web.gate import Guard
from daemon.web.login import Login
from daemon.web.morning import MORNING_PAGE, RunningNight

LARGEST = 10**9
"""No number in an address is larger."""
MOST_AT_ONCE = 400
"""Objects that are told of in one answer."""
KEPT_S = 600
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A report is a file that somebody else may have written: nothing in it runs, and it loads nothing."""
Answer = TypeVar("Answer")
_log = logging.getLogger("lamelle.view")


class AskedAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person wants done about fields or an object of a night, by its key, and what was typed."""

    night: str
    slide: int
    fields: str
    attempt: int | None = None
    number: int | None = None
    typed: str = ""


class _Found(NamedTuple):
    """A night, and an attempt at a field of it."""

    night: ShownNight
    field: FieldSecured


class MorningPage:
    """What the routes answer.

    Parameters
    ----------
    nights
        that are looked at.
    door
        who may see them.
    actions
        what a person may do, beside looking.
    running
        how the night stands that another page of the same server follows; None while it knows of none.
    """

    def __init__(
        self,
        nights: ShownNights,
        door: Door,
        actions: Sequence[Action] = (),
        running: Callable[[], RunningNight | None] = lambda: None,
    ) -> None:
        self._nights = nights
        self._running = running
        self._door = door
        self._actions = {one.name: one for one in actions}
        self._pixels = FieldPixels()
        self._files = PageFiles("daemon.view")
        self._login = Login(door)

    def application(self) -> Starlette:
        """Everything behind the guard, with the login."""

        @asynccontextmanager
        async def life(_: Starlette) -> AsyncIterator[None]:
            self.start()
            try:
                yield
            finally:
                await asyncio.to_thread(self.close)

        application = Starlette(
            routes=[*self._routes(), *self._login.routes()],
            middleware=[Middleware(Guard, door=self._door)],
            exception_handlers=HANDLERS,
            lifespan=life,
        )
        application.router.redirect_slashes = False
        return application

    def start(self) -> None:
        """Begin to read the nights."""
        self._nights.start()

    def close(self) -> None:
        """Read no more, and let go of files."""
        self._nights.close()
        self._pixels.close()

    def pages(self) -> Starlette:
        """Everything but guard and login, for a server that has them; start and close it beside."""
        pages = Starlette(routes=self._routes(), exception_handlers=HANDLERS)
        pages.router.redirect_slashes = False
        return pages

    def _routes(self) -> list[Route]:
        field = "{key}/{slide:int}/{field:int}"
        whole = f"{field}/{{attempt:int}}/{{number:int}}"
        shells = (
            "/",
            MORNING_PAGE,
            "/objects",
            "/night/{key}",
            f"/field/{field}",
            f"/field/{field}/{{attempt:int}}",
            f"/object/{whole}",
        )
        return [
            *(Route(path, self.shell, methods=["GET"]) for path in shells),
            Route("/file/{name}", self.file, methods=["GET"]),
            Route("/data/running", self.running, methods=["GET"]),
            Route("/data/nights", self.nights, methods=["GET"]),
            Route("/data/night/{key}", self.night, methods=["GET"]),
            Route("/data/objects", self.objects, methods=["GET"]),
            Route("/data/choices", self.choices, methods=["GET"]),
            Route(f"/data/field/{field}", self.field, methods=["GET"]),
            Route(f"/data/field/{field}/{{attempt:int}}", self.field, methods=["GET"]),
            Route(f"/data/object/{whole}", self.object, methods=["GET"]),
            Route(f"/picture/field/{field}/{{attempt:int}}", self.field_picture, methods=["GET"]),
            Route(f"/picture/object/{whole}/{{view}}", self.tile, methods=["GET"]),
            Route(f"/picture/plane/{whole}/{{channel:int}}/{{plane:int}}", self.plane, methods=["GET"]),
            Route("/report/{key}", self.report, methods=["GET"]),
            Route("/paper/{key}", self.paper, methods=["GET"]),
            Route("/act/{name}", self.act, methods=["POST"]),
        ]

    async def shell(self, _: Request) -> Response:
        """Give the page, which finds out by its address what to show."""
        return self._files.answer("index.html")

    async def file(self, request: Request) -> Response:
        """Give a file of the page."""
        return self._files.answer(request.path_params["name"])

    async def running(self, _: Request) -> Response:
        """Tell how the night stands that another page follows."""
        running = self._running()
        return told({"night": None if running is None else running._asdict()})

    async def nights(self, _: Request) -> Response:
        """Tell of each night how it stands."""
        nights = self._nights
        return told(
            {
                "version": nights.version,
                "reading": nights.reading,
                "notes": nights.notes,
                "nights": [tell_in_short(one) for one in nights.shown.values()],
            }
        )

    async def night(self, request: Request) -> Response:
        """Tell everything of a night but its objects."""
        return told(tell_night(self._night(request)) | {"actions": self._offered("field")})

    async def objects(self, request: Request) -> Response:
        """Tell of the objects that are chosen, a page of them."""
        asked = dict(request.query_params)
        first, count = _whole(asked.pop("first", "0")), _whole(asked.pop("count", "100"))
        choice, index = _choice(asked), self._nights.index
        rows = await asyncio.to_thread(index.choose, choice)
        shown = index.shown(rows[first : first + min(count, MOST_AT_ONCE)])
        reading = self._nights.gathering
        return told({"reading": reading, "total": len(rows), "first": first, "objects": shown})

    async def choices(self, request: Request) -> Response:
        """Tell what there is to choose from."""
        nights = self._nights
        states = (one.seen.polarizations for one in nights.shown.values() if one.seen is not None)
        return told(
            {"polarizations": next((one for one in states if one), ())}
            | nights.index.facets(request.query_params.get("night", ""))
        )

    async def field(self, request: Request) -> Response:
        """Tell everything of a field."""
        night, index = self._night(request), self._nights.index

        def tell(dataset: Dataset) -> dict[str, Any] | None:
            one = self._attempt(dataset, request)
            return None if one is None else tell_field(dataset, night, index, one)

        answer = await self._read(night, tell)
        if answer["state"] != "skipped":
            answer |= await self._scale(night, answer) | {"neighbours": self._neighbours(night, answer)}
        return told(answer | {"actions": self._offered("field")})

    async def object(self, request: Request) -> Response:
        """Tell everything of an object, and which comes before and after it among those that are chosen."""
        night, index = self._night(request), self._nights.index
        choice = (
            _choice(dict(request.query_params)) if request.query_params else AskedObjects(night=night.key, kept="all")
        )
        slide, field, attempt, number = self._numbers(request, "slide", "field", "attempt", "number")

        def tell(dataset: Dataset) -> dict[str, Any] | None:
            one = find_field(dataset, slide, field, attempt)
            return tell_object(dataset, night, index, one, number) if isinstance(one, FieldSecured) else None

        answer = await self._read(night, tell)
        answer |= await self._scale(night, answer)
        row = index.row_of(ShownPlace(night.key, slide, field, attempt, number))
        order = await asyncio.to_thread(index.choose, choice)
        answer["order"] = index.beside(order, row)
        return told(answer | {"actions": self._offered("object")})

    async def field_picture(self, request: Request) -> Response:
        """Give the picture of a field that was kept; where none was, one of its objects where they lie."""
        night = self._night(request)

        def path(dataset: Dataset) -> Path | None:
            one = self._attempt(dataset, request)
            if not isinstance(one, FieldSecured):
                return None
            name = picture_file(one.slide, one.field, one.attempt)
            return inside(dataset.folder, name) if name in {file.name for file in one.files} else Path()

        kept = await self._read(night, path)
        if kept == Path():
            return _picture(await asyncio.to_thread(self._pixels.field, self._frame(night, request)))
        return _picture(await asyncio.to_thread(_jpeg_of, kept))

    async def tile(self, request: Request) -> Response:
        """Give the small picture of an object."""
        frame, number = self._frame(self._night(request), request), self._numbers(request, "number")[0]
        if await request.is_disconnected():
            return Response(status_code=499)  # who scrolled on wants it no more
        return _picture(await asyncio.to_thread(self._pixels.tile, frame, number, request.path_params["view"]))

    async def plane(self, request: Request) -> Response:
        """Give a plane of an object."""
        frame = self._frame(self._night(request), request)
        number, channel, plane = self._numbers(request, "number", "channel", "plane")
        return _picture(await asyncio.to_thread(self._pixels.plane, frame, number, channel, plane))

    async def report(self, request: Request) -> Response:
        """Give the report of a night."""
        return self._report(request, ".html", "text/html; charset=utf-8")

    async def paper(self, request: Request) -> Response:
        """Give the report of a night on paper."""
        return self._report(request, ".pdf", "application/pdf")

    async def act(self, request: Request) -> Response:
        """Do what a person wants, and tell what came of it."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415)
        action = self._actions.get(request.path_params["name"])
        if action is None:
            raise HTTPException(404)
        try:
            asked = msgspec.json.decode(await body_of(request), type=AskedAction)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return told({"done": False, "message": "that is nothing that can be done"}, 400)
        night = self._nights.shown.get(asked.night)
        if night is None:
            raise HTTPException(404)
        target, who = (
            ActionTarget(night.folder, asked.slide, asked.fields, asked.attempt, asked.number),
            self._login.who(request),
        )
        try:
            message = await asyncio.to_thread(action.do, target, who, asked.typed)
        except Refused as error:
            return told({"done": False, "message": str(error)}, 409)
        night.hurry()
        _log.info("%s by %s: %s", action.name, who, message)
        return told({"done": True, "message": message})

    def _offered(self, of: str) -> list[dict[str, str]]:
        return [
            {"name": one.name, "words": one.words, "of": one.of, "asks": one.asks}
            for one in self._actions.values()
            if one.of == of
        ]

    def _night(self, request: Request) -> ShownNight:
        night = self._nights.shown.get(request.path_params["key"])
        if night is None:
            raise HTTPException(404)
        return night

    @staticmethod
    def _numbers(request: Request, *names: str) -> tuple[int, ...]:
        numbers = tuple(request.path_params[name] for name in names)
        if max(numbers) > LARGEST:
            raise HTTPException(404)
        return numbers

    def _attempt(self, dataset: Dataset, request: Request) -> FieldSecured | FieldSkipped | None:
        slide, field = self._numbers(request, "slide", "field")
        attempt = self._numbers(request, "attempt")[0] if "attempt" in request.path_params else None
        return find_field(dataset, slide, field, attempt)

    def _frame(self, night: ShownNight, request: Request) -> FieldPlace:
        return FieldPlace(night.folder, night.night, *self._numbers(request, "slide", "field", "attempt"))

    async def _read(self, night: ShownNight, read: Callable[[Dataset], Answer | None]) -> Answer:
        """Read something of a night's dataset in a thread; there is nothing here where that is None."""

        def open_and_read() -> Answer | None:
            with Dataset.open(night.folder) as dataset, dataset.unchanging():
                return read(dataset)

        found = await asyncio.to_thread(open_and_read)
        if found is None:
            raise HTTPException(404)
        return found

    async def _scale(self, night: ShownNight, told_of: dict[str, Any]) -> dict[str, Any]:
        """Say how large a pixel is, or why the pixels cannot be read."""
        frame = FieldPlace(night.folder, night.night, told_of["slide"], told_of["field"], told_of["attempt"])
        try:
            provenance = await asyncio.to_thread(self._pixels.provenance, frame)
        except (DamagedFile, OSError) as error:
            return {"pixel_um": None, "damage": str(error)}
        return {"pixel_um": provenance.pixel_um, "damage": ""}

    def _neighbours(self, night: ShownNight, told_of: dict[str, Any]) -> list[int | None]:
        """Give the numbers of the fields before and after one on its mini-slide."""
        slides = () if night.seen is None else night.seen.slides
        numbers = [
            field.field
            for one in slides
            if one.slide == told_of["slide"]
            for field in one.fields
            if field.state != "open"
        ]
        before = [number for number in numbers if number < told_of["field"]]
        after = [number for number in numbers if number > told_of["field"]]
        return [max(before, default=None), min(after, default=None)]

    def _report(self, request: Request, suffix: str, kind: str) -> Response:
        path = self._night(request).report(suffix)
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type=kind, headers={"content-security-policy": REPORT_POLICY})


def _choice(asked: dict[str, str]) -> AskedObjects:
    try:
        return msgspec.convert(asked, AskedObjects, strict=False)
    except msgspec.ValidationError as error:
        raise HTTPException(400) from error


def _whole(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text[:12]) > LARGEST:
        raise HTTPException(400)
    return int(text)


def _picture(image: bytes | None) -> Response:
    if image is None:
        raise HTTPException(404)
    return Response(image, media_type="image/jpeg", headers={"cache-control": f"private, max-age={KEPT_S}"})


def _jpeg_of(path: Path) -> bytes:
    try:
        image = path.read_bytes()
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror}); fetch it again from the recorder") from error
    if not image.startswith(b"\xff\xd8"):
        raise DamagedFile(f"{path} is no picture; fetch it again from the recorder")
    return image


async def _damage(_: Request, error: Exception) -> Response:
    """Say in a sentence what is wrong with a file; the page shows it where the picture would be."""
    if isinstance(error, OSError) and error.filename is not None:
        return said(f"{error.filename} cannot be read ({error.strerror}); make it readable", 422)
    return said(str(error), 422)


HANDLERS = {HTTPException: explain, LamelleError: _damage, OSError: _damage, Exception: fail}
"""What is said where there is no answer."""
