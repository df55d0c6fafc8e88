"""Requests and responses: values, and pure decisions about them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ._errors import HTTPStatusError
from ._json import parse_json

_BEARER = re.compile(r"(?:^|,)\s*bearer\b")  # one of several challenges may be ours (RFC 9110 section 11.6.1)
_ERROR = re.compile(r"""(?:^|[\s,])error\s*=\s*"?([^",\s]*)""")
SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Idempotent methods (RFC 9110 section 9.2.2)."""


class Headers(Mapping[str, str]):
    """HTTP fields by name, whatever the case of the name (RFC 9110 section 5.1). Has no repr of its values."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self._fields: dict[str, str] = {}
        for name, value in pairs:
            lowered = str(name).lower()
            before = self._fields.get(lowered)  # doubled fields are joined, as fetch does (RFC 9110 section 5.2)
            self._fields[lowered] = str(value) if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({sorted(self._fields)})"

    def having(self, **fields: str) -> Headers:
        """Return a copy with ``fields`` set; underscores stand for hyphens."""
        return Headers({**self._fields, **{name.replace("_", "-"): value for name, value in fields.items()}})


@dataclass(frozen=True, slots=True)
class Body:
    """A request body as it was when the caller asked.

    ``content`` is str, bytes, or whatever the transport's own ``snapshot`` made of something it alone
    knows (a browser's FormData, say). A stream is not ``replayable``: it can be sent once.
    """

    content: Any = field(repr=False)
    replayable: bool = True
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads, as the transport that will send the request understands it."""

    url: str = field(repr=False)
    """Absolute."""
    origin: str
    """Scheme, host and port, serialised as browsers do (``https://api.example``); ``null`` if not http or https."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose request it is: the session it was made in and the person signed in then."""

    session_id: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, immutable from the moment the caller asked for it."""

    target: Target
    number: int = 0
    method: str = "GET"
    headers: Headers = field(default_factory=Headers)
    body: Body | None = None
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Further ``fetch`` options (credentials, cache, redirect, signal ...), for transports that know them."""
    owner: Owner | None = None
    replay: bool | None = None
    timeout: float | None = None
    longest_answer: int | None = None
    """Bytes. Reading an answer that turns out longer is a TransportError; None reads whatever comes."""

    def __repr__(self) -> str:
        return f"<Request #{self.number} {self.method} {self.path}>"

    @property
    def path(self) -> str:
        """The URL's path: for events and messages, since a query can hold what nobody should read."""
        url = self.target.url.removeprefix(self.target.origin)
        return url.partition("?")[0].partition("#")[0] or "/"

    @property
    def may_replay(self) -> bool:
        """Whether the request can be sent a second time after its token was refused."""
        return self.replay is not False and (self.body is None or self.body.replayable)

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice is harmless even if the first one took effect."""
        return self.replay is True or self.method in SAFE_TO_REPEAT

    def authorized(self, access_token: str) -> Request:
        """Return the request carrying the token as RFC 6750 section 2.1 wants it."""
        return replace(self, headers=self.headers.having(authorization=f"Bearer {access_token}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the server answered. Any status is a response.

    Has the names of ``pyodide.http.FetchResponse`` that do not depend on a browser; what a browser's
    own response can do beyond them is reached through ``js_response``.
    """

    status: int
    url: str
    headers: Headers = field(default_factory=Headers)
    status_text: str = ""
    redirected: bool = False
    read: Callable[[], Awaitable[bytes]] = field(repr=False)
    """Reads the whole body; used by ``bytes``, ``text`` and ``json``."""
    take_js: Callable[[], Any] = field(default=lambda: None, repr=False)
    """Gives out what ``js_response`` is; the transport no longer lets go of its body then."""

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.url.partition('?')[0]}>"

    @property
    def ok(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    @property
    def js_response(self) -> Any:
        """The browser's own Response; None elsewhere."""
        return self.take_js()

    async def bytes(self) -> bytes:
        """Return the body."""
        return await self.read()

    async def text(self) -> str:
        """Return the body as UTF-8 text; what is not UTF-8 becomes U+FFFD, as in browsers."""
        return (await self.read()).decode("utf-8-sig", "replace")

    async def string(self) -> str:
        """Do as ``text``; pyfetch's older name for it."""
        return await self.text()

    async def json(self, **options: Any) -> Any:
        """Return the body parsed as JSON.

        Raises:
            json.JSONDecodeError: the body is something else, whatever its Content-Type says, or is nested so
                deeply that reading it would be the end of a browser's Python.
        """
        return parse_json(await self.text(), **options)

    def raise_for_status(self) -> None:
        """Do nothing below 400.

        Raises:
            HTTPStatusError: the status is 400 or above; it is in the error's ``status``.
        """
        if self.status >= 400:
            raise HTTPStatusError(self.status, self.url.partition("?")[0])


def is_expired_token(response: Response) -> bool:
    """Tell whether an answer says that the access token no longer works.

    That is a 401 with no challenge, with a bare ``Bearer`` challenge, or with ``error="invalid_token"``
    (RFC 6750 section 3.1). A 401 of another scheme or with another error is about something else.
    """
    if response.status != 401:
        return False
    challenges = response.headers.get("www-authenticate", "").strip().lower()
    if not challenges:
        return True
    bearer = _BEARER.search(challenges)
    if bearer is None:
        return False
    error = _ERROR.search(challenges, bearer.end())
    return error is None or error[1] == "invalid_token"
