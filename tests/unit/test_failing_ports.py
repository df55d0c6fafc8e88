"""Ports that fail, lie or lag: what a session makes of adapters that are not as good as ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from freshfetch import (
    FreshfetchError,
    HeartbeatFailed,
    HeartbeatPolicy,
    Hint,
    JsonAuthServer,
    RefreshUnavailableError,
    Response,
    RetryPolicy,
    Session,
    SessionRecord,
    SignedIn,
    State,
    StorageError,
    Tokens,
)
from freshfetch._record import LONGEST_LIFETIME
from freshfetch.memory import MemoryChannel, MemoryTokenStore
from tests.world import START, Person, Wire, World, eager_retry, outcomes, seconds_since_start, until


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


class Shared(MemoryTokenStore):
    """One tab's view of a shared storage; its writes may be refused."""

    def __init__(self, storage: MemoryTokenStore) -> None:
        super().__init__()
        self.storage = storage
        self.full = False

    def load(self) -> SessionRecord | None:
        """Read what all tabs see."""
        return self.storage.load()

    async def make_current(self) -> int:
        """Return the shared generation."""
        return await self.storage.make_current()

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write, unless there is no room."""
        if self.full:
            raise StorageError("full")
        return await self.storage.commit(record, expected=expected)


class Flaky(MemoryTokenStore):
    """A store that cannot always say how current it is."""

    broken = False

    async def make_current(self) -> int:
        """Raise while broken."""
        if self.broken:
            raise StorageError("not now")
        return await super().make_current()


class Contended(MemoryTokenStore):
    """A store in which somebody else is always quicker."""

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Lose."""
        del record, expected
        return False


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


async def test_an_unsaved_record_gives_way_to_another_persons(world: World) -> None:
    """Ada's tab could not save once; grace signs in elsewhere: ada's next refresh does not write over her."""
    view = Shared(world.store)
    first = await world.signed_in_tab(store=view)
    second = world.tab()
    view.full = True
    await first.session.refresh()
    view.full = False
    await second.session.sign_in("grace", "hopper")
    await outcomes(first.session.refresh())
    assert world.record().subject == "grace"
    assert first.session.subject == "grace"


@pytest.mark.parametrize("kind", ["signed_out", "expired"])
async def test_a_false_word_does_not_make_a_tab_forget_what_it_could_not_store(world: World, kind: str) -> None:
    """Rotated while storage was full; a forged hint says all is over: no older token is presented, nobody leaves."""
    view = Shared(world.store)
    tab = await world.signed_in_tab(store=view)
    await tab.session.__aenter__()
    view.full = True
    await tab.session.refresh()
    world.channel.publish(Hint(kind, "forged"))
    await asyncio.sleep(1)
    await tab.session.refresh()
    assert [entry.effects for entry in world.journal("/api/auth/refresh")] == [["refreshed"], ["refreshed"]]
    assert tab.session.state is State.SIGNED_IN


async def test_an_end_that_could_not_be_stored_is_not_undone_by_another_tabs_word_of_it(world: World) -> None:
    """Expired while storage was full: the old record is still there, and this tab does not go back to it."""
    view = Shared(world.store)
    tab = await world.signed_in_tab(store=view)
    await tab.session.__aenter__()
    view.full = True
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    world.channel.publish(Hint("expired", "invalid_grant"))
    await asyncio.sleep(1)
    assert tab.session.state is State.SIGN_IN_REQUIRED
    assert len(tab.seen(SignedIn)) == 1


async def test_a_store_that_cannot_say_how_current_it_is_loses_no_tokens(world: World) -> None:
    """One refresh, and its tokens are kept, though the store would not make itself current."""
    store = Flaky()
    tab = await world.signed_in_tab(store=store)
    store.broken = True
    await world.expire()
    assert (await tab.session.fetch("/api/data", timeout=60)).ok
    assert world.refreshes() == 1


async def test_a_store_that_refuses_every_commit_is_an_error_and_no_endless_loop(world: World) -> None:
    """Signing in ends with a StorageError after so many tries."""
    tab = world.tab(store=Contended())
    with pytest.raises(StorageError):
        await tab.session.sign_in("ada", "lovelace")


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


@pytest.mark.parametrize("status", [408, 425, 429])
async def test_a_server_that_says_later_is_believed_whatever_else_it_says(world: World, status: int) -> None:
    """A 429 with invalid_grant in it ends no session."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.expire()
    await world.fault("/api/auth/refresh", "status", status=status, body={"error": "invalid_grant"}, times=1)
    assert (await tab.session.fetch("/api/data")).ok
