"""Token lifetimes from nothing to a month, and clocks that lie: no busy loop, no storm."""

from __future__ import annotations

import asyncio

import pytest

from freshfetch import State
from tests.world import Tab, World, seconds_since_start

HOUR = 3600.0


async def tab_with(world: World, lifetime: float, *, leeway: float = 30.0) -> Tab:
    """Return a tab whose access tokens live so many seconds."""
    await world.control("settings", accessLifetime=lifetime)
    return await world.signed_in_tab(leeway=leeway)


async def test_a_lifetime_of_five_seconds_is_refreshed_once_in_four(world: World) -> None:
    """A request every 0.5 s for a minute: a refresh each 4 to 5 s (leeway is a fifth of the lifetime), no 401."""
    tab = await tab_with(world, 5)
    for _ in range(120):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(0.5)
    assert 60 / 5 - 1 <= world.refreshes() <= 60 / 4 + 1
    assert not [entry for entry in world.journal() if entry.status == 401]


async def test_a_lifetime_of_one_second_is_no_storm(world: World) -> None:
    """A request every 0.1 s for half a minute: at most one refresh in 0.8 s, and every request is answered."""
    tab = await tab_with(world, 1)
    for _ in range(300):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(0.1)
    assert world.refreshes() <= 300 * 0.12 / 0.8 + 1


async def test_a_lifetime_of_nothing_is_used_until_it_is_refused(world: World) -> None:
    """expires_in 0 on a server whose tokens work all the same: requests are sent, nothing is refreshed."""
    tab = await world.signed_in_tab()
    await world.fault("/api/auth/refresh", "body", body={"accessToken": "x", "refreshToken": "y", "expiresIn": 0})
    await tab.session.refresh()
    assert world.record().expires_at is None
    await world.fault("/api/data", "status", status=200, body={})
    for _ in range(50):
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_tokens_that_are_dead_on_arrival_do_not_storm_the_auth_server(world: World) -> None:
    """expires_in 0 and refused at once: a hundred requests get their 401, the server no more than a few refreshes."""
    tab = await tab_with(world, 0)
    answers = [await tab.session.fetch("/api/data") for _ in range(100)]
    assert {answer.status for answer in answers} == {401}
    assert world.refreshes() <= 2
    assert tab.session.state is State.SIGNED_IN


async def test_a_lifetime_shorter_than_the_way_to_the_server_does_not_storm_it(world: World) -> None:
    """Tokens of one second on a wire of two: each request settles, with at most two refreshes each."""
    tab = await tab_with(world, 1)
    tab.wire.delay = 2.0
    for n in range(10):
        await asyncio.wait_for(tab.session.fetch(f"/api/data/{n}"), 60)
    assert world.refreshes() <= 20


async def test_a_lifetime_of_thirty_days_is_left_alone(world: World) -> None:
    """A month's token: a request a day costs no refresh for 29 days, and one on the thirtieth."""
    await world.control("settings", accessLifetime=30 * 86_400, refreshLifetime=90 * 86_400)
    tab = await world.signed_in_tab()
    for _ in range(30):
        assert (await tab.session.fetch("/api/data")).ok
        assert world.refreshes() == 0
        await asyncio.sleep(86_400)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_a_server_that_names_no_lifetime_is_asked_nothing_until_it_refuses(world: World) -> None:
    """Without expires_in the token is used for as long as it works: one refresh when it is refused."""
    tab = await world.signed_in_tab()
    record = world.record()
    answer = {"accessToken": record.access_token, "refreshToken": record.refresh_token}
    await world.fault("/api/auth/refresh", "status", status=200, body=answer, times=1)
    await tab.session.refresh()
    assert tab.session.snapshot().expires_in is None
    for _ in range(17):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(100)
    assert world.refreshes() == 1
    await world.expire()
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 2


async def test_an_idle_session_refreshes_nothing(world: World) -> None:
    """Signed in and left alone for a day without heartbeats: not one request."""
    tab = await tab_with(world, 5)
    async with tab.session:
        await asyncio.sleep(24 * HOUR)
    assert world.journal() == []


async def test_a_clock_set_back_by_hours_does_not_keep_a_dead_token_alive(world: World) -> None:
    """Set back five hours: the expiry is still known by the loop's clock, one refresh, no 401, no storm."""
    tab = await world.signed_in_tab()
    await tab.session.fetch("/api/data")
    world.clock.offset -= 5 * HOUR
    await asyncio.sleep(1801)
    for _ in range(20):
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert not [entry for entry in world.journal() if entry.status == 401]


async def test_a_clock_set_ahead_by_hours_costs_one_refresh(world: World) -> None:
    """Set five hours ahead: the token looks dead, is renewed once, and then all is as before."""
    tab = await world.signed_in_tab()
    world.clock.offset += 5 * HOUR
    for _ in range(20):
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    left = tab.session.snapshot().expires_in
    assert left is not None
    assert 1700 < left <= 1800


async def test_a_device_whose_clock_is_days_wrong_works_as_any_other(world: World) -> None:
    """Three days slow or fast from the start: one refresh a lifetime, by expires_in and not by dates."""
    for offset in (-3 * 86_400.0, 3 * 86_400.0):
        world.clock.offset = offset
        tab = await world.signed_in_tab()
        for _ in range(19):
            assert (await tab.session.fetch("/api/data")).ok
            await asyncio.sleep(100)
        assert world.refreshes() == 1
        assert not [entry for entry in world.journal() if entry.status == 401]


async def test_a_page_loaded_after_the_clock_was_set_back_is_saved_by_the_replay(world: World) -> None:
    """A new page cannot know that the stored expiry is wrong: the token earns one 401, is renewed, and works."""
    await world.signed_in_tab()
    await asyncio.sleep(1801)
    world.clock.offset -= 5 * HOUR
    tab = world.tab()
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert world.statuses("/api/data") == [401, 200]


@pytest.mark.parametrize("lifetime, early", [(100.0, 20.0), (1800.0, 30.0), (5.0, 1.0)])
async def test_leeway_takes_a_fifth_of_the_lifetime_at_most(world: World, lifetime: float, early: float) -> None:
    """A token is used until a fifth of its lifetime, but at most the leeway, is left; then it is refreshed first."""
    tab = await tab_with(world, lifetime)
    await asyncio.sleep(lifetime - early - 0.1 - seconds_since_start())
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 0
    await asyncio.sleep(lifetime - early + 0.1 - seconds_since_start())
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_without_leeway_a_token_serves_its_whole_time(world: World) -> None:
    """leeway=0: nothing is refreshed before the expiry, and the expiry is known without a 401."""
    tab = await tab_with(world, 100, leeway=0.0)
    await asyncio.sleep(99)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 0
    await asyncio.sleep(2)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert not [entry for entry in world.journal() if entry.status == 401]
