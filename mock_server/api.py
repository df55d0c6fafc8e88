"""API: the endpoints a client talks to, as the article has them, and a few that show what arrived.

Each is a coroutine from request to answer; refusals are raised as ApiError.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mock_server import wire
from mock_server.auth import Grant, InvalidAccessError, InvalidGrantError
from mock_server.errors import ApiError, changed_meanwhile, invalid_request, invalid_token, missing_token
from mock_server.journal import entry_of
from mock_server.notes import LONGEST_TEXT, is_note_id
from mock_server.state import server_of
from mock_server.tokens import Claims

LARGEST_ECHO = 8 * 1024 * 1024
ITEMS = ("amber", "birch", "coral", "dune", "ember")


async def login(request: Request) -> Response:
    """Give tokens for a name and a password."""
    server = server_of(request)
    fields = await wire.read_object(request)
    user, password = wire.text(fields, "username"), wire.text(fields, "password")
    expected = server.users.get(user)
    if expected is None or not hmac.compare_digest(password.encode(), expected.encode()):
        raise ApiError(401, "invalid_credentials", "The username or the password is wrong.")
    grant = server.families.sign_in(user, now=server.now(), settings=server.settings)
    _note(request, user, grant.family.id, "signed_in")
    return _token_answer(grant)


async def refresh(request: Request) -> Response:
    """Give tokens for a refresh token."""
    server = server_of(request)
    token = wire.text(await wire.read_object(request), "refreshToken")
    try:
        grant = server.families.redeem(token, now=server.now(), settings=server.settings)
    except InvalidGrantError as error:
        if error.family is not None:
            _note(request, error.family.user, error.family.id, *["reuse_detected"] * error.reused)
        raise ApiError(400, "invalid_grant", str(error)) from None
    effect = "grace_reissued" if grant.reissued else "refreshed"
    _note(request, grant.family.user, grant.family.id, effect)
    return _token_answer(grant)


async def logout(request: Request) -> Response:
    """End the sign-in a refresh token belongs to. Ending what has ended, or never was, is not an error."""
    families = server_of(request).families
    family = families.family_of(wire.text(await wire.read_object(request), "refreshToken"))
    if family is not None:
        _note(request, family.user, family.id, *["signed_out"] * families.revoke(family))
    return Response(status_code=204)


async def heartbeat(request: Request) -> Response:
    """Say whether the access token works, and for how long it will."""
    claims = _authenticate(request)
    remaining = claims.expires_at - server_of(request).now()
    return JSONResponse({"user": claims.user, "expiresIn": wire.seconds(remaining)})


async def list_data(request: Request) -> Response:
    """Answer with something to fetch."""
    return JSONResponse({"user": _authenticate(request).user, "items": list(ITEMS)})


async def read_data(request: Request) -> Response:
    """Answer with something to fetch, under as many URLs as a test wants."""
    user, name = _authenticate(request).user, request.path_params["name"]
    return JSONResponse({"name": name, "user": user, "value": f"{name} of {user}"})


async def list_notes(request: Request) -> Response:
    """List the user's notes."""
    user = _authenticate(request).user
    return JSONResponse({"notes": [note.to_json() for note in server_of(request).notes.of(user)]})


async def create_note(request: Request) -> Response:
    """Create a note; with an id that exists already, update that note."""
    user = _authenticate(request).user
    fields = await wire.read_object(request)
    note_id = wire.optional_text(fields, "id") or secrets.token_hex(8)
    return _put_note(request, user, note_id, wire.text(fields, "text"))


async def replace_note(request: Request) -> Response:
    """Create or update the note with this id."""
    user = _authenticate(request).user
    fields = await wire.read_object(request)
    return _put_note(request, user, request.path_params["id"], wire.text(fields, "text"))


async def delete_note(request: Request) -> Response:
    """Delete the note with this id, whether or not there is one: a repeat must not look like a failure."""
    user, note_id = _authenticate(request).user, request.path_params["id"]
    if server_of(request).notes.find(user, note_id) is not None:
        _check_version(request, user, note_id)
    if server_of(request).notes.delete(user, note_id):
        _effect(request, "note_deleted")
    return Response(status_code=204)


async def echo(request: Request) -> Response:
    """Say what arrived, so that a client can be shown to have sent what it was asked to."""
    user = _authenticate(request).user
    body = await wire.read_bytes(request, LARGEST_ECHO)
    hidden = ("authorization", "cookie")
    _effect(request, "echoed")
    return JSONResponse(
        {
            "user": user,
            "method": request.method,
            "headers": {name: value for name, value in request.headers.items() if name not in hidden},
            "bodyLength": len(body),
            "bodySha256": hashlib.sha256(body).hexdigest(),
            "body": _as_text(body),
        }
    )


def _authenticate(request: Request) -> Claims:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise missing_token()
    server = server_of(request)
    try:
        claims = server.families.authenticate(token.strip(), now=server.now())
    except InvalidAccessError as error:
        if error.claims is not None:
            _note(request, error.claims.user, error.claims.family)
        raise invalid_token(str(error)) from None
    _note(request, claims.user, claims.family)
    return claims


def _put_note(request: Request, user: str, note_id: str, text: str) -> Response:
    if not is_note_id(note_id):
        raise invalid_request("id must be 1 to 64 letters, digits, - or _.")
    if len(text) > LONGEST_TEXT:
        raise invalid_request(f"text is longer than {LONGEST_TEXT} characters.", status=413)
    _check_version(request, user, note_id)
    server = server_of(request)
    note, is_new = server.notes.put(user, note_id, text, now=server.now())
    _effect(request, "note_created" if is_new else "note_updated")
    return JSONResponse(note.to_json(), status_code=201 if is_new else 200)


def _check_version(request: Request, user: str, note_id: str) -> None:
    """Refuse to replace another version than the one named (RFC 9110 section 13.1.1); none named: replace any."""
    named = request.headers.get("if-match")
    if named is None:
        return
    note = server_of(request).notes.find(user, note_id)
    if note is None or {"*", f'"{note.version}"'}.isdisjoint(each.strip() for each in named.split(",")):
        raise changed_meanwhile()


def _token_answer(grant: Grant) -> Response:
    return JSONResponse(
        {
            "accessToken": grant.access_token,
            "refreshToken": grant.family.refresh_token,
            "expiresIn": wire.seconds(grant.expires_in),
            "refreshExpiresIn": wire.seconds(grant.refresh_expires_in),
        },
        headers={"Cache-Control": "no-store"},
    )


def _note(request: Request, user: str, family: int, *effects: str) -> None:
    entry = entry_of(request.scope)
    entry.user, entry.family = user, family
    entry.effects.extend(effects)


def _effect(request: Request, effect: str) -> None:
    entry_of(request.scope).effects.append(effect)


def _as_text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
