"""The session record in real web storage, beside what other versions and other scripts leave there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Page

STORE = """
    import json
    import js
    from freshfetch import StorageError
    from freshfetch.browser import WebTokenStore
    from freshfetch.browser._fence import Fence, Mark
    from tests.contracts.token_store import a_record

    KEY = "freshfetch:kept"
    store, fence = WebTokenStore.local("kept"), Fence(KEY)
    start = await store.make_current()
    assert await store.commit(a_record(start + 1), expected=start)
"""
SIGN_IN = """
    generation = await store.make_current()
    written = await store.commit(a_record(generation + 1, "next"), expected=generation)
    later = await WebTokenStore.local("kept").make_current()
    [written, store.load().access_token, later == generation + 1 == store.load().generation]
"""


def test_another_versions_record_is_left_as_it_is(page: Page) -> None:
    """A lock holder that cannot read it changes neither the record nor the generation; signing in writes over it."""
    page.run(STORE)
    newer = json.dumps({"schema": 2, "anything": "else"})
    seen = page.run(
        """
        js.localStorage.setItem(KEY, newer)
        await store.make_current()
        mark = await fence.read()
        [js.localStorage.getItem(KEY) == newer, mark.present, mark.generation == start + 1]
        """,
        newer=newer,
    )
    assert seen == [True, True, True]
    assert page.run(SIGN_IN) == [True, "next", True]


@pytest.mark.parametrize(
    "generation, mark",
    [
        ("2**52", "2**52"),
        ("2**53 - 1", "1"),
        ("1", "2**53 - 1"),
        ("1", "2**53 + 2"),
        ("1", "-5"),
        ("1", "1.5"),
        ("1", "'one'"),
        ("1", "None"),
    ],
)
def test_no_generation_locks_anybody_out(page: Page, generation: str, mark: str) -> None:
    """Whatever number a script leaves in either place, one or two sign-ins later the session is fenced as ever."""
    page.run(STORE)
    page.run(f"""
        from dataclasses import replace
        js.localStorage.setItem(KEY, replace(a_record(1), generation={generation}).to_json())
        await fence.advance(start + 1, Mark({mark}, present=True), lambda: None)
        generation = await store.make_current()
        await store.commit(a_record(generation + 1), expected=generation)
    """)
    assert page.run(SIGN_IN) == [True, "next", True]


def test_after_site_data_was_cleared_no_old_generation_is_met_again(page: Page) -> None:
    """A tab that slept through it and the next sign-in finds its late commit refused."""
    page.run(STORE)
    page.run("old = start + 1")
    page.focus().execute_cdp_cmd(
        "Storage.clearDataForOrigin", {"origin": page.url, "storageTypes": "local_storage,indexeddb"}
    )
    assert page.run(SIGN_IN) == [True, "next", True]
    late = page.run("""
        [await store.commit(a_record(old + 1, "late"), expected=old), store.load().access_token]
    """)
    assert late == [False, "next"]


def test_a_record_that_grows_a_little_fits_into_a_full_storage(page: Page) -> None:
    """The storage is filled to its last character: renewed tokens some characters longer can still be saved."""
    page.run(STORE)
    saved = page.run("""
        def fill():
            size = 2**22
            while size:
                try:
                    js.localStorage.setItem(f"filling {size}", "x" * size)
                except Exception:
                    pass
                size //= 2

        for _ in range(3):
            fill()
        generation = await store.make_current()
        longer = a_record(generation + 1, "access" + "s" * 10)
        room = 256 - len(longer.to_json()) % 256
        [room > 10, await store.commit(longer, expected=generation), store.load() == longer]
    """)
    assert saved == [True, True, True]


def test_a_tab_without_indexeddb_does_not_take_a_new_session_for_one_that_has_ended(page: Page) -> None:
    """It signed somebody out; then somebody signed in in a tab that has IndexedDB: that record stays."""
    page.run(STORE)
    kept = page.run("""
        from freshfetch.browser._fence import StorageFence

        without = WebTokenStore(lambda: js.localStorage, "kept")
        generation = await without.make_current()
        await without.commit(None, expected=generation)
        generation = await store.make_current()
        await store.commit(a_record(generation + 1, "new"), expected=generation)
        seen = [await without.make_current() >= generation, without.load() and without.load().access_token]
        generation = await without.make_current()
        await without.commit(a_record(generation + 1, "newer"), expected=generation)
        [*seen, await store.make_current() == generation + 1, store.load().access_token]
    """)
    assert kept == [True, "new", True, "newer"]


ONE_TAB = """
    import asyncio, js
    from freshfetch import FreshfetchError
    from freshfetch.browser import connect

    session = connect("/api/auth", store="session", name="one-tab")

    async def status():
        try:
            return (await session.fetch("/api/data")).status
        except FreshfetchError as error:
            return type(error).__name__
"""


@pytest.fixture
def one_tab(page: Page, server: Server) -> Page:
    """A window in which ada is signed in, with a session of its own, at a server without grace."""
    server.settings(grace=0)
    page.run(ONE_TAB)
    page.run("await session.sign_in('ada', 'lovelace')")
    return page


def duplicate(page: Page, new_window: Callable[[], Page]) -> Page:
    """Open a window with a copy of the page's sessionStorage, as duplicating a tab does."""
    copy = new_window()
    for name, value in page.script("return Object.entries(sessionStorage)"):
        copy.script("sessionStorage.setItem(arguments[0], arguments[1])", name, value)
    return copy


def test_a_duplicated_tab_takes_nothing_from_its_original(
    one_tab: Page, new_window: Callable[[], Page], server: Server
) -> None:
    """Its copy of sessionStorage serves it while the token works; the refresh token stays with one of the two."""
    copy = duplicate(one_tab, new_window)
    copy.run(ONE_TAB)
    assert [each.run("await status()") for each in (one_tab, copy)] == [200, 200]
    server.expire()
    assert copy.run("await status()") == "SignedOutError"
    assert one_tab.run("await status()") == 200
    assert copy.run("await session.sign_in('ada', 'lovelace'), await status()")[1] == 200
    server.expire()
    assert [each.run("await status()") for each in (one_tab, copy)] == [200, 200]
    one_tab.load()
    one_tab.run(ONE_TAB)
    server.expire()
    assert one_tab.run("await status()") == 200
    effects = [entry["effects"] for entry in server.journal("/api/auth/refresh")]
    assert effects == [["refreshed"]] * 4


BUSY_AS_IT_ASKS = """
    const request = navigator.locks.request;
    navigator.locks.request = function (name, ...more) {
        const asked = request.call(this, name, ...more);
        const until = Date.now() + (name.includes(":page") ? 1500 : 0);
        while (Date.now() < until) {}
        return asked;
    };
"""


def test_a_busy_page_is_not_taken_for_a_copy_of_itself(one_tab: Page, server: Server) -> None:
    """Loaded anew and busy for longer than a claim may take: it hears late that it is its own, and stays signed in."""
    one_tab.load()
    one_tab.run(ONE_TAB)
    one_tab.script(BUSY_AS_IT_ASKS)
    server.expire()
    assert one_tab.run("await status()") == 200


NO_LOCKS = """
    navigator.locks.query = () => new Promise(() => {});
    const request = navigator.locks.request;
    navigator.locks.request = function (name, ...more) {
        return name.includes(":page") ? new Promise(() => {}) : request.call(this, name, ...more);
    };
"""


def test_locks_that_never_answer_keep_nobody_from_signing_in(page: Page) -> None:
    """The claim to its storage is given up after a while: signed in, and out."""
    page.run(ONE_TAB)
    page.script(NO_LOCKS)
    page.run("await session.sign_in('ada', 'lovelace')")
    assert page.run("await status()") == 200
    page.run("await session.sign_out()")
    assert page.run("session.state.name") == "SIGNED_OUT"


def test_a_duplicated_tab_is_a_copy_also_after_its_original_has_cleared_its_storage(
    one_tab: Page, new_window: Callable[[], Page], server: Server
) -> None:
    """The app clears sessionStorage and the person signs in again: the copy leaves the refresh token alone."""
    one_tab.script("sessionStorage.clear()")
    one_tab.run("await session.sign_in('ada', 'lovelace')")
    copy = duplicate(one_tab, new_window)
    copy.run(ONE_TAB)
    server.expire()
    assert copy.run("await status()") == "SignedOutError"
    assert one_tab.run("await status()") == 200


NO_LOCK_OF_ITS_OWN = """
    const request = navigator.locks.request;
    window.claims = 0;
    navigator.locks.request = function (name, ...more) {
        if (name.includes(":page") && ++window.claims === 2) return new Promise(() => {});
        return request.call(this, name, ...more);
    };
"""


def test_a_duplicated_tab_that_is_stopped_as_it_claims_is_still_a_copy(
    one_tab: Page, new_window: Callable[[], Page], server: Server
) -> None:
    """Its session is closed before it has a lock of its own: the next one does not take itself for the original."""
    copy = duplicate(one_tab, new_window)
    copy.run(ONE_TAB)
    copy.script(NO_LOCK_OF_ITS_OWN)
    server.expire()
    copy.run("""
        asking = asyncio.ensure_future(status())
        while js.claims < 2:
            await asyncio.sleep(0.01)
        await session.close()
        await asking
    """)
    copy.run(ONE_TAB)
    assert copy.run("await status()") == "SignedOutError"
    assert one_tab.run("await status()") == 200
