"""Several tabs on one session: one refresh for all of them, and one opinion about when to try again."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from freshfetch import RefreshFailed, RefreshStarted, RefreshSucceeded, RetryPolicy, SessionExpiredError, State
from tests.world import START, Tab, World, eager_retry, outcomes, roomy_queue, seconds_since_start, until


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


@pytest.mark.parametrize("number", [2, 3, 10])
async def test_tabs_that_all_expire_at_once_share_one_refresh(world: World, number: int) -> None:
    """Twenty rounds in which every tab's token dies in the same moment: twenty refreshes, no reuse alarm."""
    tabs = await open_tabs(world, number)
    for _ in range(20):
        await world.expire()
        calls = [tab.session.fetch(f"/api/data/{n}") for n in range(4) for tab in tabs]
        assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert effects(world) == ["refreshed"] * 20
    assert sum(len(tab.seen(RefreshSucceeded)) for tab in tabs) == 20
    assert {tab.session.state for tab in tabs} == {State.SIGNED_IN}


async def test_tabs_that_know_the_expiry_share_one_refresh_too(world: World) -> None:
    """The same with tokens that run out by the clock: one refresh a lifetime, and not one 401."""
    tabs = await open_tabs(world, 5)
    for _ in range(20):
        await asyncio.sleep(1801)
        answers = await asyncio.gather(*(tab.session.fetch("/api/data") for tab in tabs for _ in range(4)))
        assert all(answer.ok for answer in answers)
    assert effects(world) == ["refreshed"] * 20
    assert not [entry for entry in world.journal() if entry.status == 401]


async def test_tabs_that_hear_nothing_share_one_refresh_all_the_same(world: World) -> None:
    """Tabs outside of ``async with``, all refused at once: the lock and the store alone make it one refresh a round."""
    tabs = [await world.signed_in_tab(queue=roomy_queue()), *(world.tab(queue=roomy_queue()) for _ in range(4))]
    for _ in range(20):
        await world.expire()
        calls = [tab.session.fetch(f"/api/data/{n}") for n in range(4) for tab in tabs]
        assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert effects(world) == ["refreshed"] * 20


async def test_forced_refreshes_in_all_tabs_are_one(world: World) -> None:
    """session.refresh() in five tabs at once: one refresh, and all five return."""
    tabs = await open_tabs(world, 5)
    await asyncio.gather(*(tab.session.refresh() for tab in tabs))
    assert effects(world) == ["refreshed"]


async def test_a_closed_tab_lets_another_take_over(world: World) -> None:
    """The tab that holds the lock is closed before it has sent: another refreshes within a second."""
    first, second = await open_tabs(world, 2)
    await asyncio.sleep(1801)
    first.wire.delay = 5.0
    doomed = asyncio.create_task(first.session.fetch("/api/data/doomed"))
    await until(lambda: first.seen(RefreshStarted))
    waiting = asyncio.create_task(second.session.fetch("/api/data/waiting"))
    await asyncio.sleep(0.5)
    await first.session.close()
    assert (await asyncio.wait_for(waiting, 1)).ok
    assert effects(world) == ["refreshed"]
    await outcomes(doomed)


async def test_one_tabs_failure_keeps_all_tabs_waiting(world: World) -> None:
    """The instant of the next attempt is shared: ten tabs together try no more often than one would."""
    tabs = await open_tabs(world, 10, retry=eager_retry(windows=((20.0, 20.0),)))
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503)
    calls = [asyncio.create_task(tab.session.fetch("/api/data")) for tab in tabs]
    await asyncio.sleep(210)
    assert world.refreshes() == 11  # after 0 s, 20 s, ... 200 s
    world.heal()
    assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert effects(world) == ["refreshed"]


RETRY_AFTER = {
    "seconds": ("120", 120.0),
    "padded": ("  120  ".strip(), 120.0),
    "zero": ("0", 0.0),
    "garbage": ("soon", 0.0),
    "negative": ("-5", 0.0),
    "fraction": ("1.5", 0.0),
    "huge": ("1000000000", 600.0),
    "absurd": ("9" * 400, 600.0),
    "long ago": (formatdate(START - 86_400, usegmt=True), 0.0),
    "far future": (formatdate(START + 86_400, usegmt=True), 600.0),
    "not a date": ("Mon, 99 Foo 2026 99:99:99 GMT", 0.0),
    "list": ("120, 240", 0.0),
}


@pytest.mark.parametrize("name", RETRY_AFTER)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_by_all_tabs(world: World, name: str, status: int) -> None:
    """After a 429 or 503 no tab tries before the server's Retry-After, capped at 600 s, plus a drawn second."""
    value, wait = RETRY_AFTER[name]
    tabs = await open_tabs(world, 3, retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=status, headers={"Retry-After": value}, times=1)
    began = seconds_since_start()
    calls = [asyncio.create_task(tab.session.fetch("/api/data", timeout=1000)) for tab in tabs]
    assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert seconds_since_start() - began == pytest.approx(wait + 1.0, abs=0.2)
    assert world.refreshes() == 2
    assert {tab.session.subject for tab in tabs} == {"ada"}


async def test_a_retry_date_is_read_by_the_servers_own_clock(world: World) -> None:
    """The device's clock is an hour behind the server's: a Retry-After date two minutes ahead is two minutes."""
    [tab] = await open_tabs(world, 1, retry=eager_retry())
    await world.control("settings", clockOffset=3600)
    await asyncio.sleep(1801)
    date = formatdate(world.clock.now() + 3600 + 120, usegmt=True)
    await world.fault("/api/auth/refresh", "status", status=503, headers={"Retry-After": date}, times=1)
    began = seconds_since_start()
    assert (await tab.session.fetch("/api/data", timeout=1000)).ok
    assert seconds_since_start() - began == pytest.approx(121, abs=2)


async def test_a_tab_opened_during_the_wait_waits_as_well(world: World) -> None:
    """A page opened (or loaded again) while the server asked for patience does not send a refresh of its own."""
    [first] = await open_tabs(world, 1, retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503, headers={"Retry-After": "100"}, times=1)
    call = asyncio.create_task(first.session.fetch("/api/data"))
    await until(lambda: first.seen(RefreshFailed))
    second = world.tab(retry=eager_retry())
    began = seconds_since_start()
    assert (await second.session.fetch("/api/data", timeout=500)).ok
    assert seconds_since_start() - began > 99
    assert (await call).ok
    assert world.refreshes() == 2


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


async def test_a_tab_that_missed_every_hint_still_refreshes_nothing_twice(world: World) -> None:
    """A tab outside of ``async with`` hears no hints: it finds the others' tokens in the store."""
    first, deaf = await world.signed_in_tab(), world.tab()
    for _ in range(5):
        await world.expire()
        assert (await first.session.fetch("/api/data")).ok
        assert (await deaf.session.fetch("/api/data")).ok
    assert effects(world) == ["refreshed"] * 5
