"""Storage that refuses, is full, is cleared or holds rubbish: the session goes on with what it knows, and says so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshfetch import (
    SessionExpired,
    SessionExpiredError,
    SessionRecord,
    SignedOut,
    SignedOutError,
    State,
    StorageError,
    StorageFailed,
    Tokens,
)
from freshfetch.memory import MemoryTokenStore
from tests.world import START, World, outcomes, until

PATIENCE = 1000


class MoodyStore(MemoryTokenStore):
    """A store that can be told to refuse reads, writes, or both; as of a browser with its site data blocked or full."""

    def __init__(self, *, reads: bool = True, writes: bool = True) -> None:
        super().__init__()
        self.reads = reads
        self.writes = writes
        self.looks = 0

    def load(self) -> SessionRecord | None:
        """Return the record, or refuse."""
        if not self.reads:
            raise StorageError("This store refuses to be read.")
        return super().load()

    async def make_current(self) -> int:
        """Return the generation, or refuse."""
        self.looks += 1
        assert self.looks < PATIENCE, "the session asks the store for ever"
        if not self.reads:
            raise StorageError("This store refuses to be read.")
        return await super().make_current()

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record, or refuse."""
        if not self.writes:
            raise StorageError("This store is full.")
        return await super().commit(record, expected=expected)

    def put(self, text: str | None) -> None:
        """Write behind the session's back, as anybody with a console can."""
        self._text = text


async def test_a_page_whose_storage_is_refused_works_in_memory(world: World) -> None:
    """Reads and writes refused from the start: sign-in, requests, refreshes and sign-out work; it is told."""
    world.store = MoodyStore(reads=False, writes=False)
    tab = world.tab()
    await tab.session.sign_in("ada", "lovelace")
    for _ in range(3):
        await world.expire()
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 3
    assert tab.session.snapshot().storage_problem
    assert tab.seen(StorageFailed)
    await tab.session.sign_out()
    assert tab.session.state is State.SIGNED_OUT


async def test_storage_that_is_full_after_a_rotation_loses_no_token(world: World) -> None:
    """The rotated tokens cannot be saved: they are used from memory for five refreshes, and it is told once."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.writes = False
    for _ in range(5):
        await world.expire()
        assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 5
    assert len(tab.seen(StorageFailed)) == 1
    assert tab.session.state is State.SIGNED_IN


async def test_storage_that_has_room_again_is_used_again(world: World) -> None:
    """Full at one commit, well at the next: that refresh is stored, and no token is presented twice."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.writes = False
    await tab.session.refresh()
    store.writes = True
    await world.expire()
    assert (await tab.session.fetch("/api/data")).ok
    assert [entry.effects for entry in world.journal("/api/auth/refresh")] == [["refreshed"], ["refreshed"]]
    assert tab.session.state is State.SIGNED_IN
    assert tab.session.snapshot().storage_problem == ""
    stored = store.load()
    assert stored is not None
    assert stored.refresh_token in world.server.families.by_id[1].refresh_token


async def test_signing_out_after_storage_was_full_once_comes_to_an_end(world: World) -> None:
    """Full at one commit, well again, then sign_out: it returns, and the record is gone."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.writes = False
    await tab.session.refresh()
    store.writes = True
    await tab.session.sign_out()
    assert store.load() is None
    assert tab.session.state is State.SIGNED_OUT


async def test_signing_in_after_storage_was_full_once_comes_to_an_end(world: World) -> None:
    """Full at one commit, well again, then a sign-in: it returns, and is stored."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.writes = False
    await tab.session.refresh()
    store.writes = True
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok
    assert store.load() is not None


async def test_signing_out_holds_in_this_tab_even_if_the_record_cannot_be_removed(world: World) -> None:
    """The store refuses the removal: this session stays signed out, and no further request carries the token."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.writes = False
    await tab.session.sign_out()
    assert tab.session.state is State.SIGNED_OUT
    world.start_journal()
    answer = await tab.session.fetch("/api/data")
    assert answer.status == 401
    assert [entry.user for entry in world.journal()] == [None]
    assert tab.session.state is State.SIGNED_OUT
    assert tab.session.snapshot().subject is None


async def test_a_session_that_expired_stays_expired_even_if_the_record_cannot_be_removed(world: World) -> None:
    """The store refuses the removal: one refresh request, one event, however many requests follow."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.writes = False
    await world.revoke()
    for _ in range(5):
        assert isinstance((await outcomes(tab.session.fetch("/api/data")))[0], SessionExpiredError)
    assert world.refreshes() == 1
    assert len(tab.seen(SessionExpired)) == 1
    assert tab.session.state is State.SIGN_IN_REQUIRED


async def test_storage_cleared_in_mid_session_is_a_sign_out(world: World) -> None:
    """Somebody clears the site's data: the next request is told, no token leaves, the page can sign in again."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    call = tab.session.fetch("/api/data")
    store.put(None)
    assert isinstance((await outcomes(call))[0], SignedOutError)
    await asyncio.sleep(1)
    assert len(tab.seen(SignedOut)) == 1
    assert tab.session.state is State.SIGNED_OUT
    assert world.journal() == []
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok


async def test_storage_cleared_during_a_refresh_is_a_sign_out(world: World) -> None:
    """Cleared while requests wait out an outage: they are told within the next attempt, none is sent."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503)
    waiting = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(3)]
    await asyncio.sleep(1)
    store.put(None)
    results = await outcomes(*waiting)
    assert [type(result) for result in results] == [SignedOutError] * 3
    assert world.journal("/api/data/0") == []


def a_record(**changes: Any) -> SessionRecord:
    """Return a valid record with some fields changed."""
    tokens = Tokens(access_token="abc", refresh_token="def", expires_in=60.0, refresh_expires_in=600.0)
    record = SessionRecord.signed_in(tokens, subject="ada", generation=1, now=START)
    fields = {**json.loads(record.to_json()), **changes}
    fields.pop("schema")
    return SessionRecord(**fields)


CORRUPTED: dict[str, str] = {
    "empty": "",
    "not JSON": "{",
    "null": "null",
    "list": "[]",
    "text": '"abc"',
    "deep": "[" * 100_000,
    "other schema": json.dumps({**json.loads(a_record().to_json()), "schema": 2}),
    "no schema": a_record().to_json().replace('"schema":1,', ""),
    "one field too many": a_record().to_json().replace("{", '{"extra":1,', 1),
    "one field too few": a_record().to_json().replace('"failures":0,', ""),
    "generation negative": a_record(generation=-1).to_json(),
    "generation huge": a_record(generation=2**60).to_json(),
    "generation text": a_record(generation="1").to_json(),
    "generation true": a_record(generation=True).to_json(),
    "access token null": a_record(access_token=None).to_json(),
    "access token with newline": a_record(access_token="a\r\nb").to_json(),
    "access token huge": a_record(access_token="a" * 100_000).to_json(),
    "refresh token list": a_record(refresh_token=[]).to_json(),
    "subject empty": a_record(subject="").to_json(),
    "subject number": a_record(subject=7).to_json(),
    "expiry NaN": a_record(expires_at=float("nan")).to_json(),
    "expiry infinite": a_record(expires_at=float("inf")).to_json(),
    "expiry text": a_record(expires_at="soon").to_json(),
    "expiry too large for a float": a_record(expires_at=10**400).to_json(),
    "obtained too large for a float": a_record(obtained_at=10**400).to_json(),
    "not before too large for a float": a_record(not_before=10**400).to_json(),
    "unanswered number": a_record(unanswered=1).to_json(),
    "refused number": a_record(refused=1).to_json(),
}


@pytest.mark.parametrize("name", CORRUPTED)
async def test_a_corrupted_record_is_nobody_signed_in(world: World, name: str) -> None:
    """Whatever rubbish is stored: the page boots, it is told, and signing in puts it right."""
    store = world.store = MoodyStore()
    store.put(CORRUPTED[name])
    tab = world.tab()
    assert tab.session.state is State.SIGNED_OUT
    assert tab.session.snapshot().storage_problem
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok
    assert tab.session.snapshot().storage_problem == ""


async def test_a_record_corrupted_in_mid_session_is_told_once(world: World) -> None:
    """Rubbish appears under the key: signed out a moment later, requests go without a token, one event says why."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.put("{rubbish")
    assert isinstance((await outcomes(tab.session.fetch("/api/data")))[0], SignedOutError)
    await until(lambda: tab.session.state is State.SIGNED_OUT)
    answers = [await tab.session.fetch("/api/data") for _ in range(3)]
    assert {answer.status for answer in answers} == {401}
    assert len(tab.seen(StorageFailed)) == 1
    assert tab.session.state is State.SIGNED_OUT


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted(json.loads(a_record().to_json()))


@given(text=st.text() | JSON_VALUES.map(json.dumps))
def test_reading_any_text_gives_a_record_or_a_storage_error(text: str) -> None:
    """from_json raises StorageError and nothing else."""
    with pytest.raises(StorageError):
        SessionRecord.from_json(text)


@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, min_size=1, max_size=4))
def test_reading_a_record_with_any_fields_changed_gives_a_record_or_a_storage_error(changes: dict[str, Any]) -> None:
    """Whatever a field holds, from_json raises StorageError or returns a record that can be written and read again."""
    text = json.dumps({**json.loads(a_record().to_json()), **changes})
    try:
        record = SessionRecord.from_json(text)
    except StorageError:
        return
    assert SessionRecord.from_json(record.to_json()) == record


INSTANTS = st.floats(0, 3e9)
TOKENS = st.text("abcdefXYZ0189-._~+/", min_size=1, max_size=60)
RECORDS = st.builds(
    SessionRecord,
    generation=st.integers(0, 2**53 - 1),
    session_id=st.text(min_size=1, max_size=40),
    subject=st.text(min_size=1, max_size=40),
    access_token=TOKENS,
    refresh_token=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60),
    obtained_at=INSTANTS,
    expires_at=st.none() | INSTANTS,
    refresh_expires_at=st.none() | INSTANTS,
    not_before=INSTANTS,
    failures=st.integers(0, 1000),
    unanswered=st.booleans(),
    refused=st.none() | st.text(max_size=40),
)


@given(record=RECORDS)
def test_what_is_written_is_read_back_the_same(record: SessionRecord) -> None:
    """Every valid record survives to_json and from_json."""
    assert SessionRecord.from_json(record.to_json()) == record
