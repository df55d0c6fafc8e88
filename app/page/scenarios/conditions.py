"""Conditions: what a scenario changes at the server, and how it is put back, also after the page was closed.

What has to be put back is written down in the browser's storage before it is changed. Whoever opens the page next, or
presses the next button, finds it there and puts it back, unless a scenario is running.
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
        self._scene = ""
        self._before: dict[str, Any] = {}
        self._rules: list[int] = []

    @property
    def changed(self) -> bool:
        """Whether anything is not as it was before."""
        return bool(self._before or self._rules)

    def begin(self, scene: str) -> None:
        """Note which scenario begins."""
        self._scene = scene
        self._write_down()

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
        """Put everything back; what cannot be put back now is kept in mind."""
        self._rules = [rule for rule in self._rules if not await self._mock.mend(rule)]
        if self._before and await self._mock.change(self._before):
            self._before = {}
        self._write_down()

    async def end(self) -> None:
        """Put everything back, and note that the scenario is over."""
        self._scene = ""
        await self.restore()

    async def heal(self) -> str:
        """Put back what was left in the middle; return the scenario that a page was closed on, if one was."""
        left = _read()
        self._scene = ""
        self._before = dict(left.get("before", {})) or self._before
        self._rules = list(left.get("rules", [])) or self._rules
        if self.changed:
            await self.restore()
        self._write_down()
        return str(left.get("scene", ""))

    def _write_down(self) -> None:
        left = {"scene": self._scene, "before": self._before, "rules": self._rules}
        try:
            if any(left.values()):
                js.localStorage.setItem(KEY, json.dumps(left))
            else:
                js.localStorage.removeItem(KEY)
        except (JsException, AttributeError):
            return


def _read() -> dict[str, Any]:
    try:
        left = json.loads(str(js.localStorage.getItem(KEY) or "{}"))
    except (JsException, AttributeError, ValueError):
        return {}
    return left if isinstance(left, dict) else {}
