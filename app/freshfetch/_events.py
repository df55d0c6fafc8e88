"""What a session tells its listeners. Past participles, frozen, and never a token inside.

Every event has ``at`` (seconds since the epoch). The request events share the request's ``number``,
so that a listener can draw one lane per request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a session stands, in the order in which one state hides another."""

    SIGN_IN_REQUIRED = "sign in required"
    SIGNED_OUT = "signed out"
    OFFLINE = "offline"
    REFRESHING = "refreshing"
    SIGNED_IN = "signed in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The session's state is another one now."""

    old: State
    new: State


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(Event):
    """Somebody signed in, here or in another tab."""

    subject: str
    elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut(Event):
    """Somebody signed out, here or in another tab."""

    elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExpired(Event):
    """The refresh token is dead; the person has to sign in. At most once per session and tab."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationFailed(Event):
    """Signed out here, but the auth server could not be told: the refresh token lives on there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshStarted(Event):
    """This tab is about to redeem the refresh token. Exactly one of the next three follows."""

    reason: str
    """``expiring``, ``refused`` or ``forced``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshSucceeded(Event):
    """The new tokens are stored."""

    expires_in: float | None
    scope: str | None = None
    """What they are good for now, where the server says so: it may be less than before (RFC 6749 section 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed(Event):
    """The refresh brought no token; nobody is signed out."""

    status: int | None
    """The answer's status; None when no answer came."""
    retry_in: float | None
    """Seconds until the next attempt; None when there will be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensAdopted(Event):
    """Another tab had refreshed already; its tokens are used, nothing was redeemed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthServerMisconfigured(Event):
    """For the developer: the auth server rejects this client, and no retry will change that."""

    status: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFailed(Event):
    """The token store refuses or holds something unreadable; the session goes on in memory."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEvent(Event):
    """Base of what happens to one request."""

    number: int
    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeld(RequestEvent):
    """The request waits for its turn: for a refresh, or until the token has proved to work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSent(RequestEvent):
    """The request left for the server."""

    replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswered(RequestEvent):
    """The server answered. ``refused`` when it did not accept the access token."""

    status: int
    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed(RequestEvent):
    """The caller got an error instead of an answer. ``error`` is its class name."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSent(Event):
    """The server is being asked whether the token still works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAnswered(Event):
    """The server answered the heartbeat."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatFailed(Event):
    """The heartbeat got no usable answer; the loop goes on and the session is kept."""

    error: str
