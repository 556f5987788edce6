"""A browser of this system, driven by a test; it notes where every request goes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.support.deadlines import DEADLINE_S

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
DESKTOP = (1360, 900)
PHONE = (390, 844)


def find_browser() -> str | None:
    """Path of a Chromium that is installed, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser without a profile."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


class Visit:
    """A page that is open: where it asked, and what it complained of."""

    def __init__(self, made: Browser, address: str, size: tuple[int, int] = DESKTOP, path: str = "/") -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        context = made.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=size == PHONE)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(1000 * DEADLINE_S)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address + path)

    def text(self, selector: str) -> str:
        """Text of an element as it reads."""
        return self.page.locator(selector).first.inner_text()

    def until(self, expression: str, seconds: float = DEADLINE_S) -> None:
        """Wait until something is true in the page, whose policy lets nothing be evaluated in it for long.

        What speaks of an element that is not drawn yet is not true yet.
        """
        end_s = time.monotonic() + seconds
        complaint = ""
        while True:
            try:
                if self.page.evaluate(expression):
                    return
            except Error as error:
                complaint = f" ({error.message})"
            assert time.monotonic() < end_s, f"not within {seconds} s: {expression}{complaint}"
            self.page.wait_for_timeout(20)
