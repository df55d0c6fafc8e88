"""Shelf: unsaved text in the browser's local storage, where it outlives the page and its tab.

Each page writes under a name of its own, and holds a lock of that name for as long as it lives: so a page that is gone
can be told from one that is open in another tab, and its texts pass to exactly one other page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, to_js

PREFIX = "freshfetch.page.draft:"
SETTLE = 0.25
"""Seconds after which what another process has written before it went is certainly seen here."""
PATIENCE = 5.0
"""Seconds for the lock that nobody else can have: the page does not wait for a browser that does not give it."""


class LocalShelf:
    """One text for each person."""

    def __init__(self) -> None:
        self._page = token_hex(8)
        self._settled = 0.0
        self._locks: Any = None
        self._decided = asyncio.Event()

    async def open(self) -> None:
        """Mark this page's texts as those of a page that lives."""

        def hold(_lock: Any) -> Any:
            self._decided.set()
            return js.Promise.new(create_proxy(lambda *_: None))  # for as long as the page lives

        def refused(asked: asyncio.Future[Any]) -> None:
            if asked.exception() is not None:
                self._decided.set()

        try:
            self._locks = js.navigator.locks
            asked = self._locks.request(PREFIX + self._page, create_proxy(hold))
        except (JsException, AttributeError):
            self._locks = None  # what is then taken from a page that lives is written again with its next change
            return
        asked.add_done_callback(refused)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._decided.wait()

    def write(self, owner: str, text: str) -> bool:
        """Replace this page's text of one person."""
        key = f"{PREFIX}{self._page}:{owner}"
        try:
            if text:
                js.localStorage.setItem(key, text)
            else:
                js.localStorage.removeItem(key)
        except (JsException, AttributeError):
            return not text
        return True

    async def inherit(self, take: Callable[[str, str], bool]) -> None:
        """Hand over what pages that are gone have left, once locks can tell which are."""
        if self._locks is not None and not self._decided.is_set():
            return
        for page in sorted({_page_of(key) for key in _keys()} - {self._page}):
            await self._inherit_from(page, take)
        self._settled = SETTLE

    async def _inherit_from(self, page: str, take: Callable[[str, str], bool]) -> None:
        if self._locks is None:
            _hand_over(page, take)
            return

        async def work(lock: Any) -> None:
            if lock:
                await asyncio.sleep(self._settled)
                _hand_over(page, take)

        proxy = create_proxy(work)
        options = to_js({"ifAvailable": True}, dict_converter=js.Object.fromEntries)
        try:
            await self._locks.request(PREFIX + page, options, proxy)
        except JsException:
            return  # left for another time
        finally:
            proxy.destroy()


def _hand_over(page: str, take: Callable[[str, str], bool]) -> None:
    for key in _keys():
        if _page_of(key) == page and take(key.removeprefix(f"{PREFIX}{page}:"), _read(key)):
            js.localStorage.removeItem(key)


def _read(key: str) -> str:
    return str(js.localStorage.getItem(key) or "")


def _keys() -> list[str]:
    try:
        return [key for key in map(str, js.Object.keys(js.localStorage)) if key.startswith(PREFIX)]
    except (JsException, AttributeError):
        return []


def _page_of(key: str) -> str:
    return key.removeprefix(PREFIX).partition(":")[0]
