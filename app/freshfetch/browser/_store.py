"""The session record in web storage, made sound between tabs by a generation in IndexedDB.

A Web Lock and localStorage together are not enough: another process may see a write late, and the lock
reaches it first (a quarter of the updates of three windows were lost). So a commit is a compare-and-swap
in one IndexedDB transaction, and a new holder whose localStorage is behind that generation waits for it.
Rules for editing: localStorage is written *inside* the transaction, so that nobody who sees the new
generation finds the old record for longer than storage takes to travel; what waits, waits bounded; a record
of another version is removed or written over only when a person signs in or out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import js
from pyodide.ffi import JsException

from .._errors import StorageError
from .._record import SessionRecord
from ._fence import Fence, FenceUnavailableError, Mark, StorageFence
from ._lock import PageClaim

LONGEST_LAG = 0.5
"""Seconds to wait for another tab's write; it took about 5 ms whenever it was measured."""
_LOOK_EVERY = 0.005
_ROOM = 256
"""Records are as long as a multiple of this: one that grows by a few characters still fits into a full storage."""


class WebTokenStore:
    """One JSON value under the key ``freshfetch:{name}``."""

    def __init__(
        self, area: Callable[[], Any], name: str, fence: Fence | None = None, *, claim: PageClaim | None = None
    ) -> None:
        self._area = area
        self._key = f"freshfetch:{name}"
        self._claim = claim
        self._fence: Fence | StorageFence = fence or StorageFence(area, self._key)
        self._seen: tuple[str, SessionRecord] | None = None

    @classmethod
    def local(cls, name: str) -> WebTokenStore:
        """Keep it in localStorage: all tabs, until signed out."""
        return cls(lambda: js.localStorage, name, Fence(f"freshfetch:{name}"))

    @classmethod
    def session(cls, name: str) -> WebTokenStore:
        """Keep it in sessionStorage: this tab alone, so there is nobody to be fenced against.

        A tab that is duplicated has a copy of it, and one refresh token is not for two: the copy uses the access
        token for as long as it works, and is signed out then. While signed in the page is not kept for going back.
        """
        return cls(lambda: js.sessionStorage, name, claim=PageClaim.to(lambda: js.sessionStorage, f"freshfetch:{name}"))

    def load(self) -> SessionRecord | None:
        """Return the record."""
        text = self._text()
        if text is None:
            return None
        if self._seen is None or self._seen[0] != text:
            self._seen = (text, SessionRecord.from_json(text))
        return self._seen[1]

    async def make_current(self) -> int:
        """Wait until the record is not older than the generation of record; return that generation."""
        if self._claim is not None and not await self._claim.take():
            self._write(None)  # nobody else sees this storage, and what it holds is another page's
        try:
            return await self._catch_up()
        except FenceUnavailableError:
            self._fence = StorageFence(self._area, self._key)
            return await self._catch_up()

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Compare and swap the generation, and write the record in the same transaction."""
        generation = expected + 1 if record is None else record.generation
        mark = Mark(generation, present=record is not None)
        try:
            return await self._fence.advance(expected, mark, lambda: self._write(record))
        except FenceUnavailableError:
            raise StorageError("This browser refuses the page its IndexedDB; nothing could be saved.") from None

    async def _catch_up(self) -> int:
        record, mark = self._readable(), await self._fence.read()
        for _ in range(int(LONGEST_LAG / _LOOK_EVERY)):
            if not _behind(record, mark):
                break
            await asyncio.sleep(_LOOK_EVERY)
            record = self._readable()
        return await self._heal(record, mark)

    async def _heal(self, record: SessionRecord | None, mark: Mark) -> int:
        """Settle what a tab that died in the middle, a lost write or a cleared storage left behind."""
        fence = self._fence
        if record is None and self._holds_something():
            return mark.generation
        if record is None and mark.generation == 0:
            # From the clock, not from 0: after site data was cleared, a frozen tab that wakes up must not find
            # the generation it remembers.
            start = Mark(int(time.time() * 1000), present=False)
            return start.generation if await fence.advance(0, start, _nothing) else (await fence.read()).generation
        if record is not None and record.generation > mark.generation:
            ahead = Mark(record.generation, present=True)
            return ahead.generation if await fence.advance(mark.generation, ahead, _nothing) else mark.generation
        if record is not None and not mark.present and not fence.leads:
            mark = replace(mark, present=True)
            await fence.advance(mark.generation, mark, lambda: self._write(replace(record, generation=mark.generation)))
        elif record is not None and not mark.present:
            # Signed out: what is left must not come back to life.
            await fence.advance(mark.generation, mark, lambda: self._write(None))
        elif record is not None and record.generation < mark.generation:
            await fence.advance(mark.generation, mark, lambda: self._write(replace(record, generation=mark.generation)))
        elif record is None and mark.present:
            await fence.advance(mark.generation, replace(mark, present=False), _nothing)
        return mark.generation

    def _readable(self) -> SessionRecord | None:
        """Return the record; what cannot be read counts as none, since it will be written over."""
        try:
            return self.load()
        except StorageError:
            return None

    def _text(self) -> str | None:
        try:
            text = self._area().getItem(self._key)
        except (JsException, AttributeError):
            raise StorageError("This browser refuses the page its storage.") from None
        return text if isinstance(text, str) else None

    def _holds_something(self) -> bool:
        try:
            return self._text() is not None
        except StorageError:
            return False

    def _write(self, record: SessionRecord | None) -> None:
        try:
            if record is None:
                self._area().removeItem(self._key)
            else:
                text = record.to_json()
                self._area().setItem(self._key, text.ljust(-len(text) // _ROOM * -_ROOM))
        except (JsException, AttributeError):
            raise StorageError("This browser's storage is full or refused; nothing could be saved.") from None


def _behind(record: SessionRecord | None, mark: Mark) -> bool:
    """Tell whether storage shows less than what was committed."""
    if record is None:
        return mark.present
    if mark.present:
        return record.generation < mark.generation
    return record.generation <= mark.generation


def _nothing() -> None:
    """Write nothing."""
