"""Tabs: a word to this page's other tabs that notes have changed. It says nothing more: each asks the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import JsException

from .elements import listen

PAUSE = 0.2
"""Seconds in which several words are taken for one."""


class Tabs:
    """The tabs of this browser that show notes."""

    def __init__(self) -> None:
        self._channel: Any = None
        self._due: asyncio.TimerHandle | None = None
        try:
            self._channel = js.BroadcastChannel.new("freshfetch.page.notes")
        except (JsException, AttributeError):
            return  # whoever comes back to a tab is shown what is new all the same

    def tell(self) -> None:
        """Say that there is something new."""
        if self._channel is not None:
            self._channel.postMessage("changed")

    def on_news(self, look: Callable[[], None]) -> None:
        """Call ``look`` when there is something new, and whenever the person comes back to this tab."""
        if self._channel is not None:
            listen(self._channel, "message", lambda _: self._plan(look))
        listen(js.document, "visibilitychange", lambda _: self._plan(look))
        listen(js.window, "focus", lambda _: self._plan(look))

    def _plan(self, look: Callable[[], None]) -> None:
        if self._due is None and js.document.visibilityState == "visible":
            self._due = asyncio.get_running_loop().call_later(PAUSE, self._look, look)

    def _look(self, look: Callable[[], None]) -> None:
        self._due = None
        look()
