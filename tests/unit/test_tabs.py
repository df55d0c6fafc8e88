"""Several tabs on one session: one opinion about when to try again. Their faults are in tests/faults/test_tabs.py."""

from __future__ import annotations

import asyncio

from tests.world import World, eager_retry


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
