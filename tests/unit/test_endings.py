"""How sessions, refreshes and waits end when something else happens in that very moment."""

from __future__ import annotations

import asyncio

from freshfetch import (
    Hint,
    RefreshFailed,
    RefreshStarted,
    SessionClosedError,
    SessionExpired,
    SessionRecord,
    SignedOut,
    State,
)
from freshfetch.memory import MemoryTokenStore
from tests.unit.test_heartbeat import HEARTBEAT, beating_tab, beats
from tests.unit.test_storage import MoodyStore
from tests.world import World, outcomes, seconds_since_start, until


class SlowStore(MemoryTokenStore):
    """A store whose commits can take their time, before they are made or after; it keeps whose records they were."""

    before = 0.0
    after = 0.0

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record, slowly."""
        before, after = self.before, self.after
        await asyncio.sleep(before)
        written = await super().commit(record, expected=expected)
        await asyncio.sleep(after)
        return written


async def test_an_end_is_told_though_a_request_is_made_while_it_is_stored(world: World) -> None:
    """The refresh token was given up, the access token ends: both tabs hear SessionExpired once."""
    store = world.store = SlowStore()
    await world.control("settings", accessLifetime=60)
    tab, other = await world.signed_in_tab(), world.tab()
    async with tab.session, other.session:
        await asyncio.sleep(55)
        await world.control("revoke", accessTokens=False)
        await tab.session.fetch("/api/data")
        await asyncio.sleep(8)
        store.after = 0.05
        first = asyncio.create_task(tab.session.fetch("/api/data"))
        await until(lambda: world.store.load() is None)
        await outcomes(first, tab.session.fetch("/api/data"))
        await asyncio.sleep(5)
        assert [len(each.seen(SessionExpired)) for each in (tab, other)] == [1, 1]


async def test_a_heartbeat_that_was_told_to_wait_is_not_sent_because_somebody_looks(world: World) -> None:
    """503 with a Retry-After of five minutes, and a person who comes back every six seconds: one beat."""
    tab = await beating_tab(world)
    await world.fault(HEARTBEAT, "status", status=503, headers={"Retry-After": "300"})
    await until(lambda: beats(world))
    for _ in range(20):
        await asyncio.sleep(6)
        tab.person.come_back()
    await asyncio.sleep(1)
    assert len(beats(world)) == 1


async def test_a_session_that_ended_elsewhere_is_not_stored_by_the_next_sign_in(world: World) -> None:
    """Its tokens could not be saved, then it was signed out: when there is room again, grace's record is the first."""
    saved: list[str | None] = []

    class Noting(MoodyStore):
        async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
            written = await super().commit(record, expected=expected)
            saved.append(None if record is None else record.subject)
            return written

    store = world.store = Noting(writes=False)
    tab = await world.signed_in_tab()
    async with tab.session:
        world.channel.publish(Hint("signed_out"))
        await asyncio.sleep(1)
        assert tab.session.state is State.SIGNED_OUT
        store.writes = True
        await tab.session.sign_in("grace", "hopper")
    assert saved == ["grace"]


class BuggyStore(MemoryTokenStore):
    """Somebody's own store, with a bug that comes and goes."""

    broken = False

    def load(self) -> SessionRecord | None:
        """Return the record, or raise what no store may raise."""
        if self.broken:
            raise KeyError("a bug")
        return super().load()


async def test_a_bug_in_a_store_during_a_refresh_does_not_close_the_queue_for_good(world: World) -> None:
    """Once the store works again, so do requests."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    store = world.store = BuggyStore()
    tab = await world.signed_in_tab()
    await world.expire()
    held = asyncio.create_task(tab.session.fetch("/api/data"))
    await until(lambda: tab.session.state is State.REFRESHING)
    store.broken = True
    await asyncio.sleep(1)
    store.broken = False
    began = seconds_since_start()
    results = await outcomes(tab.session.fetch("/api/data"), held)
    assert results[0].ok
    assert seconds_since_start() - began < 30


async def test_a_refresh_that_breaks_down_is_told_to_have_failed(world: World) -> None:
    """A transport raises what it should not: each RefreshStarted has its RefreshFailed."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    tab = await world.signed_in_tab()
    await world.expire()

    async def broken(request: object) -> None:
        del request
        raise KeyError("a bug")

    tab.wire.before_answer = broken
    await outcomes(tab.session.refresh())
    await asyncio.sleep(0)
    assert len(tab.seen(RefreshStarted)) == len(tab.seen(RefreshFailed)) == 1


async def test_a_sign_out_elsewhere_while_an_end_is_stored_leaves_nobody_untold(world: World) -> None:
    """This tab's commit comes too late: it still says why the session is over."""
    store = world.store = SlowStore()
    tab, other = await world.signed_in_tab(), world.tab()
    async with tab.session, other.session:
        await world.revoke()
        asked = asyncio.create_task(tab.session.fetch("/api/data"))
        await until(lambda: tab.seen(RefreshStarted))
        await asyncio.sleep(0.005)
        store.before = 0.5
        await until(lambda: tab.session._refresher._phase.name == "SETTLING")
        store.before = 0.0
        await other.session.sign_out()
        await outcomes(asked)
        await asyncio.sleep(5)
        told: list[SignedOut | SessionExpired] = [*tab.seen(SignedOut), *tab.seen(SessionExpired)]
        assert told


async def test_a_closed_session_tells_nothing_any_more(world: World) -> None:
    """A fetch on it is refused, and what other tabs do meanwhile is not announced."""
    tab, other = await world.signed_in_tab(), world.tab()
    await tab.session.close()
    await asyncio.sleep(0)
    tab.events.clear()
    await other.session.sign_out()
    [result] = await outcomes(tab.session.fetch("/api/data"))
    await asyncio.sleep(1)
    assert isinstance(result, SessionClosedError)
    assert tab.events == []
