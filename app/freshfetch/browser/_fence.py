"""The generation of record: one number in IndexedDB that all tabs agree on, whatever their processes cache."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import js
from pyodide.ffi import JsException, create_once_callable, create_proxy, to_js

from .._errors import FreshfetchError, StorageError
from .._json import parse_json
from .._record import LAST_GENERATION

LONGEST_OPENING = 3.0
"""Seconds to wait for the database: some browsers, some day, never answer."""
_DATABASE = "freshfetch"
_STORE = "generations"


class FenceUnavailableError(FreshfetchError):
    """This browser has no IndexedDB for the page."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the fence says: the generation last committed, and whether it left a record or removed it."""

    generation: int
    present: bool


_NO_MARK = Mark(0, present=False)


class Fence:
    """A compare-and-swap that all tabs share. It is right where storage says something else."""

    leads = True

    def __init__(self, key: str) -> None:
        self._key = key
        self._database: Any = None

    async def read(self) -> Mark:
        """Return the mark. Waits for the commits that began before."""
        found: list[Mark] = []
        await self._transact(lambda _store, mark: found.append(mark))
        return found[0]

    async def advance(self, expected: int, mark: Mark, write: Callable[[], None]) -> bool:
        """Set the mark if the generation still is ``expected``, calling ``write`` inside the transaction.

        Raises:
            StorageError: ``write`` did; the mark is as it was.
        """
        advanced = False

        def swap(store: Any, found: Mark) -> None:
            nonlocal advanced
            if found.generation != expected:
                return
            write()
            value = {"generation": mark.generation, "present": mark.present}
            store.put(to_js(value, dict_converter=js.Object.fromEntries), self._key)
            advanced = True

        await self._transact(swap)
        return advanced

    async def _transact(self, act: Callable[[Any, Mark], Any]) -> None:
        """Run ``act`` with the object store and the mark found there, in one transaction; wait until it is done."""
        transaction = await self._begin()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        problem: list[StorageError] = []
        store = transaction.objectStore(_STORE)
        request = store.get(self._key)

        def on_read(_event: Any) -> None:
            try:
                act(store, _mark(request.result))
            except StorageError as error:
                problem.append(error)
                transaction.abort()

        def on_end(_event: Any) -> None:
            if not done.done():
                done.set_result(None)

        def on_abort(_event: Any) -> None:
            if not done.done():
                done.set_exception(problem[0] if problem else FenceUnavailableError("IndexedDB gave up."))

        proxies = [create_proxy(callback) for callback in (on_read, on_end, on_abort)]
        request.onsuccess, transaction.oncomplete, transaction.onabort = proxies
        # A cancelled caller leaves the transaction running: the proxies go when it has ended.
        done.add_done_callback(lambda _: [proxy.destroy() for proxy in proxies])
        await asyncio.shield(done)

    async def _begin(self) -> Any:
        """Begin a transaction; once more with a new connection, since clearing site data closes the old one."""
        for _ in range(2):
            if self._database is None:
                self._database = await _open_database()
            try:
                return self._database.transaction(_STORE, "readwrite")
            except JsException:
                self._database = None
        raise FenceUnavailableError("IndexedDB closes its database at once.")


class StorageFence:
    """The same within one process: for sessionStorage, which no other tab sees, and where IndexedDB is refused.

    It lies beside the record and is written after it, and other tabs may go by IndexedDB: so a record that it does
    not know of is a newer one.
    """

    leads = False

    def __init__(self, area: Callable[[], Any], key: str) -> None:
        self._area = area
        self._key = f"{key}:generation"

    async def read(self) -> Mark:
        """Return the mark."""
        return self._read()

    async def advance(self, expected: int, mark: Mark, write: Callable[[], None]) -> bool:
        """Set the mark if the generation still is ``expected``; nothing can come between, nothing is awaited."""
        if self._read().generation != expected:
            return False
        write()
        try:
            self._area().setItem(self._key, json.dumps([mark.generation, mark.present]))
        except (JsException, AttributeError):
            raise StorageError("This browser's storage is full or refused.") from None
        return True

    def _read(self) -> Mark:
        try:
            text = self._area().getItem(self._key)
        except (JsException, AttributeError):
            raise StorageError("This browser refuses the page its storage.") from None
        try:
            generation, present = parse_json(text if isinstance(text, str) else "")
        except (ValueError, TypeError):
            return _NO_MARK
        return _checked(generation, present)


async def _open_database() -> Any:
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    try:
        request = js.indexedDB.open(_DATABASE, 1)
    except (JsException, AttributeError):
        raise FenceUnavailableError("This browser has no IndexedDB for the page.") from None

    def on_upgrade(_event: Any) -> None:
        request.result.createObjectStore(_STORE)

    def on_success(_event: Any) -> None:
        if opened.done():
            request.result.close()  # too late: nobody waits for it any more
        else:
            request.result.onversionchange = create_once_callable(_give_way)
            opened.set_result(request.result)

    def on_error(event: Any) -> None:
        event.preventDefault()
        if not opened.done():
            opened.set_exception(FenceUnavailableError("This browser refuses the page its IndexedDB."))

    proxies = [create_proxy(callback) for callback in (on_upgrade, on_success, on_error)]
    request.onupgradeneeded, request.onsuccess, request.onerror = proxies
    try:
        async with asyncio.timeout(LONGEST_OPENING):
            return await opened
    except TimeoutError:
        raise FenceUnavailableError("This browser does not open its IndexedDB.") from None
    finally:
        if not opened.cancelled():  # else the browser may yet call
            for proxy in proxies:
                proxy.destroy()


def _give_way(event: Any) -> None:
    """Close a connection, for a tab that deletes the database or has a newer one: it would wait for ever."""
    event.target.close()


def _mark(value: Any) -> Mark:
    """Read a stored mark; anything unreadable counts as none, and the next commit writes a sound one."""
    try:
        return _checked(value.generation, value.present)
    except AttributeError:
        return _NO_MARK


def _checked(generation: Any, present: Any) -> Mark:
    if type(generation) is not int or not 0 <= generation <= LAST_GENERATION:
        return _NO_MARK
    return Mark(generation, present=bool(present))
