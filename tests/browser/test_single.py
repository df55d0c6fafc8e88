"""The page that is one file, opened by double click: a page from file://, with the server in its own Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.fixtures import BROWSER
from tests.browser.harness import scenes
from tests.browser.harness.chromium import NOTHING_KEPT, Chromium
from tests.browser.harness.notes_page import NotesPage

FETCHED = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
LEFT = "return [...document.querySelectorAll('script[id]')].map((script) => script.id)"


@pytest.fixture
def single_browser(request: pytest.FixtureRequest, new_browser: Callable[..., Chromium]) -> Chromium:
    """A browser that has never seen the file, and writes down what it asks for."""
    browser = new_browser(network=True, preferences=getattr(request, "param", None))
    request.node.stash[BROWSER] = browser
    return browser


@pytest.fixture
def open_file(single_browser: Chromium, single_file: str) -> Iterator[Callable[[], NotesPage]]:
    """Open windows with the file. They ask nobody for anything, and write nothing to the console."""
    pages: list[NotesPage] = []

    def open_one() -> NotesPage:
        if pages:
            single_browser.driver.switch_to.new_window("window")
        pages.append(NotesPage(single_browser, single_file))
        pages[-1].driver.get(single_file)
        return pages[-1]

    yield open_one
    for page in pages:
        if page.handle in single_browser.driver.window_handles:
            assert page.script(FETCHED) == []
    asked = single_browser.asked(single_file)
    assert {url for url in asked if not url.startswith("data:image/svg+xml;")} == {single_file}
    assert single_browser.log() == []


def test_a_note_a_dead_token_a_burst_and_a_reload(open_file: Callable[[], NotesPage]) -> None:
    """All as on the site: one refresh for a note and one for fifty requests; after the reload nobody signs in again."""
    page = open_file().ready().sign_in()
    assert page.script(LEFT) == []  # what has been read from the page takes no room any more
    page.press("#expire-token")
    page.until(lambda: "dead" in page.seen("#control-result"), "the result")
    page.add_note("by double click")
    page.wait_for_note("by double click")
    assert page.events("RefreshSucceeded") == 1
    page.press("#expire-token")
    page.until(lambda: "dead" in page.seen("#control-result"), "the result")
    page.type("#burst-size", "50")
    page.press("#burst")
    page.until(lambda: "50 requests, " in page.seen("#burst-result"), "the burst")
    page.script("document.querySelector('#server-panel').scrollIntoView()")
    page.until(lambda: page.seen("#server-refreshes") == "2", "the second refresh")
    assert page.seen("#server-lost") == "0"
    assert page.violations() == []
    page.open().wait_for_note("by double click")
    assert page.seen("#who") == "ada"
    assert page.events("RefreshSucceeded") == 0
    assert page.violations() == []


def test_scenarios_are_played_drawn_and_compared(open_file: Callable[[], NotesPage]) -> None:
    """An answer lost after it was carried out, for the naive client as well. What takes two windows says so."""
    page = open_file().ready().sign_in()
    scenes.ready(page)
    page.press("label:has(#naive-too)")
    scenes.press(page, "lost")
    page.until(lambda: page.find("#scene-lost").get_attribute("data-running") == "true", "the scenario")
    page.until(lambda: page.find("#scene-lost").get_attribute("data-running") == "false", "its end")
    assert "40 requests, 2 refreshes and 1 retry, 0 lost, 0 doubled" in page.seen("#scene-lost .scene-line")
    assert "the person has to sign in again" in page.seen("#scene-lost tfoot td:last-child")
    page.until(lambda: "A naive client: 40 requests" in page.seen("#timeline-summary"), "its lanes on the timeline")
    page.script("document.querySelector('#timeline-panel').scrollIntoView()")
    page.find(".timeline-axis .tick")
    scenes.press(page, "race")
    page.until(lambda: "runs in one" in page.seen("#scene-race .scene-now"), "a word about windows")
    assert page.violations() == []
    assert "favicon.svg" not in page.script("return document.querySelector('link[rel=icon]').href")


def test_a_second_window_waits_until_the_first_is_closed(open_file: Callable[[], NotesPage]) -> None:
    """Two would have a server each: the second says that the page is open, and starts when it is the only one."""
    first = open_file().ready().sign_in()
    first.add_note("from the first")
    first.wait_for_note("from the first")
    second = open_file()
    second.until(lambda: second.find("#open-elsewhere").is_displayed(), "a word about the first window")
    assert not second.find("#sign-in-form").is_displayed()
    first.driver.close()
    first.browser.driver.switch_to.window(second.handle)
    second.ready().wait_for_note("from the first")
    assert not second.find("#open-elsewhere").is_displayed()
    assert second.seen("#who") == "ada"


@pytest.mark.parametrize("single_browser", [NOTHING_KEPT], indirect=True)
def test_where_nothing_can_be_kept_it_works_and_says_so(open_file: Callable[[], NotesPage]) -> None:
    """Storage and locks are refused: everything works in memory, scenarios too, and a reload begins anew."""
    page = open_file().ready()
    assert "keeps nothing" in page.seen("#nothing-kept")
    page.sign_in()
    page.add_note("for now")
    page.wait_for_note("for now")
    scenes.press(page, "expire")
    page.until(lambda: "10 requests, 1 refresh, 0 lost" in page.seen("#scene-expire .scene-line"), "the proof")
    page.open()
    assert page.find("#sign-in-form").is_displayed()
