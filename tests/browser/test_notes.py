"""Nothing that was typed is lost: real Chromium, real storage, tabs that are closed and people who take turns."""

from __future__ import annotations

import pytest

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.notes_page import NotesPage

KEPT = "return Object.keys(localStorage).filter((key) => key.startsWith('freshfetch.page.draft:')).length"


@pytest.fixture
def page(open_page: OpenPage) -> NotesPage:
    """A window in which ada is signed in."""
    return open_page().sign_in()


def close(page: NotesPage, browser: Chromium) -> None:
    """Close a tab, another one being there, without waiting for anything."""
    page.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])


def test_a_closed_tab_loses_nothing(server: Server, browser: Chromium) -> None:
    """While the server is down a note is edited, one added and one begun; the tab is closed; a new one has them all."""
    browser.driver.switch_to.new_window("tab")
    page = NotesPage(browser, server.url + "/").open().sign_in()
    page.add_note("old")
    page.wait_for_note("old")
    server.fault(path="/api/*", kind="status", status=503)
    page.type("#notes li textarea", "edited in the dark")
    page.add_note("added in the dark")
    page.type("#note-text", "begun in the dark")
    close(page, browser)
    server.clear_faults()
    browser.driver.switch_to.new_window("tab")
    page = NotesPage(browser, server.url + "/").open()
    page.wait_for_note("edited in the dark")
    page.wait_for_note("added in the dark")
    assert page.find("#note-text").get_attribute("value") == "begun in the dark"
    assert len(page.notes()) == 2
    page.press("#add-note")
    page.wait_for_note("begun in the dark")
    page.until(lambda: page.script(KEPT) == 0, "the storage to be empty")
