"""Several real tabs on one storage: expiry in the same moment, death, frost, sign-outs, other people, the way back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Chromium, Page, run_together
from tests.browser.harness.tab import PLAIN, Tab
from tests.faults.browser.conftest import Tabs, stored, works_in_memory

REFRESH = "/api/auth/refresh"
ROUNDS = 100
# How long a tab waits for the lock: the time limit of a refresh and a second.
SHORT = "retry=freshfetch.RetryPolicy(windows=((0.01, 0.05),), refresh_timeout=1.0)"
THREE = """
    answers = await asyncio.gather(*(ask(session, f"/api/data/{n}") for n in range(3)))
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
# From now on the page's IndexedDB never answers, so that a commit begins and does not end.
STALL_THE_COMMIT = """
    IDBDatabase.prototype.transaction = () => {
        window.tellTest(JSON.stringify({kind: "committing"}));
        return {objectStore: () => ({get: () => ({})})};
    };
"""
STATUS = 'await outcome(ask(session, "/api/data"))'


def test_26_tabs_whose_token_dies_in_the_same_moment_refresh_once(tabs: Tabs, server: Server) -> None:
    """Three tabs meet a dead token at once, a hundred times: a hundred refreshes, no reuse alarm, nobody signed out."""
    three = tabs.signed_in(3)
    for _ in range(ROUNDS):
        server.expire()
        assert run_together([(tab, THREE) for tab in three]) == [[3, "SIGNED_IN"]] * 3
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]] * ROUNDS


def test_26_three_windows_lose_no_update(page: Page, new_window: Callable[[], Page]) -> None:
    """Each adds one to the record's generation under the lock, 800 times: it ends at 2400, no commit refused."""
    windows = [page, new_window(), new_window()]
    assert run_together([(window, INCREMENT) for window in windows]) == [0, 0, 0]
    assert page.run("await store.make_current(), store.load().generation") == [2400, 2400]


def test_27_a_tab_killed_before_it_sent_costs_nothing(tabs: Tabs, server: Server) -> None:
    """Its lock is free at once, its refresh token unspent: the other tab refreshes with it."""
    first, second = tabs.signed_in(2)
    server.expire()
    first.hold(REFRESH, stage="Request")
    first.start(STATUS)
    first.held()
    first.crash()
    assert second.run(STATUS) == 200
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]]


@pytest.mark.parametrize("moment", ["before the answer", "before the commit"])
def test_27_a_tab_killed_after_the_server_rotated(tabs: Tabs, server: Server, moment: str) -> None:
    """In the grace window the session lives on in another tab; a strict server ends it as an ambiguous rotation."""
    (heir,) = tabs.signed_in(1)
    for grace, expected in ((10, 200), (0, "SessionExpiredError")):
        server.settings(grace=grace)
        victim = tabs.open()
        server.expire()
        victim.hold(REFRESH)
        victim.start(STATUS)
        answer = victim.held()
        if moment == "before the commit":
            victim.script(STALL_THE_COMMIT)
            answer.let_go()
            victim.wait_until(lambda seen: seen.of("committing"))
        victim.crash() if grace else victim.close()
        assert heir.run(STATUS) == expected
    assert [event["reason"] for event in heir.testimony.events("SessionExpired")] == ["rotation_ambiguous"]
    effects = [entry["effects"] for entry in server.journal(REFRESH)]
    assert effects == [["refreshed"], ["grace_reissued"], ["refreshed"], ["reuse_detected"]]


def test_28_the_late_answer_of_a_frozen_tab_overwrites_nothing(tabs: Tabs, server: Server) -> None:
    """It holds the lock and freezes; another passes it by and refreshes twice; thawed, it takes what is stored."""
    server.settings(grace=30)
    frozen, other = tabs.signed_in(2, settings=SHORT)
    # One that hears of no other tab and has all the time in the world: nothing but the fence is in its answer's way.
    frozen.run("await session.close(); session = connect(retry=freshfetch.RetryPolicy(refresh_timeout=90.0))")
    server.expire()
    frozen.hold(REFRESH)
    late = frozen.start(STATUS)
    answer = frozen.held()
    frozen.freeze()
    assert other.run(STATUS) == 200
    other.run("await session.refresh()")
    newest = stored(other)
    answer.let_go()
    frozen.thaw()
    assert late.result() == 200
    assert stored(frozen) == newest
    assert frozen.testimony.events("RefreshSucceeded") == []
    frozen.hold_no_more()
    server.expire()
    assert [tab.run(STATUS) for tab in (frozen, other)] == [200, 200]
    effects = [entry["effects"] for entry in server.journal(REFRESH)]
    assert effects == [["refreshed"], ["grace_reissued"], ["refreshed"], ["refreshed"]]


def test_28_an_answer_that_came_while_the_tab_was_frozen_counts(tabs: Tabs, server: Server) -> None:
    """The limit is over when it wakes, but the answer is there. On a strict server, losing it would end the session."""
    frozen, other = tabs.signed_in(2, settings=SHORT)
    server.expire()
    frozen.hold(REFRESH)
    late = frozen.start(STATUS)
    answer = frozen.held()
    frozen.freeze()
    answer.let_go()
    other.run("await asyncio.sleep(3)")
    frozen.thaw()
    assert late.result() == 200
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]]


def test_28_the_late_answer_of_a_frozen_tab_revives_nothing(tabs: Tabs, server: Server) -> None:
    """With a strict server the tab that passes it by ends the session; the answer that comes then is void."""
    frozen, other = tabs.signed_in(2, settings=SHORT)
    server.expire()
    frozen.hold(REFRESH)
    late = frozen.start(STATUS)
    answer = frozen.held()
    frozen.freeze()
    assert other.run(STATUS) == "SessionExpiredError"
    assert [event["reason"] for event in other.testimony.events("SessionExpired")] == ["rotation_ambiguous"]
    answer.let_go()
    frozen.thaw()
    assert late.result() == "SessionExpiredError"
    frozen.run("await until(lambda: session.state is freshfetch.State.SIGN_IN_REQUIRED)")
    assert stored(frozen) is None


@pytest.mark.parametrize(
    "missing", ["delete Navigator.prototype.locks", "delete window.BroadcastChannel", "delete window.indexedDB"]
)
def test_29_without_a_part_of_the_browser_it_still_works(tabs: Tabs, server: Server, missing: str) -> None:
    """Web Locks, BroadcastChannel or IndexedDB are absent: sign-in, refresh and sign-out work, and the tabs agree."""
    both = [tabs.blank() for _ in range(2)]
    for tab in both:
        tab.load()
        tab.script(missing)
        tabs.enter(tab)
    first, second = both
    first.run("await sign_in(session)")
    second.run("await until(lambda: session.subject == 'ada')")
    server.expire()
    assert [tab.run(STATUS) for tab in both] == [200, 200]
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]]
    second.run("await sign_out(session)")
    first.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")
    assert first.run(STATUS) == 401


def test_29_in_a_sandboxed_frame_a_session_lives_in_memory(
    new_browser: Callable[..., Chromium], tabs: Tabs, server: Server
) -> None:
    """Its origin is opaque, storage and locks refuse: it starts without an exception, says so, and works."""
    server.allow_origins("null")
    tabs.use(new_browser(flags=["--disable-features=IsolateSandboxedIframes"]))
    tab = tabs.blank()
    tab.load_sandboxed()
    assert tab.script("return self.origin") == "null"
    tabs.enter(tab, "origins=[js.document.baseURI]")
    works_in_memory(tab, server)


def test_30_a_sign_out_elsewhere_ends_it_here(tabs: Tabs, server: Server) -> None:
    """Idle, with requests queued, with a refresh in flight: nothing with a token leaves, and nothing revives it."""
    here, there = tabs.signed_in(2)
    there.run("await sign_out(session)")
    here.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")
    assert here.run(STATUS) == 401
    for stage in ("Request", "Response"):
        there.run("await sign_in(session)")
        here.run("await until(lambda: session.subject == 'ada')")
        server.expire()
        here.hold(REFRESH, stage=stage)
        waiting = here.start("await asyncio.gather(*(outcome(ask(session, f'/api/data/{n}')) for n in range(5)))")
        here.held()
        before = len(server.journal())
        there.run("await sign_out(session)")
        assert waiting.result() == ["SignedOutError"] * 5
        here.hold_no_more()
        assert here.run(STATUS) in (401, "SignedOutError")  # the latter while the refresh is ending
        assert stored(here) is None
        since = server.journal()[before:]
        assert [entry["path"] for entry in since if entry["user"] is not None] == ["/api/auth/logout"]
    assert here.run("session.state.name") == "SIGNED_OUT"


def test_31_what_waits_is_not_sent_under_another_name(tabs: Tabs, server: Server) -> None:
    """Requests held while somebody else signs in elsewhere are rejected by name; the late refresh stores nothing."""
    here, there = tabs.signed_in(2)
    server.expire()
    here.hold(REFRESH)
    waiting = here.start("""
        asked = [ask(session, "/api/notes", method="POST", json={"text": "mine"}) for _ in range(3)]
        await asyncio.gather(*map(outcome, asked))
    """)
    here.held()
    there.run("await sign_in(session, 'grace')")
    assert waiting.result() == ["IdentityChangedError"] * 3
    here.hold_no_more()
    assert here.run("session.subject") == "grace"
    assert here.run(STATUS) == 200
    record = stored(here)
    assert record is not None
    assert record["subject"] == "grace"
    assert [entry["effects"] for entry in server.journal("/api/notes") if entry["effects"]] == []


def test_31_what_is_in_flight_is_not_replayed_under_another_name(tabs: Tabs, server: Server) -> None:
    """A POST under way that is refused after somebody else has signed in elsewhere is rejected, not sent again."""
    here, there = tabs.signed_in(2)
    here.hold("/api/notes", stage="Request")
    waiting = here.start('await outcome(ask(session, "/api/notes", method="POST", json={"text": "mine"}))')
    here.held()
    there.run("await sign_in(session, 'grace')")
    server.expire("ada")
    here.hold_no_more()
    assert waiting.result() == "IdentityChangedError"
    posts = [entry for entry in server.journal("/api/notes") if entry["method"] == "POST"]
    assert [(entry["user"], entry["status"]) for entry in posts] == [("ada", 401)]


# A page that still runs something as it is put away is not kept. Python's loop turns by messages to itself, so it is at
# rest when as many messages as the longest chain of callbacks has links have gone round, and the database has answered.
LEAVE_AT_REST = """
    const [away] = arguments;
    const opening = indexedDB.open("freshfetch");
    await new Promise((opened) => { opening.onsuccess = opened; });
    const generations = opening.result.transaction("generations", "readwrite");
    generations.objectStore("generations").count();
    await new Promise((done) => { generations.oncomplete = done; });
    opening.result.close();
    const {port1, port2} = new MessageChannel();
    for (let turn = 0; turn < 100; turn++) {
        await new Promise((arrived) => { port1.onmessage = arrived; port2.postMessage(turn); });
    }
    port1.close();
    requestIdleCallback(() => { location = away; });
"""
NOTE_RETURNS = """
    addEventListener("pageshow", (event) => {
        window.tellTest(JSON.stringify({kind: `shown ${location.pathname}`, persisted: event.persisted}));
    });
"""


def test_32_a_page_from_the_back_forward_cache_sees_what_happened_meanwhile(tabs: Tabs, server: Server) -> None:
    """Another tab refreshed, somebody else signed in, or everybody out: the page that comes back knows at once."""
    # Its words would wake the sleeper: a browser loads a cached page anew when a BroadcastChannel speaks to it.
    awake = tabs.blank()
    awake.load()
    awake.script("delete window.BroadcastChannel")
    tabs.enter(awake).run("await sign_in(session)")
    sleeper = tabs.open(before=NOTE_RETURNS)
    sleep_through(sleeper, lambda: awake.run("await session.refresh()"))
    assert sleeper.run(STATUS) == 200
    assert len(server.journal(REFRESH)) == 1
    server.expire()
    assert [tab.run(STATUS) for tab in (sleeper, awake)] == [200, 200]
    assert len(server.journal(REFRESH)) == 2
    sleep_through(sleeper, lambda: awake.run("await sign_in(session, 'grace')"))
    sleeper.run("await until(lambda: session.subject == 'grace')")
    sleep_through(sleeper, lambda: awake.run("await sign_out(session)"))
    sleeper.run("await until(lambda: session.state is freshfetch.State.SIGNED_OUT)")
    assert sleeper.run(STATUS) == 401


def sleep_through(tab: Tab, meanwhile: Callable[[], object]) -> None:
    """Leave the page, let something happen, and come back to it as it was."""
    times = len(tab.testimony.of(f"shown {tab.path}"))
    tab.wire.call("HeapProfiler.collectGarbage")  # else Pyodide's finalizers may run when the page is already put away
    tab.script(LEAVE_AT_REST, PLAIN)
    tab.wire.arrived(f"{tab.url}{PLAIN}")
    meanwhile()
    tab.script("setTimeout(() => history.back(), 0)")
    tab.wire.arrived(f"{tab.url}{tab.path}")
    tab.wait_until(lambda seen: len(seen.of(f"shown {tab.path}")) > times)
    assert tab.testimony.of(f"shown {tab.path}")[-1]["persisted"], tab.testimony.refusals
