"""One holder in all tabs: the Web Locks API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from secrets import token_hex
from typing import Any, ClassVar

import js
from pyodide.ffi import JsException, create_proxy, to_js

from .._deadlines import Deadlines
from .._errors import TransportError
from ..memory import MemoryLock

LONGEST_RELOAD = 1.0
"""Seconds in which a page that is loaded anew has left its locks."""


class WebLock:
    """``navigator.locks``; within this tab only, where a browser has none or refuses it."""

    def __init__(self) -> None:
        self._fallback = MemoryLock()
        self._deadlines = Deadlines()

    def hold(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold the lock; after ``timeout`` seconds go on under a second one."""
        return self._hold(name, timeout)

    @asynccontextmanager
    async def _hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        try:
            release = await _enter(name, timeout, self._deadlines)
        except (JsException, AttributeError):  # blocked site data, a sandboxed frame, plain http
            async with self._fallback.hold(name, timeout):
                yield
            return
        if release is None:
            raise TransportError(f"The lock {name!r} was not to be had.")
        try:
            yield
        finally:
            release()


class PageClaim:
    """A page's right to what its sessionStorage holds, by a lock that is held for as long as the page lives.

    Duplicating a tab, or opening one from a script, copies its sessionStorage (HTML, "create a new top-level
    traversable"): then two pages have the same, and the lock goes to one of them. All sessions of a page share it.
    """

    _of_this_page: ClassVar[dict[str, PageClaim]] = {}

    def __init__(self, area: Callable[[], Any], key: str) -> None:
        self._area = area
        self._key = key
        self._deadlines = Deadlines()
        self._taking = asyncio.Lock()
        self._name: str | None = None

    @classmethod
    def to(cls, area: Callable[[], Any], key: str) -> PageClaim:
        """Return this page's claim to what is stored under the key."""
        return cls._of_this_page.setdefault(key, cls(area, f"{key}:page"))

    async def take(self) -> bool:
        """Claim it; False for a copy of what another page has claimed, which this page may replace by its own."""
        async with self._taking:
            try:
                return await self._take()
            except (JsException, AttributeError):  # storage or locks are refused: there is nothing to be claimed
                return True

    async def _take(self) -> bool:
        if js.window.top != js.window:  # a frame has not a copy of what its page has, but the same
            return True
        stored = self._area().getItem(self._key)
        name = stored if isinstance(stored, str) else None
        if self._name is not None:
            if name is None:  # the app has cleared its storage
                self._write_down(self._name)
            return True
        is_own = name is None or await self._lock(name)
        if name is None or not is_own:
            name = token_hex(8)
            # The lock first: a copy that has a name of its own and no lock yet would be taken for the owner.
            if await self._lock(name):
                self._write_down(name)
        self._name = name
        return is_own

    def _write_down(self, name: str) -> None:
        with suppress(JsException, AttributeError):  # there is no room: whose it is has been settled all the same
            self._area().setItem(self._key, name)

    async def _lock(self, name: str) -> bool:
        # Nobody passes by this lock: it is had, however late a busy page hears of it.
        return await _acquire(f"{self._key} {name}", LONGEST_RELOAD, self._deadlines, late=True) is not None


async def _enter(name: str, timeout: float, deadlines: Deadlines) -> Callable[[], None] | None:
    """Take the first lock, once nobody who passed by is inside any more; or pass by, under the second."""
    release = await _acquire(name, timeout, deadlines)
    try:
        second = await _acquire(f"{name} second", timeout, deadlines)
    except BaseException:
        if release is not None:
            release()
        raise
    if release is not None and second is not None:
        second()
    return release or second


async def _acquire(name: str, timeout: float, deadlines: Deadlines, *, late: bool = False) -> Callable[[], None] | None:
    """Ask for the lock; return the way to release it, or None when it was not had in time.

    ``late``: it counts as had when it was granted in time and this page, busy, hears of it later.
    """
    held = js.Promise.withResolvers()
    granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone = js.AbortController.new()

    def on_grant(_lock: Any) -> Any:
        if not granted.done():
            granted.set_result(None)
        return held.promise

    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    proxy = create_proxy(on_grant)
    options = to_js({"signal": gone.signal}, dict_converter=js.Object.fromEntries)
    try:
        request = asyncio.ensure_future(js.navigator.locks.request(name, options, proxy))
    except (JsException, AttributeError):
        proxy.destroy()
        raise

    def finish(done: asyncio.Future[Any]) -> None:
        proxy.destroy()
        if not done.cancelled():
            done.exception()  # an AbortError, of our own making

    request.add_done_callback(finish)
    try:
        with suppress(TimeoutError):
            async with deadlines.limit(timeout):
                await asyncio.wait({granted, request}, return_when=asyncio.FIRST_COMPLETED)
        if late and not granted.done() and not request.done():
            # Whatever was granted before this question is heard of before its answer.
            with suppress(TimeoutError):
                async with deadlines.limit(timeout):
                    await js.navigator.locks.query()
    except BaseException:
        _withdraw(granted, gone, held)
        raise
    # A tab that was frozen meanwhile may have been granted the lock long ago, and passed by since.
    if granted.done() and (late or loop.time() - asked_at <= timeout):
        return lambda: held.resolve(None)
    if request.done():
        request.result()  # refused: the caller hears why
    _withdraw(granted, gone, held)
    return None


def _withdraw(granted: asyncio.Future[None], gone: Any, held: Any) -> None:
    """Leave the line; if the lock comes all the same, it is free again at once."""
    granted.cancel()
    held.resolve()
    gone.abort()
