"""Conditions: what a scenario changes at the server, and how it is put back, also after the page was closed.

What has to be put back is written down in the browser's storage before it is changed. Whoever opens the page next
finds it there and puts it back, unless a scenario is running.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException

if TYPE_CHECKING:
    from ..mock_controls import MockControls

KEY = "freshfetch.page.scenario"


class Unreachable(Exception):  # noqa: N818 - it is what the server is
    """The server does not answer its test controls."""


class Conditions:
    """The mock server's settings and fault rules, for as long as a scenario lasts."""

    def __init__(self, mock: MockControls) -> None:
        self._mock = mock
        self._before: dict[str, Any] = {}
        self._rules: list[int] = []

    async def set(self, **settings: Any) -> None:
        """Change settings of the server."""
        now = await self._mock.settings()
        if now is None:
            raise Unreachable
        for name in settings:
            self._before.setdefault(name, now[name])
        self._write_down()
        if not await self._mock.change(settings):
            raise Unreachable

    async def rule(self, **rule: Any) -> None:
        """Set a fault rule. It has to end by itself, too: ``seconds``."""
        number = await self._mock.break_down(rule)
        if number is None:
            raise Unreachable
        self._rules.append(number)
        self._write_down()

    async def restore(self) -> None:
        """Put everything back."""
        while self._rules:
            await self._mock.mend(self._rules[-1])
            self._rules.pop()
        if self._before and await self._mock.change(self._before):
            self._before = {}
        self._write_down()

    async def heal(self) -> None:
        """Put back what a page that was closed in the middle has left."""
        try:
            left = json.loads(str(js.localStorage.getItem(KEY) or "{}"))
        except (JsException, AttributeError, ValueError):
            return
        self._before, self._rules = dict(left.get("before", {})), list(left.get("rules", []))
        if self._before or self._rules:
            await self.restore()

    def _write_down(self) -> None:
        left = {"before": self._before, "rules": self._rules}
        try:
            if self._before or self._rules:
                js.localStorage.setItem(KEY, json.dumps(left))
            else:
                js.localStorage.removeItem(KEY)
        except (JsException, AttributeError):
            return
