"""The page, and two tabs of it, in every engine: what differs between engines is storage, locks and channels."""

from __future__ import annotations

import pytest

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.notes_page import NotesPage, stored

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


def expire(page: NotesPage) -> None:
    """Press the button that makes the access token invalid at the server."""
    page.press("#expire-token")
    page.until(lambda: "dead" in page.seen("#control-result"), "the result")


def embedded_effects(page: NotesPage, path: str) -> list[list[str]]:
    """Return what each request to a path has done at the server inside the browser."""
    asked = "return fetch(`mock/journal?path=${arguments[0]}`).then((answer) => answer.json())"
    return [entry["effects"] for entry in page.script(asked, path)["entries"]]


def test_a_person_signs_in_writes_a_note_and_is_still_signed_in_after_a_reload(page: NotesPage, server: Server) -> None:
    """The note is saved once; the page that is loaded again asks for no password, and shows the note and the draft."""
    page.add_note("first")
    page.wait_for_note("first")
    page.type("#note-text", "not added yet")
    page.open()
    page.until(lambda: page.seen("#who") == "ada", "ada")
    page.wait_for_note("first")
    assert page.find("#note-text").get_attribute("value") == "not added yet"
    assert not page.find("#sign-in-view").is_displayed()
    assert created(server) == 1
    assert refreshes(server) == []


def test_a_token_that_expires_is_not_noticed(page: NotesPage, server: Server) -> None:
    """The button expires it; the note is refused once, replayed after one refresh and saved once; nothing is asked."""
    expire(page)
    page.add_note("never refused")
    page.wait_for_note("never refused")
    assert not page.find("#sign-in-dialog").is_displayed()
    assert refreshes(server) == [["refreshed"]]
    assert created(server) == 1


def test_a_burst_with_a_dead_token_costs_one_refresh(page: NotesPage, server: Server) -> None:
    """Of two hundred requests all are answered, six at most are refused, and the page says so."""
    expire(page)
    server.forget_journal()
    page.type("#burst-size", "200")
    page.press("#burst")
    page.until(lambda: "200 answered" in page.seen("#burst-result"), "two hundred answers")
    assert "1 refresh" in page.seen("#burst-result")
    assert refreshes(server) == [["refreshed"]]
    statuses = [entry["status"] for entry in server.journal("/api/data/*")]
    assert statuses.count(200) == 200
    assert len(statuses) <= 206
    assert sum(entry["status"] == 401 for entry in server.journal()) <= 6


def test_two_tabs_make_one_refresh(open_page: OpenPage, server: Server) -> None:
    """The second window is signed in at once; both write with one dead token, and the strict server sees no reuse."""
    server.settings(grace=0)
    first, second = open_page().sign_in(), open_page()
    second.until(lambda: second.seen("#who") == "ada", "ada in the second window")
    assert not second.find("#sign-in-view").is_displayed()
    server.expire()
    first.add_note("from the first")
    second.add_note("from the second")
    second.wait_for_note("from the second")
    first.wait_for_note("from the first")
    assert refreshes(server) == [["refreshed"]]
    assert created(server) == 2


def test_signing_out_in_one_tab_signs_out_the_other(open_page: OpenPage) -> None:
    """The other window shows the sign-in and says what happened; nothing of the session is left in storage."""
    first, second = open_page().sign_in(), open_page()
    second.until(lambda: second.seen("#who") == "ada", "ada in the second window")
    first.press("#sign-out")
    second.until(lambda: second.state in ("signed-out", "sign-in-required"), "the second window to know")
    second.until(lambda: second.find("#sign-in-form").is_displayed(), "the form")
    assert stored(second) is None


def test_signing_in_again_in_place_saves_what_waits(page: NotesPage, server: Server) -> None:
    """Revoked: one refresh, one event, a dialog that knows the name; with the password the waiting note is saved."""
    page.press("#revoke-session")
    page.until(lambda: "over" in page.seen("#control-result"), "the result")
    server.forget_journal()
    page.add_note("waits for its owner")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.wait_for_note("waits for its owner", "sign-in")
    assert len(refreshes(server)) == 1
    assert page.events("SessionExpired") == 1
    assert stored(page) is None
    assert page.find("#username").get_attribute("value") == "ada"
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.wait_for_note("waits for its owner")
    assert not page.find("#sign-in-dialog").is_displayed()
    assert created(server) == 1


def test_a_stopped_server_that_comes_back_has_forgotten_the_session(page: NotesPage, server: Server) -> None:
    """While connections are refused the page says so and the note waits; then it asks to sign in, and saves it."""
    server.stop()
    page.add_note("written in the dark")
    page.wait_for_note("written in the dark", "waiting")
    assert "reach" in page.seen("#notices").lower() or "answer" in page.seen("#notices").lower()
    server.start()
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.wait_for_note("written in the dark")
    assert created(server) == 1


def test_the_server_inside_the_browser_serves_two_tabs(open_page: OpenPage, server: Server) -> None:
    """One refresh for a token that dies; after a reload all is there, and two tabs make one refresh together."""
    page = open_page("/?server=embedded")
    page.script("return fetch('mock/reset', {method: 'POST'})")
    page.sign_in()
    expire(page)
    page.add_note("kept inside the browser")
    page.wait_for_note("kept inside the browser")
    assert "inside this browser" in page.seen("footer")
    # Read before the reload: where a shared worker ends with its last page, the next one has a journal of its own.
    assert embedded_effects(page, "/api/auth/refresh") == [["refreshed"]]
    page.open().wait_for_note("kept inside the browser")
    second = open_page("/?server=embedded")
    second.wait_for_note("kept inside the browser")
    # From here on there is a page all the time, so one worker and one journal.
    page.script("return fetch('mock/journal', {method: 'DELETE'})")
    page.script("return fetch('mock/expire', {method: 'POST', body: '{}'})")
    page.add_note("from the first")
    second.add_note("from the second")
    second.wait_for_note("from the second")
    page.wait_for_note("from the first")
    assert embedded_effects(second, "/api/auth/refresh") == [["refreshed"]]
    assert embedded_effects(second, "/api/notes/*").count(["note_created"]) == 2
    assert server.journal() == []
