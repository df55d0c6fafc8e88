"""What the server sees, and what the caller gets, when an access token stops working."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from freshfetch import (
    RefreshUnavailableError,
    State,
)
from tests.world import World


async def test_a_good_token_is_used_without_any_refresh(world: World) -> None:
    """N requests with a working token cost N requests."""
    tab = await world.signed_in_tab()
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(20)))
    assert all(answer.ok for answer in answers)
    assert len(world.journal()) == 20


async def test_a_revoked_token_costs_one_refresh_and_six_refusals_for_a_thousand_requests(world: World) -> None:
    """A thousand callers with a dead token: one refresh, at most six 401s, N + 7 requests, none sent thrice."""
    tab = await world.signed_in_tab()
    await world.expire()
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(1000)))
    assert all(answer.ok for answer in answers)
    assert world.refreshes() == 1
    assert len(world.journal()) <= 1000 + 7
    assert sum(entry.status == 401 for entry in world.journal()) <= 6
    assert max(Counter(entry.path for entry in world.journal()).values()) <= 2


async def test_an_expiring_token_is_refreshed_before_it_is_used(world: World) -> None:
    """Within the leeway the refresh comes first: 1 + N requests, and no 401."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1800 - 20)
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(50)))
    assert all(answer.ok for answer in answers)
    assert world.refreshes() == 1
    assert len(world.journal()) == 51
    assert all(entry.status == 200 for entry in world.journal())


async def test_session_refresh_is_single_flight_too(world: World) -> None:
    """Ten forced refreshes at once are one."""
    tab = await world.signed_in_tab()
    await asyncio.gather(*(tab.session.refresh() for _ in range(10)))
    assert world.refreshes() == 1


async def test_the_rotated_refresh_token_is_kept(world: World) -> None:
    """Each refresh presents the token that the last one brought; on a strict server any other ends the session."""
    tab = await world.signed_in_tab()
    for _ in range(5):
        await world.expire()
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 5
    assert all("reuse_detected" not in entry.effects for entry in world.journal())


async def test_requests_held_during_an_outage_are_answered_after_it(world: World) -> None:
    """With a dead token and the server down for 60 s, requests wait and succeed; nobody is signed out."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.fault("/api/*", "drop_before", seconds=60)
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(10)))
    assert all(answer.ok for answer in answers)
    assert tab.session.state is State.SIGNED_IN
    assert sum("refreshed" in entry.effects for entry in world.journal()) == 1


async def test_a_request_with_a_time_limit_waits_no_longer_than_that(world: World) -> None:
    """While the token cannot be renewed, a request's own timeout ends its wait with a named error."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    tab.wire.cut = True
    began = asyncio.get_running_loop().time()
    with pytest.raises(RefreshUnavailableError) as refusal:
        await tab.session.fetch("/api/data", timeout=15)
    assert asyncio.get_running_loop().time() - began == pytest.approx(15)
    assert refusal.value.request is not None
    assert tab.session.state is State.OFFLINE


async def test_a_refusal_joins_a_refresh_in_flight_whatever_another_route_says(world: World) -> None:
    """One route refuses every token, so that none refreshes for it; a refresh that runs anyway helps all the others."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/never", "status", status=401)
    assert (await tab.session.fetch("/api/data/never")).status == 401
    await world.expire()
    await world.fault("/api/auth/refresh", "delay", delay=5)
    await world.fault("/api/data/slow", "delay", delay=1)
    slow = asyncio.create_task(tab.session.fetch("/api/data/slow"))
    await asyncio.sleep(0.5)
    refreshing = asyncio.create_task(tab.session.refresh())
    assert (await slow).ok
    await refreshing
    assert world.refreshes() == 2
