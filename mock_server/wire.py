"""Wire: JSON in and out. Reads a request's body under a limit and insists on the types of its fields.

Whatever a client sends, the outcome is a checked value or an ApiError of the 4xx kind, never a traceback.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from starlette.requests import Request

from mock_server.errors import invalid_request

LARGEST_JSON = 256 * 1024
# Python's parser recurses, which raises on a host and is the end of the interpreter in the browser.
DEEPEST_JSON = 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|$)', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")


def camel(name: str) -> str:
    """Turn a name into what it is called on the wire: `access_lifetime` into `accessLifetime`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def seconds(value: float) -> float:
    """Write a duration as people do: 1800, not 1800.0."""
    return int(value) if value == int(value) else value


def plain(value: Any) -> dict[str, object]:
    """Return the fields of a frozen, slotted value that holds plain ones. `asdict` would copy them: too slow here."""
    return {name: getattr(value, name) for name in value.__slots__}


async def read_bytes(request: Request, limit: int) -> bytes:
    """Read the body; refuse with 413 as soon as it is known to be larger than the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise invalid_request(f"The body is larger than {limit} bytes.", status=413)
    return bytes(body)


async def read_object(request: Request) -> dict[str, object]:
    """Read the body as a JSON object; no body is an object without fields."""
    value = _parse(await read_bytes(request, LARGEST_JSON) or b"{}")
    if not isinstance(value, dict):
        raise invalid_request("The body must be a JSON object.")
    return value


def text(fields: dict[str, object], name: str) -> str:
    """Take a field that must be there and must be text."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise invalid_request(f"{name} is required and must be a string.")
    return value


def optional_text(fields: dict[str, object], name: str) -> str | None:
    """Take a field that is text, null or absent."""
    return None if fields.get(name) is None else text(fields, name)


def refuse_unknown(fields: dict[str, object], known: set[str]) -> None:
    """Be strict, as controls are: a misspelt field would silently test nothing."""
    for name in fields:
        if name not in known:
            raise invalid_request(f"{name!r} is not known here; there are {', '.join(sorted(known))}.")


def _parse(body: bytes) -> object:
    if _depth(body) > DEEPEST_JSON:
        raise invalid_request("The body is nested too deeply.")
    try:
        value: object = json.loads(body.decode(), parse_constant=_refuse_constant)
        # A lone surrogate survives parsing but could never be sent back.
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        raise invalid_request("The body is not valid JSON in UTF-8.") from None
    return value


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
