"""What the server sees, and what the caller gets, when an access token stops working."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from freshfetch import (
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RefreshUnavailableError,
    SessionExpired,
    SessionExpiredError,
    State,
)
from tests.world import World, eager_retry


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


async def test_a_late_refusal_of_the_old_token_causes_no_second_refresh(world: World) -> None:
    """A 401 that arrives after the tokens were renewed is replayed with the new ones at once."""
    tab = await world.signed_in_tab()
    await world.expire()
    await world.fault("/api/data/slow", "delay", delay=30, times=1)
    slow = asyncio.create_task(tab.session.fetch("/api/data/slow"))
    quick = await tab.session.fetch("/api/data/quick")
    assert quick.ok
    assert (await slow).ok
    assert world.refreshes() == 1
    assert world.statuses("/api/data/slow") == [401, 200]


async def test_a_lasting_refusal_causes_one_refresh_and_is_handed_to_the_caller(world: World) -> None:
    """A route that answers 401 whatever the token: one refresh, one replay, then the 401 is the answer."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/never", "status", status=401, headers={"WWW-Authenticate": "Bearer"})
    answers = [await tab.session.fetch("/api/data/never") for _ in range(100)]
    assert {answer.status for answer in answers} == {401}
    assert world.refreshes() == 1
    assert tab.session.state is State.SIGNED_IN


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


async def test_after_the_cool_down_a_refusal_may_refresh_again(world: World) -> None:
    """The cool-down after a fruitless refresh is over at some time, and doubles with each one."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/never", "status", status=401)
    for _ in range(100):
        await tab.session.fetch("/api/data/never")
        await asyncio.sleep(1)
    assert 2 <= world.refreshes() <= 3


async def test_a_refresh_goes_on_when_the_caller_that_started_it_is_cancelled(world: World) -> None:
    """The refresh is shielded from its callers: its tokens are stored though nobody waits for them."""
    tab = await world.signed_in_tab()
    await world.expire()
    before = world.record().access_token
    caller = asyncio.create_task(tab.session.fetch("/api/data"))
    while not tab.seen(RefreshStarted):
        await asyncio.sleep(0.001)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    while not tab.seen(RefreshSucceeded):
        await asyncio.sleep(0.1)
    assert world.record().access_token != before
    assert world.refreshes() == 1


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


async def test_an_outage_with_a_working_token_signs_nobody_out(world: World) -> None:
    """An early refresh that fails for a passing reason leaves the old token in use."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1800 - 20)
    await world.fault("/api/auth/*", "status", status=503)
    answer = await tab.session.fetch("/api/data")
    assert answer.ok
    assert tab.session.state is State.SIGNED_IN
    assert tab.seen(RefreshFailed)[0].status == 503


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


async def test_a_refresh_that_never_answers_delays_a_working_token_by_a_second_only(world: World) -> None:
    """While the old token works, an early refresh that hangs is not waited for."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1800 - 20)
    await world.fault("/api/auth/refresh", "stall")
    began = asyncio.get_running_loop().time()
    assert (await tab.session.fetch("/api/data")).ok
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_dead_refresh_token_ends_the_session_once_for_everybody(world: World) -> None:
    """One refresh request, one event, every waiting caller told; the record is gone in all tabs."""
    tab, other = await world.signed_in_tab(), world.tab()
    async with other.session:
        await world.revoke()
        waiting = [tab.session.fetch(f"/api/data/{n}") for n in range(30)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, SessionExpiredError) for outcome in outcomes)
        assert world.refreshes() == 1
        assert [event.reason for event in tab.seen(SessionExpired)] == ["invalid_grant"]
        assert world.store.load() is None
        await asyncio.sleep(1)
        assert other.session.state is State.SIGN_IN_REQUIRED
        assert len(other.seen(SessionExpired)) == 1


async def test_a_dead_refresh_token_does_not_end_a_session_whose_access_token_works(world: World) -> None:
    """An early refresh refused for good: the access token serves out its time, then the session ends."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1800 - 20)
    await world.control("revoke", accessTokens=False)
    assert (await tab.session.fetch("/api/data")).ok
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    await asyncio.sleep(30)
    with pytest.raises(SessionExpiredError):
        await tab.session.fetch("/api/data")
    assert world.refreshes() == 1
    assert tab.session.state is State.SIGN_IN_REQUIRED


async def test_an_answer_lost_after_rotation_is_asked_for_again_within_the_grace(world: World) -> None:
    """The server rotated but its answer was lost: the same token is presented once more and everything goes on."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.control("settings", grace=30)
    await world.expire()
    await world.fault("/api/auth/refresh", "drop_after", times=1)
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(20)))
    assert all(answer.ok for answer in answers)
    assert world.refreshes() == 2


async def test_a_lost_answer_on_a_strict_server_is_named_as_the_reason(world: World) -> None:
    """Where no grace is given, the session ends with reason rotation_ambiguous after two presentations."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.expire()
    await world.fault("/api/auth/refresh", "drop_after", times=1)
    with pytest.raises(SessionExpiredError) as ending:
        await tab.session.fetch("/api/data")
    assert ending.value.reason == "rotation_ambiguous"
    assert world.refreshes() == 2
    assert ending.value.request is not None
