"""The page, and two tabs of it, in every engine: what differs between engines is storage, locks and channels."""

from __future__ import annotations

import pytest

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.notes_page import NotesPage

REFRESH = "/api/auth/refresh"


@pytest.fixture
def page(open_page: OpenPage) -> NotesPage:
    """A window in which ada is signed in."""
    return open_page().sign_in()


def refreshes(server: Server) -> list[list[str]]:
    """Return what each refresh request has done at the server."""
    return [entry["effects"] for entry in server.journal(REFRESH)]


def created(server: Server) -> int:
    """Return how many notes the server has made."""
    return sum(entry["effects"] == ["note_created"] for entry in server.journal("/api/notes/*"))


def test_a_person_signs_in_writes_a_note_and_is_still_signed_in_after_a_reload(page: NotesPage, server: Server) -> None:
    """The note is saved once; the page that is loaded again asks for no password, and shows the note."""
    page.add_note("first")
    page.wait_for_note("first")
    page.open()
    page.until(lambda: page.seen("#who") == "ada", "ada")
    page.wait_for_note("first")
    assert not page.find("#sign-in-form").is_displayed()
    assert created(server) == 1
    assert refreshes(server) == []


def test_a_token_that_expires_is_not_noticed(page: NotesPage, server: Server) -> None:
    """The note is refused once, replayed after one refresh and saved once; nothing is asked."""
    server.expire()
    page.add_note("never refused")
    page.wait_for_note("never refused")
    assert not page.find("#sign-in-dialog").is_displayed()
    assert refreshes(server) == [["refreshed"]]
    assert created(server) == 1


def test_a_burst_with_a_dead_token_costs_one_refresh(page: NotesPage, server: Server) -> None:
    """Of two hundred requests all are answered; six at most are refused."""
    server.expire()
    server.forget_journal()
    page.type("#burst-size", "200")
    page.press("#burst")
    page.until(lambda: "200 answered" in page.seen("#burst-result"), "two hundred answers")
    assert refreshes(server) == [["refreshed"]]
    statuses = [entry["status"] for entry in server.journal("/api/data/*")]
    assert statuses.count(200) == 200
    assert len(statuses) <= 206


def test_two_tabs_make_one_refresh(open_page: OpenPage, server: Server) -> None:
    """The second window is signed in at once; both write with one dead token, and the strict server sees no reuse."""
    server.settings(grace=0)
    first, second = open_page().sign_in(), open_page()
    second.until(lambda: second.seen("#who") == "ada", "ada in the second window")
    server.expire()
    first.add_note("from the first")
    second.add_note("from the second")
    second.wait_for_note("from the second")
    first.wait_for_note("from the first")
    assert refreshes(server) == [["refreshed"]]
    assert created(server) == 2


def test_signing_out_in_one_tab_signs_out_the_other(open_page: OpenPage) -> None:
    """The other window shows the sign-in; nothing of the session is left in storage."""
    first, second = open_page().sign_in(), open_page()
    second.until(lambda: second.seen("#who") == "ada", "ada in the second window")
    first.press("#sign-out")
    second.until(lambda: second.find("#sign-in-form").is_displayed(), "the form")
    assert second.script("return localStorage.getItem('freshfetch:default')") is None


def test_signing_in_again_in_place_saves_what_waits(page: NotesPage, server: Server) -> None:
    """Revoked: one refresh is tried, the dialog knows the name, and with the password the waiting note is saved."""
    server.revoke()
    server.forget_journal()
    page.add_note("waits for its owner")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.wait_for_note("waits for its owner", "sign-in")
    assert page.find("#username").get_attribute("value") == "ada"
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.wait_for_note("waits for its owner")
    assert len(refreshes(server)) == 1
    assert created(server) == 1


def test_a_server_that_was_down_is_found_again(page: NotesPage, server: Server) -> None:
    """Connections are refused while a note is written; the note waits, and is saved when the server is back."""
    server.stop()
    page.add_note("written in the dark")
    page.wait_for_note("written in the dark", "waiting")
    server.start()
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.wait_for_note("written in the dark")
    assert created(server) == 1


def test_the_server_inside_the_browser_serves_two_tabs(open_page: OpenPage, server: Server) -> None:
    """Sign in, a note, a token that dies: one refresh; after a reload and in a second tab all is there."""
    page = open_page("/?server=embedded").sign_in()
    page.script("return fetch('mock/expire', {method: 'POST', body: '{}'})")
    page.add_note("kept inside the browser")
    page.wait_for_note("kept inside the browser")
    # Asked before the reload: where a shared worker ends with its last page, the next one has a journal of its own.
    answer = page.script("return fetch('mock/journal?path=*/refresh').then((answer) => answer.json())")
    assert [entry["effects"] for entry in answer["entries"]] == [["refreshed"]]
    page.open().wait_for_note("kept inside the browser")
    second = open_page("/?server=embedded")
    second.wait_for_note("kept inside the browser")
    second.add_note("from the second")
    second.wait_for_note("from the second")
    assert server.journal() == []
