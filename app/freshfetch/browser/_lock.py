"""One holder in all tabs: the Web Locks API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, to_js

from .._errors import TransportError
from ..memory import MemoryLock


class WebLock:
    """``navigator.locks``; within this tab only, where a browser has none or refuses it."""

    def __init__(self) -> None:
        self._fallback = MemoryLock()

    def hold(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold the lock; after ``timeout`` seconds go on under a second one."""
        return self._hold(name, timeout)

    @asynccontextmanager
    async def _hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        try:
            release = await _enter(name, timeout)
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


async def _enter(name: str, timeout: float) -> Callable[[], None] | None:
    """Take the first lock, once nobody who passed by is inside any more; or pass by, under the second."""
    release = await _acquire(name, timeout)
    try:
        second = await _acquire(f"{name} second", timeout)
    except BaseException:
        if release is not None:
            release()
        raise
    if release is not None and second is not None:
        second()
    return release or second


async def _acquire(name: str, timeout: float) -> Callable[[], None] | None:
    """Ask for the lock; return the way to release it, or None when it was not had in time."""
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
        await asyncio.wait({granted, request}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        _withdraw(granted, gone, held)
        raise
    # A tab that was frozen meanwhile may have been granted the lock long ago, and passed by since.
    if granted.done() and loop.time() - asked_at <= timeout:
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
