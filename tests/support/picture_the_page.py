"""Draws the pictures of docs/monitor.md: the page of a played night, at the widths of a desktop and of a phone.

python -m tests.support.picture_the_page
"""

from __future__ import annotations

import io
import threading
import time

from PIL import Image

from daemon.monitor.feed import Feed
from daemon.records.events import EventName
from daemon.web.access import Door
from tests.support.a_monitor import TOKEN, serving
from tests.support.browsing import DESKTOP, PHONE, Visit, browser
from tests.support.places import ROOT
from tests.support.played_night import PlayedNight, Steward

INTO = ROOT / "docs" / "images"
FIELDS = 200
BEGAN_S = 17.5 * 560
VIEWS = {
    "field": "#field", "objects": "#objects", "slides": "#slides", "counts": "#counts",
    "sizes": "#sizes", "drift": "#drift", "events": "#events", "machine": "#machine",
}  # fmt: skip
COLOURS = 256


def main() -> None:
    """Play a night, look at it, keep what is seen."""
    began = time.time() - BEGAN_S
    with Steward() as steward, PlayedNight(began, FIELDS, 1024, 9, steward.endpoint, places=7) as night:
        play(night)
        ended = threading.Event()
        beating = threading.Thread(target=beat, args=(night, ended))
        beating.start()
        with serving(lambda: night.endpoint, control=True) as served, browser() as made:
            await_fields(night, served.feed)
            for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
                visit = Visit(made, served.address, size)
                ready(visit)
                keep(f"page-{name}", visit.page.screenshot())
                visit.page.locator(".bar-top").evaluate("one => { one.style.position = 'static' }")
                for view, selector in VIEWS.items():
                    keep(f"page-{name}-{view}", visit.page.locator(selector).screenshot())
            visit = Visit(made, served.address)
            ready(visit)
            visit.page.locator("#theme").click()
            visit.page.wait_for_timeout(300)
            keep("page-light", visit.page.screenshot())
            visit.page.locator("#theme").click()
            visit.page.locator("#orders button", has_text="Skip").click()
            keep("page-order", visit.page.locator("dialog").screenshot())
        with serving(lambda: night.endpoint, Door(TOKEN)) as served, browser() as made:
            keep("page-login", Visit(made, served.address, PHONE).page.screenshot())
        ended.set()
        beating.join()


def play(night: PlayedNight) -> None:
    """Everything that a night may tell."""
    night.play(200, pictures=False)
    night.play(60, pictures=False)
    night.fault(
        "warning", "StageStuck", "XY did not arrive at 40012.5, 20110.2 um within 10 s; commanding again", 2, 61
    )
    night.play(70, pictures=False)
    for field in (131, 132):
        night.fault("warning", "FrameFault", "frame 7 of 18 never came; commanding again", 2, field)
        night.skip("frame 7 of 18 never came, three times")
    night.play(68, pictures=False)
    night.play(20, pictures=False)
    night.tell("warning", EventName.PAUSED, "the spool is full; the light is off, the night goes on by itself")
    night.utc += 900
    night.tell("info", EventName.RESUMED, "what kept the night has gone")
    night.play(130, pictures=False)
    for _ in range(7):
        night.play(1)


def beat(night: PlayedNight, ended: threading.Event) -> None:
    """Give signs of life, as a night does."""
    while not ended.wait(0.5):
        night.counters()


def await_fields(night: PlayedNight, feed: Feed) -> None:
    """Wait until the monitor knows them all."""
    while len(feed.watcher.view.fields) < len(night.done):
        time.sleep(0.05)


def ready(visit: Visit) -> None:
    """Wait until everything is drawn."""
    visit.page.wait_for_selector("#tiles button")
    visit.until("[...document.images].every(one => one.complete)")
    visit.page.wait_for_timeout(800)


def keep(name: str, png: bytes) -> None:
    """Write a picture, in few colours so that it is small."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        INTO / f"{name}.png", optimize=True
    )


if __name__ == "__main__":
    main()
