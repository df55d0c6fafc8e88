"""The record a session works with: what is stored or, where storage refuses, what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
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
        self._problem = ""
        self._timed: tuple[str, float] = ("", 0.0)

    @property
    def problem(self) -> str:
        """What the store refuses, in words; empty while it does its work."""
        return self._problem

    def load(self) -> SessionRecord | None:
        """Return the record, None when nobody is signed in. Never raises."""
        stored = self._load_stored()
        unsaved = self._unsaved
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
        if self._unsaved is not None and generation > self._unsaved.base:
            self._unsaved = None
        return generation

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record if nothing was committed since ``expected`` was read.

        What the store refuses is remembered instead: tokens that were just rotated exist nowhere else, and
        a session that was ended stays ended.
        """
        try:
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

    def forget(self) -> None:
        """Drop what is only remembered: the session was ended in another tab."""
        self._known = self._unsaved = None

    def seconds_left(self, record: SessionRecord) -> float | None:
        """Return how long the access token still lives, by the more cautious of two clocks; None if unknown.

        The wall clock knows about sleep but can be set back; the loop's monotonic clock cannot be set but
        may stand still while the device sleeps.
        """
        if record.expires_at is None or record.lifetime is None:
            return None
        by_wall = min(record.expires_at - self._clock.now(), record.lifetime)
        monotonic = asyncio.get_running_loop().time()
        if self._timed[0] != record.access_token:
            self._timed = (record.access_token, monotonic + by_wall)
        return min(by_wall, self._timed[1] - monotonic)

    def _load_stored(self) -> SessionRecord | None:
        """Return what is stored; while that cannot be read, what was read last: a damaged value is no sign-out."""
        try:
            self._known = self._store.load()
        except StorageError as error:
            self._tell(error)
            if error.foreign:
                self._known = None
        return self._known

    def _tell(self, error: StorageError) -> None:
        if self._problem != str(error):
            self._problem = str(error)
            self._announce(StorageFailed(at=self._clock.now(), problem=self._problem))
