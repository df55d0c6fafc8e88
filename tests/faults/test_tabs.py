"""Tabs (26 to 32) as far as virtual time is honest: tabs that share storage, lock and channel in one event loop.

What only browsers can show (real locks, processes, kills, frozen pages, the back/forward cache) is below ``browser``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from freshfetch import (
    Hint,
    IdentityChangedError,
    JsonAuthServer,
    QueuePolicy,
    RefreshStarted,
    RefreshSucceeded,
    RefreshUnavailableError,
    Request,
    SessionExpired,
    SessionRecord,
    SignedIn,
    SignedOut,
    SignedOutError,
    State,
    Tokens,
    TransportError,
)
from freshfetch.memory import ASGITransport, MemoryChannel, MemoryLock, MemoryTokenStore
from tests.faults.watched import WatchedTab, WatchedWorld
from tests.world import eager_retry, outcomes, roomy_queue, seconds_since_start, until

REFRESH = "/api/auth/refresh"
NOTES = "/api/notes"


class View(MemoryTokenStore):
    """One tab's view of a storage that all tabs share: others' writes can be seen late, commits of answers can hang."""

    def __init__(self, storage: MemoryTokenStore, lag: float = 0.0) -> None:
        super().__init__()
        self.storage = storage
        self.lag = lag
        self.at_commit: Callable[[], Any] | None = None
        self._seen: SessionRecord | None = storage.load()

    def load(self) -> SessionRecord | None:
        """Return what this tab can see."""
        if not self.lag:
            self._seen = self.storage.load()
        return self._seen

    async def make_current(self) -> int:
        """Wait until everything can be seen."""
        await asyncio.sleep(self.lag)
        self._seen = self.storage.load()
        return await self.storage.make_current()

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write for all, and see it oneself."""
        if self.at_commit is not None and not (record is not None and record.unanswered):
            await self.at_commit()
        written = await self.storage.commit(record, expected=expected)
        if written:
            self._seen = record
        return written


async def two_tabs(world: WatchedWorld, **settings: Any) -> tuple[WatchedTab, WatchedTab]:
    """Return two running tabs of ada's; the settings are the first one's."""
    first, second = await world.signed_in_tab(**settings), world.tab()
    await first.session.__aenter__()
    await second.session.__aenter__()
    first.events.clear()
    return first, second


async def open_tabs(world: WatchedWorld, number: int) -> list[WatchedTab]:
    """Return so many running tabs of ada's."""
    first = await world.signed_in_tab(queue=roomy_queue())
    tabs = [first, *(world.tab(queue=roomy_queue()) for _ in range(number - 1))]
    for tab in tabs:
        await tab.session.__aenter__()
    await asyncio.sleep(0)
    return tabs


def effects(world: WatchedWorld) -> list[str]:
    """Return everything that changed at the server, in order."""
    return [effect for entry in world.journal() for effect in entry.effects]


def with_token(tab: WatchedTab) -> list[str]:
    """Return the paths of the requests that left with a token."""
    return [request.path for request in tab.wire.sent if "authorization" in request.headers]


# -- 26: all at once --


@pytest.mark.parametrize("number", [2, 20])
async def test_26_tabs_that_all_expire_in_the_same_moment_share_one_refresh(world: WatchedWorld, number: int) -> None:
    """A hundred rounds in which every tab's token dies at once: a hundred refreshes, no reuse alarm, all answered."""
    tabs = await open_tabs(world, number)
    for _ in range(100):
        await world.expire()
        answers = await asyncio.gather(*(tab.session.fetch("/api/data") for tab in tabs))
        assert all(answer.ok for answer in answers)
    assert effects(world) == ["refreshed"] * 100
    assert sum(len(tab.seen(RefreshSucceeded)) for tab in tabs) == 100
    assert {tab.session.state for tab in tabs} == {State.SIGNED_IN}


async def test_26_tabs_that_know_the_expiry_share_one_refresh_too(world: WatchedWorld) -> None:
    """A hundred lifetimes that run out by the clock, in all tabs in the same millisecond: a refresh each, no 401."""
    tabs = await open_tabs(world, 5)
    for _ in range(100):
        await asyncio.sleep(1801)
        answers = await asyncio.gather(*(tab.session.fetch("/api/data") for tab in tabs for _ in range(2)))
        assert all(answer.ok for answer in answers)
    assert effects(world) == ["refreshed"] * 100
    assert not [entry for entry in world.journal() if entry.status == 401]


async def test_26_tabs_that_hear_nothing_share_one_refresh_all_the_same(world: WatchedWorld) -> None:
    """Tabs outside of ``async with``, all refused at once: the lock and the store alone make it one refresh a round."""
    tabs = [await world.signed_in_tab(queue=roomy_queue()), *(world.tab(queue=roomy_queue()) for _ in range(4))]
    for _ in range(20):
        await world.expire()
        calls = [tab.session.fetch(f"/api/data/{n}") for n in range(4) for tab in tabs]
        assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert effects(world) == ["refreshed"] * 20


async def test_26_tabs_that_see_each_others_writes_late_share_one_refresh(world: WatchedWorld) -> None:
    """The lock arrives before the last holder's write can be seen: who holds it makes the store current first."""
    first = await world.signed_in_tab()
    tabs = [first, *(world.tab(store=View(world.store, lag=0.05)) for _ in range(9))]
    for tab in tabs:
        await tab.session.__aenter__()
    for _ in range(20):
        await world.expire()
        answers = await asyncio.gather(*(tab.session.fetch("/api/data") for tab in tabs))
        assert all(answer.ok for answer in answers)
    assert effects(world) == ["refreshed"] * 20


async def test_26_forced_refreshes_in_all_tabs_are_one(world: WatchedWorld) -> None:
    """session.refresh() in five tabs at once: one refresh, and all five return."""
    tabs = await open_tabs(world, 5)
    await asyncio.gather(*(tab.session.refresh() for tab in tabs))
    assert effects(world) == ["refreshed"]


# -- 27: killed --


def kill(world: WatchedWorld, tab: WatchedTab, *calls: asyncio.Task[Any]) -> None:
    """End a tab as a browser does: what runs in it stops where it is, and the lock is free."""
    world.act("kill", tab.name)
    tab.gone = True
    for redemption in world.redemptions:
        if redemption.tab == tab.name:
            redemption.succeeded = False  # whatever was answered died with the tab
    for task in (tab.session._refresher._task, tab.session._beating, *calls):
        if task is not None:
            task.cancel()


@pytest.mark.parametrize("moment", ["send", "answer", "commit"])
async def test_27_when_a_tab_is_killed_with_the_lock_another_has_refreshed_within_a_second(
    world: WatchedWorld, moment: str
) -> None:
    """Killed before it has sent, before the answer, before the commit: the one that waits takes over, nobody is out."""
    await world.control("settings", grace=10)
    view = View(world.store)
    first, second = await two_tabs(world, store=view)
    await asyncio.sleep(1801)
    if moment == "send":
        first.wire.delay = 10.0
    elif moment == "answer":
        await world.fault(REFRESH, "stall", times=1)
    else:

        async def never_after_the_answer() -> None:
            if world.refreshes():
                await asyncio.Event().wait()

        view.at_commit = never_after_the_answer
    doomed = asyncio.create_task(first.session.fetch("/api/data/doomed"))
    await until(lambda: first.seen(RefreshStarted))
    waiting = asyncio.create_task(second.session.fetch("/api/data/waiting"))
    await asyncio.sleep(0.5)
    assert world.refreshes() == (0 if moment == "send" else 1)
    assert not waiting.done()
    kill(world, first, doomed)
    assert (await asyncio.wait_for(waiting, 1)).ok
    assert effects(world)[0] == "refreshed"
    assert set(effects(world)) <= {"refreshed", "grace_reissued"}
    assert world.record().generation > 1
    assert second.session.state is State.SIGNED_IN
    await outcomes(doomed)


async def test_27_a_tab_killed_after_its_commit_needs_no_second_refresh(world: WatchedWorld) -> None:
    """The tokens are stored, the word to the others died with the tab: the one that waits adopts them."""
    view = View(world.store)
    first, second = await two_tabs(world, store=view, channel=MemoryChannel())
    await asyncio.sleep(1801)
    first.wire.delay = 0.5
    doomed = asyncio.create_task(first.session.fetch("/api/data/doomed"))
    await until(lambda: first.seen(RefreshStarted))
    waiting = asyncio.create_task(second.session.fetch("/api/data/waiting"))
    await until(lambda: first.seen(RefreshSucceeded))
    kill(world, first, doomed)
    assert (await asyncio.wait_for(waiting, 1)).ok
    assert effects(world) == ["refreshed"]
    await outcomes(doomed)


async def test_27_on_a_server_without_grace_an_answer_that_died_with_its_tab_ends_the_session_once(
    world: WatchedWorld,
) -> None:
    """No client can know a token whose answer died: the other tab asks within a second, and is told the end once."""
    first, second = await two_tabs(world)
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "stall", times=1)
    doomed = asyncio.create_task(first.session.fetch("/api/data/doomed"))
    await until(lambda: world.refreshes() == 1)
    waiting = asyncio.create_task(second.session.fetch("/api/data/waiting"))
    await asyncio.sleep(0.5)
    kill(world, first, doomed)
    [result] = await asyncio.wait_for(outcomes(waiting), 1)
    assert result.reason == "rotation_ambiguous"
    assert result.request is not None
    assert world.refreshes() == 2
    assert len(second.seen(SessionExpired)) == 1
    await outcomes(doomed)


async def test_27_a_session_that_is_closed_while_it_refreshes_keeps_nobody_waiting(world: WatchedWorld) -> None:
    """Closed, not killed: it waits for the answer it has asked for, stores it, and the other tab goes on at once."""
    first, second = await two_tabs(world)
    await asyncio.sleep(1801)
    first.wire.delay = 5.0
    doomed = asyncio.create_task(first.session.fetch("/api/data/doomed"))
    await until(lambda: first.seen(RefreshStarted))
    waiting = asyncio.create_task(second.session.fetch("/api/data/waiting"))
    await asyncio.sleep(0.5)
    await first.session.close()
    assert (await asyncio.wait_for(waiting, 1)).ok
    assert effects(world) == ["refreshed"]
    assert len(first.seen(RefreshSucceeded)) == 1
    await outcomes(doomed)


# -- 28: frozen --


def freeze_refreshes(tab: WatchedTab) -> asyncio.Event:
    """Keep the answers of this tab's refreshes back until the event is set, as a frozen tab would."""
    thawed = asyncio.Event()

    async def wait(request: Request) -> None:
        if request.path == REFRESH:
            began = seconds_since_start()
            try:
                await thawed.wait()
            finally:
                tab.frozen.append((began, seconds_since_start()))

    tab.wire.before_answer = wait
    return thawed


async def test_28_the_late_answer_of_a_frozen_tab_does_not_overwrite_newer_tokens(world: WatchedWorld) -> None:
    """Frozen with its refresh answered, it is passed by in the time limit; thawed, it adopts and stores nothing."""
    await world.control("settings", grace=60)
    first, second = await two_tabs(world, retry=eager_retry(refresh_timeout=1000.0))  # no timer runs in a frozen tab
    await asyncio.sleep(1801)
    thawed = freeze_refreshes(first)
    frozen = asyncio.create_task(first.session.fetch("/api/data/frozen"))
    await until(lambda: world.refreshes() == 1)
    began = seconds_since_start()
    assert (await second.session.fetch("/api/data/other")).ok
    assert seconds_since_start() - began <= 10 + 2  # the limit of one refresh, and a little
    newer = world.record()
    thawed.set()
    assert (await frozen).ok
    assert world.record() == newer
    assert world.refreshes() == 2
    assert first.seen(RefreshSucceeded) == []


@pytest.mark.parametrize("change", ["sign-out", "same person", "another person", "refresh"])
async def test_28_a_late_answer_is_void_even_in_a_tab_that_hears_nothing(world: WatchedWorld, change: str) -> None:
    """A tab outside of ``async with`` hears no hints: the commit alone keeps its late answer out of the store."""
    await world.control("settings", grace=60)
    deaf = await world.signed_in_tab(retry=eager_retry(refresh_timeout=1000.0))
    other = world.tab()
    thawed = freeze_refreshes(deaf)
    late = asyncio.create_task(deaf.session.refresh())
    await until(lambda: world.refreshes() == 1)
    if change == "sign-out":
        await other.session.sign_out()
    elif change == "refresh":
        await other.session.refresh()
    else:
        name, password = ("ada", "lovelace") if change == "same person" else ("grace", "hopper")
        await other.session.sign_in(name, password)
    truth = world.store.load()
    thawed.set()
    await outcomes(late)
    assert world.store.load() == truth
    assert deaf.seen(RefreshSucceeded) == []


async def test_28_a_tab_that_never_gives_the_lock_back_is_passed_by(world: WatchedWorld) -> None:
    """Somebody holds the lock for ever: the refresh waits its time limit, then goes on, and the caller is answered."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    async with world.lock.hold("default", 1.0):
        assert (await tab.session.fetch("/api/data", timeout=12)).ok
    assert world.refreshes() == 1


# -- 29: no lock, no channel --


class Refusing(MemoryLock):
    """A lock that is not to be had for so many times, or raises what no lock should."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        super().__init__()
        self.times = times
        self.error = error or TransportError("The lock was not to be had.")

    def hold(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Refuse, or hold."""
        if self.times > 0:
            self.times -= 1
            raise self.error
        return super().hold(name, timeout)


async def test_29_without_lock_and_channel_a_tab_works_as_before(world: WatchedWorld) -> None:
    """A lock and a channel that reach no other tab: start, requests, refreshes, sign-out and expiry work."""
    tab = await world.signed_in_tab(lock=MemoryLock(), channel=MemoryChannel(), queue=roomy_queue())
    async with tab.session:
        for _ in range(10):
            await world.expire()
            answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(50)))
            assert all(answer.ok for answer in answers)
        assert effects(world) == ["refreshed"] * 10
        await tab.session.sign_out()
        assert tab.session.state is State.SIGNED_OUT
        await tab.session.sign_in("ada", "lovelace")
        await world.revoke()
        [result] = await outcomes(tab.session.fetch("/api/data"))
        assert result.reason == "invalid_grant"


async def test_29_without_lock_and_channel_tabs_still_find_each_others_tokens_and_sign_outs(
    world: WatchedWorld,
) -> None:
    """One after the other, they adopt what the store holds; a sign-out in one is the end of requests in the other."""
    first = await world.signed_in_tab(lock=MemoryLock(), channel=MemoryChannel())
    second = world.tab(lock=MemoryLock(), channel=MemoryChannel())
    async with first.session, second.session:
        for _ in range(5):
            await world.expire()
            assert (await first.session.fetch("/api/data")).ok
            assert (await second.session.fetch("/api/data")).ok
        assert effects(world) == ["refreshed"] * 5
        call = second.session.fetch("/api/data/late")
        await first.session.sign_out()
        assert isinstance((await outcomes(call))[0], SignedOutError)
        assert world.journal("/api/data/late") == []
        await asyncio.sleep(1)
        assert second.session.state is State.SIGNED_OUT


async def test_29_a_lock_that_is_refused_is_asked_for_again(world: WatchedWorld) -> None:
    """Refused three times, then had: the request waits a few seconds and is answered; nobody is signed out."""
    tab = await world.signed_in_tab(lock=Refusing(3))
    await asyncio.sleep(1801)
    assert (await tab.session.fetch("/api/data", timeout=10)).ok
    assert effects(world) == ["refreshed"]


async def test_29_a_lock_that_is_refused_for_ever_is_an_error_of_ours_and_no_spin(world: WatchedWorld) -> None:
    """Never had: the session starts, callers are told in their own time, and the lock is asked for now and then."""
    lock = Refusing(1_000_000)
    tab = await world.signed_in_tab(lock=lock)
    async with tab.session:
        await asyncio.sleep(1801)
        [result] = await outcomes(tab.session.fetch("/api/data", timeout=60))
        assert isinstance(result, RefreshUnavailableError)
        assert 60 / 2 - 1 <= 1_000_000 - lock.times <= 60 / 0.5 + 1
        assert tab.session.subject == "ada"
        assert world.refreshes() == 0


async def test_29_a_lock_that_raises_what_it_should_not_harms_one_request_only(world: WatchedWorld) -> None:
    """A SecurityError from the depths: reported to the loop, a typed error for the caller, and the next one works."""
    tab = await world.signed_in_tab(lock=Refusing(1, RuntimeError("SecurityError")))
    async with tab.session:
        await asyncio.sleep(1801)
        assert isinstance((await outcomes(tab.session.fetch("/api/data")))[0], RefreshUnavailableError)
        assert [type(told["exception"]) for told in world.complaints] == [RuntimeError]
        world.complaints.clear()
        assert (await tab.session.fetch("/api/data")).ok


async def test_29_forged_hints_end_nothing(world: WatchedWorld) -> None:
    """Hints that claim a sign-out or an expiry while the record is there change nothing and are not announced."""
    tab, _ = await two_tabs(world)
    for kind in ("signed_out", "expired", "changed", "", "nonsense", "<b>"):
        for reason in ("forged", "", "x" * 10_000, "<img src=x onerror=alert(1)>"):
            world.channel.publish(Hint(kind, reason))
    await asyncio.sleep(1)
    assert tab.session.state is State.SIGNED_IN
    assert tab.seen(SessionExpired) == []
    assert tab.seen(SignedOut) == []
    assert (await tab.session.fetch("/api/data")).ok


async def test_29_a_flood_of_hints_costs_nothing_at_the_server(world: WatchedWorld) -> None:
    """Ten thousand hints, during a refresh and after it: one refresh, no request beyond those that were asked for."""
    tab, _ = await two_tabs(world)
    await asyncio.sleep(1801)
    call = asyncio.create_task(tab.session.fetch("/api/data"))
    for _ in range(100):
        for _ in range(100):
            world.channel.publish(Hint("changed"))
        await asyncio.sleep(0.001)
    assert (await call).ok
    assert [entry.path for entry in world.journal()] == [REFRESH, "/api/data"]


# -- 30: signed out elsewhere --


@pytest.mark.parametrize("moment", ["idle", "queued", "refreshing", "answered", "in flight"])
async def test_30_a_sign_out_in_another_tab_holds_here_within_a_second(world: WatchedWorld, moment: str) -> None:
    """Idle, requests held, a refresh asked or answered, a request under way: nothing leaves, nothing is revived."""
    first, second = await two_tabs(world)
    calls: list[asyncio.Task[Any]] = []
    if moment == "in flight":
        await world.expire()
        await world.fault("/api/data/*", "delay", delay=3)
    elif moment != "idle":
        await asyncio.sleep(1801)
    if moment == "queued":
        await world.fault(REFRESH, "status", status=503)
    elif moment == "refreshing":
        await world.fault(REFRESH, "delay", delay=3)
    thawed = freeze_refreshes(first) if moment == "answered" else asyncio.Event()
    if moment != "idle":
        calls = [asyncio.create_task(first.session.fetch(f"/api/data/{n}")) for n in range(5)]
        await asyncio.sleep(0.3)
    await second.session.sign_out()
    await asyncio.sleep(1)
    first.wire.sent.clear()
    assert first.session.state is State.SIGNED_OUT
    late = asyncio.create_task(first.session.fetch("/api/data/late"))
    thawed.set()
    first.frozen.clear()
    results = await outcomes(*calls)
    assert {type(result) for result in results} <= {SignedOutError}
    assert all(result.request is not None for result in results)
    assert (await late).status == 401
    await asyncio.sleep(60)
    assert with_token(first) == []
    assert world.store.load() is None
    assert first.seen(RefreshSucceeded) == []
    assert [event.elsewhere for event in first.seen(SignedOut)] == [True]
    assert first.session.snapshot().queue_size == 0


async def test_30_a_late_refresh_answer_does_not_revive_a_session_signed_out_here(world: WatchedWorld) -> None:
    """The same with a sign-out in the tab that refreshes."""
    tab = await world.signed_in_tab()
    thawed = freeze_refreshes(tab)
    renewing = asyncio.create_task(tab.session.refresh())
    await until(world.refreshes)
    await tab.session.sign_out()
    thawed.set()
    assert isinstance((await outcomes(renewing))[0], SignedOutError)
    assert world.store.load() is None
    assert tab.session.state is State.SIGNED_OUT


async def test_30_a_sign_out_in_another_tab_is_noticed_without_any_hint(world: WatchedWorld) -> None:
    """A tab that listens to nothing looks at the store before each sending: what was asked before does not leave."""
    first, second = await world.signed_in_tab(), world.tab()
    call = first.session.fetch("/api/data")
    await second.session.sign_out()
    assert isinstance((await outcomes(call))[0], SignedOutError)
    assert with_token(first) == []


# -- 31: somebody else signs in --


@pytest.mark.parametrize("moment", ["held", "waiting out an outage", "in its release", "in flight"])
async def test_31_another_person_never_gets_the_requests_of_the_one_before(world: WatchedWorld, moment: str) -> None:
    """Grace signs in elsewhere while ada's notes are on their way: IdentityChangedError, nothing arrives as grace's."""
    first, second = await two_tabs(world, queue=QueuePolicy(concurrency=1))
    if moment == "in flight":
        await world.expire()
        await world.fault(NOTES, "delay", delay=3)
    else:
        await asyncio.sleep(1801)
    if moment == "held":
        await world.fault(REFRESH, "delay", delay=3)
    elif moment == "waiting out an outage":
        await world.fault(REFRESH, "status", status=503)
    notes = [first.session.fetch(NOTES, method="POST", json={"text": "ada's"}) for _ in range(5)]
    calls = [asyncio.create_task(note) for note in notes]
    if moment == "in its release":
        await until(lambda: len(world.server.notes.of("ada")) == 2)
    else:
        await asyncio.sleep(1)
    await second.session.sign_in("grace", "hopper")
    results = await outcomes(*calls)
    refused = [result for result in results if isinstance(result, IdentityChangedError)]
    assert len(refused) == 5 - len(world.server.notes.of("ada"))
    assert refused
    assert all(result.request is not None for result in refused)
    await asyncio.sleep(60)
    assert world.server.notes.of("grace") == []
    assert {entry.user for entry in world.journal(NOTES)} <= {"ada"}
    assert first.session.subject == "grace"
    assert (await first.session.fetch("/api/data")).ok


async def test_31_without_hints_another_person_is_noticed_all_the_same(world: WatchedWorld) -> None:
    """A tab that listens to nothing looks at the store before each sending: no hint is needed for the refusal."""
    first, second = await world.signed_in_tab(), world.tab()
    call = first.session.fetch(NOTES, method="POST", json={"text": "ada's"})
    await second.session.sign_in("grace", "hopper")
    with pytest.raises(IdentityChangedError):
        await call
    assert world.journal(NOTES) == []


async def test_31_what_was_refused_is_not_sent_later_under_another_name_either(world: WatchedWorld) -> None:
    """Resend while grace is signed in is refused; once ada is back it saves the note, once, as hers."""
    first, second = await two_tabs(world)
    call = first.session.fetch(NOTES, method="POST", json={"text": "ada's"})
    await second.session.sign_in("grace", "hopper")
    with pytest.raises(IdentityChangedError) as refusal:
        await call
    assert refusal.value.request is not None
    with pytest.raises(IdentityChangedError):
        await first.session.resend(refusal.value.request)
    await second.session.sign_in("ada", "lovelace")
    assert (await first.session.resend(refusal.value.request)).status == 201
    assert [note.text for note in world.server.notes.of("ada")] == ["ada's"]
    assert world.server.notes.of("grace") == []


async def test_31_signing_in_and_out_at_any_moment_never_mixes_people_up(world: WatchedWorld) -> None:
    """Whatever the moment of the change of person, ada's notes arrive as ada's or not at all."""
    for step in range(25):
        tab = world.tab()
        await tab.session.sign_in("ada", "lovelace")
        await world.expire()
        calls: list[Any] = [
            asyncio.create_task(tab.session.fetch(NOTES, method="POST", json={"text": f"ada {n}"})) for n in range(8)
        ]
        await asyncio.sleep(step * 0.003)
        await tab.session.sign_in("grace", "hopper")
        results = await outcomes(*calls)
        for result in results:
            assert isinstance(result, IdentityChangedError) or result.status == 201
        assert world.server.notes.of("grace") == []
        await tab.session.sign_out()


# -- 32: a page that slept --


@pytest.mark.parametrize("meanwhile", ["refresh", "sign-out", "another person", "expiry"])
async def test_32_a_page_that_slept_through_it_knows_when_it_is_shown_again(
    world: WatchedWorld, meanwhile: str
) -> None:
    """Cached by the browser, it hears no hint; shown again, state and person are right at once, before any request."""
    asleep = await world.signed_in_tab(channel=MemoryChannel())
    other = world.tab()
    async with asleep.session, other.session:
        await asyncio.sleep(0)
        asleep.events.clear()
        asleep.person.visible = False
        old = world.record().access_token
        if meanwhile == "refresh":
            await world.expire()
            assert (await other.session.fetch("/api/data")).ok
        elif meanwhile == "sign-out":
            await other.session.sign_out()
        elif meanwhile == "another person":
            await other.session.sign_in("grace", "hopper")
        else:
            await world.revoke()
            await outcomes(other.session.fetch("/api/data"))
            world.act("sign_out")  # all that is left to see: the word that said why went by while it slept
        refreshes = world.refreshes()
        asleep.wire.sent.clear()
        asleep.person.come_back()
        await asyncio.sleep(1)
        subject = {"refresh": "ada", "another person": "grace"}.get(meanwhile)
        assert asleep.session.subject == subject
        assert asleep.session.state is (State.SIGNED_OUT if subject is None else State.SIGNED_IN)
        assert [event.subject for event in asleep.seen(SignedIn)][:1] == (["grace"] if subject == "grace" else [])
        answer = await asleep.session.fetch("/api/data")
        assert answer.status == (401 if subject is None else 200)
        assert world.refreshes() == refreshes
        assert not [request for request in asleep.wire.sent if old in request.headers.get("authorization", "")]


@pytest.mark.parametrize("meanwhile", ["sign-in", "refresh"])
async def test_32_what_waited_in_a_page_that_slept_is_settled_when_it_is_shown_again(
    world: WatchedWorld, meanwhile: str
) -> None:
    """Cached with requests held by an outage; her token is renewed elsewhere: shown again, they go with the new one."""
    asleep = await world.signed_in_tab(channel=MemoryChannel(), retry=eager_retry(windows=((170.0, 170.0),)))
    other = world.tab()
    async with asleep.session, other.session:
        await asyncio.sleep(1801)
        await world.fault(REFRESH, "status", status=503, times=1)
        calls = [asyncio.create_task(asleep.session.fetch(f"/api/data/{n}")) for n in range(5)]
        await until(lambda: asleep.session.snapshot().retry_in > 0)
        if meanwhile == "sign-in":
            await other.session.sign_in("ada", "lovelace")
        else:
            await renew_behind_the_back(world)
        refreshes = world.refreshes()
        asleep.person.come_back()
        answers = await asyncio.wait_for(asyncio.gather(*calls), 1)
        assert all(answer.ok for answer in answers)
        assert world.refreshes() == refreshes


async def renew_behind_the_back(world: WatchedWorld) -> None:
    """Store new tokens as a tab does whose word gets lost."""
    record, auth_server, wire = world.record(), JsonAuthServer(), ASGITransport(world.app)
    answer = await wire.send(auth_server.refresh_request(record.refresh_token or "", wire))
    tokens = await auth_server.read(answer, secrets=())
    assert isinstance(tokens, Tokens)
    renewed = record.renewed(tokens, generation=record.generation + 1, now=world.clock.now())
    await world.store.commit(renewed, expected=record.generation)
