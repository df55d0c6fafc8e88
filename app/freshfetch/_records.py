"""The record a session works with: what is stored or, where storage refuses, what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ._errors import StorageError
from ._events import StorageFailed

if TYPE_CHECKING:
    from ._events import Event
    from ._ports import Clock, TokenStore
    from ._record import SessionRecord


@dataclass(frozen=True, slots=True)
class _Unsaved:
    """What the store should hold and does not."""

    record: SessionRecord | None
    base: int
    """The store's generation when it refused. Once the store has moved on, its word counts again."""


class Records:
    """Reads and writes the session record, and says how long its access token still has."""

    def __init__(self, store: TokenStore, clock: Clock, announce: Callable[[Event], None]) -> None:
        self._store = store
        self._clock = clock
        self._announce = announce
        self._known: SessionRecord | None = None
        self._unsaved: _Unsaved | None = None
        self._farewell = False
        self._problem = ""
        self._timed: tuple[tuple[str, float] | None, float] = (None, 0.0)

    @property
    def problem(self) -> str:
        """What the store refuses, in words; empty while it does its work."""
        return self._problem

    def load(self) -> SessionRecord | None:
        """Return the record, None when nobody is signed in. Never raises."""
        stored = self._load_stored()
        unsaved = self._unsaved
        if stored is None and self._farewell:
            return None
        if unsaved is None or (stored is not None and stored.generation > unsaved.base):
            return stored
        return unsaved.record

    async def make_current(self) -> int:
        """Make ``load`` see what other tabs committed; return the generation to expect. For the lock's holder."""
        try:
            generation = await self._store.make_current()
        except StorageError as error:
            self._tell(error)
            stored = self._load_stored()
            generation = 0 if stored is None else stored.generation
        ended = self._farewell and self._load_stored() is None
        if self._unsaved is not None and (ended or generation > self._unsaved.base):
            self._unsaved = None
        return generation if self._unsaved is None else await self._save(self._unsaved.record, generation)

    async def _save(self, remembered: SessionRecord | None, generation: int) -> int:
        """Store what was refused, as a change of its own, before anything else is; return the generation then."""
        record = None if remembered is None else replace(remembered, generation=generation + 1)
        written = await self.commit(record, expected=generation)
        return generation + 1 if written and self._unsaved is None else generation

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record if nothing was committed since ``expected`` was read.

        What the store refuses is remembered instead: tokens that were just rotated exist nowhere else, and
        a session that was ended stays ended.
        """
        try:
            self._farewell = False
            written = await self._store.commit(record, expected=expected)
        except StorageError as error:
            self._tell(error)
            self._unsaved = _Unsaved(record, expected)
            return True
        if written:
            self._known = record
            self._unsaved = None
            self._problem = ""
            if record is not None:
                self.seconds_left(record)  # the monotonic clock counts from now on, whatever becomes of the other
        return written

    async def note(self, record: SessionRecord, *, expected: int) -> int | None:
        """Write down what does not change the tokens; return the store's generation then, None if it had moved on.

        The generation stays, so that an answer still under way to another tab finds its commit open; but tokens that
        the store has not got yet are a change to it, whatever they are here.
        """
        stored = self._load_stored()
        generation = expected if stored is not None and stored.access_token == record.access_token else expected + 1
        if not await self.commit(replace(record, generation=generation), expected=expected):
            return None
        return generation if self._unsaved is None else expected

    def forget(self, *, expired: bool) -> None:
        """Do not go by memory where the store has nothing: another tab says that the session was ended.

        While the store has a record its word counts as before: a hint may be false, and what is remembered
        may be tokens that exist nowhere else, or an end that the store has yet to hear of. While the store cannot
        be read each tab has a session of its own: a sign-out is meant for all of them, an expiry is one's own.
        """
        try:
            self._store.load()
        except Exception:  # noqa: BLE001 - a store may raise what it likes; ``load`` tells of it
            if expired:
                return
        self._known = None
        self._farewell = True

    def seconds_left(self, record: SessionRecord) -> float | None:
        """Return how long the access token still lives, by the more cautious of two clocks; None if unknown.

        The wall clock knows about sleep but can be set back; the loop's monotonic clock cannot be set but
        may stand still while the device sleeps.
        """
        if record.expires_at is None or record.lifetime is None:
            return None
        by_wall = min(record.expires_at - self._clock.now(), record.lifetime)
        monotonic = asyncio.get_running_loop().time()
        # A server may grant more time to the token that there is, in place of another token.
        grant = (record.access_token, record.expires_at)
        if self._timed[0] != grant:
            self._timed = (grant, monotonic + by_wall)
        return min(by_wall, self._timed[1] - monotonic)

    def _load_stored(self) -> SessionRecord | None:
        """Return what is stored; while that cannot be read, what was read last: a damaged value is no sign-out."""
        try:
            self._known = self._store.load()
        except StorageError as error:
            self._tell(error)
            if error.foreign:
                self._known = None
        except Exception as error:  # noqa: BLE001 - whoever waits must be told something, whatever a store raises
            self._tell(StorageError(f"The token store broke down ({type(error).__name__})."))
        return self._known

    def _tell(self, error: StorageError) -> None:
        if self._problem != str(error):
            self._problem = str(error)
            self._announce(StorageFailed(at=self._clock.now(), problem=self._problem))
