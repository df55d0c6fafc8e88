"""Ports that fail, lie or lag: what a session makes of adapters that are not as good as ours."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from freshfetch import (
    AuthServerError,
    FreshfetchError,
    HeartbeatFailed,
    HeartbeatPolicy,
    Hint,
    JsonAuthServer,
    RefreshUnavailableError,
    Request,
    Response,
    RetryPolicy,
    Session,
    SessionRecord,
    State,
    Tokens,
    is_expired_token,
)
from freshfetch._record import LONGEST_LIFETIME
from freshfetch.memory import MemoryChannel
from tests.world import START, Person, Wire, World, outcomes, seconds_since_start, until


class DeafChannel(MemoryChannel):
    """A channel that loses every hint, as channels may."""

    def publish(self, hint: Hint) -> None:
        """Lose it."""


class BrokenAuthServer(JsonAuthServer):
    """An auth server adapter with a bug in it."""

    broken = False

    async def read(self, response: Response, *, secrets: tuple[str, ...]) -> Any:
        """Raise what no port should raise."""
        if self.broken:
            raise KeyError("a bug")
        return await super().read(response, secrets=secrets)


async def test_a_bug_in_an_adapter_is_reported_and_passes(world: World) -> None:
    """What waits gets a typed error, the loop's handler hears of the bug, and the next request works."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    server = BrokenAuthServer()
    session = Session(
        server,
        transport=Wire(world.app),
        store=world.store,
        lock=world.lock,
        channel=world.channel,
        clock=world.clock,
        presence=Person(),
        heartbeat=HeartbeatPolicy(url=None),
    )
    await session.sign_in("ada", "lovelace")
    server.broken = True
    await world.expire()
    assert isinstance((await outcomes(session.fetch("/api/data")))[0], RefreshUnavailableError)
    assert isinstance(told[0]["exception"], KeyError)
    server.broken = False
    await world.control("settings", grace=60)
    assert (await session.fetch("/api/data")).ok
    assert session.state is State.SIGNED_IN
    await session.close()


@pytest.mark.parametrize("listening", [False, True])
async def test_a_lost_hint_costs_seconds_and_not_the_whole_pause(world: World, *, listening: bool) -> None:
    """While a tab pauses for 170 s another stores new tokens and its word is lost: a new request finds them at once."""
    tab = await world.signed_in_tab(channel=DeafChannel(), retry=RetryPolicy(windows=((170.0, 170.0),)))
    other = world.tab(channel=DeafChannel())
    if listening:
        await tab.session.__aenter__()
    await world.expire()
    await world.fault("/api/auth/refresh", "status", status=503, times=1)
    held = asyncio.create_task(tab.session.fetch("/api/data/held"))
    await asyncio.sleep(5)
    await other.session.sign_in("ada", "lovelace")
    began = seconds_since_start()
    results = await outcomes(tab.session.fetch("/api/data/new"), held)
    assert all(result.ok for result in results)
    assert seconds_since_start() - began < 1
    assert tab.session.snapshot().retry_in == 0


async def test_a_held_request_finds_what_is_stored_within_a_nap(world: World) -> None:
    """The same with nobody asking anew: whoever waits looks at the store every half minute."""
    tab = await world.signed_in_tab(channel=DeafChannel(), retry=RetryPolicy(windows=((170.0, 170.0),)))
    other = world.tab(channel=DeafChannel())
    await world.expire()
    await world.fault("/api/auth/refresh", "status", status=503, times=1)
    held = asyncio.create_task(tab.session.fetch("/api/data/held"))
    await asyncio.sleep(5)
    await other.session.sign_in("ada", "lovelace")
    began = seconds_since_start()
    assert (await held).ok
    assert seconds_since_start() - began <= 31


async def test_the_network_coming_back_is_not_waited_for(world: World) -> None:
    """No network, a retry planned in 170 s: when the person and the network return, it is made at once."""
    tab = await world.signed_in_tab(retry=RetryPolicy(windows=((170.0, 170.0),)))
    async with tab.session:
        await asyncio.sleep(1801)
        tab.wire.cut = True
        held = asyncio.create_task(tab.session.fetch("/api/data"))
        await until(lambda: tab.session.snapshot().retry_in > 0)
        tab.wire.cut = False
        began = seconds_since_start()
        tab.person.come_back()
        assert (await held).ok
        assert seconds_since_start() - began < 1


async def test_a_forced_refresh_waits_no_longer_than_a_request(world: World) -> None:
    """With a dead token and a failing auth server session.refresh() gives up after max_wait; nobody is signed out."""
    tab = await world.signed_in_tab()
    await world.expire()
    await world.fault("/api/auth/refresh", "status", status=503)
    asked = asyncio.create_task(tab.session.fetch("/api/data"))
    await asyncio.sleep(0.5)
    began = seconds_since_start()
    with pytest.raises(RefreshUnavailableError):
        await tab.session.refresh()
    assert seconds_since_start() - began <= 301
    await outcomes(asked)
    assert tab.session.subject == "ada"


@pytest.mark.parametrize("seconds", [2_147_483_647.0, LONGEST_LIFETIME])
def test_a_lifetime_that_means_never_can_be_stored_and_read(seconds: float) -> None:
    """Every lifetime that is accepted from a server makes a record that can be loaded again."""
    tokens = Tokens(access_token="access", refresh_token="refresh", expires_in=seconds, refresh_expires_in=seconds)
    record = SessionRecord.signed_in(tokens, subject="ada", generation=1, now=START)
    assert SessionRecord.from_json(record.to_json()) == record


async def test_entering_a_session_twice_is_refused(world: World) -> None:
    """One loop of heartbeats for one session."""
    tab = await world.signed_in_tab()
    async with tab.session:
        with pytest.raises(FreshfetchError):
            await tab.session.__aenter__()


async def test_one_failed_heartbeat_is_one_failure(world: World) -> None:
    """The first window of the retry policy follows the first lost heartbeat."""
    retry = RetryPolicy(windows=((1.0, 1.0), (100.0, 100.0)))
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(), retry=retry)
    tab.wire.cut = True
    async with tab.session:
        await until(lambda: tab.seen(HeartbeatFailed))
        assert (tab.session.snapshot().next_heartbeat_in or 0) <= 1


async def test_a_port_that_is_cancelled_by_somebody_else_breaks_one_refresh_only(world: World) -> None:
    """A transport lets go of a CancelledError that nobody here asked for: who waits is told, the next request works."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await world.control("settings", grace=60)
    tab = await world.signed_in_tab()

    async def cancel(request: Request) -> None:
        if request.path == "/api/auth/refresh":
            raise asyncio.CancelledError

    tab.wire.before_answer = cancel
    await world.expire()
    (found,) = await outcomes(tab.session.fetch("/api/data"))
    assert isinstance(found, RefreshUnavailableError)
    assert seconds_since_start() < 1
    assert [type(context["exception"]) for context in told] == [asyncio.CancelledError]
    tab.wire.before_answer = None
    assert (await tab.session.fetch("/api/data")).ok
    await tab.session.refresh()
    assert tab.session.state is State.SIGNED_IN


@pytest.mark.parametrize("problem", [KeyError, asyncio.CancelledError])
async def test_what_raises_during_a_heartbeat_does_not_end_it(world: World, problem: type[BaseException]) -> None:
    """A predicate of the page's raises once: it is reported, and the next heartbeats come as before."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    raising = [problem]

    def is_expired(response: Response) -> bool:
        if raising:
            raise raising.pop()
        return is_expired_token(response)

    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(interval=10.0, jitter=0.0), is_expired_token=is_expired)
    async with tab.session:
        await asyncio.sleep(100)
    assert [event.error for event in tab.seen(HeartbeatFailed)] == [problem.__name__]
    assert [type(context["exception"]) for context in told] == [problem]
    assert len(world.journal("/api/heartbeat")) >= 8


async def test_a_rejected_client_is_told_by_a_new_error_each_time(world: World) -> None:
    """An error that is raised over and over would keep what each of its catchers was doing, tokens and all."""
    tab = await world.signed_in_tab()
    await world.fault("/api/auth/refresh", "status", status=400, body={"error": "invalid_client"})
    errors = [(await outcomes(tab.session.refresh()))[0] for _ in range(3)]
    assert [type(error) for error in errors] == [AuthServerError] * 3
    assert len({id(error) for error in errors}) == 3
    assert len({len(list(traceback.walk_tb(error.__traceback__))) for error in errors[1:]}) == 1
