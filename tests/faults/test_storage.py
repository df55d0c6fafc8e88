"""Storage (33 to 36) that is cleared, corrupted, full or refused: the page boots, says so, and loses what it must."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import pytest

from freshfetch import (
    FreshfetchError,
    Hint,
    RefreshSucceeded,
    SessionExpired,
    SessionExpiredError,
    SessionRecord,
    SignedIn,
    SignedOut,
    SignedOutError,
    State,
    StorageError,
    StorageFailed,
)
from freshfetch.memory import MemoryTokenStore
from tests.faults.watched import REFRESH, WatchedTab, WatchedWorld
from tests.world import eager_retry, outcomes, until

PATIENCE = 1000


class WebStorage(MemoryTokenStore):
    """A storage as browsers have it: its reads or writes can be refused, and any script can change what it holds."""

    def __init__(self, world: WatchedWorld, *, reads: bool = True, writes: bool = True) -> None:
        super().__init__()
        self.world = world
        self.reads = reads
        self.writes = writes
        self.looks = 0

    def load(self) -> SessionRecord | None:
        """Return the record, or refuse."""
        if not self.reads:
            raise StorageError("This storage refuses to be read.")
        return super().load()

    async def make_current(self) -> int:
        """Return the generation, or refuse."""
        self.looks += 1
        assert self.looks < PATIENCE, "the session asks the storage for ever"
        if not self.reads:
            raise StorageError("This storage refuses to be read.")
        return await super().make_current()

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record, or refuse."""
        if not self.writes:
            raise StorageError("This storage is full.")
        return await super().commit(record, expected=expected)

    def put(self, text: str | None) -> None:
        """Write behind the session's back, as anybody with a console can."""
        self.world.act("storage")
        self._text = text


def with_storage(world: WatchedWorld, **settings: bool) -> WebStorage:
    """Give the world a storage that can be tampered with."""
    storage = world.store = WebStorage(world, **settings)
    return storage


async def signed_in(world: WatchedWorld) -> tuple[WatchedTab, WebStorage]:
    """Return a tab of ada's, and its storage."""
    storage = with_storage(world)
    return await world.signed_in_tab(), storage


# -- 33: cleared --


@pytest.mark.parametrize("moment", ["idle", "asked", "refreshing", "waiting out an outage"])
async def test_33_storage_cleared_in_mid_session_is_a_sign_out(world: WatchedWorld, moment: str) -> None:
    """Whenever the site's data is cleared: told once, nothing leaves, what was asked can be sent after a sign-in."""
    storage = with_storage(world)
    tab = await world.signed_in_tab(retry=eager_retry(windows=((170.0, 170.0),)))
    async with tab.session:
        calls: list[Any] = []
        if moment == "asked":
            calls = [tab.session.fetch("/api/data/0")]
        elif moment != "idle":
            await asyncio.sleep(1801)
            await world.fault(REFRESH, *(["delay"] if moment == "refreshing" else ["status"]), **OUTAGES[moment])
            calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(3)]
            await asyncio.sleep(1)
        storage.put(None)
        if moment != "waiting out an outage":  # who waits looks by itself
            tab.person.come_back()
        results = await asyncio.wait_for(outcomes(*calls), 31)
        await asyncio.sleep(1)
        assert {type(result) for result in results} <= {SignedOutError}
        assert tab.session.state is State.SIGNED_OUT
        assert len(tab.seen(SignedOut)) == 1
        assert tab.seen(RefreshSucceeded) == []
        assert [entry for entry in world.journal() if entry.path.startswith("/api/data")] == []
        world.heal()
        await tab.session.sign_in("ada", "lovelace")
        assert (await tab.session.fetch("/api/data")).ok
        for result in results:
            assert (await tab.session.resend(result.request)).ok


OUTAGES: dict[str, dict[str, Any]] = {"refreshing": {"delay": 3}, "waiting out an outage": {"status": 503}}


# -- 34: corrupted --


TEXTS = ["", "{", "null", "[]", "7", '"text"', "{}", '{"schema":1}', "[" * 1000, "\x00", "\ud800", "<b>"]
VALUES: list[Any] = [None, True, -1, 2**60, 1.5, float("nan"), float("inf"), 10**400, "", "a\r\nb", "<b>", [], {}]


def whole(**changes: Any) -> str:
    """Return the text of a record that was whole, but for the changes."""
    record = SessionRecord(
        generation=1, session_id="s", subject="ada", access_token="abc", refresh_token="def", obtained_at=1.0
    )
    return json.dumps({"schema": 1, **asdict(record), **changes})


def corrupted() -> list[str]:
    """Return texts that are no record: no JSON, other JSON, and records with one field of them wrong or missing."""
    fields = json.loads(whole())
    wrong = [whole(**{name: value}) for name in fields for value in VALUES]
    missing = [json.dumps({name: fields[name] for name in fields if name != gone}) for gone in fields]
    return [text for text in (*TEXTS, *wrong, *missing, whole(extra=1)) if not is_record(text)]


def is_record(text: str) -> bool:
    """Tell whether the library reads a record from this: then it is none of the corrupted ones."""
    try:
        SessionRecord.from_json(text)
    except StorageError:
        return False
    return True


async def test_34_storage_corrupted_in_any_way_is_nobody_signed_in(world: WatchedWorld) -> None:
    """Each field wrong in every way: the page boots, says it once in words that quote nothing, and asks nothing."""
    storage = with_storage(world)
    texts = corrupted()
    assert len(texts) > 100
    for text in texts:
        storage.put(text)
        tab = world.tab()
        async with tab.session:
            assert tab.session.state is State.SIGNED_OUT
            assert tab.session.snapshot().storage_problem
            assert (await tab.session.fetch("/api/data")).status == 401
            await asyncio.sleep(0)
        assert len(tab.seen(StorageFailed)) <= 1
        assert not any("abc" in event.problem or "<b>" in event.problem for event in tab.seen(StorageFailed))
    assert world.refreshes() == 0
    assert {request.path for tab in world.tabs for request in tab.wire.sent} == {"/api/data"}


@pytest.mark.parametrize("text", [*TEXTS, whole(access_token=None), whole(generation=-1), whole(expires_at="soon")])
async def test_34_a_sign_in_puts_corrupted_storage_right(world: WatchedWorld, text: str) -> None:
    """Whatever lay there: after signing in requests work, the trouble is over, and a second tab reads the record."""
    storage = with_storage(world)
    storage.put(text)
    tab = world.tab()
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok
    assert tab.session.snapshot().storage_problem == ""
    assert (await world.tab().session.fetch("/api/data")).ok


@pytest.mark.parametrize("moment", ["idle", "refreshing"])
async def test_34_a_record_corrupted_in_mid_session_is_told_and_harms_nobody(world: WatchedWorld, moment: str) -> None:
    """Rubbish under the key: requests are answered or refused by an error of ours; it is told; a sign-in mends it."""
    tab, storage = await signed_in(world)
    async with tab.session:
        calls = []
        if moment == "refreshing":
            await asyncio.sleep(1801)
            await world.fault(REFRESH, "delay", delay=3)
            calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(3)]
            await asyncio.sleep(1)
        storage.put("{rubbish")
        results = await asyncio.wait_for(outcomes(*calls, tab.session.fetch("/api/data")), 60)
        assert all(isinstance(result, FreshfetchError) or result.ok for result in results)
        await asyncio.sleep(1)
        assert 1 <= len(tab.seen(StorageFailed)) <= 2
        assert tab.seen(SessionExpired) == []
        await tab.session.sign_in("ada", "lovelace")
        assert (await tab.session.fetch("/api/data")).ok
        assert tab.session.snapshot().storage_problem == ""


# -- 35: full --


async def test_35_storage_that_is_full_after_a_rotation_loses_no_token(world: WatchedWorld) -> None:
    """The rotated tokens cannot be saved: they are used from memory for five refreshes, and it is told once."""
    tab, storage = await signed_in(world)
    storage.writes = False
    for _ in range(5):
        await world.expire()
        answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(10)))
        assert all(answer.ok for answer in answers)
    assert [entry.effects for entry in world.journal(REFRESH)] == [["refreshed"]] * 5
    assert len(tab.seen(StorageFailed)) == 1
    assert tab.session.snapshot().storage_problem
    assert tab.session.state is State.SIGNED_IN


async def test_35_storage_that_has_room_again_is_used_again(world: WatchedWorld) -> None:
    """Full at one commit, well at the next: that one is stored, no token is presented twice, the trouble is over."""
    tab, storage = await signed_in(world)
    storage.writes = False
    await tab.session.refresh()
    storage.writes = True
    await world.expire()
    assert (await tab.session.fetch("/api/data")).ok
    assert [entry.effects for entry in world.journal(REFRESH)] == [["refreshed"], ["refreshed"]]
    assert tab.session.state is State.SIGNED_IN
    assert tab.session.snapshot().storage_problem == ""
    assert world.record().refresh_token in world.server.families.by_id[1].refresh_token


@pytest.mark.parametrize("what", ["sign_out", "sign_in"])
async def test_35_signing_in_and_out_after_storage_was_full_once_come_to_an_end(world: WatchedWorld, what: str) -> None:
    """Full at one commit, well again, then a sign-out or a sign-in: it returns, and what it says is stored."""
    tab, storage = await signed_in(world)
    storage.writes = False
    await tab.session.refresh()
    storage.writes = True
    if what == "sign_out":
        await tab.session.sign_out()
        assert storage.load() is None
        assert tab.session.state is State.SIGNED_OUT
    else:
        await tab.session.sign_in("ada", "lovelace")
        assert (await tab.session.fetch("/api/data")).ok
        assert storage.load() is not None


async def test_35_signing_out_holds_in_this_tab_even_if_the_record_cannot_be_removed(world: WatchedWorld) -> None:
    """The storage refuses the removal: this session stays signed out, and no further request carries the token."""
    tab, storage = await signed_in(world)
    storage.writes = False
    await tab.session.sign_out()
    assert tab.session.state is State.SIGNED_OUT
    world.start_journal()
    assert (await tab.session.fetch("/api/data")).status == 401
    assert [entry.user for entry in world.journal()] == [None]
    assert tab.session.state is State.SIGNED_OUT
    assert tab.session.snapshot().subject is None


async def test_35_a_session_that_expired_stays_expired_even_if_the_record_cannot_be_removed(
    world: WatchedWorld,
) -> None:
    """The storage refuses the removal: one refresh request, one event, however many requests follow."""
    tab, storage = await signed_in(world)
    storage.writes = False
    await world.revoke()
    for _ in range(5):
        assert isinstance((await outcomes(tab.session.fetch("/api/data")))[0], SessionExpiredError)
    assert world.refreshes() == 1
    assert len(tab.seen(SessionExpired)) == 1
    assert tab.session.state is State.SIGN_IN_REQUIRED


async def test_35_what_cannot_be_saved_gives_way_to_another_person(world: WatchedWorld) -> None:
    """Ada's tab could not save once; grace signs in elsewhere: ada's next refresh does not write over her."""
    tab, storage = await signed_in(world)
    other = world.tab()
    storage.writes = False
    await tab.session.refresh()
    storage.writes = True
    await other.session.sign_in("grace", "hopper")
    await outcomes(tab.session.refresh())
    assert world.record().subject == "grace"
    assert tab.session.subject == "grace"


async def test_35_what_cannot_be_saved_does_not_outlive_a_sign_out_elsewhere(world: WatchedWorld) -> None:
    """This tab could not save once and hears nothing; signed out in another, its refresh presents no token any more."""
    tab, storage = await signed_in(world)
    other = world.tab()
    storage.writes = False
    await tab.session.refresh()
    storage.writes = True
    await other.session.sign_out()
    refreshes = world.refreshes()
    assert isinstance((await outcomes(tab.session.refresh()))[0], SignedOutError)
    assert world.refreshes() == refreshes
    assert storage.load() is None


@pytest.mark.parametrize("kind", ["signed_out", "expired"])
async def test_35_a_false_word_does_not_make_a_tab_forget_what_it_could_not_save(
    world: WatchedWorld, kind: str
) -> None:
    """Rotated while storage was full; a forged hint says all is over: no older token is presented, nobody leaves."""
    tab, storage = await signed_in(world)
    await tab.session.__aenter__()
    storage.writes = False
    await tab.session.refresh()
    world.channel.publish(Hint(kind, "forged"))
    await asyncio.sleep(1)
    await tab.session.refresh()
    assert [entry.effects for entry in world.journal(REFRESH)] == [["refreshed"], ["refreshed"]]
    assert tab.session.state is State.SIGNED_IN


async def test_35_an_end_that_could_not_be_saved_is_not_undone_by_another_tabs_word_of_it(world: WatchedWorld) -> None:
    """Expired while storage was full: the old record is still there, and this tab does not go back to it."""
    tab, storage = await signed_in(world)
    await tab.session.__aenter__()
    storage.writes = False
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    signed_in_so_far = len(tab.seen(SignedIn))
    world.channel.publish(Hint("expired", "invalid_grant"))
    await asyncio.sleep(1)
    assert tab.session.state is State.SIGN_IN_REQUIRED
    assert len(tab.seen(SignedIn)) == signed_in_so_far


# -- 36: disabled --


async def test_36_a_page_whose_storage_is_refused_works_in_memory(world: WatchedWorld) -> None:
    """Reads and writes refused from the start: it boots and says so once; all works, and nothing outlives the page."""
    with_storage(world, reads=False, writes=False)
    tab = world.tab()
    async with tab.session:
        assert tab.session.subject is None
        await tab.session.sign_in("ada", "lovelace")
        for _ in range(3):
            await world.expire()
            assert (await tab.session.fetch("/api/data")).ok
        assert world.refreshes() == 3
        assert tab.session.snapshot().storage_problem
        assert tab.seen(StorageFailed)
        assert tab.session.subject == "ada"
        await tab.session.sign_out()
        assert tab.session.state is State.SIGNED_OUT
        assert (await tab.session.fetch("/api/data")).status == 401
    assert world.tab().session.state is State.SIGNED_OUT


async def test_36_storage_refused_in_mid_session_loses_nothing_that_is_known(world: WatchedWorld) -> None:
    """The person blocks site data while the page is open: what this tab renewed then serves it until it closes."""
    tab, storage = await signed_in(world)
    storage.writes = False
    await tab.session.refresh()
    storage.reads = False
    for _ in range(3):
        await world.expire()
        assert (await tab.session.fetch("/api/data")).ok
    assert tab.session.state is State.SIGNED_IN
    assert tab.seen(SignedOut) == []
    await until(lambda: tab.seen(StorageFailed))


async def test_36_where_storage_is_refused_another_tabs_expiry_is_not_ones_own(world: WatchedWorld) -> None:
    """Each tab has a session of its own then: one that expires asks nobody else to sign in; a sign-out is for all."""
    with_storage(world, reads=False, writes=False)
    first, second = world.tab(), world.tab()
    async with first.session, second.session:
        await first.session.sign_in("ada", "lovelace")
        await second.session.sign_in("ada", "lovelace")
        world.channel.publish(Hint("expired", "invalid_grant"))
        await asyncio.sleep(1)
        assert second.session.subject == "ada"
        assert (await second.session.fetch("/api/data")).ok
        await first.session.sign_out()
        await asyncio.sleep(1)
        assert second.session.state is State.SIGNED_OUT


async def test_36_a_storage_that_cannot_say_how_current_it_is_loses_no_tokens(world: WatchedWorld) -> None:
    """Requests go on with one refresh, and its tokens are kept, though the storage would not make itself current."""
    tab, storage = await signed_in(world)

    async def refuse() -> int:
        raise StorageError("not now")

    storage.make_current = refuse  # type: ignore[method-assign]
    await world.expire()
    assert (await tab.session.fetch("/api/data", timeout=60)).ok
    assert world.refreshes() == 1


async def test_36_a_storage_that_refuses_every_commit_is_an_error_and_no_endless_loop(world: WatchedWorld) -> None:
    """Somebody else is always quicker: signing in ends with a StorageError after so many tries."""
    storage = with_storage(world)

    async def lose(record: SessionRecord | None, *, expected: int) -> bool:
        del record, expected
        return False

    storage.commit = lose  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await world.tab().session.sign_in("ada", "lovelace")
