"""The page as a person uses it: real Chromium, real server, nothing asked and nothing lost."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.chromium import NOTHING_KEPT, Chromium
from tests.browser.harness.notes_page import NotesPage, stored

ROOT = Path(__file__).resolve().parents[2]
REFRESH = "/api/auth/refresh"

NO_ANSWER = {
    "which service workers there are": """
        ServiceWorkerContainer.prototype.getRegistration = () => new Promise(() => {});
    """,
    "the lock of its unsaved text": """
        const request = LockManager.prototype.request;
        LockManager.prototype.request = function (name, ...more) {
            if (name.startsWith("freshfetch.page.draft:")) return new Promise(() => {});
            return request.call(this, name, ...more);
        };
    """,
}
INVALID = "return [...document.querySelectorAll('[aria-invalid=true]')].map(({id}) => id)"
ASKED_FOR_CONTROLS = "return performance.getEntriesByType('resource').some(({name}) => name.includes('/mock/'))"


@pytest.fixture
def page(open_page: OpenPage) -> NotesPage:
    """A window in which ada is signed in."""
    return open_page().sign_in()


def test_a_token_that_dies_between_two_notes_is_not_noticed(server: Server, open_page: OpenPage) -> None:
    """With access tokens of five seconds: a note, the token dies, another note; both saved, nothing asked."""
    server.settings(accessLifetime=5)
    page = open_page().sign_in()
    page.add_note("before")
    page.wait_for_note("before")
    page.until(lambda: page.script("return document.querySelector('#fact-token').textContent") == "0 s", "its end")
    page.add_note("after")
    page.wait_for_note("after")
    assert not page.find("#sign-in-dialog").is_displayed()
    posted = [entry for entry in server.journal("/api/notes/*") if entry["effects"] == ["note_created"]]
    assert len(posted) == 2
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]]


def test_what_is_typed_and_pressed_before_python_is_there_counts(browser: Chromium, server: Server) -> None:
    """Name, password and the button are there at once; the sign-in follows as soon as it can."""
    page = NotesPage(browser, server.url + "/")
    page.driver.get(page.url)
    page.type("#username", "grace")
    page.type("#password", "hopper")
    page.press("#sign-in-button")
    page.until(lambda: page.seen("#who") == "grace", "grace to be signed in")


def test_python_may_come_in_the_middle_of_a_word(browser: Chromium, server: Server) -> None:
    """Who is typing as the app starts goes on typing: the field keeps the focus."""
    page = NotesPage(browser, server.url + "/")
    page.driver.get(page.url)
    page.type("#username", "gra")
    page.ready()
    page.driver.switch_to.active_element.send_keys("ce")
    assert page.script("return document.getElementById('username').value") == "grace"


def test_an_interpreter_that_does_not_come_is_said(browser: Chromium, server: Server) -> None:
    """Pyodide itself would wait for ever: a sentence instead, and no form that does nothing."""
    page = NotesPage(browser, server.url + "/")
    with page.blocked("*pyodide.asm.wasm*"):
        page.driver.get(page.url)
        page.until(lambda: page.find("#boot-failed").is_displayed(), "the sentence")
    assert not page.find("#sign-in-form").is_displayed()
    page.open()


@pytest.mark.parametrize("what", NO_ANSWER)
def test_a_browser_that_never_answers_does_not_keep_the_page_from_starting(
    new_browser: Callable[[], Chromium], server: Server, what: str
) -> None:
    """Some seconds later it goes on without, and notes are saved."""
    browser = new_browser()
    browser.before_load(NO_ANSWER[what])
    page = NotesPage(browser, server.url + "/").open().sign_in()
    page.add_note("all the same")
    page.wait_for_note("all the same")


def test_a_wrong_password_is_said_next_to_the_field(open_page: OpenPage) -> None:
    """The message is in plain words, the password has the focus, and a second try works."""
    page = open_page()
    page.type("#username", "ada")
    page.type("#password", "wrong")
    page.press("#sign-in-button")
    page.until(lambda: page.seen("#sign-in-message"), "the message")
    assert page.script("return document.activeElement.id") == "password"
    assert page.script(INVALID) == ["username", "password"]
    page.sign_in()


def test_a_server_that_is_down_makes_no_field_invalid(open_page: OpenPage, server: Server) -> None:
    """It is said that it cannot be reached, and nothing is wrong with what was typed."""
    page = open_page()
    server.fault(path="/api/auth/login", kind="drop_before", times=1)
    page.type("#username", "ada")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.until(lambda: page.seen("#sign-in-message"), "the message")
    assert page.script(INVALID) == []
    page.sign_in()


def test_an_edit_and_a_deletion_reach_the_server(page: NotesPage) -> None:
    """A note is edited in place and saved; another is deleted and stays away after a reload."""
    page.add_note("first version")
    page.wait_for_note("first version")
    page.type("#notes li textarea", "second version")
    page.wait_for_note("second version")
    page.add_note("to be deleted")
    page.wait_for_note("to be deleted")
    page.press("#notes li [data-do=delete]")
    page.until(lambda: "to be deleted" not in page.notes() or page.notes()["to be deleted"] == "saved", "deletion")
    page.open()
    page.wait_for_note("second version")
    assert list(page.notes()) == ["second version"]


def test_a_server_that_fails_for_a_while_loses_no_note(page: NotesPage, server: Server) -> None:
    """While the server answers 503 a note says that it waits; when it is back the note is saved by itself."""
    rule = server.fault(path="/api/*", kind="status", status=503)
    page.add_note("written in the dark")
    page.wait_for_note("written in the dark", "waiting")
    assert page.seen("#notices")
    server.clear_faults()
    page.wait_for_note("written in the dark")
    page.until(lambda: not page.seen("#notices"), "the notice to go")
    assert rule


def test_a_server_that_is_down_signs_nobody_out(page: NotesPage, server: Server) -> None:
    """Connections are dropped while a note is written with an expired token; afterwards it is saved once."""
    server.expire()
    server.fault(path="/api/*", kind="drop_before")
    page.add_note("written in a storm")
    page.wait_for_note("written in a storm", "waiting")
    server.clear_faults()
    page.wait_for_note("written in a storm")
    created = [entry for entry in server.journal("/api/notes/*") if entry["effects"] == ["note_created"]]
    assert len(created) == 1
    assert page.seen("#who") == "ada"


def test_try_now_asks_the_server_though_nothing_waits(page: NotesPage, server: Server) -> None:
    """After a renewal that failed nothing waits: the press asks the server, and sees it back or says that it is not."""
    page.until(lambda: page.find("#notes-empty").is_displayed(), "the list, so that nothing is wanted any more")
    server.fault(path=REFRESH, kind="drop_before", times=1)
    page.press("#refresh-now")
    try_now(page)
    page.until(lambda: page.state == "signed-in" and not page.seen("#notices"), "the server to be found")
    server.fault(path="/api/*", kind="drop_before")
    page.press("#check-now")
    try_now(page)
    page.until(lambda: "server still cannot be" in page.seen("#notices"), "word that it was tried")


def try_now(page: NotesPage) -> None:
    """Press what is offered when the server cannot be reached; it may go any moment, should the server be back."""
    page.until(lambda: page.state == "offline" and "server cannot be" in page.seen("#notices"), "word of it")
    page.script("document.querySelector('[data-notice=server] button')?.click()")


def test_a_server_that_starts_late_can_be_broken_all_the_same(page: NotesPage) -> None:
    """Its test controls do not answer when the page is loaded: the scenarios wait for them, and are there then."""
    with page.blocked("*/mock/*"):
        page.open()
        page.until(lambda: page.script(ASKED_FOR_CONTROLS), "the question")
        assert page.script("return document.getElementById('scenarios').inert")
    page.until(lambda: not page.script("return document.getElementById('scenarios').inert"), "the scenarios")
    assert not page.find("#controls-missing").is_displayed()


def test_another_person_does_not_send_what_waits(page: NotesPage, server: Server) -> None:
    """Grace signs in where ada's note waits: it is neither shown nor sent; when ada is back it is saved."""
    server.revoke()
    page.add_note("ada's own")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the sign-in dialog")
    page.sign_in("grace", "hopper")
    page.add_note("grace's own")
    page.wait_for_note("grace's own")
    assert list(page.notes()) == ["grace's own"]
    effects = [(entry["user"], entry["effects"]) for entry in server.journal("/api/notes/*") if entry["effects"]]
    assert effects == [("grace", ["note_created"])]
    page.press("#sign-out")
    page.sign_in()
    page.wait_for_note("ada's own")
    assert list(page.notes()) == ["ada's own"]


def test_another_person_in_the_other_tab_gets_this_one_too(open_page: OpenPage, server: Server) -> None:
    """Grace signs in in the second window: the first says who is in now, shows her notes, and never mixes them."""
    first = open_page().sign_in()
    first.add_note("ada's note")
    first.wait_for_note("ada's note")
    first.type("#note-text", "ada's unfinished thought")
    second = open_page()
    second.until(lambda: second.seen("#who") == "ada", "ada in the second window")
    second.press("#sign-out")
    second.sign_in("grace", "hopper")
    second.add_note("grace's note")
    second.wait_for_note("grace's note")
    first.until(lambda: first.seen("#who") == "grace", "the first window to follow")
    first.until(lambda: "ada's note" not in first.notes(), "ada's notes to be put away")
    assert first.find("#note-text").get_attribute("value") == ""
    assert all(entry["user"] != "grace" or "ada" not in entry["path"] for entry in server.journal())


def test_a_browser_that_refuses_storage_is_told_and_works(new_browser: Callable[..., Chromium], server: Server) -> None:
    """With site data blocked the page starts, says so, and works in memory."""
    browser = new_browser(preferences=NOTHING_KEPT)
    page = NotesPage(browser, server.url + "/").open().sign_in()
    page.until(lambda: "does not let the page keep anything" in page.seen("#notices"), "word of it")
    page.add_note("in memory")
    page.wait_for_note("in memory")
    server.fault(path="/api/notes*", kind="status", status=503)
    page.add_note("in this page only")
    page.until(lambda: "Go on writing: leave this page open" in page.seen("#notices"), "what that means now")
    page.press("#sign-out")
    page.until(lambda: "kept in this page only" in page.seen("#sign-in-why"), "and after signing out")


def test_without_local_storage_alone_it_works_as_well(new_browser: Callable[..., Chromium], server: Server) -> None:
    """A browser that gives databases, and refuses this."""
    browser = new_browser()
    source = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})"
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    page = NotesPage(browser, server.url + "/").open().sign_in()
    page.until(lambda: "does not let the page keep anything" in page.seen("#notices"), "word of it")
    page.add_note("in memory")
    page.wait_for_note("in memory")


def test_a_damaged_record_does_not_stop_the_page(page: NotesPage) -> None:
    """Garbage under the session's key: after a reload the sign-in is shown, and signing in writes a sound record."""
    page.script("localStorage.setItem('freshfetch:default', '{\"schema\": 1')")
    page.open()
    page.until(lambda: page.find("#sign-in-form").is_displayed(), "the form")
    page.sign_in()
    record = stored(page)
    assert record is not None
    assert record["subject"] == "ada"


def test_the_page_writes_nothing_to_the_console(open_page: OpenPage, browser: Chromium, server: Server) -> None:
    """Signing in, a refresh and a revocation: the console holds nothing but the browser's own word on each 401."""
    page = open_page().sign_in()
    server.expire()
    page.add_note("quiet")
    page.wait_for_note("quiet")
    lines = [line for line in browser.log() if "PyScript Ready" not in line and "status of 401" not in line]
    assert lines == []


def test_opened_by_double_click_it_says_what_to_do(browser: Chromium) -> None:
    """From file:// a sentence with the command to run, instead of a blank page."""
    browser.driver.get((ROOT / "index.html").as_uri())
    shown = browser.driver.find_element("id", "opened-as-file")
    assert shown.is_displayed()
    assert "make run" in shown.text


def test_without_vendor_it_says_what_to_do(browser: Chromium, tmp_path: Path) -> None:
    """Served before anything was installed: a sentence with the command to run, instead of a form that does nothing."""
    bare = tmp_path / "bare"
    shutil.copytree(ROOT / "app", bare / "app")
    for name in ("index.html", "pyscript.toml"):
        shutil.copy(ROOT / name, bare / name)
    with Server(f"--mount=bare={bare}") as server:
        page = NotesPage(browser, f"{server.url}/bare/")
        page.driver.get(page.url)
        page.until(lambda: page.find("#nothing-installed").is_displayed(), "the sentence")
        assert not page.find("#sign-in-view").is_displayed()


def test_each_file_is_fetched_once(page: NotesPage) -> None:
    """What is preloaded is what is then used: nothing of the page, of Python or of the app comes twice."""
    names = page.script("return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).pathname)")
    counted = Counter(
        name for name in names if name.endswith((".js", ".mjs", ".wasm", ".zip", ".json", ".toml", ".py"))
    )
    assert counted.keys() >= {"/app/static/start.js", "/vendor/pyscript/core.js", "/vendor/pyodide/pyodide.asm.wasm"}
    assert set(counted.values()) == {1}


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_sideways(page: NotesPage, width: int) -> None:
    """At 390 and at 1280 px the page does not scroll sideways, with a long word in a note."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.add_note("x" * 300)
    page.wait_for_note("x" * 300)
    assert page.script("return document.documentElement.scrollWidth") <= width
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
