"""Walks through the page: each brings it into one state after the other, and yields the state's name.

Who looks at states (accessibility tests, screenshots) goes these ways, so that a new state is looked at by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mock_server.testing import Server
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.scenes import press

ROOT = Path(__file__).resolve().parents[3]
NOTES = (
    "Ask Grace about the compiler",
    "Buy two lemons, and bread if the good one is there",
    "פתק בעברית: לקנות חלב ולחם, 3 ליטר",
    "A longer thought, over two lines:\nan access token is like a bus ticket. Nobody wants to hear that it ran out.",
)


def before_python(page: NotesPage, server: Server) -> Iterator[str]:
    """Go where no Python runs: while it is fetched, and where that cannot work."""
    with _paused(page, "*.wasm"):
        page.driver.get(page.url)
        page.until(lambda: page.find("#boot").is_displayed(), "the progress")
        yield "booting"
    with page.blocked("*/pyodide.mjs"):
        page.driver.get(page.url)
        page.until(lambda: page.find("#boot-failed").is_displayed(), "the words")
        yield "boot-failed"
    with page.blocked("*/vendor/*"):
        page.driver.get(page.url)
        page.until(lambda: page.find("#nothing-installed").is_displayed(), "the words")
        yield "nothing-installed"
    with _without_service_worker(page):
        page.driver.get(page.url + "?server=embedded")
        page.until(lambda: page.find("#server-missing").is_displayed(), "the words")
        page.ready()
        yield "server-missing"
    page.driver.get((ROOT / "index.html").as_uri())
    yield "opened-as-file"
    page.driver.get(page.url)


def a_good_day(page: NotesPage, server: Server) -> Iterator[str]:
    """Sign in, at the second attempt, and write."""
    page.open()
    yield "signed-out"
    page.type("#username", "ada")
    page.type("#password", "guess")
    page.press("#sign-in-button")
    page.until(lambda: page.seen("#sign-in-message"), "the message")
    yield "wrong-password"
    page.sign_in()
    page.until(lambda: page.find("#notes-empty").is_displayed(), "an empty list")
    yield "tour"
    page.press("#tour-next")
    yield "tour-goes-on"
    page.press("#tour-close")
    yield "empty"
    for text in NOTES:
        page.add_note(text)
        page.wait_for_note(text)
    yield "notes"


def a_bad_day(page: NotesPage, server: Server) -> Iterator[str]:
    """Meet a note that is refused, a refresh that stalls, a server that is down, and the end of the session."""
    page.open().sign_in()
    page.press("#tour-close")
    page.add_note(NOTES[0])
    page.wait_for_note(NOTES[0])
    server.fault(path="/api/notes/*", kind="status", status=413)
    page.add_note("Far too long for this server")
    page.wait_for_note("Far too long for this server", "failed")
    server.clear_faults()
    yield "not-saved"
    server.fault(path="/api/auth/refresh", kind="stall", seconds=600)
    server.expire()
    page.add_note(NOTES[1])
    page.until(lambda: page.state == "refreshing" and page.seen("#notices"), "a renewal that takes long")
    yield "requests-held"
    server.clear_faults()
    page.wait_for_note(NOTES[1])
    server.fault(path="/api/*", kind="status", status=503)
    page.add_note(NOTES[3])
    page.wait_for_note(NOTES[3], "waiting")
    yield "server-down"
    server.clear_faults()
    page.wait_for_note(NOTES[3])
    server.revoke()
    page.add_note(NOTES[2])
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the dialog")
    yield "sign-in-again"
    page.press("#ask-later")
    yield "not-now"


def a_broken_day(page: NotesPage, server: Server) -> Iterator[str]:
    """Break things on purpose: a burst on a dead token, and an answer that is lost, to a naive client as well."""
    page.open().sign_in()
    page.press("#tour-close")
    for text in NOTES[:3]:
        page.add_note(text)
        page.wait_for_note(text)
    _play(page, "burst")
    yield "burst"
    page.press("label:has(#naive-too)")
    _play(page, "lost")
    yield "answer-lost"


ALL = (before_python, a_good_day, a_bad_day, a_broken_day)


def _play(page: NotesPage, scene: str) -> None:
    press(page, scene)
    page.until(lambda: page.find(f"#scene-{scene} .scene-line").is_displayed(), f"the outcome of {scene}")
    page.until(lambda: page.find(f"#scene-{scene}").get_attribute("data-running") == "false", f"the end of {scene}")


@contextmanager
def _without_service_worker(page: NotesPage) -> Iterator[None]:
    """Load pages as in a browser that lets none run here."""
    source = "Object.defineProperty(Navigator.prototype, 'serviceWorker', {get() {}})"
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    yield
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@contextmanager
def _paused(page: NotesPage, pattern: str) -> Iterator[None]:
    """Let requests wait for ever, like a very slow network."""
    page.driver.execute_cdp_cmd("Fetch.enable", {"patterns": [{"urlPattern": pattern}]})
    yield
    page.driver.execute_cdp_cmd("Fetch.disable", {})
