"""What can go wrong, one class for each reaction a caller can have.

FreshfetchError
├── InvalidRequestError       the call itself is wrong: fix the arguments
├── ConfigurationError        the set-up is wrong: fix the settings
├── TransportError            no answer came and repeating is harmless: try again later
│   └── RequestTimeoutError   ... within the time the caller gave
├── RequestAbortedError       the caller's own AbortSignal ended it: nothing to do
├── AmbiguousRequestError     sent, answer lost: find out whether it took effect before repeating
├── NotReplayableError        the token was renewed but the body is spent: call again with a new body
├── QueueFullError            too much is waiting for the refresh: slow down
├── QueueDroppedError         a newer request took this one's place in the queue
├── RefreshUnavailableError   the token cannot be renewed for now: wait ``retry_in`` seconds
├── SessionExpiredError       the refresh token is dead: ask the person to sign in
├── SignedOutError            somebody signed out: the request belongs to a session that is over
├── IdentityChangedError      somebody else has signed in: never send it under their name
├── SessionClosedError        the Session object was closed: make a new one
├── StorageError              the token store refuses, is full, or holds something unreadable
├── HTTPStatusError           ``response.raise_for_status()`` met a 4xx or 5xx
└── AuthServerError           the auth server said something no retry will change
    └── InvalidCredentialsError   ... user name or password is wrong: ask again

No error holds a token. Errors that give up a request carry it as ``error.request``: after the person
has signed in again, ``await session.resend(error.request)`` sends it, if it is still theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._models import Request


class FreshfetchError(Exception):
    """Base of every error this library raises on purpose."""

    request: Request | None = None
    """The request that was given up, to be sent again with ``session.resend``; None where there is none."""

    def about(self, request: Request) -> FreshfetchError:
        """Attach the request this error gives back, and return the error."""
        self.request = request
        return self

    def again(self) -> FreshfetchError:
        """Return a new error that says the same: one instance raised in many places collects their tracebacks."""
        error = type(self).__new__(type(self), *self.args)
        error.__dict__.update(self.__dict__, request=None)
        return error


class InvalidRequestError(FreshfetchError, ValueError):
    """The arguments of a call contradict each other or are of the wrong kind."""


class ConfigurationError(FreshfetchError, ValueError):
    """A setting is out of range or unsafe."""


class TransportError(FreshfetchError):
    """No answer came. Sending the request again can do no harm."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No answer came within the caller's ``timeout``. Sending the request again can do no harm."""


class RequestAbortedError(FreshfetchError):
    """The AbortSignal that came with the request was triggered."""


class AmbiguousRequestError(FreshfetchError):
    """The request left, and its answer never came or was redirected to a refusal: it may have taken effect.

    Look before you repeat it.
    """


class NotReplayableError(FreshfetchError):
    """The token was refused and renewed, but the request's body was a stream that is spent now."""


class QueueFullError(FreshfetchError):
    """The queue already holds ``max_size`` requests and its policy is ``reject_new``."""


class QueueDroppedError(FreshfetchError):
    """The queue was full, its policy is ``drop_oldest``, and this request was the oldest."""


class RefreshUnavailableError(FreshfetchError):
    """The access token does not work and cannot be renewed for now; nobody was signed out."""

    def __init__(self, message: str, *, retry_in: float = 0.0) -> None:
        super().__init__(message)
        self.retry_in = retry_in
        """Seconds until the next attempt is planned."""


class SessionExpiredError(FreshfetchError):
    """The refresh token is dead (RFC 6749 section 5.2, ``invalid_grant``). Only signing in helps."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The session is over ({reason}). Ask the person to sign in again.")
        self.reason = reason
        """``invalid_grant``, or ``rotation_ambiguous`` when an earlier answer of the auth server was lost."""


class SignedOutError(FreshfetchError):
    """The session this request belongs to was ended by a sign-out, here or in another tab."""


class IdentityChangedError(FreshfetchError):
    """Another person has signed in since this request was made; it was not sent."""


class SessionClosedError(FreshfetchError):
    """The ``Session`` object was closed while, or before, the request was made."""


class StorageError(FreshfetchError):
    """The token store refused. Raised by stores; a session goes on in memory and tells its listeners."""

    def __init__(self, message: str, *, foreign: bool = False) -> None:
        super().__init__(message)
        self.foreign = foreign
        """Whether the record is another version's: then its session is not ours to go on with, nor to repair."""


class HTTPStatusError(FreshfetchError):
    """The server answered with a status of 400 or above."""

    def __init__(self, status: int, url: str) -> None:
        super().__init__(f"The server answered {status} for {url}.")
        self.status = status
        self.url = url


class AuthServerError(FreshfetchError):
    """The auth server refused in a way that no retry will change."""

    def __init__(self, message: str, *, status: int, error: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        """The ``error`` code of RFC 6749 section 5.2, or an empty string."""


class InvalidCredentialsError(AuthServerError):
    """User name or password is wrong."""
