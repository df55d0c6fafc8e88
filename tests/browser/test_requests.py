"""One tab: what the server sees when a browser's own fetch carries the requests."""

from __future__ import annotations

from collections import Counter

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Page

SESSION = """
    import asyncio, json
    import freshfetch, js
    from freshfetch.browser import connect
    from pyodide.ffi import to_js

    session = connect("/api/auth", heartbeat=freshfetch.HeartbeatPolicy(url=None))
    events = []
    session.subscribe(events.append)
"""


@pytest.fixture
def ada(page: Page, server: Server) -> Page:
    """A page in which ada is signed in; the journal starts afterwards."""
    page.run(SESSION + '    await session.sign_in("ada", "lovelace")')
    server.forget_journal()
    return page


def test_a_thousand_requests_with_a_revoked_token_cost_one_refresh(ada: Page, server: Server) -> None:
    """The journal shows one refresh, at most six refusals and N + 7 requests, none sent more than twice."""
    server.expire()
    answered = ada.run("""
        answers = await asyncio.gather(*(session.fetch(f"/api/data/{n}") for n in range(1000)))
        sum(answer.ok for answer in answers)
    """)
    journal = server.journal()
    assert answered == 1000
    assert sum(entry["path"] == "/api/auth/refresh" for entry in journal) == 1
    assert sum(entry["status"] == 401 for entry in journal) <= 6
    assert len(journal) <= 1007
    assert max(Counter(entry["path"] for entry in journal).values()) <= 2


def test_what_the_caller_aborts_is_no_outage(ada: Page, server: Server) -> None:
    """An AbortSignal of the caller's ends the request with an error of its own, and the session stays online."""
    server.fault(path="/api/data", kind="stall")
    ended = ada.run("""
        controller = js.AbortController.new()
        asked = asyncio.ensure_future(session.fetch("/api/data", signal=controller.signal))
        await asyncio.sleep(0.1)
        controller.abort()
        outcome = (await asyncio.gather(asked, return_exceptions=True))[0]
        [type(outcome).__name__, session.state.name]
    """)
    assert ended == ["RequestAbortedError", "SIGNED_IN"]


def test_a_cancelled_caller_lets_go_of_the_connection(ada: Page, server: Server) -> None:
    """Cancelling the task aborts its fetch: six that stall and are cancelled leave the browser free for a seventh."""
    server.fault(path="/api/data/slow", kind="stall")
    status = ada.run("""
        slow = [asyncio.ensure_future(session.fetch("/api/data/slow", cache="no-store")) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        (await session.fetch("/api/data/quick", timeout=20)).status
    """)
    assert status == 200


def test_answers_that_nobody_reads_are_let_go_of(ada: Page, server: Server) -> None:
    """A caller may look at the status only: six bodies that never end leave the browser free for a seventh request."""
    server.fault(path="/api/data/slow", kind="stall_body")
    statuses = ada.run("""
        [
            *[(await session.fetch("/api/data/slow", cache="no-store")).status for _ in range(6)],
            (await session.fetch("/api/data/quick", timeout=20)).status,
        ]
    """)
    assert statuses == [200] * 7


def test_the_browsers_own_response_outlives_ours(ada: Page) -> None:
    """A caller who goes on with ``js_response`` can still read it."""
    text = ada.run("""
        own = (await session.fetch("/api/data/quick")).js_response
        await own.text()
    """)
    assert "quick" in text


def test_a_browser_whose_indexeddb_never_answers_holds_nothing_up(page: Page, server: Server) -> None:
    """Opening the database takes for ever: signing in, a refresh and signing out work without it."""
    page.script("IDBFactory.prototype.open = () => ({})")
    page.run(SESSION + '    await session.sign_in("ada", "lovelace")')
    server.expire()
    assert page.run('[(await session.fetch("/api/data")).status, session.state.name]') == [200, "SIGNED_IN"]
    assert page.run("await session.sign_out(); session.state.name") == "SIGNED_OUT"


def test_a_reload_keeps_the_person_signed_in(page: Page, server: Server) -> None:
    """The tokens are in localStorage: after a reload the first request goes out with them."""
    page.run(SESSION + '    await session.sign_in("ada", "lovelace")')
    page.load()
    page.run(SESSION + "    None")
    assert page.run('[session.state.name, (await session.fetch("/api/data")).status]') == ["SIGNED_IN", 200]
