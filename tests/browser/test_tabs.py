"""Several real windows on one storage, with a strict server: rotation, and no grace."""

from __future__ import annotations

from collections.abc import Callable

from mock_server.testing import Server
from tests.browser.harness.chromium import Page, run_together

SESSION = """
    import asyncio
    import freshfetch, js
    from freshfetch.browser import connect

    session = connect("/api/auth", heartbeat=freshfetch.HeartbeatPolicy(url=None))
    events = []
    session.subscribe(events.append)
    await session.__aenter__()

    async def until(condition):
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)
"""
SIGN_IN = 'await session.sign_in("ada", "lovelace")'
FORTY = """
    answers = await asyncio.gather(*(session.fetch(f"/api/data/{n}") for n in range(40)))
    [sum(answer.ok for answer in answers), session.state.name]
"""
INCREMENT = """
    from freshfetch.browser import WebLock, WebTokenStore
    from tests.contracts.token_store import a_record

    store, lock = WebTokenStore.local("counter"), WebLock()
    refused = 0
    for _ in range(800):
        async with lock.hold("counter", 60):
            generation = await store.make_current()
            record = store.load()
            behind = 0 if record is None else record.generation
            written = await store.commit(a_record(behind + 1), expected=generation)
            refused += not written
    refused
"""


def open_tabs(page: Page, new_window: Callable[[], Page], server: Server) -> list[Page]:
    """Open two windows with a session each, ada signed in; the journal starts afterwards."""
    server.settings(grace=0)
    tabs = [page, new_window()]
    for tab in tabs:
        tab.run(SESSION)
    tabs[0].run(SIGN_IN)
    tabs[1].run("await until(lambda: session.state is freshfetch.State.SIGNED_IN)")
    server.forget_journal()
    return tabs


def test_two_tabs_refresh_once_between_them(page: Page, new_window: Callable[[], Page], server: Server) -> None:
    """Forty requests in each of two windows at the same moment, twenty rounds: twenty refreshes, no reuse alarm."""
    tabs = open_tabs(page, new_window, server)
    for _ in range(20):
        server.expire()
        assert run_together([(tab, FORTY) for tab in tabs]) == [[40, "SIGNED_IN"]] * 2
    refreshes = server.journal("/api/auth/refresh")
    assert [entry["effects"] for entry in refreshes] == [["refreshed"]] * 20


def test_three_windows_lose_no_update(page: Page, new_window: Callable[[], Page]) -> None:
    """Each adds one to the record's generation under the lock, 800 times: it ends at 2400, no commit refused."""
    windows = [page, new_window(), new_window()]
    assert run_together([(window, INCREMENT) for window in windows]) == [0, 0, 0]
    assert page.run("await store.make_current(), store.load().generation") == [2400, 2400]


def test_a_sign_out_is_known_in_the_other_tab(page: Page, new_window: Callable[[], Page], server: Server) -> None:
    """After signing out in one window the other sends no more authenticated requests, and its state says so."""
    first, second = open_tabs(page, new_window, server)
    first.run("await session.sign_out()")
    second.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")
    server.forget_journal()
    assert second.run('(await session.fetch("/api/data")).status') == 401
    assert [entry["user"] for entry in server.journal()] == [None]


def test_what_waits_is_not_sent_under_another_name(page: Page, new_window: Callable[[], Page], server: Server) -> None:
    """Requests held in one window while somebody else signs in in another are rejected by name."""
    first, second = open_tabs(page, new_window, server)
    server.expire()
    server.fault(path="/api/auth/refresh", kind="status", status=503)
    waiting = first.start("""
        asked = [session.fetch("/api/notes", method="POST", json={"text": "mine"}) for _ in range(3)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        [type(outcome).__name__ for outcome in outcomes]
    """)
    first.run("await until(lambda: any(isinstance(event, freshfetch.RefreshFailed) for event in events))")
    second.run('await session.sign_in("grace", "hopper")')
    assert waiting.result() == ["IdentityChangedError"] * 3
    posts = [entry for entry in server.journal("/api/notes") if entry["method"] == "POST"]
    assert {entry["user"] for entry in posts} == {"ada"}
    assert all(entry["effects"] == [] for entry in posts)
    assert first.run("session.subject") == "grace"


def test_a_reload_keeps_the_person_signed_in(page: Page, server: Server) -> None:
    """The tokens are in localStorage: after a reload the first request goes out with them."""
    page.run(SESSION + "\n    " + SIGN_IN)
    page.load()
    page.run(SESSION)
    assert page.run('[session.state.name, (await session.fetch("/api/data")).status]') == ["SIGNED_IN", 200]
