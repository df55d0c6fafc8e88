"""Controls: the /mock/* endpoints with which a test, or a curious person, steers the server and looks inside.

They exist only for this machine: to anybody else they are 404. They are strict about what they are given, since a
misspelt field would silently test nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mock_server import wire
from mock_server.errors import ApiError, invalid_request
from mock_server.journal import Entry, effect_counts
from mock_server.state import server_of

LONGEST_NUMBER = 18


class LocalOnly:
    """Hides an app from other machines. `always` True: from nobody (embedded); False: from everybody."""

    def __init__(self, app: ASGIApp, *, always: bool | None) -> None:
        self.app = app
        self.always = always

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not (is_loopback(scope) if self.always is None else self.always):
            raise HTTPException(404)
        await self.app(scope, receive, send)


def is_loopback(scope: Scope) -> bool:
    """Tell whether the client is on this machine."""
    try:
        address = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def read_journal(request: Request) -> Response:
    """Show the journal, or a part of it; `next` is the `since` with which a reader goes on."""
    journal, since, limit = server_of(request).journal, _asked(request, "since") or 0, _asked(request, "limit")
    entries = _entries(request, since=since, limit=limit)
    more = limit is not None and len(entries) == limit
    last = entries[-1].number if entries else since
    return JSONResponse(
        {
            "entries": [entry.to_json() for entry in entries],
            "next": last if more else journal.last_number,
            "missed": journal.missed(since),
        }
    )


async def read_effects(request: Request) -> Response:
    """Count the effects by request id, of the whole journal or of a part of it."""
    since = _asked(request, "since") or 0
    counts = effect_counts(_entries(request, since=since))
    return JSONResponse({"effects": counts, "missed": server_of(request).journal.missed(since)})


async def clear_journal(request: Request) -> Response:
    """Forget the entries; numbers go on."""
    server_of(request).journal.clear()
    return Response(status_code=204)


async def read_settings(request: Request) -> Response:
    """Show all settings."""
    return JSONResponse(server_of(request).settings.to_json())


async def change_settings(request: Request) -> Response:
    """Replace some settings; answer with all."""
    server = server_of(request)
    changes = await wire.read_object(request)
    try:
        server.settings = server.settings.changed(changes)
    except ValueError as error:
        raise invalid_request(f"{error}.") from None
    return JSONResponse(server.settings.to_json())


async def expire(request: Request) -> Response:
    """Stop every access token issued so far; refresh tokens go on."""
    fields = await _fields(request, "user")
    affected = server_of(request).families.expire_access(wire.optional_text(fields, "user"))
    return JSONResponse({"affected": affected})


async def revoke(request: Request) -> Response:
    """End every sign-in; with `{"accessTokens": false}` its access tokens work until they expire."""
    fields = await _fields(request, "user", "accessTokens")
    access_tokens = fields.get("accessTokens", True)
    if not isinstance(access_tokens, bool):
        raise invalid_request("accessTokens must be true or false.")
    user = wire.optional_text(fields, "user")
    return JSONResponse({"affected": server_of(request).families.revoke_all(user, access_tokens=access_tokens)})


async def list_faults(request: Request) -> Response:
    """Show the rules, and how often each was met and applied."""
    return JSONResponse({"faults": [rule.to_json() for rule in server_of(request).faults.rules.values()]})


async def add_fault(request: Request) -> Response:
    """Set a rule."""
    server = server_of(request)
    fields = await wire.read_object(request)
    try:
        rule = server.faults.add(fields, now=server.clock())
    except ValueError as error:
        raise invalid_request(f"{error}.") from None
    hang_up = request.scope.get("extensions", {}).get("mock.hang_up")
    if hang_up is not None and server.faults.will_drop(server.clock()):
        hang_up()
        # The sockets are closed in the next round of the loop; whoever reads this answer must find them so.
        await asyncio.sleep(0)
    return JSONResponse({"id": rule.id}, status_code=201)


async def clear_faults(request: Request) -> Response:
    """Remove all rules."""
    server_of(request).faults.clear()
    return Response(status_code=204)


async def remove_fault(request: Request) -> Response:
    """Remove one rule."""
    rule_id = _number(request.path_params["id"])
    if rule_id is None or not server_of(request).faults.remove(rule_id):
        raise ApiError(404, "not_found", "There is no such rule.")
    return Response(status_code=204)


async def reset(request: Request) -> Response:
    """Go back to the start: journal, faults, sign-ins, notes, settings."""
    server_of(request).reset()
    return Response(status_code=204)


def _entries(request: Request, *, since: int, limit: int | None = None) -> list[Entry]:
    query = request.query_params
    journal = server_of(request).journal
    return journal.select(path=query.get("path"), request_id=query.get("requestId"), since=since, limit=limit)


def _asked(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    number = None if text is None else _number(text)
    if text is not None and number is None:
        raise invalid_request(f"{name} must be a whole number from 0.")
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


async def _fields(request: Request, *known: str) -> dict[str, object]:
    fields = await wire.read_object(request)
    wire.refuse_unknown(fields, set(known))
    return fields
