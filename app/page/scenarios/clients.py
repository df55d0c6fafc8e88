"""Clients: who is put to the test, behind one interface: the page's own session, and the naive client."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import js

from freshfetch import (
    Body,
    Event,
    FreshfetchError,
    Headers,
    RefreshFailed,
    RefreshStarted,
    Request,
    SessionExpired,
    SessionExpiredError,
    SignedIn,
    State,
    StateChanged,
)

from ..naive import NaiveClient
from .account import Account

if TYPE_CHECKING:
    from freshfetch import Session, Transport

    from ..ledger import Ledger

EVERY = 5
"""One request in so many is a POST, which has an effect: it would show if it were done twice."""
SECOND = 1000
"""Where a second tab of the naive client begins to count."""


class Places:
    """Where scenarios send their requests. Paths of one run are nobody else's, so that the journal can be read."""

    def __init__(self, data: str, echo: str, auth: str, transport: Transport) -> None:
        self.data, self.echo, self.auth = (_path(each) for each in (data, echo, auth))
        self._transport = transport

    def below(self, run: str) -> tuple[str, ...]:
        """Return the beginnings of the paths of one run."""
        return f"{self.data}/{run}-", self.echo

    def plan(self, run: str, first: int, size: int) -> list[tuple[str, str]]:
        """Return method and path of so many requests."""
        numbers = range(first, first + size)
        return [("POST", self.echo) if each % EVERY == 0 else ("GET", f"{self.data}/{run}-{each}") for each in numbers]

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request as it is, and nothing else; return status and content."""
        request = Request(
            target=self._transport.resolve(path),
            method=method,
            headers=Headers(headers),
            body=None if body is None else Body(body),
            options={"cache": "no-store"},
        )
        try:
            response = await self._transport.send(request)
            text = await response.text()
        except FreshfetchError as error:
            raise ConnectionError from error
        return response.status, _content(text)


class Client(ABC):
    """What both have in common: they are sent off with a plan, and it shows whether their person is still in."""

    account: Account

    def __init__(self, places: Places, run: str, *, sent: int = 0) -> None:
        self._places = places
        self._run = run
        self._sent = sent

    @property
    def ended(self) -> bool:
        """Whether the person was asked to sign in again."""
        return bool(self.account.ended)

    async def send(self, size: int) -> None:
        """Send so many requests at once, and wait for their fate."""
        plan = self._places.plan(self._run, self._sent + 1, size)
        self._sent += size
        await asyncio.gather(*(self._ask(*each) for each in plan))

    @abstractmethod
    async def _ask(self, method: str, path: str) -> None:
        """Send one request, whatever becomes of it."""


class Fresh(Client):
    """The page's session."""

    def __init__(self, session: Session, ledger: Ledger, places: Places, run: str, people: Mapping[str, str]) -> None:
        super().__init__(places, run)
        self._session = session
        self._people = people
        self._kept: list[Request] = []
        self.user = session.subject or ""
        self.account = Account(user=self.user, name=ledger.name_of, paths=places.below(run))
        self._unsubscribe = session.subscribe(self._on_event)
        self._news = asyncio.Event()
        self._seen: list[Event] = []

    async def _ask(self, method: str, path: str) -> None:
        try:
            content = {"run": self._run} if method == "POST" else None
            response = await self._session.fetch(path, method=method, json=content)
            await response.bytes()
        except SessionExpiredError as error:
            if error.request is not None:
                self._kept.append(error.request)
        except FreshfetchError:
            return  # the account has it from the session's events

    @property
    def retry_in(self) -> float:
        """Seconds until a refresh that failed is tried again; 0 when it will not be."""
        return self._session.snapshot().retry_in

    async def renew(self) -> None:
        """Get a new access token."""
        await self._session.refresh()

    async def refreshing(self, *, failed: bool = False) -> None:
        """Wait until a refresh is under way, by whichever tab, or has failed."""
        await self._until(RefreshFailed if failed else StateChanged)

    async def sign_in(self, user: str) -> None:
        """Sign somebody in."""
        await self._session.sign_in(user, self._people[user])
        self.account.user = user

    async def sign_in_again(self) -> None:
        """Wait for the person; then send what the session gave back."""
        await self._until(SignedIn)
        kept, self._kept = self._kept, []
        await asyncio.gather(*(self._send_again(each) for each in kept))

    async def _send_again(self, request: Request) -> None:
        with suppress(FreshfetchError):
            response = await self._session.resend(request)
            await response.bytes()

    async def leave(self, *, back: bool) -> None:
        """Stop listening; if ``back``, with the person signed in who was at the beginning."""
        self._unsubscribe()
        if back and self._session.subject not in (None, self.user):
            await self._session.sign_in(self.user, self._people[self.user])

    async def _until(self, kind: type[Event]) -> None:
        while not any(isinstance(event, kind) for event in self._seen):
            self._news.clear()
            await self._news.wait()

    def _on_event(self, event: Event) -> None:
        self.account.listen(event)
        is_refreshing = isinstance(event, StateChanged) and event.new is State.REFRESHING
        if is_refreshing or isinstance(event, (RefreshFailed, SignedIn)):
            self._seen.append(event)
            self._news.set()


class Naive(Client):
    """The naive client, signed in by itself, as somebody whose session is nobody else's business."""

    def __init__(
        self,
        places: Places,
        run: str,
        people: Mapping[str, str],
        user: str,
        *,
        numbers: Iterator[int],
        draw: Callable[[Event], object],
        first_tab: Naive | None = None,
    ) -> None:
        super().__init__(places, run, sent=0 if first_tab is None else SECOND)
        self._people = people
        self._draw = draw
        self._numbers = numbers
        self._storage: dict[str, str] = {} if first_tab is None else first_tab._storage  # noqa: SLF001 - same class
        self.user = user
        self.account = Account(
            user=user, name=lambda number: f"{run}-{number}", paths=places.below(run), refresh_id=f"{run}-refresh"
        )
        self._events: list[Event] = []
        self._news = asyncio.Event()
        self._client = NaiveClient(
            places.ask, auth=places.auth, name=run, numbers=numbers, storage=self._storage, emit=self._on_event
        )

    def other_tab(self) -> Naive:
        """Return another one with the same storage."""
        return Naive(
            self._places,
            self._run,
            self._people,
            self.user,
            numbers=self._numbers,
            draw=self._draw,
            first_tab=self,
        )

    async def _ask(self, method: str, path: str) -> None:
        body = json.dumps({"run": self._run}) if method == "POST" else None
        await self._client.request(path, method, body)

    @property
    def retry_in(self) -> float:
        """Nothing is tried again."""
        return 0.0

    async def renew(self) -> None:
        """Get a new access token."""
        await self.sign_in(self.user)

    async def refreshing(self, *, failed: bool = False) -> None:
        """Wait until a refresh is under way, or has failed."""
        kinds = (RefreshFailed, SessionExpired) if failed else (RefreshStarted,)
        while not any(isinstance(event, kinds) for event in self._events):
            self._news.clear()
            await self._news.wait()

    async def sign_in(self, user: str) -> None:
        """Sign somebody in."""
        if not await self._client.sign_in(user, self._people[user]):
            raise ConnectionError
        self.account.user = user

    async def sign_in_again(self) -> None:
        """Sign in. Nothing was kept, so there is nothing to go on with."""
        await self.sign_in(self.user)

    def _on_event(self, event: Event) -> None:
        self.account.listen(event)
        self._draw(event)
        if isinstance(event, (RefreshFailed, RefreshStarted, SessionExpired)):
            self._events.append(event)
            self._news.set()


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _path(url: str) -> str:
    return str(js.URL.new(url, js.document.baseURI).pathname)
