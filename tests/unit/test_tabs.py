"""Several tabs on one session: one opinion about when to try again. Their faults are in tests/faults/test_tabs.py."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from freshfetch import (
    Hint,
    RefreshFailed,
    RefreshStarted,
    Request,
    RetryPolicy,
    SessionExpired,
    SessionExpiredError,
    SessionRecord,
    State,
)
from freshfetch.memory import MemoryChannel, MemoryTokenStore
from tests.world import Tab, World, eager_retry, outcomes, roomy_queue, seconds_since_start, until


class SlowChannel(MemoryChannel):
    """A channel whose words take as long as a browser's do."""

    def publish(self, hint: Hint) -> None:
        """Tell everybody five milliseconds later."""
        asyncio.get_running_loop().call_later(0.005, super().publish, hint)


async def open_tabs(world: World, number: int, *, retry: RetryPolicy | None = None) -> list[Tab]:
    """Return so many running tabs of ada's."""
    policy = retry or RetryPolicy()
    first = await world.signed_in_tab(queue=roomy_queue(), retry=policy)
    tabs = [first, *(world.tab(queue=roomy_queue(), retry=policy) for _ in range(number - 1))]
    for tab in tabs:
        await tab.session.__aenter__()
    await asyncio.sleep(0)
    return tabs


def effects(world: World) -> list[str]:
    """Return everything that changed at the server, in order."""
    return [effect for entry in world.journal() for effect in entry.effects]


async def test_one_tabs_failure_keeps_all_tabs_waiting(world: World) -> None:
    """The instant of the next attempt is shared: ten tabs together try no more often than one would."""
    retry = eager_retry(windows=((20.0, 20.0),))
    tabs = [await world.signed_in_tab(retry=retry), *(world.tab(retry=retry) for _ in range(9))]
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503)
    calls = [asyncio.create_task(tab.session.fetch("/api/data")) for tab in tabs]
    await asyncio.sleep(210)
    assert world.refreshes() == 11  # after 0 s, 20 s, ... 200 s
    world.heal()
    assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert effects(world) == ["refreshed"]


async def test_a_tab_that_missed_every_hint_still_refreshes_nothing_twice(world: World) -> None:
    """A tab outside of ``async with`` hears no hints: it finds the others' tokens in the store."""
    first, deaf = await world.signed_in_tab(), world.tab()
    for _ in range(5):
        await world.expire()
        assert (await first.session.fetch("/api/data")).ok
        assert (await deaf.session.fetch("/api/data")).ok
    assert effects(world) == ["refreshed"] * 5


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 400, "body": {"error": "invalid_client"}}, None])
async def test_a_refresh_token_on_its_way_is_marked_for_the_other_tabs(
    world: World, fault: dict[str, object] | None
) -> None:
    """Until the answer is there the stored record says that it may be spent; any answer takes the word back."""
    tab = await world.signed_in_tab()
    seen: list[bool] = []

    async def look(_: Request) -> None:
        seen.append(world.record().unanswered)

    tab.wire.before_answer = look
    if fault is not None:
        await world.fault("/api/auth/refresh", "status", **fault)
    await outcomes(tab.session.refresh())
    assert seen == [True]
    assert world.record().unanswered is False


async def test_the_heir_of_a_tab_that_died_knows_that_the_token_may_be_spent(world: World) -> None:
    """A tab dies with the answer under way; a strict server refuses the next one: an ambiguous rotation, by name."""
    victim, heir = await open_tabs(world, 2)
    dying = asyncio.Event()

    async def die(_: Request) -> None:
        dying.set()
        await asyncio.Event().wait()

    victim.wire.before_answer = die
    await world.expire()
    refreshing = victim.session._refresher.start(world.record(), "refused")
    await dying.wait()
    refreshing.cancel()
    with pytest.raises(SessionExpiredError) as ending:
        await heir.session.fetch("/api/data")
    assert ending.value.reason == "rotation_ambiguous"
    await until(lambda: victim.session.state is State.SIGN_IN_REQUIRED)


async def test_a_tab_that_is_passed_by_before_it_sent_sends_nothing(world: World) -> None:
    """It freezes under the lock, just before the token leaves; another refreshes; thawed, it takes what is stored."""
    asleep, awake = asyncio.Event(), asyncio.Event()

    class Freezing(MemoryTokenStore):
        async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
            if record is not None and record.unanswered:
                asleep.set()
                await awake.wait()
            return await world.store.commit(record, expected=expected)

        async def make_current(self) -> int:
            return await world.store.make_current()

        def load(self) -> SessionRecord | None:
            return world.store.load()

    other = await world.signed_in_tab()
    frozen = world.tab(store=Freezing())
    await world.expire()
    late = asyncio.ensure_future(frozen.session.fetch("/api/data"))
    await asleep.wait()
    assert (await other.session.fetch("/api/data")).ok
    awake.set()
    assert (await late).ok
    assert effects(world) == ["refreshed"]


async def test_a_refresh_ended_by_another_tabs_word_is_told_first(world: World) -> None:
    """The session expires elsewhere with a refresh in flight here: started, failed, expired, in that order."""
    first, second = await open_tabs(world, 2, retry=RetryPolicy(refresh_timeout=5.0))
    asked = asyncio.Event()

    async def keep(request: Request) -> None:
        if request.path == "/api/auth/refresh":
            asked.set()
            await asyncio.Event().wait()

    first.wire.before_answer = keep
    first.session._refresher._policy = RetryPolicy(refresh_timeout=1000.0)  # no timer runs in a frozen tab
    await world.expire()
    waiting = asyncio.ensure_future(outcomes(first.session.fetch("/api/data")))
    await asked.wait()
    await outcomes(second.session.fetch("/api/data"))
    assert [type(error) for error in await waiting] == [SessionExpiredError]
    told = [type(event) for event in first.events if isinstance(event, (RefreshStarted, RefreshFailed, SessionExpired))]
    assert told == [RefreshStarted, RefreshFailed, SessionExpired]


async def test_who_waits_for_the_lock_behind_an_expiry_is_told_of_it_as_such(world: World) -> None:
    """The tab with the lock hears invalid_grant; the next in line finds nothing, a moment before the word arrives."""
    world.channel = SlowChannel()
    first, second = await open_tabs(world, 2)
    await world.revoke()
    calls = [tab.session.fetch(f"/api/data/{n}") for n in range(3) for tab in (first, second)]
    found = await outcomes(*calls, first.session.refresh(), second.session.refresh())
    assert [type(error) for error in found] == [SessionExpiredError] * 8
    assert {tab.session.state for tab in (first, second)} == {State.SIGN_IN_REQUIRED}


async def test_waiting_in_vain_for_the_lock_is_not_waiting_for_what_another_tab_has_planned(world: World) -> None:
    """Neither lock is to be had for 25 s; meanwhile an attempt is planned for in 100 s: none is made before that."""
    [tab] = await open_tabs(world, 1, retry=eager_retry())
    await asyncio.sleep(1801)
    began = seconds_since_start()
    async with world.lock.hold("default", 1.0), world.lock.hold("default", 0.1):
        call = asyncio.create_task(tab.session.fetch("/api/data", timeout=500))
        await asyncio.sleep(5)
        planned = replace(world.record(), not_before=world.clock.now() + 100, failures=1)
        assert await world.store.commit(planned, expected=planned.generation)
        await asyncio.sleep(20)
    assert (await call).ok
    assert seconds_since_start() - began > 104


async def test_tabs_that_come_back_keep_to_what_one_of_them_has_learned(world: World) -> None:
    """The network is back for three tabs; the server tells the first to wait 100 s: the others do not ask it again."""
    tabs = await open_tabs(world, 3, retry=eager_retry())
    await asyncio.sleep(1801)
    for tab in tabs:
        tab.wire.cut = True
    calls = [asyncio.create_task(tab.session.fetch("/api/data", timeout=500)) for tab in tabs]
    await until(lambda: all(tab.session.state is State.OFFLINE for tab in tabs), limit=200)
    await world.fault("/api/auth/refresh", "status", status=503, headers={"Retry-After": "100"}, times=1)
    for tab in tabs:
        tab.wire.cut = False
        tab.person.come_back()
    began = seconds_since_start()
    assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert seconds_since_start() - began > 99
    assert world.refreshes() == 2


async def test_a_session_without_refresh_token_ends_when_its_token_is_refused_whatever_was_planned(
    world: World,
) -> None:
    """An attempt is planned, and the refresh token is given up before it: a refusal ends the session at once."""
    first, second = await open_tabs(world, 2, retry=eager_retry(windows=((100.0, 100.0),)))
    await world.fault("/api/auth/refresh", "status", status=503, times=1)
    await outcomes(first.session.refresh())
    record = world.record()
    generation = await world.store.make_current()
    given_up = record.without_refresh_token(refused="invalid_grant", generation=generation + 1)
    assert await world.store.commit(given_up, expected=generation)
    await world.expire()
    began = seconds_since_start()
    assert isinstance((await outcomes(second.session.fetch("/api/data")))[0], SessionExpiredError)
    assert seconds_since_start() - began < 1
