"""Storage that is cleared, corrupted, full or refused: the page starts, says so, and keeps what it can."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.tab import Tab
from tests.faults.browser.conftest import Tabs, stored, works_in_memory

KEY = "freshfetch:default"
REFRESH = "/api/auth/refresh"
STATUS = 'await outcome(ask(session, "/api/data"))'
FULL = 5_242_880
"""Characters, keys included, that localStorage holds for one origin."""
BLOCKED = {"profile.default_content_setting_values.cookies": 2}
PUT_MARK = """
    const opening = indexedDB.open("freshfetch", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("generations");
    await new Promise((resolve) => { opening.onsuccess = resolve; });
    const transaction = opening.result.transaction("generations", "readwrite");
    transaction.objectStore("generations").put(MARK, "freshfetch:default");
    await new Promise((resolve) => { transaction.oncomplete = resolve; });
    opening.result.close();
"""
CHANGE_DATABASE = """
    return new Promise((resolve, reject) => {
        const asked = CHANGE;
        asked.onsuccess = () => resolve(asked.result?.close());
        asked.onerror = reject;
        asked.onblocked = () => reject(new Error("a tab keeps its connection"));
    });
"""
REPLACE_DATABASE = """
    const opening = indexedDB.open("freshfetch", VERSION);
    opening.onupgradeneeded = () => opening.result.createObjectStore("something else");
    await new Promise((resolve) => { opening.onsuccess = resolve; });
    opening.result.close();
"""
FILL = """
    localStorage.setItem("filler", "");
    let used = Object.keys(localStorage).reduce((sum, key) => sum + key.length + localStorage[key].length, 0);
    localStorage.setItem("filler", "x".repeat(arguments[0] - used));
"""


def test_33_clearing_site_data_is_a_sign_out_and_no_more(tabs: Tabs, server: Server) -> None:
    """Storage and IndexedDB are gone, connections closed: signed out in all tabs; signing in is fenced as before."""
    first, second = tabs.signed_in(2)
    first.run("await session.refresh()")
    first.clear("local_storage", "indexeddb")
    for tab in (first, second):
        assert tab.run(STATUS) in ("SignedOutError", 401)
        tab.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")
    works_in_both(first, second, server)
    assert second.run("""
        from freshfetch.browser._fence import Fence

        record = json.loads(js.localStorage.getItem("freshfetch:default"))
        mark = await Fence("freshfetch:default").read()
        [mark.present, mark.generation == record["generation"]]
    """) == [True, True]


def test_33_a_store_cleared_under_a_refresh_stays_empty(tabs: Tabs, server: Server) -> None:
    """A script of the page clears localStorage in another tab: what waits is told, the late answer stores nothing."""
    first, second = tabs.signed_in(2)
    server.expire()
    first.hold(REFRESH)
    waiting = first.start(STATUS)
    first.held()
    second.script("window.wipe()")
    assert waiting.result() == "SignedOutError"
    first.hold_no_more()
    assert second.run(STATUS) == "SignedOutError"  # a tab's own scripts change its storage without an event
    for tab in (first, second):
        tab.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")
    assert stored(first) is None
    works_in_both(first, second, server)


def test_33_without_its_indexeddb_a_session_goes_on(tabs: Tabs, server: Server) -> None:
    """Only the generations are cleared: the tokens are still there, nobody is signed out, and refreshes are fenced."""
    first, second = tabs.signed_in(2)
    first.clear("indexeddb")
    server.expire()
    assert [tab.run(STATUS) for tab in (first, second)] == [200, 200]
    server.expire()
    assert [tab.run(STATUS) for tab in (second, first)] == [200, 200]
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]] * 2


def test_34_what_is_no_record_is_said_and_ignored(tabs: Tabs, server: Server, subtests: pytest.Subtests) -> None:
    """Whatever lies under the session's key, a session starts, is signed out, and says that storage is the trouble."""
    (tab,) = tabs.signed_in(1)
    record = stored(tab)
    assert record is not None
    for name, value in unreadable(record):
        with subtests.test(name):
            inject(value, tab)
            seen = tab.run("""
                other = connect()
                [other.state.name, bool(other.snapshot().storage_problem), await outcome(other.refresh())]
            """)
            assert seen == ["SIGNED_OUT", True, "SignedOutError"]
    assert server.journal(REFRESH) == []


def test_34_after_any_corruption_a_person_can_sign_in(tabs: Tabs, server: Server, subtests: pytest.Subtests) -> None:
    """Damaged or hostile, record or generation: signing in mends it, and the tabs share the session as before."""
    first, second = tabs.signed_in(2)
    record = stored(first)
    assert record is not None
    first.run("await session.close()")
    for name, corrupt in corruptions(record):
        with subtests.test(name):
            corrupt(first)
            tabs.enter(first)
            first.run("await sign_in(session)")
            works_in_both(first, second, server, signed_in=True)
            first.run("await sign_out(session); await session.close()")
            second.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")


@pytest.mark.parametrize("change", ["indexedDB.open('freshfetch', 2)", "indexedDB.deleteDatabase('freshfetch')"])
def test_34_a_page_that_has_another_database_need_not_wait(tabs: Tabs, server: Server, change: str) -> None:
    """A newer version of it, or none: two tabs that have it open give way, and their session goes on."""
    first, second = tabs.signed_in(2)
    first.wipe(CHANGE_DATABASE.replace("CHANGE", change))
    works_in_both(first, second, server, signed_in=True)


def test_35_a_full_storage_at_the_commit_loses_no_tokens(tabs: Tabs, server: Server) -> None:
    """The server has rotated, localStorage has no place: the new tokens live in memory, and are stored when it has."""
    server.settings(tokenFormat="opaque")
    (tab,) = tabs.signed_in(1)
    old = stored(tab)
    assert old is not None
    inject(json.dumps(old, separators=(",", ":")), tab)  # without the room that is left for a record to grow
    tab.script(FILL, FULL)
    with pytest.raises(AssertionError, match="QuotaExceededError"):
        tab.script("localStorage.setItem('filler', localStorage.getItem('filler') + 'x')")
    server.settings(tokenFormat="jwt")  # longer ones: there is no place for them, whatever the time of day
    server.expire()
    assert tab.run(STATUS) == 200
    assert "full" in tab.run("session.snapshot().storage_problem")
    assert [event["problem"] for event in tab.testimony.events("StorageFailed")] == [
        tab.run("session.snapshot().storage_problem")
    ]
    assert stored(tab) == old
    server.expire()
    assert tab.run(STATUS) == 200
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]] * 2
    tab.script("localStorage.removeItem('filler')")
    tab.run("await session.refresh()")
    assert tab.run("session.snapshot().storage_problem") == ""
    other = tabs.open()
    server.expire()
    assert [each.run(STATUS) for each in (other, tab)] == [200, 200]
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]] * 4


@pytest.fixture
def blocked(new_browser: Callable[..., Chromium]) -> Chromium:
    """Give a browser in which a person has blocked all site data, and a name that is no loopback leads here."""
    return new_browser(flags=["--host-resolver-rules=MAP plain.example 127.0.0.1"], preferences=BLOCKED)


def test_36_with_site_data_blocked_a_session_lives_in_memory(blocked: Chromium, tabs: Tabs, server: Server) -> None:
    """Storage and Web Locks refuse (29 as well): the page starts, says so, and signs in, refreshes and signs out."""
    tabs.use(blocked)
    tab = tabs.open()
    assert "refuse" in tab.run("session.snapshot().storage_problem")
    assert tab.script("return navigator.locks.request('a', () => 1).then(() => 'granted', (error) => error.name)") != (
        "granted"
    )
    works_in_memory(tab, server)
    tab.load()
    tabs.enter(tab)
    assert tab.run("[session.state.name, await outcome(ask(session, '/api/data'))]") == ["SIGNED_OUT", 401]


def test_29_a_page_over_plain_http_is_refused_by_name(blocked: Chromium, tabs: Tabs, server: Server) -> None:
    """Such a page has neither Web Locks nor a safe way for a token: a ConfigurationError says so, nothing obscure."""
    tabs.use(blocked)
    tab = tabs.blank()
    tab.url = f"http://plain.example:{server.port}"
    tab.load()
    assert tab.script("return [isSecureContext, typeof navigator.locks]") == [False, "undefined"]
    assert tab.run("""
        import freshfetch
        from freshfetch.browser import connect

        try:
            connect("/api/auth")
        except freshfetch.ConfigurationError as error:
            refusal = str(error)
        "https" in refusal
    """)


def works_in_both(first: Tab, second: Tab, server: Server, *, signed_in: bool = False) -> None:
    """Check that a sign-in in the first tab is the second's too, and that they refresh once between them."""
    if not signed_in:
        first.run("await sign_in(session)")
    second.run("await until(lambda: session.subject == 'ada')")
    before = len(server.journal(REFRESH))
    server.expire()
    assert [tab.run(STATUS) for tab in (first, second)] == [200, 200]
    assert [entry["effects"] for entry in server.journal(REFRESH)[before:]] == [["refreshed"]]
    assert first.run("session.snapshot().storage_problem") == ""


def unreadable(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield values that are no session record, by what is wrong with them."""
    text = json.dumps(record)
    yield from {
        "empty": "",
        "no JSON": "garbage",
        "cut off": text[: len(text) // 2],
        "twice": text + text,
        "null": "null",
        "a number": "1",
        "a string": '"text"',
        "an array": "[]",
        "an empty object": "{}",
        "U+0000": "\0",
        "half a character": "\ud800",
        "deeply nested": "[" * 100_000,
        "a huge number": "9" * 5000,
        "five megabytes": "x" * 5_000_000,
        "a field too many": json.dumps({**record, "extra": 1}),
        "a field too few": json.dumps({name: value for name, value in record.items() if name != "failures"}),
    }.items()
    wrong: dict[str, list[Any]] = {
        "schema": [2, 0, None, "1"],
        "generation": [-1, 1.5, 2**53, "1", None, True, [], float("nan")],
        "session_id": ["", 5, None],
        "subject": ["", 5, None, {}],
        "access_token": ["", None, "two words", "line\nbreak", "grüße", "\0", "\ud800", "x" * 20_000],
        "refresh_token": ["", 5, "line\nbreak", "\0", "x" * 20_000],
        "obtained_at": [-1, "now", None, float("inf"), float("nan"), 1e13],
        "expires_at": [-1, "now", float("inf"), 1e13],
        "refresh_expires_at": [-1, [], float("-inf")],
        "not_before": [-1, None, float("nan"), 1e13],
        "failures": [-1, 0.5, 2**53],
        "unanswered": [1, None, "false"],
        "refused": [1, []],
    }
    for name, values in wrong.items():
        for value in values:
            yield f"{name}: {repr(value)[:20]}", json.dumps({**record, name: value})


def corruptions(record: dict[str, Any]) -> Iterator[tuple[str, Callable[[Tab], object]]]:
    """Yield ways to corrupt what is stored, by name: the record, the generation beside it, the database itself."""
    text = json.dumps(record)
    values = {
        "cut off": text[: len(text) // 2],
        "another schema": json.dumps({**record, "schema": 2}),
        "five megabytes": "x" * 5_000_000,
        "U+0000": "\0",
        "half a character": "\ud800",
    }
    hostile: dict[str, Any] = {
        "generation": 2**53 - 1,
        "not_before": 1e12,
        "obtained_at": 1e12,
        "expires_at": 0,
        "refresh_expires_at": 0,
        "failures": 2**53 - 1,
        "subject": "<img src=x onerror=alert(1)>\0\ud800",
        "session_id": "\ud800",
        "access_token": "x",
        "refresh_token": None,
        "refused": "y" * 100_000,
    }
    values |= {f"{name} {repr(value)[:20]}": json.dumps({**record, name: value}) for name, value in hostile.items()}
    for name, value in values.items():
        yield name, partial(inject, value)
    marks = ["'garbage'", "null", "{generation: -1, present: true}", "{generation: NaN, present: true}", "10n"]
    marks += ["{generation: 'x'}", "{generation: 1e300, present: true}", "{generation: 2 ** 53 - 1, present: true}"]
    marks += ["{generation: 0, present: false}", "{generation: 500000, present: true}"]
    for mark in marks:
        yield f"mark {mark}", partial(inject_mark, mark, text)
    for version in (1, 2):
        source = REPLACE_DATABASE.replace("VERSION", str(version))
        yield f"another database, version {version}", partial(replace_database, source)


def inject(value: str, tab: Tab) -> None:
    """Put a value under the session's key."""
    tab.script("window.inject(...arguments)", KEY, value)


def replace_database(source: str, tab: Tab) -> None:
    """Put another database in the place of the one with the generations."""
    tab.clear("indexeddb")
    tab.wipe(source)


def inject_mark(mark: str, record: str, tab: Tab) -> None:
    """Put a mark into IndexedDB, beside a record that is sound."""
    tab.wipe(PUT_MARK.replace("MARK", mark))
    inject(record, tab)
