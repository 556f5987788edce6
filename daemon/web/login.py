"""The page that asks for the token, and the sessions that begin and end with it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib import resources
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from daemon.web.access import SESSION_S, Door
from daemon.web.answers import LOGIN_PAGE, body_of
from daemon.web.gate import COOKIE, LOGIN, address_of

MAX_NAME = 60


class Login:
    """Lets browsers in.

    Parameters
    ----------
    door
        who may see the page.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._page = (resources.files("daemon.web") / "page" / LOGIN_PAGE).read_text("utf-8")

    def routes(self) -> list[Route]:
        """Give the routes that every page has for it."""
        return [
            Route(LOGIN, self.show, methods=["GET"]),
            Route(LOGIN, self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    async def show(self, _: Request) -> Response:
        """Ask for the token."""
        return self._login_page(200, "")

    async def log_in(self, request: Request) -> Response:
        """Open a session for who knows the token."""
        if not self._door.guarded:
            return RedirectResponse("/", 303)
        typed = parse_qs((await body_of(request)).decode("utf-8", "replace"), max_num_fields=4)
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

    def who(self, request: Request) -> str:
        """Name who asks, for the record."""
        session = self._door.session(request.cookies.get(COOKIE, ""))
        return session.who if session is not None and session.who else f"page at {address_of(request)}"

    def _login_page(self, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        page = self._page.replace("{{message}}", html.escape(message))
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
