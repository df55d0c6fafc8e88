"""Storage that refuses, is full, is cleared or holds rubbish: the session goes on with what it knows, and says so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshfetch import (
    SessionRecord,
    SignedOutError,
    State,
    StorageError,
    StorageFailed,
    Tokens,
)
from freshfetch.memory import MemoryTokenStore
from tests.world import START, World, eager_retry, outcomes, until

PATIENCE = 1000


class MoodyStore(MemoryTokenStore):
    """A store that can be told to refuse reads, writes, or both; as of a browser with its site data blocked or full."""

    def __init__(self, *, reads: bool = True, writes: bool = True) -> None:
        super().__init__()
        self.reads = reads
        self.writes = writes
        self.refusals = 0
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
        self.refusals -= 1
        if not self.writes or self.refusals >= 0:
            raise StorageError("This store is full.")
        return await super().commit(record, expected=expected)

    @property
    def text(self) -> str | None:
        """What lies under the key, readable or not."""
        return self._text

    def put(self, text: str | None) -> None:
        """Write behind the session's back, as anybody with a console can."""
        self._text = text


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
    "refused with markup": a_record(refused="<img src=x>").to_json(),
    "refused endless": a_record(refused="a" * 65).to_json(),
    "generation at the end of counting": a_record(generation=2**53 - 1).to_json(),
    "failures at the end of counting": a_record(failures=2**53 - 1).to_json(),
    "subject half a character": a_record(subject="\ud800").to_json(),
    "subject endless": a_record(subject="a" * 257).to_json(),
    "nested without end": "[" * 100_000,
    "nested in a field": a_record().to_json().replace('"ada"', "[" * 10_000 + "]" * 10_000),
    "five million characters": '"' + "a" * 5_000_000 + '"',
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


async def test_a_record_corrupted_in_mid_session_costs_nothing(world: World) -> None:
    """Rubbish appears under the key: the session goes on with what it knew, says so once, and repairs it."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    store.put("{rubbish")
    answers = [await tab.session.fetch("/api/data") for _ in range(3)]
    assert {answer.status for answer in answers} == {200}
    assert len(tab.seen(StorageFailed)) == 1
    await tab.session.refresh()
    assert world.record().subject == "ada"
    assert tab.session.snapshot().storage_problem == ""


async def test_a_sign_out_elsewhere_holds_though_the_record_is_corrupted(world: World) -> None:
    """What a tab remembers while the record cannot be read is gone with the other tab's word."""
    store = world.store = MoodyStore()
    first, second = await world.signed_in_tab(), world.tab()
    async with second.session:
        store.put("{rubbish")
        assert (await second.session.fetch("/api/data")).ok
        store.looks = 0
        await first.session.sign_out()
        store.put("{rubbish")
        await until(lambda: second.session.state is State.SIGNED_OUT)
        assert (await second.session.fetch("/api/data")).status == 401
        store.put(None)


async def test_the_record_of_another_version_is_left_alone(world: World) -> None:
    """A newer page in another tab takes over the key: this one is told to reload, spends no token and mends nothing."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    newer = json.dumps({"schema": 2, "anything": ["else"]})
    store.put(newer)
    assert isinstance((await outcomes(tab.session.fetch("/api/data")))[0], SignedOutError)
    await until(lambda: tab.session.state is State.SIGNED_OUT)
    assert (await tab.session.fetch("/api/data")).status == 401
    assert isinstance((await outcomes(tab.session.refresh()))[0], SignedOutError)
    assert "reload" in tab.session.snapshot().storage_problem
    assert store.text == newer
    assert world.refreshes() == 0
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
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)
TOKENS = st.text("abcdefXYZ0189-._~+/", min_size=1, max_size=60)
RECORDS = st.builds(
    SessionRecord,
    generation=st.integers(0, 2**52),
    session_id=PRINTABLE,
    subject=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    access_token=TOKENS,
    refresh_token=st.none() | PRINTABLE,
    obtained_at=INSTANTS,
    expires_at=st.none() | INSTANTS,
    refresh_expires_at=st.none() | INSTANTS,
    not_before=INSTANTS,
    failures=st.integers(0, 1000),
    unanswered=st.booleans(),
    refused=st.none() | st.text("abc_DEF:/.-019", min_size=1, max_size=64),
)


@given(record=RECORDS)
def test_what_is_written_is_read_back_the_same(record: SessionRecord) -> None:
    """Every valid record survives to_json and from_json."""
    assert SessionRecord.from_json(record.to_json()) == record


async def test_tokens_that_could_not_be_stored_are_a_new_generation_when_they_are(world: World) -> None:
    """Rotated while the store was full, then put off by a 503: stored with it, so that an older answer is void."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab(retry=eager_retry())
    before = await store.make_current()
    store.writes = False
    await tab.session.refresh()
    store.writes = True
    await world.fault("/api/auth/refresh", "status", status=503, times=1)
    refreshing = asyncio.create_task(tab.session.refresh())
    await until(lambda: store.load() is not None and world.record().failures == 1)
    assert await store.make_current() == before + 1
    await outcomes(refreshing)


async def test_they_are_one_too_when_the_store_refuses_once_more_and_then_takes_them(world: World) -> None:
    """Refused at the first look, taken with the word that the token is on its way: a generation more, and none lost."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab()
    before = await store.make_current()
    store.writes = False
    await tab.session.refresh()
    store.refusals, store.writes = 1, True
    await world.fault("/api/auth/refresh", "delay", delay=1, times=1)
    refreshing = asyncio.create_task(tab.session.refresh())
    await asyncio.sleep(0.5)
    assert await store.make_current() == before + 1
    await refreshing
    assert await store.make_current() == before + 2
    assert [entry.effects for entry in world.journal("/api/auth/refresh")] == [["refreshed"], ["refreshed"]]


async def test_they_are_one_too_when_the_store_has_room_only_while_the_server_is_asked(world: World) -> None:
    """Full when the refresh begins, with room when it is put off: what is stored then is a generation of its own."""
    store = world.store = MoodyStore()
    tab = await world.signed_in_tab(retry=eager_retry())
    before = await store.make_current()
    store.writes = False
    await tab.session.refresh()
    await world.fault("/api/auth/refresh", "status", status=503, delay=1, times=1)
    refreshing = asyncio.create_task(tab.session.refresh())
    await asyncio.sleep(0.5)
    store.writes = True
    await outcomes(refreshing)
    assert await store.make_current() == before + 1
    assert world.record().failures == 1
    await world.expire()
    assert (await tab.session.fetch("/api/data")).ok
    assert await store.make_current() == before + 2
