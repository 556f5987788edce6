"""Draws the pictures of docs/view.md: pages of a dataset, at the widths of a desktop and of a phone.

python -m tests.support.picture_the_view DATASET
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.a_view import viewing
from tests.support.browsing import DESKTOP, PHONE, Visit, browser
from tests.support.picture_the_page import keep

LOADED = "[...document.images].filter((one) => one.src).every((one) => one.complete)"


def main(dataset: Path) -> None:
    """Look at a night, and keep its gallery and an object of it."""
    with viewing([dataset]) as served, browser() as made:
        served.wait()
        (key,) = served.nights.shown
        gallery = f"/objects?night={key}&of_class=coccolith&sort=length&down=true"
        for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            visit = Visit(made, served.address, size, gallery)
            visit.page.emulate_media(color_scheme="dark")
            visit.page.locator(".tile a").first.wait_for()
            chosen = visit.page.locator(".tile a").nth(4).get_attribute("href") or ""
            for page, path in (("gallery", gallery), ("object", chosen)):
                visit.page.goto(served.address + path)
                visit.page.locator("main h1").wait_for()
                visit.until(LOADED)
                visit.page.wait_for_timeout(800)
                keep(f"view-{name}-{page}", visit.page.screenshot())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
