"""Time (37 to 41): clocks that are wrong or jump, devices that sleep, timers that crawl, lifetimes of every length."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from typing import Any

import pytest

from freshfetch import HeartbeatPolicy, RequestTimeoutError, SessionExpired, State
from tests.faults.watched import WatchedTab, WatchedWorld
from tests.world import START, VirtualClock, eager_retry, outcomes, seconds_since_start

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR
HEARTBEAT = "/api/heartbeat"


class CountingClock(VirtualClock):
    """A clock that notices when it is asked again and again while no time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def now(self) -> float:
        """Return seconds since the epoch."""
        self.looks += 1
        return super().now()


def refused(world: WatchedWorld) -> list[str]:
    """Return the paths of the requests whose token the server did not accept, in order."""
    return [entry.path for entry in world.journal() if entry.status == 401]


async def beating_tab(world: WatchedWorld, **settings: Any) -> WatchedTab:
    """Return a running tab of ada's with heartbeats, its first one behind it and out of the journal."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(), **settings)
    await tab.session.__aenter__()
    await asyncio.sleep(10)
    world.start_journal()
    return tab


async def tab_with(world: WatchedWorld, lifetime: float) -> WatchedTab:
    """Return a tab whose access tokens live so many seconds."""
    await world.control("settings", accessLifetime=lifetime)
    return await world.signed_in_tab()


# -- 37: clocks that are wrong --


@pytest.mark.parametrize("wrong_by", [10 - START, -3 * DAY, -5 * HOUR, 5 * HOUR, 3 * DAY, 20 * 365 * DAY])
async def test_37_a_device_whose_clock_is_wrong_works_as_any_other(world: WatchedWorld, wrong_by: float) -> None:
    """From 1970 to twenty years ahead: one refresh a lifetime, by expires_in and not by dates; no 401, no sign-out."""
    world.clock.offset = wrong_by
    tab = await world.signed_in_tab()
    for lifetime in range(1, 4):
        for _ in range(18):
            assert (await tab.session.fetch("/api/data")).ok
            await asyncio.sleep(100)
        assert world.refreshes() == lifetime - 1
        assert (await tab.session.fetch("/api/data")).ok
        assert world.refreshes() == lifetime
        await asyncio.sleep(1800 * lifetime + lifetime - seconds_since_start())
    assert refused(world) == []
    assert tab.session.state is State.SIGNED_IN


async def test_37_a_page_loaded_on_a_device_with_a_wrong_clock_refreshes_nothing_before_its_time(
    world: WatchedWorld,
) -> None:
    """The same wrong clock wrote the record and reads it: a new page uses the stored token to its end."""
    world.clock.offset = -3 * DAY
    await world.signed_in_tab()
    for _ in range(17):
        assert (await world.tab().session.fetch("/api/data")).ok
        await asyncio.sleep(100)
    assert world.refreshes() == 0
    await asyncio.sleep(101)
    assert (await world.tab().session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert refused(world) == []


# -- 38: clocks that jump --


async def test_38_a_clock_set_back_by_hours_does_not_keep_a_dead_token_alive(world: WatchedWorld) -> None:
    """Set back five hours: the expiry is still known by the loop's clock, one refresh, no 401, no storm."""
    tab = await world.signed_in_tab()
    await tab.session.fetch("/api/data")
    world.clock.offset -= 5 * HOUR
    await asyncio.sleep(1801)
    for _ in range(20):
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert refused(world) == []


async def test_38_a_clock_set_ahead_by_hours_costs_one_refresh(world: WatchedWorld) -> None:
    """Set five hours ahead: the token looks dead, is renewed once, and then all is as before."""
    tab = await world.signed_in_tab()
    world.clock.offset += 5 * HOUR
    for _ in range(20):
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    left = tab.session.snapshot().expires_in
    assert left is not None
    assert 1700 < left <= 1800


async def test_38_a_page_loaded_after_the_clock_was_set_back_is_saved_by_the_replay(world: WatchedWorld) -> None:
    """A new page cannot know that the stored expiry is wrong: the token earns one 401, is renewed, and works."""
    await world.signed_in_tab()
    await asyncio.sleep(1801)
    world.clock.offset -= 5 * HOUR
    tab = world.tab()
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert world.statuses("/api/data") == [401, 200]


async def test_38_a_clock_set_back_does_not_stop_the_heartbeat(world: WatchedWorld) -> None:
    """The wall clock goes back a day: beats come by the loop's clock as before."""
    await beating_tab(world)
    world.clock.offset -= DAY
    await asyncio.sleep(HOUR)
    assert 10 <= len(world.journal(HEARTBEAT)) <= 12


async def test_38_a_clock_set_back_after_a_failure_does_not_put_the_next_attempt_off_for_hours(
    world: WatchedWorld,
) -> None:
    """A retry was planned, then the clock was set back five hours: it takes place within the longest planned wait."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503, headers={"Retry-After": "100"}, times=1)
    call = asyncio.create_task(tab.session.fetch("/api/data", timeout=HOUR))
    await asyncio.sleep(1)
    world.clock.offset -= 5 * HOUR
    began = seconds_since_start()
    assert (await call).ok
    assert seconds_since_start() - began <= 700


async def test_38_a_page_loaded_after_a_failure_and_a_jump_back_does_not_wait_for_hours(world: WatchedWorld) -> None:
    """A retry was planned by a page that is gone, then the clock was set back: the new page tries within its limit."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503, headers={"Retry-After": "100"}, times=1)
    call = asyncio.create_task(tab.session.fetch("/api/data"))
    await asyncio.sleep(1)
    await tab.session.close()
    await outcomes(call)
    world.clock.offset -= 5 * HOUR
    await world.expire()
    began = seconds_since_start()
    assert (await world.tab(retry=eager_retry()).session.fetch("/api/data", timeout=HOUR)).ok
    assert seconds_since_start() - began <= 700


@pytest.mark.parametrize("seed", range(3))
async def test_38_a_clock_that_jumps_all_day_costs_one_refresh_a_jump_at_most(world: WatchedWorld, seed: int) -> None:
    """Forty jumps of up to a day, back and ahead, in a day of work: every request is answered, and no storm follows."""
    chance = random.Random(seed)  # noqa: S311 - it spreads jumps, it hides nothing
    tab = await beating_tab(world)
    ahead = 0
    for _ in range(40):
        jump = chance.uniform(-DAY, DAY)
        ahead += jump > 0
        world.clock.offset += jump
        for _ in range(4):
            assert (await tab.session.fetch("/api/data")).ok
            await asyncio.sleep(chance.uniform(0, 18 * MINUTE))
    lifetimes = seconds_since_start() / (1800 - 30)
    assert world.refreshes() <= ahead + lifetimes + 1
    assert refused(world) == []
    assert tab.session.state is State.SIGNED_IN


# -- 39: sleep --


async def sleep_of_the_device(world: WatchedWorld, seconds: float) -> None:
    """Let the wall clock and the server's go on while the loop's clock stands, as on a device that is asleep."""
    world.clock.offset += seconds
    await world.control("settings", clockOffset=world.clock.offset)


async def test_39_thirty_timers_due_after_eight_hours_of_sleep_cost_one_refresh(world: WatchedWorld) -> None:
    """Awake without a network: thirty requests wait, few attempts leave; with it: one refresh, all thirty succeed."""
    tab = await beating_tab(world)
    await sleep_of_the_device(world, 8 * HOUR)
    tab.wire.cut = True
    began = seconds_since_start()
    calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(30)]
    await asyncio.sleep(20)
    attempts = [request.path for request in tab.wire.sent if request.path == "/api/auth/refresh"]
    assert 2 <= len(attempts) <= 5
    assert not any(request.path.startswith("/api/data") for request in tab.wire.sent)
    assert tab.session.subject == "ada"
    tab.wire.cut = False
    tab.person.come_back()
    answers = await asyncio.wait_for(asyncio.gather(*calls), 1)
    assert all(answer.ok for answer in answers)
    assert [entry.effects for entry in world.journal("/api/auth/refresh")] == [["refreshed"]]
    assert refused(world) == []
    assert tab.seen(SessionExpired) == []
    assert seconds_since_start() - began < 22


async def test_39_eight_hours_of_sleep_are_noticed_though_nobody_clicks(world: WatchedWorld) -> None:
    """The lid opens and nobody does anything: within a nap the token is renewed and one heartbeat is answered."""
    tab = await beating_tab(world)
    await sleep_of_the_device(world, 8 * HOUR)
    await asyncio.sleep(31)
    assert [entry.path for entry in world.journal()] == ["/api/auth/refresh", HEARTBEAT]
    assert refused(world) == []
    assert tab.session.state is State.SIGNED_IN


async def test_39_a_sleep_longer_than_the_refresh_token_lives_asks_to_sign_in_once(world: WatchedWorld) -> None:
    """Three weeks later: one refresh request, one notice, and all thirty callers get their request back."""
    tab = await beating_tab(world)
    await sleep_of_the_device(world, 21 * DAY)
    results = await outcomes(*(tab.session.fetch(f"/api/data/{n}") for n in range(30)))
    assert [getattr(result, "reason", "") for result in results] == ["invalid_grant"] * 30
    assert all(result.request is not None for result in results)
    assert world.refreshes() == 1
    assert len(tab.seen(SessionExpired)) == 1
    assert tab.session.state is State.SIGN_IN_REQUIRED


# -- 40: hidden tabs --


@contextmanager
def throttled_timers(tab: WatchedTab) -> Iterator[None]:
    """Let every timer of the loop fire on the full minute only, as browsers do to tabs that are long hidden."""
    loop: Any = asyncio.get_running_loop()
    tab.wire.delay = 0.0  # it is a timer here, but no page's timers slow the network down
    exact = loop.call_at

    def late(when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle: asyncio.TimerHandle = exact(ceil(when / MINUTE) * MINUTE, callback, *args, context=context)
        return handle

    loop.call_at = late
    try:
        yield
    finally:
        loop.call_at = exact


async def test_40_a_hidden_tab_with_throttled_timers_keeps_its_session(world: WatchedWorld) -> None:
    """Eight hidden hours, a poll of the page's own each minute: all answered, a refresh a lifetime, no 401, no beat."""
    tab = await beating_tab(world)
    tab.person.visible = False
    with throttled_timers(tab):
        began = seconds_since_start()
        while seconds_since_start() - began < 8 * HOUR:
            assert (await tab.session.fetch("/api/data")).ok
            await asyncio.sleep(1)
    assert 8 * HOUR / 1801 - 1 <= world.refreshes() <= 8 * HOUR / 1740 + 1
    assert refused(world) == []
    assert world.journal(HEARTBEAT) == []
    tab.person.come_back()
    await asyncio.sleep(1)
    assert tab.session.state is State.SIGNED_IN


async def test_40_a_hidden_tab_left_alone_asks_nothing_and_is_checked_when_it_is_seen(world: WatchedWorld) -> None:
    """Hidden for eight hours without a request: nothing leaves; shown again: one refresh, one heartbeat, at once."""
    tab = await beating_tab(world)
    tab.person.visible = False
    with throttled_timers(tab):
        await asyncio.sleep(8 * HOUR)
    assert world.journal() == []
    tab.person.come_back()
    await asyncio.sleep(1)
    assert [entry.path for entry in world.journal()] == ["/api/auth/refresh", HEARTBEAT]
    assert tab.session.state is State.SIGNED_IN


async def test_40_throttled_timers_keep_limits_too_though_late(world: WatchedWorld) -> None:
    """Neither the API nor the auth server ever answers a hidden tab: who waits is told, and the lock is let go of."""
    tab, other = await beating_tab(world), world.tab()
    await world.fault("/api/data", "stall")
    tab.person.visible = False
    with throttled_timers(tab):
        began = seconds_since_start()
        with pytest.raises(RequestTimeoutError):
            await asyncio.wait_for(tab.session.fetch("/api/data", timeout=10), HOUR)
        assert seconds_since_start() - began <= 3 * MINUTE
        await asyncio.sleep(1801)
        await world.fault("/api/auth/refresh", "delay", delay=HOUR, times=1)
        waiting = asyncio.create_task(outcomes(tab.session.fetch("/api/data/x", timeout=HOUR)))
        await asyncio.sleep(5 * MINUTE)
        assert (await other.session.fetch("/api/data/y")).ok
        assert [answer.ok for answer in await waiting] == [True]


async def test_40_an_outage_is_survived_by_throttled_timers_too(world: WatchedWorld) -> None:
    """Each planned retry comes up to a minute late: no more attempts than planned, and requests succeed afterwards."""
    tab = await beating_tab(world)
    tab.person.visible = False
    with throttled_timers(tab):
        await asyncio.sleep(1801)
        await world.fault("/api/auth/refresh", "status", status=503)
        calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}", timeout=HOUR)) for n in range(20)]
        await asyncio.sleep(20 * MINUTE)
        assert world.refreshes() <= 3 + 20
        assert not any(call.done() for call in calls)
        world.heal()
        assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert refused(world) == []
    assert [effect for entry in world.journal() for effect in entry.effects] == ["refreshed"]


# -- 41: lifetimes --


class Saying:
    """An app that names other lifetimes than the ones it grants."""

    def __init__(self, app: Any, said: dict[str, Any]) -> None:
        self._app = app
        self._said = said
        self.state = app.state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Change what is said in the answers of the auth server."""

        async def saying(message: Any) -> None:
            if message["type"] == "http.response.body" and b"expiresIn" in message["body"]:
                granted = json.loads(message["body"])
                del granted["expiresIn"]
                message = {**message, "body": json.dumps({**granted, **self._said}).encode()}
            await send(message)

        await self._app(scope, receive, saying)


def a_patient_server(world: WatchedWorld, said: dict[str, Any]) -> None:
    """Let tokens live for days, whatever the server says."""
    world.server.settings = replace(world.server.settings, access_lifetime=400 * DAY, refresh_lifetime=400 * DAY)
    world.app = Saying(world.app, said)


SAID: dict[str, dict[str, Any]] = {
    "0": {"expiresIn": 0},
    "a billionth": {"expiresIn": 1e-9},
    "a half": {"expiresIn": 0.5},
    "1": {"expiresIn": 1},
    "1 in text": {"expires_in": "1"},
    "5": {"expiresIn": 5},
    "30 days": {"expiresIn": 30 * DAY},
    "100 years": {"expiresIn": 100 * 365 * DAY},
    "absent": {},
    "null": {"expiresIn": None},
}


@pytest.mark.parametrize("name", SAID)
async def test_41_a_lifetime_of_0_1_5_seconds_30_days_or_none_causes_no_busy_loop_and_no_storm(
    world: WatchedWorld, name: str
) -> None:
    """Ten requests a second for a minute: all answered, five refreshes in four seconds at most, few looks at clocks."""
    world.clock = clock = CountingClock()
    a_patient_server(world, SAID[name])
    tab = await beating_tab(world)
    tab.wire.delay = 0.0
    clock.looks = 0
    for _ in range(600):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(0.1)
    assert world.refreshes() <= 60 / 0.8 + 1
    assert refused(world) == []
    assert clock.looks <= 600 * 50
    assert tab.session.state is State.SIGNED_IN


@pytest.mark.parametrize("name", SAID)
async def test_41_an_idle_session_is_quiet_whatever_the_lifetime(world: WatchedWorld, name: str) -> None:
    """Signed in and hidden for a day: not one request, and the clock is looked at once in a nap of half a minute."""
    world.clock = clock = CountingClock()
    a_patient_server(world, SAID[name])
    tab = await beating_tab(world)
    tab.person.visible = False
    clock.looks = 0
    await asyncio.sleep(DAY)
    assert world.journal() == []
    assert clock.looks <= DAY / 30 * 5


@pytest.mark.parametrize("lifetime", [1.0, 5.0])
async def test_41_short_lives_are_refreshed_when_a_fifth_is_left(world: WatchedWorld, lifetime: float) -> None:
    """A server that means it, and ten requests in each lifetime: a refresh after 80 to 100 % of each, and no 401."""
    tab = await tab_with(world, lifetime)
    for _ in range(200):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(lifetime / 10 - 0.01)
    assert 20 - 1 <= world.refreshes() <= 20 / 0.8 + 1
    assert refused(world) == []


async def test_41_tokens_that_are_dead_on_arrival_do_not_storm_the_auth_server(world: WatchedWorld) -> None:
    """expires_in 0 and refused at once: a hundred requests get their 401, the server no more than a few refreshes."""
    tab = await tab_with(world, 0)
    answers = [await tab.session.fetch("/api/data") for _ in range(100)]
    assert {answer.status for answer in answers} == {401}
    assert world.refreshes() <= 2
    assert tab.session.state is State.SIGNED_IN


async def test_41_a_lifetime_shorter_than_the_way_to_the_server_does_not_storm_it(world: WatchedWorld) -> None:
    """Tokens of one second on a wire of two: each request settles, with at most two refreshes each."""
    tab = await tab_with(world, 1)
    tab.wire.delay = 2.0
    for n in range(10):
        await asyncio.wait_for(tab.session.fetch(f"/api/data/{n}"), 60)
    assert world.refreshes() <= 20


async def test_41_a_lifetime_of_thirty_days_is_left_alone(world: WatchedWorld) -> None:
    """A month's token: a request a day costs no refresh for 29 days, and one on the thirtieth."""
    await world.control("settings", accessLifetime=30 * DAY, refreshLifetime=90 * DAY)
    tab = await world.signed_in_tab()
    for _ in range(30):
        assert (await tab.session.fetch("/api/data")).ok
        assert world.refreshes() == 0
        await asyncio.sleep(DAY)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_41_a_server_that_names_no_lifetime_is_asked_nothing_until_it_refuses(world: WatchedWorld) -> None:
    """Without expires_in the token is used for as long as it works: one refresh when it is refused."""
    a_patient_server(world, {})
    tab = await world.signed_in_tab()
    assert tab.session.snapshot().expires_in is None
    for _ in range(17):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(100)
    assert world.refreshes() == 0
    await world.expire()
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
