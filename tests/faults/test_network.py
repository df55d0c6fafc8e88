"""Network (42 to 45): an hour offline, heartbeats that are answered in every way, a fleet after an outage."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from freshfetch import (
    HeartbeatAnswered,
    HeartbeatPolicy,
    HeartbeatSent,
    Request,
    SessionExpired,
    State,
    StateChanged,
    TransportError,
)
from freshfetch.memory import MemoryChannel, MemoryLock, MemoryTokenStore
from tests.faults.watched import WatchedTab, WatchedWorld
from tests.world import World, outcomes, seconds_since_start

HEARTBEAT = "/api/heartbeat"
REFRESH = "/api/auth/refresh"
MINUTE = 60.0
HOUR = 3600.0


async def beating_tab(world: WatchedWorld, **settings: Any) -> WatchedTab:
    """Return a running tab of ada's with heartbeats, its first one behind it and out of the journal."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(**settings))
    await tab.session.__aenter__()
    await asyncio.sleep(4)
    world.start_journal()
    return tab


def beats(world: WatchedWorld) -> list[float]:
    """Return when heartbeats arrived."""
    return [entry.at for entry in world.journal(HEARTBEAT)]


def notices(tab: WatchedTab) -> list[State]:
    """Return the states a person was told of, in order."""
    return [event.new for event in tab.seen(StateChanged)]


# -- 42: an hour offline --


@pytest.mark.parametrize("known", [True, False], ids=["the browser knows", "the browser thinks it is online"])
async def test_42_an_hour_offline_is_one_notice_no_logout_and_one_check_on_return(
    world: WatchedWorld, *, known: bool
) -> None:
    """A request a minute fails with TransportError; the token outlives the hour; back: one beat, nobody signed out."""
    await world.control("settings", accessLifetime=2 * HOUR)
    tab = await beating_tab(world)
    tab.events.clear()
    tab.wire.cut, tab.person.online = True, not known
    for _ in range(60):
        assert [type(result) for result in await outcomes(tab.session.fetch("/api/data"))] == [TransportError]
        await asyncio.sleep(MINUTE)
    assert notices(tab) == [State.OFFLINE]
    assert tab.session.subject == "ada"
    tab.wire.cut = False
    for _ in range(3):
        tab.person.come_back()
    await asyncio.sleep(6)  # one that has just failed is not followed by another within five
    assert [entry.path for entry in world.journal()] == [HEARTBEAT]
    assert notices(tab) == [State.OFFLINE, State.SIGNED_IN]
    assert (await tab.session.fetch("/api/data")).ok


async def test_42_a_token_that_dies_offline_costs_one_refresh_on_return(world: WatchedWorld) -> None:
    """Requests wait out the hour without a limit of their own, are told when that is too long, and those in time go."""
    tab = await beating_tab(world)
    tab.wire.cut, tab.person.online = True, False
    await asyncio.sleep(HOUR)
    calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}", timeout=2 * HOUR)) for n in range(20)]
    await asyncio.sleep(HOUR)
    assert notices(tab)[-1] is State.OFFLINE
    assert tab.session.subject == "ada"
    attempts = [request for request in tab.wire.sent if request.path == REFRESH]
    assert len(attempts) <= 3 + HOUR / 30
    tab.wire.cut = False
    tab.person.come_back()
    answers = await asyncio.wait_for(asyncio.gather(*calls), 1)
    assert all(answer.ok for answer in answers)
    assert [entry.effects for entry in world.journal(REFRESH)] == [["refreshed"]]
    assert [entry.path for entry in world.journal() if entry.status == 401] == []
    await asyncio.sleep(MINUTE)
    assert len(beats(world)) <= 1
    assert tab.seen(SessionExpired) == []


async def test_42_nobody_asks_anything_of_a_network_that_is_known_to_be_gone(world: WatchedWorld) -> None:
    """Offline for an hour and nobody clicks: nothing at all leaves the page; the network's return sends one check."""
    tab = await beating_tab(world)
    before = len(tab.wire.sent)
    tab.wire.cut, tab.person.online = True, False
    await asyncio.sleep(HOUR)
    assert len(tab.wire.sent) == before
    tab.wire.cut = False
    tab.person.come_back()
    await asyncio.sleep(5)
    assert len(beats(world)) == 1
    assert tab.session.state is State.SIGNED_IN


async def test_42_a_network_that_comes_and_goes_is_not_asked_at_each_return(world: WatchedWorld) -> None:
    """Two returns a second for a minute, none of them with a network: a check in five seconds at most."""
    tab = await beating_tab(world)
    tab.wire.cut = True
    await outcomes(tab.session.fetch("/api/data"))
    tab.wire.sent.clear()
    for _ in range(120):
        tab.person.come_back()
        await asyncio.sleep(0.5)
    asked = [request.path for request in tab.wire.sent]
    assert set(asked) == {HEARTBEAT}
    assert len(asked) <= 60 / 5 + 3
    assert tab.session.subject == "ada"


# -- 43, 44: heartbeats --


OTHER_ANSWERS: list[dict[str, Any]] = [
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 401, "headers": {"WWW-Authenticate": "Basic realm=x"}},
    {"kind": "body", "status": 200, "body": "<html>Please log in to the hotel's network 401</html>"},
    {"kind": "redirect", "location": "https://hotel.example/", "status": 302},
    {"kind": "drop_before"},
    {"kind": "truncate"},
    {"kind": "stall"},
]


@pytest.mark.parametrize("fault", OTHER_ANSWERS, ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}")
async def test_43_a_heartbeat_answered_in_any_other_way_refreshes_nothing_and_goes_on(
    world: WatchedWorld, fault: dict[str, Any]
) -> None:
    """403, 404, 429, 5xx, HTML, no answer, for twenty minutes: no refresh, still signed in, the loop goes on."""
    tab = await beating_tab(world)
    await world.fault(HEARTBEAT, **fault)
    await asyncio.sleep(1200)
    assert world.refreshes() == 0
    assert tab.session.subject == "ada"
    assert len(beats(world)) >= 3
    assert len([request for request in tab.wire.sent if request.path == HEARTBEAT]) <= 3 + 1200 / 30
    world.heal()
    await asyncio.sleep(331)
    assert tab.seen(HeartbeatAnswered)[-1].status == 200
    assert tab.session.state is State.SIGNED_IN


async def test_43_a_heartbeat_that_meets_an_expired_token_refreshes_at_once(world: WatchedWorld) -> None:
    """Refused with invalid_token: one refresh, the heartbeat again, and the person's next request never sees a 401."""
    tab = await beating_tab(world)
    await world.expire()
    world.start_journal()
    await asyncio.sleep(331)
    assert [entry.path for entry in world.journal()] == [HEARTBEAT, REFRESH, HEARTBEAT]
    assert (await tab.session.fetch("/api/data")).ok
    assert world.statuses("/api/data") == [200]


async def test_43_a_heartbeat_that_is_refused_whatever_the_token_does_not_refresh_each_time(
    world: WatchedWorld,
) -> None:
    """A route that answers 401 for ever: two hours cost a bounded number of refreshes, and nobody is signed out."""
    tab = await beating_tab(world, interval=10.0)
    await world.fault(HEARTBEAT, "status", status=401)
    await asyncio.sleep(2 * HOUR)
    cool = 30 * 2**4
    assert world.refreshes() <= 2 * HOUR / cool + 6 + 2 * HOUR / 1770
    assert tab.session.subject == "ada"
    assert tab.seen(SessionExpired) == []


async def test_43_a_heartbeat_that_outlasts_its_interval_is_never_doubled(world: WatchedWorld) -> None:
    """Each beat outlasts the interval twice over; the next one waits for its end."""
    tab = await beating_tab(world, interval=5.0, timeout=20.0, jitter=0.0)
    under_way = most = 0

    async def count(request: Request) -> None:
        nonlocal under_way, most
        if request.path == HEARTBEAT:
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(10)
            under_way -= 1

    tab.wire.before_answer = count
    await asyncio.sleep(600)
    assert most == 1
    assert len(beats(world)) == pytest.approx(600 / 15, rel=0.1)
    tab.wire.before_answer = None
    await asyncio.sleep(20)


async def test_44_a_session_revoked_at_the_server_is_noticed_by_the_heartbeat(world: WatchedWorld) -> None:
    """Revoked while nobody clicks: the heartbeat finds out, the person is asked to sign in, the beats stop."""
    tab = await beating_tab(world)
    other = world.tab()
    await other.session.__aenter__()
    await world.revoke()
    await asyncio.sleep(331)
    for each in (tab, other):
        assert each.session.state is State.SIGN_IN_REQUIRED
        assert len(each.seen(SessionExpired)) == 1
    assert world.store.load() is None
    assert world.refreshes() == 1
    world.start_journal()
    tab.events.clear()
    await asyncio.sleep(HOUR)
    assert world.journal() == []
    assert tab.seen(HeartbeatSent) == []


# -- 45: a fleet --


CLIENTS = 150
OUTAGE = 300.0
LIFETIME = 600.0
BUCKET = 10.0


async def a_fleet() -> World:
    """Return clients that share nothing but the server, signed in over the span of one lifetime, all beating.

    The world is not watched: the invariants speak of the tabs of one session, and these are many sessions.
    """
    world = World(grace=0.0, access_lifetime=LIFETIME)
    for _ in range(CLIENTS):
        alone: dict[str, Any] = {"store": MemoryTokenStore(), "lock": MemoryLock(), "channel": MemoryChannel()}
        client = world.tab(heartbeat=HeartbeatPolicy(), **alone)
        await client.session.sign_in("ada", "lovelace")
        await client.session.__aenter__()
        await asyncio.sleep(LIFETIME / CLIENTS)
    return world


def busiest(entries: list[Any]) -> float:
    """Return the most requests a second that arrived within any bucket of time."""
    return max(Counter(int(entry.at // BUCKET) for entry in entries).values()) / BUCKET


async def test_45_a_fleet_that_wakes_in_an_outage_comes_back_without_a_stampede() -> None:
    """Many with dead tokens wake at once into five minutes of 503: ten tries each at most, and a flat return."""
    random.seed(45)
    world = await a_fleet()
    clients = world.tabs
    world.start_journal()
    await asyncio.sleep(LIFETIME)
    steady = len(world.journal()) / LIFETIME
    for client in clients:
        client.person.visible = False
        client.wire.sent.clear()
    await asyncio.sleep(LIFETIME)
    await world.fault("*", "status", status=503)
    for client in clients:
        client.person.come_back()
    waiting = [asyncio.create_task(client.session.fetch("/api/data", timeout=HOUR)) for client in clients]
    await asyncio.sleep(OUTAGE)
    world.heal()
    world.start_journal()
    back_at = seconds_since_start()
    assert all(answer.ok for answer in await asyncio.gather(*waiting))
    assert seconds_since_start() - back_at <= 181
    assert max(sum(request.path == REFRESH for request in client.wire.sent) for client in clients) <= 10
    assert busiest(world.journal()) <= 7 * steady
    assert {client.session.state for client in clients} == {State.SIGNED_IN}
    assert not any("reuse_detected" in entry.effects for entry in world.journal())
    await world.close()
