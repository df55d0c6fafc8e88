"""Nothing that was typed is lost: real Chromium, real storage, tabs that are closed and people who take turns."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.notes_page import NotesPage, stored

REFRESH = "/api/auth/refresh"
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


def test_each_persons_text_waits_for_them(page: NotesPage, server: Server) -> None:
    """Revoked while typing, somebody else signs in, the page is reloaded: ada's text waits for ada."""
    server.revoke()
    page.add_note("ada's note")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.press("#ask-later")
    page.type("#note-text", "ada's thought")
    page.press("#notices [data-notice=sign-in] button")
    page.sign_in("grace", "hopper")
    page.open()
    page.until(lambda: page.seen("#who") == "grace", "grace to be back")
    assert page.notes() == {}
    assert page.find("#note-text").get_attribute("value") == ""
    page.press("#sign-out")
    page.until(lambda: "ada" in page.seen("#sign-in-why"), "word of the text that waits")
    assert "thought" not in page.script("return document.body.innerText")
    page.sign_in()
    page.wait_for_note("ada's note")
    assert page.find("#note-text").get_attribute("value") == "ada's thought"


def test_a_sentence_that_is_being_written_does_not_end_in_the_password(page: NotesPage, server: Server) -> None:
    """The session is over in mid-word: a notice says so, the words go on into the note, then the dialog comes."""
    page.add_note("milk")
    page.wait_for_note("milk")
    server.revoke()
    server.forget_journal()
    server.fault(path=REFRESH, kind="delay", delay=1, times=1)
    note = page.find("#notes li textarea")
    note.send_keys(" and bread")
    page.until(lambda: server.journal("/api/notes/*"), "the attempt to save it")
    words = ", six eggs"
    note.send_keys(words)
    while not page.driver.find_elements(By.CSS_SELECTOR, "[data-notice=sign-in]"):
        page.driver.switch_to.active_element.send_keys("!")
        words += "!"
    page.driver.switch_to.active_element.send_keys(" and a jar of honey")
    assert page.script("return document.querySelector('#password').value") == ""
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.wait_for_note(f"milk and bread{words} and a jar of honey")


def test_tabs_show_each_others_notes_and_lose_none(open_page: OpenPage, server: Server) -> None:
    """Notes appear in the other tab by themselves. One note changed in both, cut off from each other: both are kept."""
    first, second = open_page().sign_in(), open_page()
    first.add_note("shared")
    second.wait_for_note("shared")
    second.until(lambda: second.find("#notes li textarea").is_displayed(), "the note")
    server.fault(path="/api/notes*", kind="status", status=503)
    for page, text in ((first, "the first's"), (second, "the second's")):
        page.type("#notes li textarea", text)
        page.wait_for_note(text, "waiting")
    server.clear_faults()
    for page in (first, second):
        page.wait_for_note("the first's")
        page.wait_for_note("the second's")
    words = [page.script("return document.getElementById('notes').innerText") for page in (first, second)]
    assert sum("both versions are kept" in each for each in words) == 1


def test_what_a_closed_tab_left_comes_into_a_box_with_nothing_but_space(open_page: OpenPage, browser: Chromium) -> None:
    """A line feed in this tab's box, a thought in that of a tab that is closed: the thought is there, and stays."""
    page = open_page().sign_in()
    page.type("#note-text", "\n")
    browser.driver.switch_to.new_window("tab")
    other = NotesPage(browser, page.url).open()
    other.until(lambda: other.find("#note-text").is_displayed(), "the box")
    other.type("#note-text", "a long thought")
    other.driver.close()
    browser.driver.switch_to.window(page.handle)

    def comes() -> bool:
        page.script("document.dispatchEvent(new Event('visibilitychange'))")
        return page.find("#note-text").get_attribute("value") == "a long thought"

    page.until(comes, "the thought")
    page.find("#note-text").send_keys("!")
    assert page.find("#note-text").get_attribute("value") == "a long thought!"


def test_a_full_storage_is_said_once_and_typing_goes_on(page: NotesPage) -> None:
    """The browser has no room: the person is told, calmly, once; the note is saved at the server all the same."""
    page.script(
        "const setItem = Storage.prototype.setItem; Storage.prototype.setItem = function (key, value) {"
        " if (key.startsWith('freshfetch.page.draft:')) throw new DOMException('full', 'QuotaExceededError');"
        " return setItem.call(this, key, value); }"
    )
    page.type("#note-text", "no room")
    page.until(lambda: "no room for unsaved text" in page.seen("#notices"), "the notice")
    page.press("#notices [data-notice=drafts] button")
    page.press("#add-note")
    page.wait_for_note("no room")
    assert page.seen("#notices") == ""


def test_the_last_key_survives_an_immediate_reload(page: NotesPage) -> None:
    """Saving does not cut off an input method's word; its end and a reload in one breath: all is there."""
    page.add_note("ime ")
    page.wait_for_note("ime ")
    page.find("#notes li textarea").send_keys("x")
    for text in ("に", "にほ", "にほん"):
        page.driver.execute_cdp_cmd("Input.imeSetComposition", {"text": text, "selectionStart": 3, "selectionEnd": 3})
    page.wait_for_note("ime xにほん")
    page.driver.execute_cdp_cmd("Input.insertText", {"text": "日本"})
    page.type("#note-text", "begun")
    page.open()
    page.wait_for_note("ime x日本")
    assert page.find("#note-text").get_attribute("value") == "begun"


def test_a_deletion_and_its_undoing_survive_a_reload(page: NotesPage, server: Server) -> None:
    """Deleted without a server and reloaded, it can still be taken back; taken back and reloaded, it is there."""
    page.add_note("precious")
    page.wait_for_note("precious")
    server.fault(path="/api/notes*", kind="status", status=503)
    page.press("#notes li [data-do=delete]")
    page.open()
    page.press("#notes li [data-do=undo]")
    page.open()
    server.clear_faults()
    page.wait_for_note("precious")
    assert [note["text"] for note in notes_at(page)] == ["precious"]


def notes_at(page: NotesPage) -> list[dict[str, str]]:
    """Return what the server has, asked as the page would."""
    token = (stored(page) or {})["access_token"]
    source = "return fetch('/api/notes', {headers: {Authorization: `Bearer ${arguments[0]}`}}).then((a) => a.json())"
    found: list[dict[str, str]] = page.script(source, token)["notes"]
    return found
