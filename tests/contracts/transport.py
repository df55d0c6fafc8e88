"""The contract of Transport. ``make`` returns a transport to a mock server that starts out without faults.

``server`` reaches the same server's test controls: ``await server(method, path, content)``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from freshfetch import Body, Headers, InvalidRequestError, Request, Transport, TransportError

Maker = Callable[[], Transport]
Server = Callable[[str, str, Any], Awaitable[Any]]
JSON = Headers({"content-type": "application/json"})


def _sign_in(transport: Transport, password: str = "lovelace") -> Request:
    content = json.dumps({"username": "ada", "password": password})
    target = transport.resolve("/api/auth/login")
    return Request(target=target, method="POST", headers=JSON, body=Body(content))


async def check_any_status_is_a_response(make: Maker, server: Server) -> None:
    """A refusal is an answer like any other, with its headers and its body."""
    transport = make()
    response = await transport.send(_sign_in(transport, "wrong"))
    assert response.status == 401
    assert not response.ok
    assert response.headers["Content-Type"].startswith("application/json")
    assert (await response.json())["error"] == "invalid_credentials"


async def check_method_headers_and_body_arrive(make: Maker, server: Server) -> None:
    """The server sees what was asked, byte for byte; the body can be read more than once."""
    transport = make()
    token = (await (await transport.send(_sign_in(transport))).json())["accessToken"]
    request = Request(
        target=transport.resolve("/api/echo?x=1"),
        method="POST",
        headers=Headers({"X-Request-Id": "abc"}),
        body=Body(b"gr\xc3\xbc\xc3\x9fe"),
    )
    response = await transport.send(request.authorized(token))
    echoed = await response.json()
    assert (echoed["method"], echoed["body"], echoed["user"]) == ("POST", "grüße", "ada")
    assert echoed["headers"]["x-request-id"] == "abc"
    assert await response.json() == echoed


async def check_any_header_can_be_read(make: Maker, server: Server) -> None:
    """Also one that is named like something every object of JavaScript has."""
    headers = {"Constructor": "x", "__proto__": "y", "Length": "z"}
    fault = {"path": "/api/auth/login", "kind": "status", "status": 204, "headers": headers, "times": 1}
    await server("POST", "/mock/faults", fault)
    transport = make()
    response = await transport.send(_sign_in(transport))
    assert [response.headers[name] for name in headers] == ["x", "y", "z"]


async def check_an_answer_that_is_too_long_is_a_transport_error(make: Maker, server: Server) -> None:
    """``longest_answer`` is the number of bytes that are still read."""
    for size, body in ((1000, b"x" * 1000), (1000, b"x" * 1001), (0, b"")):
        fault = {"path": "/api/auth/login", "kind": "status", "status": 200, "body": body.decode(), "times": 1}
        await server("POST", "/mock/faults", fault)
        transport = make()
        response = await transport.send(replace(_sign_in(transport), longest_answer=size))
        try:
            assert await response.bytes() == body
        except TransportError:
            assert len(body) > size
        else:
            assert len(body) <= size


async def check_no_answer_is_a_transport_error(make: Maker, server: Server) -> None:
    """A connection that is closed before, or in the middle of, an answer is a TransportError."""
    for kind in ("drop_before", "drop_after", "truncate"):
        await server("POST", "/mock/faults", {"path": "/api/auth/login", "kind": kind, "times": 1})
        transport = make()
        try:
            response = await transport.send(_sign_in(transport))
            await response.bytes()
        except TransportError:
            continue
        raise AssertionError(kind)


async def check_cancelling_aborts(make: Maker, server: Server) -> None:
    """A cancelled send ends at once, though the server has not answered."""
    await server("POST", "/mock/faults", {"path": "/api/auth/login", "kind": "stall", "times": 1})
    transport = make()
    sending = asyncio.ensure_future(transport.send(_sign_in(transport)))
    await asyncio.sleep(0.1)
    sending.cancel()
    await asyncio.wait({sending})
    assert sending.cancelled()


async def check_urls_are_resolved_as_they_will_be_sent(make: Maker, server: Server) -> None:
    """Relative URLs get the transport's own origin; others keep theirs, with the default port left out."""
    transport = make()
    home = transport.resolve("")
    assert transport.resolve("/api/data").url == f"{home.origin}/api/data"
    assert transport.resolve("https://API.example:443/x").origin == "https://api.example"
    assert transport.resolve("https://api.example:8443/x").origin == "https://api.example:8443"
    assert transport.resolve("//evil.example/x").origin.endswith("://evil.example")


async def check_what_cannot_be_sent_is_refused_at_once(make: Maker, server: Server) -> None:
    """A URL with credentials in it, a broken one, and a body of an unknown kind are InvalidRequestErrors."""
    transport = make()
    for url in ("https://ada:lovelace@api.example/", "https://", "https://api.example:port/"):
        try:
            transport.resolve(url)
        except InvalidRequestError:
            continue
        raise AssertionError(url)
    try:
        transport.snapshot(object())
    except InvalidRequestError:
        return
    raise AssertionError("object() was taken for a body")


CHECKS = (
    check_any_status_is_a_response,
    check_method_headers_and_body_arrive,
    check_any_header_can_be_read,
    check_an_answer_that_is_too_long_is_a_transport_error,
    check_no_answer_is_a_transport_error,
    check_cancelling_aborts,
    check_urls_are_resolved_as_they_will_be_sent,
    check_what_cannot_be_sent_is_refused_at_once,
)
