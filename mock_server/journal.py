"""Journal: what was asked of the server, in the order of arrival, and what came of it.

An entry is made when a request arrives and completed while it runs, so a request that stalls can be seen too: its
status is None until an answer starts, and stays None when the connection was dropped. An entry never holds a token,
a password or a body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEY = "mock.entry"
LONGEST_REQUEST_ID = 128


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request. Endpoints add to it while they run, hence not frozen.

    `user` and `family` say whose token was presented, also when it was refused. `error` is the code in the answer,
    `fault` the kind of the rule that was applied, `effects` what changed at the server.
    """

    number: int
    at: float
    method: str
    path: str
    request_id: str | None
    status: int | None = None
    user: str | None = None
    family: int | None = None
    error: str | None = None
    fault: str | None = None
    effects: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Show the entry as `GET /mock/journal` does."""
        return {
            "number": self.number,
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "user": self.user,
            "family": self.family,
            "requestId": self.request_id,
            "error": self.error,
            "fault": self.fault,
            "effects": list(self.effects),
        }


class Journal:
    """The latest entries, oldest first. Numbers start at 1 and go on after `clear`, so a reader never misses any."""

    def __init__(self, *, limit: int = 100_000) -> None:
        self.entries: deque[Entry] = deque(maxlen=limit)
        self.last_number = 0

    def open(self, *, at: float, method: str, path: str, request_id: str | None) -> Entry:
        """Write down a request that has just arrived."""
        self.last_number += 1
        entry = Entry(number=self.last_number, at=at, method=method, path=path, request_id=request_id)
        self.entries.append(entry)
        return entry

    def select(self, *, path: str | None = None, since: int = 0) -> list[Entry]:
        """Find the entries numbered above `since` whose path matches the pattern."""
        return [e for e in self.entries if e.number > since and (path is None or fnmatchcase(e.path, path))]

    def clear(self) -> None:
        """Forget the entries."""
        self.entries.clear()

    def reset(self) -> None:
        """Forget the entries and start counting again."""
        self.clear()
        self.last_number = 0


class JournalMiddleware:
    """Outermost: opens an entry for each request to the API and notes the status that really left.

    The page's files and the controls get an entry as well, since endpoints rely on one, but it is not kept.
    """

    def __init__(self, app: ASGIApp, *, journal: Journal, now: Callable[[], float]) -> None:
        self.app = app
        self.journal = journal
        self.now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        entry = self._entry(scope)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            await send(message)

        # A new scope and a new state: some hosts share theirs between requests.
        await self.app({**scope, "state": {**scope.get("state", {}), KEY: entry}}, receive, noting)

    def _entry(self, scope: Scope) -> Entry:
        request_id = Headers(scope=scope).get("x-request-id")
        short_id = None if request_id is None else request_id[:LONGEST_REQUEST_ID]
        method, path = scope["method"], scope["path"]
        if path.startswith("/api/"):
            return self.journal.open(at=self.now(), method=method, path=path, request_id=short_id)
        return Entry(number=0, at=0.0, method=method, path=path, request_id=short_id)


def entry_of(scope: Scope) -> Entry:
    """Find the entry of the request that is being served."""
    entry: Entry = scope["state"][KEY]
    return entry
