"""What the outside world must provide, and what it need not.

Each port has an adapter for browsers (``freshfetch.browser``), one in memory (``freshfetch.memory``),
and one contract suite (``tests/contracts``) that both pass. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ._models import Body, Request, Response, Target
from ._record import SessionRecord, Tokens


class Transport(Protocol):
    """Sends requests.

    Guarantees: any status is a response; no answer is ``TransportError``; cancelling ``send`` aborts
    the request. Does not guarantee: that a request whose ``send`` failed was not processed.
    """

    def resolve(self, url: str) -> Target:
        """Say where ``url`` leads. Raises InvalidRequestError for what cannot be sent."""

    def snapshot(self, body: Any) -> Body:
        """Take a body as it is now. Raises InvalidRequestError for a kind it cannot send."""

    async def send(self, request: Request) -> Response:
        """Send and return the answer; its body may still be on its way, and is read up to ``longest_answer``."""


class TokenStore(Protocol):
    """Keeps the one session record for all tabs.

    Guarantees: ``load`` and ``commit`` never show or leave half a record; after ``make_current``, called
    by the holder of the lock, ``load`` returns what the last successful ``commit`` of any tab wrote;
    ``commit`` is one compare-and-swap across tabs, lock or no lock; the generation outlives the record.
    Does not guarantee: that ``load`` without ``make_current`` is up to date.
    """

    def load(self) -> SessionRecord | None:
        """Return the record, None when nobody is signed in. Raises StorageError when it cannot be read."""

    async def make_current(self) -> int:
        """Wait (bounded) until ``load`` is up to date; return the generation to expect in ``commit``."""

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record if the store's generation still is ``expected``; None removes it.

        The store's generation becomes the record's, or ``expected + 1`` after a removal. Returns whether it
        was written. Raises StorageError when the store refuses; the old record stays.
        """


class Lock(Protocol):
    """One holder at a time in all tabs.

    Guarantees: freed when the holder's tab dies; never stolen. A holder that does not come back within
    ``timeout`` (a frozen tab) is *passed by*: the waiter goes on under a second lock of its own kind, so
    there may be two holders, of which the commit's compare-and-swap lets one win. Within ``timeout``
    nobody enters by the first lock while somebody is inside by the second.
    Does not guarantee: order among waiters.
    """

    def hold(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold the lock for a block. Raises TransportError if the second lock is not had in time either."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A word to the other tabs: look at the store. Carries no token and is never believed by itself."""

    kind: str
    """``changed``, ``signed_out`` or ``expired``."""
    reason: str = ""


class Channel(Protocol):
    """Carries hints between tabs. A hint may be lost, late, doubled, forged, or come back to its sender."""

    def publish(self, hint: Hint) -> None:
        """Tell the other tabs. Never raises, never waits."""

    def subscribe(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call ``listener`` with each hint until the returned function is called."""


class Clock(Protocol):
    """The device's wall clock. It may be wrong and may jump."""

    def now(self) -> float:
        """Return seconds since the epoch."""


class Presence(Protocol):
    """Whether somebody is there, and the network with them."""

    @property
    def visible(self) -> bool:
        """Whether the page can be seen."""

    @property
    def online(self) -> bool:
        """Whether the device thinks it has a network; True may be wrong, False is seldom."""

    def idle_for(self) -> float:
        """Return seconds since the person last did something."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` when the page is shown, comes back, or the network does; returns the way to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All of the outside world that a session has."""

    transport: Transport
    store: TokenStore
    lock: Lock
    channel: Channel
    clock: Clock
    presence: Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of the auth server that brings no tokens."""

    kind: str
    """``terminal``: the grant is dead. ``retryable``: not now. ``ambiguous``: no usable answer came.
    ``misconfigured``: never, for this client."""
    status: int
    error: str = ""
    """The error code (RFC 6749 section 5.2)."""
    description: str = ""
    """The server's own words, checked to hold no token."""
    retry_after: str | None = None
    date: str | None = None


class AuthServer(Protocol):
    """How to speak to an auth server: builds its requests and reads its answers, and sends nothing itself."""

    def owns(self, url: str, transport: Transport) -> bool:
        """Tell whether an absolute URL is one of the auth server's own endpoints."""

    def sign_in_request(self, username: str, password: str, transport: Transport) -> Request:
        """Build the request that exchanges a person's credentials for tokens."""

    def refresh_request(self, refresh_token: str, transport: Transport) -> Request:
        """Build the request that redeems a refresh token (RFC 6749 section 6)."""

    def sign_out_request(self, refresh_token: str, transport: Transport) -> Request:
        """Build the request that revokes a refresh token (RFC 7009)."""

    async def read(self, response: Response, *, secrets: tuple[str, ...]) -> Tokens | Refusal:
        """Read the answer to one of the first two. ``secrets`` must not appear in what is returned as text."""

    def same_person(self, old: str, new: str) -> bool:
        """Tell whether two access tokens are for the same person, as far as they say."""
