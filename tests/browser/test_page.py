"""The page in a real browser: it shows a night as it happens, steers it, and survives whatever befalls the night."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from daemon.records.states import NightState
from daemon.system.errors import Refused
from daemon.web.access import Door
from tests.support.a_monitor import TOKEN, Served, serving
from tests.support.accessibility import grave_findings
from tests.support.browsing import PHONE, Visit, browser, find_browser
from tests.support.deadlines import DEADLINE_S
from tests.support.pictured_night import make_pictured_night
from tests.support.played_night import SAMPLES, PlayedNight, Steward

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium is installed; the page was not seen in a browser"
)

HOSTILE = '<img src=x onerror="document.title=1">'
OFFSET = "parseFloat(document.querySelector('#bench .window img').style.left)"


@pytest.fixture
def made() -> Iterator[Browser]:
    with browser() as one:
        yield one


def stays_here(visit: Visit) -> None:
    """Nothing left this computer, and no script failed."""
    hosts = {urlsplit(url).hostname for url in visit.asked}
    assert hosts == {"127.0.0.1"}
    assert visit.complaints == []


def knows(night: PlayedNight, served: Served) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not (served.feed.watcher.joined and len(served.feed.watcher.view.fields) >= len(night.done)):
        assert time.monotonic() < end_s, served.feed.watcher.trouble
        time.sleep(0.02)


def until_running(night: PlayedNight, visit: Visit, expression: str) -> None:
    """Wait until something is true in a page while the night goes on telling its counters."""
    end_s = time.monotonic() + DEADLINE_S
    while not visit.page.evaluate(expression):
        assert time.monotonic() < end_s, expression
        night.counters()
        visit.page.wait_for_timeout(100)


def test_new_fields_appear_at_once_and_a_reload_restores_everything(made: Browser) -> None:
    with PlayedNight(time.time() - 200, 12) as night, serving(lambda: night.endpoint) as served:
        night.play(13)
        knows(night, served)
        asked_s = time.monotonic()
        visit = Visit(made, served.address)
        visit.until("document.querySelector('#field-title').textContent.includes('field 1:')")
        # On a computer that has other things to do, opening the page says what is soon.
        soon_s = max(2.0, 3 * (time.monotonic() - asked_s))
        visit.until("document.querySelector('#headline').textContent.includes('Scanning mini-slide 2, ')")
        for field in (2, 3, 4):
            night.play(1)
            told_s = time.monotonic()
            visit.until(f"document.querySelector('#field-title').textContent.includes('field {field}:')")
            visit.until(
                f"(one => one.getAttribute('src').startsWith('/picture/field/2/{field}/') && one.complete"
                " && one.naturalWidth > 0)(document.querySelector('#picture'))"
            )
            assert time.monotonic() - told_s < soon_s
        night.fault("warning", "StageStuck", "it did not arrive; commanding again", 2, 4)
        night.skip("stuck")
        night.counters()
        visit.until("document.querySelectorAll('#event-list .warning').length === 1")
        visit.until("document.querySelector('#maps .state').textContent === 'done'")
        visit.until("document.querySelectorAll('#maps .state')[1].textContent === 'scanning, 1 skipped'")
        colours = visit.page.evaluate(
            """() => {
                const canvas = document.querySelector('#maps canvas');
                const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                return new Set(new Uint32Array(pixels.buffer)).size;
            }"""
        )
        assert colours > 5, "the map of the first mini-slide is coloured"
        counted = sum(one.objects for one in night.done if one.slide == 1)
        assert visit.text("#counts-body tr:first-child td:nth-of-type(2)").replace(",", "") == str(counted)
        names = {"emiliania-huxleyi": "Emiliania huxleyi", "gephyrocapsa": "Gephyrocapsa"}
        found = Counter(names[one.taxon] for done in night.done for one in done.finds if one.taxon is not None)
        (first, most), *_ = found.most_common()
        assert visit.text("#taxa-body tr:first-child th") == first
        assert visit.text("#taxa-body tr:first-child td").replace(",", "") == str(most)
        assert visit.page.locator("#lengths rect").count() > 5
        assert visit.page.locator("#drift-focus path.dots").count() == 1
        assert "12 of 12" not in visit.text("#headline")

        parts = ["#headline", "#field-title", "#counts-body", "#event-list", "#maps", "#hardware-facts", "#tiles"]

        def shown() -> list[str]:
            return [re.sub(r"about \d\d:\d\d", "soon", visit.text(part)) for part in parts]

        before = shown()
        visit.page.reload()
        visit.until("document.querySelectorAll('#event-list li').length === 1")
        assert shown() == before
        stays_here(visit)


def test_one_bubble_leaves_the_charts_as_they_are_and_is_told(made: Browser) -> None:
    heights = (
        "(all => Math.max(...all) - Math.min(...all))([...document.querySelectorAll('#drift-lamp path.dots')]"
        ".flatMap(path => [...path.getAttribute('d').matchAll(/M\\S+ (\\S+)h0/g)].map(one => Number(one[1]))))"
    )
    with PlayedNight(time.time() - 200, 12) as night, serving(lambda: night.endpoint) as served:
        night.play(14, pictures=False)
        night.play(1, pictures=False, light=0.3)
        night.play(14, pictures=False)
        knows(night, served)
        visit = Visit(made, served.address)
        visit.until("document.querySelectorAll('#drift-lamp path.dots').length === 2")
        # Of 164 px between the axes: with the bubble in it, the rest was a line of some 8.
        visit.until(f"{heights} > 60")
        assert visit.page.locator("#drift-lamp .beyond").count() == 2
        assert "1 field lies beyond the chart: 29" in visit.text("#drift-lamp")
        # What stays dark is no outlier.
        night.play(6, pictures=False, light=0.3)
        visit.until("document.querySelectorAll('#drift-lamp .beyond').length === 0")
        stays_here(visit)


def test_a_night_that_pauses_tells_no_end_and_a_mini_slide_that_is_done_is_not_scanned(made: Browser) -> None:
    end = "document.querySelectorAll('#facts > div')[3].children[1].textContent"
    with PlayedNight(time.time() - 200, 3) as night, serving(lambda: night.endpoint) as served:
        night.play(4, pictures=False)
        knows(night, served)
        visit = Visit(made, served.address)
        visit.until(f"{end}.includes(':')")
        night.state(NightState.PAUSED, "the recorder is away")
        visit.until(f"{end} === '\u2013'")
        visit.until("document.querySelectorAll('#maps .state')[1].textContent === 'paused'")
        night.state(NightState.SCANNING)
        night.play(20, pictures=False)
        visit.until("[...document.querySelectorAll('#maps .state')].every(one => one.textContent === 'done')")
        assert "mini-slide" not in visit.text("#headline")
        stays_here(visit)


def test_field_and_gallery_are_looked_at_closely(made: Browser) -> None:
    with PlayedNight(time.time(), 12) as night, serving(lambda: night.endpoint) as served:
        night.play(4)
        knows(night, served)
        visit = Visit(made, served.address)
        page = visit.page
        page.wait_for_selector("#boxes rect", state="attached")
        boxes = page.locator("#boxes rect").count()
        page.locator("#field-views button", has_text="Parallel").click()
        visit.until("document.querySelector('#picture').getAttribute('src').includes('/2?')")
        page.locator("#threshold").fill("1")
        visit.until("document.querySelectorAll('#boxes rect').length === 0")
        page.locator("#threshold").fill("0")
        visit.until(f"document.querySelectorAll('#boxes rect').length >= {boxes}")
        page.locator("#contrast").fill("2")
        assert "contrast(2)" in page.locator("#picture").evaluate("one => one.style.filter")
        page.locator("#stage").hover()
        page.mouse.wheel(0, -600)
        visit.until("document.querySelector('#stage').classList.contains('zoomed')")
        page.locator("#stage").press("0")
        visit.until("!document.querySelector('#stage').classList.contains('zoomed')")

        page.locator("#tiles button").first.click()
        page.locator("#plane").fill("0")
        seen = [page.evaluate(OFFSET)]
        for _ in range(6):
            page.locator("#bench-pictures").press("ArrowRight")
            seen.append(page.evaluate(OFFSET))
        assert seen == [-100.0 * plane for plane in range(7)], "each key shows the next plane"
        page.locator("#bench-pictures").hover()
        page.mouse.wheel(0, -100)
        visit.until(f"({OFFSET}) === -500")
        rows = page.evaluate("[...document.querySelectorAll('#bench .window img')].map(one => one.style.top)")
        assert rows == ["0%", "-100%"], "both polarizations are shown"
        key = page.locator("#bench").get_attribute("data-key")
        night.play(1)
        visit.until("document.querySelector('#field-title').textContent.includes('field 5:')")
        assert page.locator("#bench").get_attribute("data-key") == key, "who looks at an object keeps it"
        stays_here(visit)


def test_orders_ask_first_and_tell_the_answer(made: Browser) -> None:
    with Steward() as steward, PlayedNight(time.time(), 12, control=steward.endpoint) as night:
        night.play(2)
        with serving(lambda: night.endpoint) as served:
            knows(night, served)
            visit = Visit(made, served.address)
            visit.until("document.querySelector('#facts div')")
            assert not visit.page.locator("#orders").is_visible(), "off unless it is asked for"
        with serving(lambda: night.endpoint, Door(TOKEN), control=True) as served:
            knows(night, served)
            visit = Visit(made, served.address)
            page = visit.page
            assert page.url.endswith("/login")
            assert grave_findings(page) == []
            page.fill("[name=who]", "Ada <b>")
            page.fill("[name=token]", TOKEN)
            page.locator("button").click()
            # A night that says nothing while the computer is busy would be one that is not heard, and takes no orders.
            until_running(night, visit, "document.querySelector('#orders button')?.checkVisibility() ?? false")
            page.locator("#orders button", has_text="Skip this slide").click()
            assert "Skip mini-slide 1 of 8, U1510-12H?" in visit.text("dialog h2")
            assert "count as skipped" in visit.text("dialog")
            assert grave_findings(page) == []
            page.locator("dialog button", has_text="Cancel").click()
            assert steward.orders == []
            for words, name in (("Skip this slide", "skip"), ("Pause", "pause")):
                until_running(night, visit, "document.querySelector('#orders button')?.checkVisibility() ?? false")
                page.locator("#orders button", has_text=words).click()
                page.locator("dialog button", has_text=words).click()
                visit.until("document.querySelector('.answer').textContent.startsWith('Accepted')")
                assert f"Accepted: {name} at the next field, as Ada b says" in visit.text("dialog")
                page.locator("dialog button", has_text="Close").click()
            night.state(NightState.PAUSED, "by Ada")
            visit.until("document.querySelector('#headline').textContent.startsWith('Paused: by Ada.')")
            page.locator("#orders button", has_text="Resume").wait_for()
            assert page.locator("body").get_attribute("data-mood") == "attention"
            stays_here(visit)
    assert [(order.name, order.slide, order.who) for order in steward.orders] == [
        ("skip", 1, "Ada b"), ("pause", None, "Ada b"),
    ]  # fmt: skip


def test_what_befalls_night_and_monitor_is_told_and_recovered_from(made: Browser) -> None:
    places: list[str] = []

    def where() -> str:
        if not places:
            raise Refused("the night does not run")
        return places[-1]

    with serving(where) as served:
        visit = Visit(made, served.address, PHONE)
        visit.until("document.querySelector('#headline').textContent === 'No night is heard yet'")
        assert "The night does not run." in visit.text("#detail")
        with PlayedNight(time.time() - 100, 12) as first:
            places.append(first.endpoint)
            first.play(3)
            knows(first, served)
            visit.until("document.body.dataset.mood === 'good'")
        visit.until("document.querySelector('#headline').textContent.startsWith('The night is not heard since')")
        assert "what was last known: Scanning mini-slide 1, " in visit.text("#detail")
        assert visit.page.locator("body").get_attribute("data-mood") == "bad"
        with PlayedNight(time.time() - 100, 12, before=tuple(first.done)) as second:
            places.append(second.endpoint)
            second.play(2)
            knows(second, served)
            visit.until("document.querySelector('#headline').textContent.includes('5 of 96 fields')")
            visit.until("document.querySelector('#event-list').textContent.includes('night resumed')")
            assert "night not heard" in visit.text("#event-list")
            second.state(NightState.TERMINATED)
            visit.until(
                "document.querySelector('#headline').textContent === 'Ended by the system: 5 of 96 fields are done.'"
            )
            assert visit.page.locator("body").get_attribute("data-mood") == "attention"
            assert visit.text("#detail").startswith("Go on with it: ")
            second.state(NightState.COMPLETE)
            visit.until("document.querySelector('#headline').textContent.startsWith('Complete')")
            stays_here(visit)
    visit.page.locator("#deaf").wait_for()
    assert "This page has lost the monitor since" in visit.text("#deaf")
    visit.page.close()


def test_a_night_that_is_over_leads_to_what_it_recorded_and_one_that_goes_on_leads_back(
    made: Browser, tmp_path: Path
) -> None:
    places: list[str] = []

    def where() -> str:
        if not places:
            raise Refused("the night does not run")
        return places[-1]

    make_pictured_night(tmp_path / "dataset")
    with PlayedNight(time.time() - 100, 12) as first, serving(where, run=tmp_path) as served:
        places.append(first.endpoint)
        first.play(3)
        knows(first, served)
        visit = Visit(made, served.address)
        until_running(first, visit, "document.querySelector('#afterwards').innerText === 'What it found so far'")
        first.state(NightState.COMPLETE)
        visit.until("document.querySelector('#afterwards p').textContent.startsWith('The night is over. ')")
        visit.page.locator("#afterwards a").click()
        visit.until("document.querySelector('h1').innerText.includes('5 of 6 fields recorded, 1 skipped')")
        visit.until("document.querySelector('#running').innerText === 'How the night went'")
        visit.page.goto(served.address)
        visit.until("location.pathname.startsWith('/night/')")
        with PlayedNight(time.time() - 100, 12, before=tuple(first.done)) as second:
            places.append(second.endpoint)
            first.__exit__()
            knows(second, served)
            until_running(second, visit, "document.querySelector('#running').innerText.startsWith('Watch the night')")
            visit.page.locator("#running a").click()
            visit.page.locator("#headline").wait_for()
            until_running(second, visit, "document.querySelector('#headline').textContent.includes('3 of 96 fields')")
            visit.page.goto(served.address)
            until_running(second, visit, "document.querySelector('#afterwards').innerText === 'What it found so far'")
            stays_here(visit)


def test_whatever_a_name_or_an_event_holds_stays_text(made: Browser) -> None:
    samples = (HOSTILE, "</script><script>document.title=2</script>", *SAMPLES[2:])
    with PlayedNight(time.time(), 4, samples=samples) as night, serving(lambda: night.endpoint) as served:
        night.play(5)
        night.fault("error", HOSTILE, f"{HOSTILE} ${{7*7}} {{{{7*7}}}}", 1, 1)
        night.state(NightState.PAUSED, HOSTILE)
        knows(night, served)
        visit = Visit(made, served.address)
        visit.until("document.querySelectorAll('#event-list .error').length === 1")
        page = visit.page
        assert HOSTILE in visit.text("#maps")
        assert HOSTILE in visit.text("#event-list")
        assert HOSTILE in visit.text("#headline")
        assert page.locator("img[src=x]").count() == 0
        assert HOSTILE in page.title()
        injected = page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit=1\">')"
        )
        assert injected is None
        page.wait_for_timeout(200)
        assert page.evaluate("window.hit") is None, "the policy would stop it even then"
        stays_here(visit)


def test_the_page_can_be_used_without_eyes_or_mouse(made: Browser) -> None:
    with PlayedNight(time.time(), 12) as night, serving(lambda: night.endpoint) as served:
        night.play(14)
        knows(night, served)
        for theme in ("dark", "light"):
            visit = Visit(made, served.address, PHONE if theme == "dark" else (1360, 900))
            page = visit.page
            page.wait_for_selector("#tiles button")
            if theme == "light":
                page.locator("#theme").click()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs off the side"
            assert grave_findings(page) == [], theme
            visit.until("document.querySelector('#spoken').textContent !== ''")
            stays_here(visit)
            page.close()
