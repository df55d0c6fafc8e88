"""How to speak to an auth server. Builds requests, reads answers, sends nothing.

``JsonAuthServer`` speaks the JSON API of the mock server: ``POST {base}/login``, ``/refresh`` and
``/logout`` with camelCase names. It reads ``token`` for ``accessToken`` and snake_case names as well.
"""

from __future__ import annotations

import base64
import json
import re
from types import MappingProxyType
from typing import Any

from ._errors import ConfigurationError
from ._json import parse_json
from ._models import Body, Headers, Request, Response
from ._ports import Refusal, Transport
from ._record import Tokens, valid_access_token, valid_refresh_token, valid_seconds, valid_subject

__all__ = ["JsonAuthServer"]

# A token endpoint must not be followed elsewhere with the refresh token (a 307 re-sends the body), must
# not be given cookies or the page's address, and its answer must not be cached. No keepalive: a request that
# outlives its page rotates the refresh token for nobody.
_OPTIONS = MappingProxyType(
    {"redirect": "error", "credentials": "omit", "cache": "no-store", "referrerPolicy": "no-referrer"}
)
LONGEST_ANSWER = 200 * 1024
"""Bytes. Two tokens of the longest kind take a sixth of it."""

_MISCONFIGURED = frozenset(
    {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope"}
)
_PASSING = frozenset({408, 425, 429})  # say "later", whatever words come with them
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 section 3.3
_LONGEST_SCOPE = 1000
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_LEAK = 8  # so many characters of a token in a row are too many


class JsonAuthServer:
    """The JSON API: a sign-in, a refresh and a sign-out route below one base URL.

    ``base`` may be relative to the page. ``terminal_errors`` are the ``error`` codes that end a session;
    for a server that answers a dead refresh token with a bare 401 add that status to ``terminal_statuses``
    (by default no bare status ends a session, since proxies and outages make up statuses too).
    """

    def __init__(
        self,
        base: str = "/api/auth",
        *,
        sign_in_path: str = "/login",
        refresh_path: str = "/refresh",
        sign_out_path: str = "/logout",
        terminal_errors: frozenset[str] = frozenset({"invalid_grant"}),
        terminal_statuses: frozenset[int] = frozenset(),
    ) -> None:
        if not base or "?" in base or "#" in base:
            raise ConfigurationError("JsonAuthServer needs a base URL without query or fragment, such as /api/auth.")
        self._base = base.rstrip("/")
        self._paths = (sign_in_path, refresh_path, sign_out_path)
        self._terminal_errors = terminal_errors
        self._terminal_statuses = terminal_statuses

    def owns(self, url: str, transport: Transport) -> bool:
        """Tell whether ``url`` is one of the three routes."""
        without_query = url.partition("?")[0].partition("#")[0]
        return any(without_query == transport.resolve(self._base + path).url for path in self._paths)

    def sign_in_request(self, username: str, password: str, transport: Transport) -> Request:
        """Build ``POST {base}/login`` with ``username`` and ``password``."""
        return self._post(self._paths[0], {"username": username, "password": password}, transport)

    def refresh_request(self, refresh_token: str, transport: Transport) -> Request:
        """Build ``POST {base}/refresh`` with ``refreshToken``."""
        return self._post(self._paths[1], {"refreshToken": refresh_token}, transport)

    def sign_out_request(self, refresh_token: str, transport: Transport) -> Request:
        """Build ``POST {base}/logout`` with ``refreshToken``."""
        return self._post(self._paths[2], {"refreshToken": refresh_token}, transport)

    async def read(self, response: Response, *, secrets: tuple[str, ...]) -> Tokens | Refusal:
        """Read the answer to a sign-in or a refresh."""
        answer = await _json_object(response)
        if response.ok:
            # It says that it granted something: the refresh token may be spent.
            unusable = Refusal(kind="ambiguous", status=response.status, error="unusable_answer")
            return _tokens(answer, secrets) or unusable
        error = _error_code(answer, secrets)
        return Refusal(
            kind=self._kind(response.status, error),
            status=response.status,
            error=error,
            description=_description(answer, secrets),
            retry_after=response.headers.get("retry-after"),
            date=response.headers.get("date"),
        )

    def same_person(self, old: str, new: str) -> bool:
        """Compare the ``sub`` claims where both access tokens are JWTs; opaque tokens say nothing."""
        before, after = _subject_claim(old), _subject_claim(new)
        return before is None or after is None or before == after

    def _post(self, path: str, content: dict[str, str], transport: Transport) -> Request:
        return Request(
            target=transport.resolve(self._base + path),
            method="POST",
            headers=Headers({"content-type": "application/json", "accept": "application/json"}),
            body=Body(json.dumps(content)),
            options=_OPTIONS,
            longest_answer=LONGEST_ANSWER,
        )

    def _kind(self, status: int, error: str) -> str:
        if status in _PASSING:
            return "retryable"
        if 400 <= status < 500 and (error in self._terminal_errors or status in self._terminal_statuses):
            return "terminal"
        if 400 <= status < 500 and error in _MISCONFIGURED:
            return "misconfigured"
        return "retryable"


async def _json_object(response: Response) -> dict[str, Any]:
    try:
        answer = await response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _first(answer: dict[str, Any], *names: str) -> Any:
    return next((answer[name] for name in names if answer.get(name) is not None), None)


def _tokens(answer: dict[str, Any], secrets: tuple[str, ...]) -> Tokens | None:
    """Read a grant; None when any part of it is unusable, since half a grant must not be stored."""
    access_token = _first(answer, "accessToken", "access_token", "token")
    refresh_token = _first(answer, "refreshToken", "refresh_token")
    expires_in = _seconds(_first(answer, "expiresIn", "expires_in"))
    refresh_expires_in = _seconds(_first(answer, "refreshExpiresIn", "refresh_expires_in"))
    subject = _first(answer, "user", "username", "sub")
    if not valid_access_token(access_token):
        return None
    if refresh_token is not None and not valid_refresh_token(refresh_token):
        return None
    if not all(value is None or valid_seconds(value) for value in (expires_in, refresh_expires_in)):
        return None
    secrets = (*secrets, access_token, refresh_token or "")
    return Tokens(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=expires_in,
        refresh_expires_in=refresh_expires_in,
        subject=subject if valid_subject(subject) and not _leaks(subject, secrets) else None,
        scope=_scope(answer.get("scope"), secrets),
    )


def _scope(value: Any, secrets: tuple[str, ...]) -> str | None:
    """Read a scope; None for what is none: listeners are told of it, so it must not repeat what it came with."""
    if not isinstance(value, str) or len(value) > _LONGEST_SCOPE or not _SCOPE.fullmatch(value):
        return None
    return None if _leaks(value, secrets) else value


def _seconds(value: Any) -> Any:
    """Take numbers written as text, which some servers send."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        return float(value)
    return value


def _error_code(answer: dict[str, Any], secrets: tuple[str, ...]) -> str:
    error = answer.get("error")
    usable = isinstance(error, str) and _ERROR_CODE.fullmatch(error) and not _leaks(error, secrets)
    return str(error) if usable else ""


def _description(answer: dict[str, Any], secrets: tuple[str, ...]) -> str:
    text = answer.get("error_description")
    if not isinstance(text, str):
        return ""
    shown = text[:200]
    return "" if _leaks(shown, secrets) else shown


def _leaks(text: str, secrets: tuple[str, ...]) -> bool:
    """Tell whether a server's words repeat what it was sent, or a part of it."""
    pieces = {text[at : at + _LEAK] for at in range(max(0, len(text) - _LEAK + 1))}
    return any(secret in text or any(piece in secret for piece in pieces) for secret in secrets if secret)


def _subject_claim(token: str) -> str | None:
    """Read ``sub`` of a JWT (RFC 7519 section 4.1.2) without trusting it; None for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = parse_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)).decode())
    except ValueError:
        return None
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return subject if isinstance(subject, str) else None
