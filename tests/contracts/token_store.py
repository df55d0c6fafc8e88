"""The contract of TokenStore. ``make`` returns a new view of the same storage each time it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from freshfetch import SessionRecord, Tokens, TokenStore

Maker = Callable[[], TokenStore]


def a_record(generation: int, access_token: str = "access") -> SessionRecord:
    """Make a record such as a sign-in leaves."""
    tokens = Tokens(access_token=access_token, refresh_token="refresh", expires_in=60.0)
    return SessionRecord.signed_in(tokens, subject="ada", generation=generation, now=1_800_000_000.0)


async def check_it_starts_empty(make: Maker) -> None:
    """Nobody is signed in at first."""
    assert make().load() is None


async def check_a_commit_is_loaded_by_every_view(make: Maker) -> None:
    """What one view committed, another loads, whole."""
    first, second = make(), make()
    record = a_record(await first.make_current() + 1)
    assert await first.commit(record, expected=record.generation - 1)
    assert await second.make_current() == record.generation
    assert second.load() == first.load() == record


async def check_a_commit_on_an_old_generation_changes_nothing(make: Maker) -> None:
    """A commit that expects what is no longer so is refused, and the newer record stays."""
    store = make()
    start = await store.make_current()
    newer = a_record(start + 1, "newer")
    assert await store.commit(newer, expected=start)
    assert not await store.commit(a_record(start + 1, "late"), expected=start)
    assert not await store.commit(None, expected=start)
    assert store.load() == newer


async def check_of_two_commits_on_one_generation_one_wins(make: Maker) -> None:
    """Compare and swap is one step: of two at once exactly one is written."""
    first, second = make(), make()
    start = await first.make_current()
    outcomes = await asyncio.gather(
        first.commit(a_record(start + 1, "one"), expected=start),
        second.commit(a_record(start + 1, "two"), expected=start),
    )
    assert sorted(outcomes) == [False, True]
    stored = first.load()
    assert stored is not None
    assert stored.access_token == ("one" if outcomes[0] else "two")


async def check_the_generation_outlives_the_record(make: Maker) -> None:
    """After a removal the generation goes on from where it was, so that a late commit finds itself late."""
    store = make()
    record = a_record(await store.make_current() + 1)
    assert await store.commit(record, expected=record.generation - 1)
    assert await store.commit(None, expected=record.generation)
    assert store.load() is None
    assert await make().make_current() == record.generation + 1
    assert not await store.commit(record, expected=record.generation)


async def check_a_record_can_be_rewritten_at_its_own_generation(make: Maker) -> None:
    """Notes on a record (when to retry) do not count as new tokens."""
    store = make()
    record = a_record(await store.make_current() + 1)
    assert await store.commit(record, expected=record.generation - 1)
    noted = record.postponed(until=1_800_000_100.0, unanswered=True)
    assert await store.commit(noted, expected=record.generation)
    assert store.load() == noted
    assert await store.make_current() == record.generation


async def check_what_is_loaded_cannot_be_changed_from_outside(make: Maker) -> None:
    """Records are values: changing a copy leaves the store as it was."""
    store = make()
    record = a_record(await store.make_current() + 1)
    assert await store.commit(record, expected=record.generation - 1)
    replace(record, subject="grace")
    stored = store.load()
    assert stored is not None
    assert stored.subject == "ada"


CHECKS = (
    check_it_starts_empty,
    check_a_commit_is_loaded_by_every_view,
    check_a_commit_on_an_old_generation_changes_nothing,
    check_of_two_commits_on_one_generation_one_wins,
    check_the_generation_outlives_the_record,
    check_a_record_can_be_rewritten_at_its_own_generation,
    check_what_is_loaded_cannot_be_changed_from_outside,
)
