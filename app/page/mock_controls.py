"""Mock controls: the mock server's test controls, reached without the session, as a tester would."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from freshfetch import Body, FreshfetchError, Headers, Request

from .journal import Counts, Entry, count, news, settled
from .ledger import Ledger

if TYPE_CHECKING:
    from freshfetch import Transport

NO_ANSWER = (0, HTTPStatus.TOO_MANY_REQUESTS)
BEYOND = 10**15
"""The number of an entry that will never be: what is asked for from there on is nothing, and quickly told."""
LONGEST = 15.0
"""Seconds after which a server that has not answered is down."""
MOST_SUSPECTS = 50
"""Requests that are looked up by their id at one look; the next look goes on with the rest."""


class MockControls:
    """What can be done to the server, and what it saw. Nothing here raises: a server that is down is None."""

    def __init__(self, base: str, ledger: Ledger, transport: Transport) -> None:
        self._base = base
        self._transport = transport
        self._ledger = ledger
        self._last = 0
        self._seen = 0
        self._looking = asyncio.Lock()
        self.counts = Counts()

    async def exist(self) -> bool | None:
        """Tell whether there are any, None when nobody answers; the counting starts with this page's first request."""
        if not self._base:
            return False
        status, content = await self._send("GET", "journal?since=0")
        if status in NO_ANSWER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return None
        entries = (content or {}).get("entries")
        if entries:
            before = takewhile(lambda entry: not self._ledger.is_ours(entry), entries)
            self._last = max((entry["number"] for entry in before), default=0)
            self._ledger.read(entries)
        return entries is not None

    async def expire(self, user: str) -> bool:
        """Make all access tokens of somebody stop working."""
        return await self._ask("POST", "expire", {"user": user}) is not None

    async def revoke(self, user: str) -> bool:
        """End all sessions of somebody."""
        return await self._ask("POST", "revoke", {"user": user}) is not None

    async def fail(self, seconds: float) -> bool:
        """Make the API answer 503 for a while."""
        rule = {"path": "/api/*", "kind": "status", "status": 503, "seconds": seconds}
        return await self._ask("POST", "faults", rule) is not None

    async def break_down(self, rule: dict[str, object]) -> int | None:
        """Set a fault rule; return its number, None when that did not work."""
        answer = await self._ask("POST", "faults", rule)
        return None if answer is None else int(answer["id"])

    async def mend(self, rule: int) -> bool:
        """Remove a fault rule, if it is still there; tell whether it is gone."""
        return await self._ask("DELETE", f"faults/{rule}") is not None or await self.settings() is not None

    async def settings(self) -> dict[str, Any] | None:
        """Return the server's settings."""
        return await self._ask("GET", "settings")

    async def change(self, settings: dict[str, Any]) -> bool:
        """Change some of the server's settings."""
        return await self._ask("PUT", "settings", settings) is not None

    async def last_entry(self) -> int | None:
        """Return the number of the journal's last entry."""
        answer = await self._ask("GET", f"journal?since={BEYOND}")
        return None if answer is None else int(answer["next"])

    async def entries(self, since: int) -> list[Entry] | None:
        """Return the journal's entries after number ``since``."""
        answer = await self._ask("GET", f"journal?since={since}")
        return None if answer is None else list(answer.get("entries", ()))

    async def look(self) -> bool:
        """Add what the server saw since the last look to ``counts``; False when it does not say."""
        async with self._looking:
            over = self._ledger.over()
            entries = await self._entries(self._last)
            if entries is None:
                return False
            fresh, missing = news(entries, self._last)
            if missing:
                self._last = self._seen = 0
                fresh = await self._entries(0) or []
                self._ledger.forget()
            self._ledger.read(fresh)
            await self._look_up(self._ledger.suspects(over)[:MOST_SUSPECTS])
            ready = settled(fresh, self._seen)
            self._seen = fresh[-1]["number"] if fresh else self._seen
            self._last = ready[-1]["number"] if ready else self._last
            self.counts += count(ready)
            return True

    async def _look_up(self, suspects: list[int]) -> None:
        """Ask for what the journal has of single requests: it may have been read before they were answered."""
        for number in suspects:
            answer = await self._ask("GET", f"journal?requestId={self._ledger.request_id(number)}")
            if answer is None:
                return
            self._ledger.read(answer.get("entries", ()))
            self._ledger.judge(number)

    async def _entries(self, first: int) -> list[Entry] | None:
        """Return the journal from entry number ``first`` on."""
        answer = await self._ask("GET", f"journal?since={max(0, first - 1)}")
        return None if answer is None else list(answer.get("entries", ()))

    async def _ask(self, method: str, path: str, content: dict[str, object] | None = None) -> dict[str, Any] | None:
        return (await self._send(method, path, content))[1]

    async def _send(
        self, method: str, path: str, content: dict[str, object] | None = None
    ) -> tuple[int, dict[str, Any] | None]:
        """Return the status, 0 when there was no answer, and what the answer holds if it is a good one."""
        body, headers = None, Headers()
        if content is not None:
            body, headers = Body(json.dumps(content)), Headers({"Content-Type": "application/json"})
        try:
            target = self._transport.resolve(f"{self._base}/{path}")
            request = Request(target=target, method=method, headers=headers, body=body, options={"cache": "no-store"})
            async with asyncio.timeout(LONGEST):
                response = await self._transport.send(request)
                text = await response.text()
        except (FreshfetchError, TimeoutError):
            return 0, None
        try:
            return response.status, dict(json.loads(text or "{}")) if response.ok else None
        except (ValueError, TypeError):
            return response.status, None
