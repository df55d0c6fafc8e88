"""Takes requests down as they are when the caller asks: what changes afterwards is not sent."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._errors import ConfigurationError, InvalidRequestError
from ._models import Body, Headers, Request

if TYPE_CHECKING:
    from ._identity import Identity
    from ._ports import AuthServer, Transport

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OPAQUE = "null"
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.1
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # section 5.5, with the bytes that browsers let pass


class Intake:
    """Numbers requests, and notes what they hold and whose they are."""

    def __init__(self, transport: Transport, identity: Identity) -> None:
        self._transport = transport
        self._identity = identity
        self._numbers = count(1)

    def take(
        self,
        url: str,
        *,
        method: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
        body: Any,
        json: Any,
        timeout: float | None,
        replay: bool | None,
        options: Mapping[str, Any],
    ) -> Request:
        """Return the request as an immutable value. Raises InvalidRequestError for what makes no request."""
        content = self._body(body, json)
        if replay is not None and not isinstance(replay, bool):
            raise InvalidRequestError("replay is None, True or False.")
        if replay is True and content is not None and not content.replayable:
            raise InvalidRequestError("replay=True needs a body that can be sent twice; a stream cannot.")
        self._identity.look()
        return Request(
            target=self._transport.resolve(url),
            number=next(self._numbers),
            method=_method(method),
            headers=_headers(headers, content),
            body=content,
            options=MappingProxyType(dict(options)),
            owner=self._identity.asker,
            replay=replay,
            timeout=_timeout(timeout),
        )

    def again(self, request: Request) -> Request:
        """Return the same request with a number of its own, so that it has a place of its own in the queue."""
        return replace(request, number=next(self._numbers))

    def _body(self, body: Any, json: Any) -> Body | None:
        if json is not None:
            if body is not None:
                raise InvalidRequestError("Pass body or json, not both.")
            return _json_body(json)
        if body is None:
            return None
        if isinstance(body, str):
            return _text_body(body)
        if isinstance(body, (bytes, bytearray, memoryview)):
            return Body(bytes(body))
        return self._transport.snapshot(body)


def allowed_origins(transport: Transport, urls: Iterable[str]) -> frozenset[str]:
    """Return the origins that may see the token: the transport's own, and those of ``urls``.

    Raises:
        ConfigurationError: one is plain http and not this machine (RFC 6750 section 5.3), or has no origin.
    """
    home = transport.resolve("").origin
    origins = {_safe_origin(transport.resolve(url).origin) for url in urls}
    # A page that was opened from a file has the origin "null", which it shares with everything that has none.
    return frozenset(origins if home == _OPAQUE else origins | {_safe_origin(home)})


def check_auth_server(auth_server: AuthServer, transport: Transport) -> None:
    """Look where the auth server's requests will go: passwords and refresh tokens travel there.

    Raises:
        ConfigurationError: one would go over plain http, and not to this machine.
    """
    requests = (
        auth_server.sign_in_request("", "", transport),
        auth_server.refresh_request("", transport),
        auth_server.sign_out_request("", transport),
    )
    for request in requests:
        _safe_origin(request.target.origin)


def _safe_origin(origin: str) -> str:
    host = urlsplit(origin).hostname or ""
    loopback = host in _LOOPBACK or host.endswith(".localhost")
    if not origin.startswith("https://") and not (origin.startswith("http://") and loopback):
        raise ConfigurationError(f"Tokens are sent over https only, or on this machine; not to {origin}.")
    return origin


def _text_body(text: str) -> Body:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError("body= holds half a character (a lone surrogate), which no text can.") from None
    return Body(text)


def _json_body(value: Any) -> Body:
    try:
        return Body(jsonlib.dumps(value, allow_nan=False), content_type="application/json")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"json= cannot be written as JSON: {type(error).__name__}.") from None


def _headers(fields: Mapping[str, str] | Iterable[tuple[str, str]] | None, body: Body | None) -> Headers:
    headers = Headers(_pairs(fields or ()))
    if not all(_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value) for name, value in headers.items()):
        raise InvalidRequestError("A header's name or value holds a character that HTTP does not allow there.")
    if body is not None and body.content_type is not None and "content-type" not in headers:
        return headers.having(content_type=body.content_type)
    return headers


def _pairs(fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    try:
        pairs = [(name, value) for name, value in (fields.items() if isinstance(fields, Mapping) else fields)]
    except (TypeError, ValueError):
        pairs = [(None, None)]
    if not all(isinstance(part, (str, int, float)) for pair in pairs for part in pair):
        raise InvalidRequestError("headers are a mapping of names to values, or pairs of them; both text or numbers.")
    return pairs


def _method(method: str) -> str:
    if not isinstance(method, str) or not method.isascii() or not method.replace("-", "").isalpha():
        raise InvalidRequestError("method is the name of an HTTP method, such as GET.")
    return method.upper()


def _timeout(timeout: float | None) -> float | None:
    if timeout is not None and (type(timeout) not in (int, float) or not timeout > 0):
        raise InvalidRequestError("timeout is a number of seconds above 0, or None.")
    return timeout
