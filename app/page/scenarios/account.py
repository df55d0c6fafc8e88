"""Account: what one client asked for in one scenario, by the events it told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from freshfetch import (
    Event,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestEvent,
    RequestFailed,
    SessionExpired,
    TokensAdopted,
)

OVER = "SessionExpiredError"
"""Told instead of an answer: the person has to sign in again, and then the request may be made again."""
WITHHELD = ("IdentityChangedError",)
"""Told instead of an answer: somebody else signed in, and the request was not sent under their name."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request. The same asked for again under another number, after the session was over, is the same request."""

    method: str
    path: str
    user: str
    """Who asked."""
    ids: list[str] = field(default_factory=list)
    """The ids under which the journal knows it."""
    status: int | None = None
    """The last answer; None when there was none."""
    error: str = ""
    """What the caller was told instead of an answer."""


@dataclass(slots=True, kw_only=True)
class Account:
    """Listens for the requests below ``paths`` and for everything that happens to the session."""

    user: str
    name: Callable[[int], str]
    """Turns a request's number into its id."""
    paths: tuple[str, ...]
    refresh_id: str | None = None
    """The id of the client's refreshes, if they have one."""
    asked: list[Asked] = field(default_factory=list)
    attempts: int = 0
    succeeded: int = 0
    adopted: int = 0
    retries: int = 0
    ended: str = ""
    """Why the person had to sign in again."""
    _by_number: dict[int, Asked] = field(default_factory=dict)

    def listen(self, event: Event) -> None:
        """Take in what a client tells."""
        match event:
            case RequestEvent():
                self._on_request(event)
            case RefreshStarted():
                self.attempts += 1
            case RefreshSucceeded():
                self.succeeded += 1
            case RefreshFailed(retry_in=float() | int()):
                self.retries += 1
            case TokensAdopted():
                self.adopted += 1
            case SessionExpired():
                self.ended = event.reason

    def _on_request(self, event: RequestEvent) -> None:
        if not event.path.startswith(self.paths):
            return
        asked = self._by_number.get(event.number) or self._begin(event)
        match event:
            case RequestAnswered():
                asked.status, asked.error = event.status, ""
            case RequestFailed():
                asked.status, asked.error = None, event.error

    def _begin(self, event: RequestEvent) -> Asked:
        what = (event.method, event.path)
        asked = next((each for each in self.asked if each.error == OVER and (each.method, each.path) == what), None)
        if asked is None:
            asked = Asked(method=event.method, path=event.path, user=self.user)
            self.asked.append(asked)
        asked.error = ""
        asked.ids.append(self.name(event.number))
        self._by_number[event.number] = asked
        return asked

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, for another tab."""
        names = ("attempts", "succeeded", "adopted", "retries", "ended")
        return {"asked": [asdict(each) for each in self.asked], **{name: getattr(self, name) for name in names}}

    def add(self, other: Mapping[str, Any]) -> None:
        """Take in what another tab's client told."""
        self.asked += read_asked(other["asked"])
        self.attempts += other["attempts"]
        self.succeeded += other["succeeded"]
        self.adopted += other["adopted"]
        self.retries += other["retries"]
        self.ended = self.ended or other["ended"]


def read_asked(plain: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Read requests from plain data."""
    return [Asked(**each) for each in plain]
