"""Journal: what was asked of the server, in the order of arrival, and what came of it.

An entry is made when a request arrives and completed while it runs, so a request that stalls can be seen too: its
status is None until an answer starts, and stays None when the connection was dropped; `done` says that the server is
through with it. An entry never holds a token, a password or a body.

Numbers are consecutive: an entry's place follows from its number, and what a full journal had no room for can be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

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
    done: bool = False

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
            "done": self.done,
        }


class Journal:
    """The latest entries, oldest first. Numbers start at 1 and go on after `clear`, so a reader's `since` holds."""

    def __init__(self, *, limit: int = 100_000) -> None:
        self.entries: deque[Entry] = deque(maxlen=limit)
        self.last_number = 0
        self.last_cleared = 0

    def open(self, *, at: float, method: str, path: str, request_id: str | None) -> Entry:
        """Write down a request that has just arrived."""
        self.last_number += 1
        entry = Entry(number=self.last_number, at=at, method=method, path=path, request_id=request_id)
        self.entries.append(entry)
        return entry

    def select(
        self, *, path: str | None = None, request_id: str | None = None, since: int = 0, limit: int | None = None
    ) -> list[Entry]:
        """Find the entries numbered above `since` whose path matches the pattern, of one request id or of any."""
        wanted = None if request_id is None else request_id[:LONGEST_REQUEST_ID]
        later = (entry for entry in self._above(since) if path is None or fnmatchcase(entry.path, path))
        most = len(self.entries) if limit is None else min(limit, len(self.entries))
        return list(islice((entry for entry in later if wanted in (None, entry.request_id)), most))

    def missed(self, since: int = 0) -> int:
        """Count the entries above `since` that made room for later ones; those cleared on purpose are not missed."""
        gone = self.last_number - len(self.entries)
        return max(0, gone - max(since, self.last_cleared))

    def clear(self) -> None:
        """Forget the entries."""
        self.entries.clear()
        self.last_cleared = self.last_number

    def reset(self) -> None:
        """Forget the entries and start counting again."""
        self.entries.clear()
        self.last_number = self.last_cleared = 0

    def _above(self, since: int) -> Iterator[Entry]:
        gone = self.last_number - len(self.entries)
        # No more than there are: what counts in 32 bits, as Python in a browser does, takes no larger number.
        return islice(self.entries, min(max(0, since - gone), len(self.entries)), None)


def effect_counts(entries: list[Entry]) -> dict[str, dict[str, int]]:
    """Count the effects of each request id, whoever sent it how often; no effect at all is an empty count."""
    counts: dict[str, dict[str, int]] = {}
    for entry in entries:
        if entry.request_id is not None:
            own = counts.setdefault(entry.request_id, {})
            for effect in entry.effects:
                own[effect] = own.get(effect, 0) + 1
    return counts


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
        try:
            await self.app({**scope, "state": {**scope.get("state", {}), KEY: entry}}, receive, noting)
        finally:
            entry.done = True

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
