"""Several tabs on one session: one refresh for all of them, and one opinion about when to try again."""

from __future__ import annotations

import asyncio

import pytest

from freshfetch import RefreshStarted, RefreshSucceeded, RetryPolicy, State
from tests.world import Tab, World, eager_retry, outcomes, roomy_queue, until


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


async def test_a_tab_that_missed_every_hint_still_refreshes_nothing_twice(world: World) -> None:
    """A tab outside of ``async with`` hears no hints: it finds the others' tokens in the store."""
    first, deaf = await world.signed_in_tab(), world.tab()
    for _ in range(5):
        await world.expire()
        assert (await first.session.fetch("/api/data")).ok
        assert (await deaf.session.fetch("/api/data")).ok
    assert effects(world) == ["refreshed"] * 5
