"""Heartbeats: asked while the person is there, silent otherwise, and never taken for more than they say."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any

import pytest

from freshfetch import (
    ConfigurationError,
    HeartbeatAnswered,
    HeartbeatFailed,
    HeartbeatPolicy,
    HeartbeatSent,
    RefreshStarted,
    RefreshUnavailableError,
    State,
    StateChanged,
)
from tests.world import Tab, VirtualClock, World, until

HEARTBEAT = "/api/heartbeat"
HOUR = 3600.0


async def beating_tab(world: World, *, interval: float = 300.0, **settings: Any) -> Tab:
    """Return a running tab of ada's, with heartbeats."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(interval=interval, **settings))
    await tab.session.__aenter__()
    return tab


def beats(world: World) -> list[float]:
    """Return when heartbeats arrived."""
    return [entry.at for entry in world.journal(HEARTBEAT)]


async def test_eight_hours_of_work_cost_at_most_one_beat_per_interval(world: World) -> None:
    """A person who stays eight hours: beats are 300 to 330 s apart and carry the token, no task leaks."""
    tab = await beating_tab(world)
    tasks = len(asyncio.all_tasks())
    await asyncio.sleep(8 * HOUR)
    at = beats(world)
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert min(gaps) >= 300
    assert max(gaps) <= 331
    assert {entry.status for entry in world.journal(HEARTBEAT)} == {200}
    assert {entry.user for entry in world.journal(HEARTBEAT)} == {"ada"}
    assert world.refreshes() <= 8 * HOUR / 1500
    assert len(asyncio.all_tasks()) == tasks
    assert tab.session.state is State.SIGNED_IN


@pytest.mark.parametrize("absence", ["hidden", "idle", "offline"])
async def test_nobody_there_means_no_beat(world: World, absence: str) -> None:
    """Eight hours hidden, idle or offline: no request at all leaves, not even a refresh."""
    tab = await beating_tab(world)
    if absence == "hidden":
        tab.person.visible = False
    elif absence == "offline":
        tab.person.online = False
    else:
        tab.person.idle_seconds = 301.0
    await asyncio.sleep(8 * HOUR)
    assert world.journal() == []


async def test_coming_back_costs_one_check_at_once(world: World) -> None:
    """After two hours away the heartbeat goes out when the person is back, once, however often they come and go."""
    tab = await beating_tab(world)
    tab.person.visible = False
    await asyncio.sleep(2 * HOUR)
    for _ in range(5):
        tab.person.come_back()
    await asyncio.sleep(1)
    assert len(beats(world)) == 1
    tab.person.visible = False
    await asyncio.sleep(10)
    tab.person.come_back()
    await asyncio.sleep(1)
    assert len(beats(world)) == 1
    assert tab.session.state is State.SIGNED_IN


async def test_requests_that_prove_the_token_make_heartbeats_needless(world: World) -> None:
    """While a request succeeds every four minutes, no heartbeat leaves for hours."""
    await beating_tab(world)
    tab = world.tabs[0]
    for _ in range(40):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(240)
    assert beats(world) == []


async def test_a_request_that_proves_nothing_does_not_put_heartbeats_off(world: World) -> None:
    """Answers of 404 and 500 say nothing of the token: the heartbeat comes all the same."""
    tab = await beating_tab(world)
    await asyncio.sleep(10)
    world.start_journal()
    for _ in range(4):
        await tab.session.fetch("/api/nowhere")
        await asyncio.sleep(90)
    assert len(beats(world)) == 1


async def test_a_network_error_is_reported_and_the_loop_goes_on(world: World) -> None:
    """No answer: HeartbeatFailed with the error's name, state OFFLINE; looked for sooner, in widening steps."""
    tab = await beating_tab(world)
    await asyncio.sleep(10)
    tab.wire.cut = True
    await asyncio.sleep(1200)
    failed = tab.seen(HeartbeatFailed)
    assert {event.error for event in failed} == {"TransportError"}
    # At the most one in each of the three narrow windows, then one in 30 s; at the least one in an interval.
    assert 1200 / 300 <= len(failed) <= 3 + 1200 / 30
    tab.wire.cut = False
    await asyncio.sleep(331)
    assert [event.new for event in tab.seen(StateChanged)][-2:] == [State.OFFLINE, State.SIGNED_IN]
    assert world.refreshes() == 0


async def test_the_session_says_when_the_next_heartbeat_is_due(world: World) -> None:
    """next_heartbeat_in counts down, starts anew with each proof, and is None while the loop does not run."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy())
    assert tab.session.snapshot().next_heartbeat_in is None
    async with tab.session:
        await until(lambda: tab.seen(HeartbeatAnswered))
        due = tab.session.snapshot().next_heartbeat_in
        assert due is not None
        assert 300 <= due <= 330
        await asyncio.sleep(100)
        assert tab.session.snapshot().next_heartbeat_in == pytest.approx(due - 100, abs=0.01)
        await tab.session.fetch("/api/data")
        again = tab.session.snapshot().next_heartbeat_in
        assert again is not None
        assert again >= 300
    assert tab.session.snapshot().next_heartbeat_in is None


async def test_signed_out_means_no_beat_and_signing_in_brings_them_back(world: World) -> None:
    """No heartbeat leaves while nobody is signed in; after a sign-in they come again, in the same loop."""
    tab = await beating_tab(world)
    await tab.session.sign_out()
    world.start_journal()
    await asyncio.sleep(HOUR)
    assert world.journal() == []
    await tab.session.sign_in("grace", "hopper")
    await asyncio.sleep(700)
    assert [entry.user for entry in world.journal(HEARTBEAT)] == ["grace"] * len(beats(world))
    assert 2 <= len(beats(world)) <= 3


async def test_a_closed_session_sends_no_more(world: World) -> None:
    """Closing ends the loop, also in the middle of a beat; the presence is no longer watched."""
    tab = await beating_tab(world)
    await world.fault(HEARTBEAT, "stall")
    await until(lambda: beats(world))
    await tab.session.close()
    assert tab.person.watchers == 0
    world.start_journal()
    await asyncio.sleep(HOUR)
    assert world.journal() == []


class CountingClock(VirtualClock):
    """A clock that notices when it is asked again and again while no time passes."""

    looks = 0

    def now(self) -> float:
        """Return seconds since the epoch."""
        self.looks += 1
        assert self.looks < 50_000, "somebody asks for the time without letting any pass"
        return super().now()


@pytest.mark.parametrize("seed", range(12))
async def test_waiting_for_a_beat_never_spins(world: World, seed: int) -> None:
    """The last rest of a wait may be less than a clock can show: it is slept, not asked for again and again."""
    random.seed(seed)
    world.clock = CountingClock()
    tab = await beating_tab(world, interval=5.0)
    await world.fault(HEARTBEAT, "delay", delay=9)
    await asyncio.sleep(600)
    assert 30 <= len(beats(world)) <= 50
    assert not tab.seen(HeartbeatFailed)


async def test_no_heartbeat_interferes_with_a_refresh_that_waits(world: World) -> None:
    """While the token cannot be renewed, no heartbeat is queued behind it; events stay in pairs."""
    tab = await beating_tab(world, interval=60.0)
    await asyncio.sleep(1700)
    await world.fault("/api/auth/refresh", "status", status=503)
    await asyncio.sleep(HOUR)
    sent, ended = tab.seen(HeartbeatSent), [*tab.seen(HeartbeatAnswered), *tab.seen(HeartbeatFailed)]
    assert len(sent) - len(ended) in (0, 1)
    assert tab.session.snapshot().queue_size <= 1
    assert tab.session.subject == "ada"
    assert len(tab.seen(RefreshStarted)) <= HOUR / 30 + 4


async def test_no_heartbeat_is_asked_where_the_policy_names_no_url(world: World) -> None:
    """HeartbeatPolicy(url=None) switches them off."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(url=None))
    async with tab.session:
        await asyncio.sleep(HOUR)
    assert world.journal() == []


@pytest.mark.parametrize(
    "settings", [{"interval": 0}, {"interval": -1}, {"timeout": 0}, {"idle_after": 0}, {"jitter": 2}, {"jitter": -1}]
)
def test_a_heartbeat_policy_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    """HeartbeatPolicy says at once what cannot be."""
    with pytest.raises(ConfigurationError):
        HeartbeatPolicy(**settings)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_in_trouble_is_looked_for_in_widening_steps(world: World, status: int) -> None:
    """Answered 5xx or 429: asked again after seconds, then tens of them, then a minute or two, until all is well."""
    tab = await beating_tab(world)
    await world.fault(HEARTBEAT, "status", status=status)
    await asyncio.sleep(1200)
    gaps = [later - earlier for earlier, later in pairwise(beats(world))]
    for gap, (low, high) in zip(gaps, ((0.5, 2), (2, 8), (8, 30), *[(60, 120)] * 20), strict=False):
        assert low <= gap <= high + 0.1
    assert len(gaps) >= 3 + 1000 / 120
    world.heal()
    await asyncio.sleep(120)
    world.server.journal.clear()
    await asyncio.sleep(300)
    assert len(beats(world)) <= 1
    assert tab.session.state is State.SIGNED_IN


async def test_who_comes_back_right_after_a_failed_look_does_not_wait_for_the_next_window(world: World) -> None:
    """Two seconds after a beat that failed the person is back: the next is five after it, not a minute or two."""
    tab = await beating_tab(world)
    await world.fault(HEARTBEAT, "status", status=503, times=5)
    await until(lambda: len(beats(world)) == 5, limit=HOUR)
    await asyncio.sleep(2)
    for _ in range(3):
        tab.person.come_back()
    await asyncio.sleep(10)
    *_, failed, looked = beats(world)
    assert len(beats(world)) == 6
    assert looked - failed == pytest.approx(5.0, abs=0.1)
    assert tab.session.state is State.SIGNED_IN


async def test_a_server_that_says_when_to_come_again_is_not_asked_sooner(world: World) -> None:
    """Answered 503 with a Retry-After longer than the interval: the next beat comes after that, not at once."""
    await beating_tab(world)
    await world.fault(HEARTBEAT, "status", status=503, headers={"Retry-After": "400"}, times=1)
    await asyncio.sleep(500)
    first, second = beats(world)
    assert 400.5 <= second - first <= 402.1


async def test_those_who_came_back_together_do_not_go_on_in_step(world: World) -> None:
    """Twenty tabs come back at the same moment: one beat each at once, the next ones spread over an interval."""
    tabs = [await world.signed_in_tab(heartbeat=HeartbeatPolicy()) for _ in range(20)]
    for tab in tabs:
        await tab.session.__aenter__()
        tab.person.visible = False
    await asyncio.sleep(HOUR / 4)
    world.server.journal.clear()
    for tab in tabs:
        tab.person.come_back()
    await asyncio.sleep(299)
    assert len(beats(world)) == 20
    await asyncio.sleep(302)
    nexts = beats(world)[20:]
    assert len(nexts) == 20
    assert nexts[-1] - nexts[0] > 100


async def test_a_renewal_without_an_answer_has_the_server_looked_for_though_nothing_waits(world: World) -> None:
    """OFFLINE by a forced refresh: the server is looked for as after any lost request, and found within seconds."""
    tab = await beating_tab(world)
    await asyncio.sleep(10)
    tab.wire.cut = True
    with pytest.raises(RefreshUnavailableError):
        await tab.session.refresh()
    tab.wire.cut = False
    await asyncio.sleep(3)
    assert [event.new for event in tab.seen(StateChanged)][-2:] == [State.OFFLINE, State.SIGNED_IN]
