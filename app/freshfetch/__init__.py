"""freshfetch: a person using a Python web page never notices that a token expired.

    import freshfetch
    from freshfetch.browser import connect

    session = connect("/api/auth")
    async with session:
        await session.sign_in("ada", "lovelace")
        response = await session.fetch("/api/notes", method="POST", json={"text": "hi"})

Words: an *access token* is sent with each request and dies young (RFC 6749 section 1.4); a *refresh token*
gets a new pair (1.5) and is then spent (*rotation*); *leeway* is how long before its end a token counts as
old; a refused request is *replayed* with a new token; requests that come during a refresh are *held* in the
queue and *released* after it; a *heartbeat* asks now and then whether the token still works; a *hint* tells
other tabs to look at the store.
"""

from ._errors import (
    AmbiguousRequestError,
    AuthServerError,
    ConfigurationError,
    FreshfetchError,
    HTTPStatusError,
    IdentityChangedError,
    InvalidCredentialsError,
    InvalidRequestError,
    NotReplayableError,
    QueueDroppedError,
    QueueFullError,
    RefreshUnavailableError,
    RequestAbortedError,
    RequestTimeoutError,
    SessionClosedError,
    SessionExpiredError,
    SignedOutError,
    StorageError,
    TransportError,
)
from ._events import (
    AuthServerMisconfigured,
    Event,
    HeartbeatAnswered,
    HeartbeatFailed,
    HeartbeatSent,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestEvent,
    RequestFailed,
    RequestHeld,
    RequestSent,
    RevocationFailed,
    SessionExpired,
    SignedIn,
    SignedOut,
    State,
    StateChanged,
    StorageFailed,
    TokensAdopted,
)
from ._heartbeat import HeartbeatPolicy
from ._models import Body, Headers, Owner, Request, Response, Target, is_expired_token
from ._ports import AuthServer, Channel, Clock, Hint, Lock, Presence, Refusal, TokenStore, Transport
from ._queue import QueuePolicy
from ._record import SessionRecord, Tokens
from ._retry import RetryPolicy
from ._session import Session, Snapshot
from .auth_servers import JsonAuthServer

__version__ = "0.1.0"

__all__ = [
    "AmbiguousRequestError",
    "AuthServer",
    "AuthServerError",
    "AuthServerMisconfigured",
    "Body",
    "Channel",
    "Clock",
    "ConfigurationError",
    "Event",
    "FreshfetchError",
    "HTTPStatusError",
    "Headers",
    "HeartbeatAnswered",
    "HeartbeatFailed",
    "HeartbeatPolicy",
    "HeartbeatSent",
    "Hint",
    "IdentityChangedError",
    "InvalidCredentialsError",
    "InvalidRequestError",
    "JsonAuthServer",
    "Lock",
    "NotReplayableError",
    "Owner",
    "Presence",
    "QueueDroppedError",
    "QueueFullError",
    "QueuePolicy",
    "RefreshFailed",
    "RefreshStarted",
    "RefreshSucceeded",
    "RefreshUnavailableError",
    "Refusal",
    "Request",
    "RequestAbortedError",
    "RequestAnswered",
    "RequestEvent",
    "RequestFailed",
    "RequestHeld",
    "RequestSent",
    "RequestTimeoutError",
    "Response",
    "RetryPolicy",
    "RevocationFailed",
    "Session",
    "SessionClosedError",
    "SessionExpired",
    "SessionExpiredError",
    "SessionRecord",
    "SignedIn",
    "SignedOut",
    "SignedOutError",
    "Snapshot",
    "State",
    "StateChanged",
    "StorageError",
    "StorageFailed",
    "Target",
    "TokenStore",
    "Tokens",
    "TokensAdopted",
    "Transport",
    "TransportError",
    "is_expired_token",
]
