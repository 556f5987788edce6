"""The morning page in a real browser: from the verdict to the planes of an object, and through a long gallery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from daemon.view.actions import FIELD_ACTIONS
from tests.support.a_view import viewing
from tests.support.accessibility import grave_findings
from tests.support.browsing import DESKTOP, PHONE, Visit, browser, find_browser
from tests.support.labelled_night import make_night
from tests.support.pictured_night import PLANES, make_pictured_night

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium is installed; the page was not seen in a browser"
)

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
TABLET = (820, 1180)
SHOWN = "[...document.querySelectorAll('.tile img')].filter((one) => one.complete && one.naturalWidth).length"
LINE = "document.querySelector('section .told').textContent"
BRIGHT = """(() => { const canvas = document.querySelector('.wells canvas');
    const { data } = canvas.getContext('2d').getImageData(14, 14, 10, 10);
    return data.reduce((sum, one) => sum + one, 0) / data.length; })()"""


@pytest.fixture
def made() -> Iterator[Browser]:
    with browser() as one:
        yield one


def stays_here(visit: Visit) -> None:
    """Nothing left this computer, and no script failed."""
    assert {urlsplit(url).hostname for url in visit.asked} == {"127.0.0.1"}
    assert visit.complaints == []


def test_from_the_verdict_to_the_planes_of_an_object_and_back(made: Browser, tmp_path: Path) -> None:
    with viewing([make_pictured_night(tmp_path / "d", night=HOSTILE)]) as served:
        served.wait()
        visit = Visit(made, served.address)
        page = visit.page
        visit.until("document.querySelector('h1')?.textContent.includes('5 of 6 fields recorded')")
        assert "Look at what kept 1 field of mini-slide 2" in visit.text(".needs")
        assert HOSTILE in visit.text("header"), "names stay text"
        page.locator("canvas[role=application]").first.focus()
        for key in ("ArrowRight", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        visit.until("document.querySelector('h1')?.textContent === 'Field 2: 3 objects'")
        assert "No picture of the whole field was kept" in visit.text(".note")
        page.keyboard.press("p")
        visit.until("document.querySelector('h1')?.textContent === 'Field 1: 3 objects'")
        assert page.locator(".note").count() == 0, "a picture of this field was kept"
        visit.until("document.querySelector('#layer img').naturalWidth === 256")
        assert page.locator("#boxes a").count() == 4
        page.locator("#boxes a").first.focus()
        visit.until("document.querySelector('.picture .told').textContent.includes('Emiliania huxleyi 0.99')")
        page.keyboard.press("Enter")
        visit.until("document.querySelector('h1')?.textContent === 'Emiliania huxleyi 0.99'")
        assert "3.00 µm" in visit.text(".beside")
        light = []
        page.keyboard.press("Home")
        for plane in range(PLANES):
            visit.until(
                f"document.querySelector('.picture .told').textContent.includes('Plane {plane + 1} of {PLANES}')"
            )
            visit.until(f"document.querySelector('.wells canvas').dataset.plane === '{plane}'")
            light.append(page.evaluate(BRIGHT))
            page.keyboard.press("ArrowRight")
        assert light.index(max(light)) == 2, "the sharpest plane is the brightest"
        address = page.url
        page.keyboard.press("n")
        visit.until("document.querySelector('h1')?.textContent === 'Gephyrocapsa 0.41'")
        assert "cut by the frame" in visit.text(".flags")
        page.go_back()
        visit.until("document.querySelector('h1')?.textContent === 'Emiliania huxleyi 0.99'")
    with viewing([tmp_path / "d"]) as again:
        again.wait()
        visit.page.goto(again.address + urlsplit(address).path)
        visit.until("document.querySelector('h1')?.textContent === 'Emiliania huxleyi 0.99'")
        stays_here(visit)


def test_fields_are_told_apart_chosen_on_the_map_and_judged_at_once(made: Browser, tmp_path: Path) -> None:
    with viewing([make_pictured_night(tmp_path / "d", dry=2)], actions=FIELD_ACTIONS) as served:
        served.wait()
        visit = Visit(made, served.address)
        page = visit.page
        visit.until("document.querySelector('h1')?.textContent.includes('2 not counted, 9 objects')")
        assert "none of 3 fields is counted, 1 skipped" in visit.text("article:nth-of-type(2) .state")
        assert [one.inner_text().strip() for one in page.locator(".legend .key:visible").all()] == [
            "\u00d7 skipped", "not counted",
        ]  # fmt: skip
        page.locator("article:nth-of-type(2) summary").click()
        visit.until(
            "document.querySelector('article:nth-of-type(2) .fields').textContent"
            ".startsWith('1 \u25a8 2 \u25a8 3 \u00d7')"
        )
        page.locator("article:nth-of-type(2) canvas").focus()
        page.keyboard.press("ArrowRight")
        visit.until(f"{LINE}.endsWith('field 1: not counted by the rule: oil lost; flagged dim; focus 0.25 \u00b5m')")
        page.locator("article:nth-of-type(1) canvas").focus()
        for key in ("ArrowRight", "Shift+ArrowRight"):
            page.keyboard.press(key)
        visit.until("document.querySelector('.chosen p')?.textContent.includes('2 fields chosen (1-2)')")
        page.locator(".chosen button", has_text="Do not count").click()
        assert "Mini-slide 1, fields 1-2" in visit.text("dialog")
        assert grave_findings(page) == []
        page.locator("dialog input").fill("a bubble <b>")
        page.keyboard.press("Enter")
        visit.until("document.querySelector('h1').textContent.includes('4 not counted, 3 objects')")
        visit.until("document.querySelector('#table-fields-not-counted') !== null")
        assert "a bubble <b>" in visit.text("main")
        page.locator("button.several").click()
        page.locator("article:nth-of-type(1) .all").click()
        page.locator(".chosen button", has_text="Take back").click()
        page.locator("dialog button", has_text="Take back").click()
        visit.until("document.querySelector('h1').textContent.includes('2 not counted, 9 objects')")
        assert "null" not in visit.text("main")
        stays_here(visit)


def test_a_long_gallery_holds_a_screen_of_tiles_whatever_its_length(made: Browser, tmp_path: Path) -> None:
    make_night(tmp_path / "long", fields=100, objects=40, night="long")
    make_pictured_night(tmp_path / "short")
    with viewing([tmp_path]) as served:
        served.wait()
        visit = Visit(made, served.address, path="/objects")
        page = visit.page
        visit.until("document.querySelector('#gallery-count')?.textContent === '4,015 objects'")
        visit.until("document.querySelectorAll('.tile').length > 20")
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        visit.until(f"{SHOWN} >= 15")
        last = page.locator(".tile a[data-index='4014']")
        last.wait_for()
        assert page.locator(".tile").count() < 150
        last.click()
        visit.until(
            "location.pathname.startsWith('/object/') && document.querySelector('h1').textContent !== 'Objects'"
        )
        page.go_back()
        last.wait_for()
        assert page.evaluate("scrollY") > 10_000, "one comes back to where one was"
        page.locator("select[name=taxon]").select_option("gephyrocapsa")
        visit.until("document.querySelector('#gallery-count')?.textContent === '5 objects'")
        visit.until(f"{SHOWN} === 5")
        page.locator(".tile a").first.click()
        visit.until("document.querySelector('.ways')?.textContent.includes('1 of 5')")
        assert "taxon=gephyrocapsa" in page.url
        stays_here(visit)


def test_it_fits_every_width_follows_the_system_and_keeps_nobody_out(made: Browser, tmp_path: Path) -> None:
    with viewing([make_pictured_night(tmp_path / "d", dry=2)], actions=FIELD_ACTIONS) as served:
        served.wait()
        key = served.key("N")
        visit = Visit(made, served.address, DESKTOP, "/objects")
        for path in (f"/night/{key}", f"/field/{key}/1/1", f"/object/{key}/1/1/1/0", "/objects"):
            visit.page.goto(served.address + path)
            for width, height in (DESKTOP, TABLET, PHONE):
                visit.page.set_viewport_size({"width": width, "height": height})
                visit.until("document.querySelector('main h1') !== null")
                visit.until(f"innerWidth === {width} && document.documentElement.scrollWidth <= innerWidth")
            for theme in ("light", "dark"):
                visit.page.emulate_media(color_scheme=theme)
                visit.until(f"document.documentElement.dataset.theme === '{theme}'")
                assert grave_findings(visit.page) == [], (theme, path)
        visit.page.evaluate("document.body.append(document.createElement('button'))")
        assert [one for one in grave_findings(visit.page) if "button-name" in one], "and it does look"
        stays_here(visit)
