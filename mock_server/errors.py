"""Errors: how the API says no. Every refusal is JSON, `{"error": code, "error_description": sentence}`.

An endpoint raises ApiError and is done; the answer is made here, and the journal is told the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ExceptionHandler

from mock_server.journal import entry_of

HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


class ApiError(Exception):
    """A refusal: status, code for programs, description for people, extra headers."""

    def __init__(self, status: int, code: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.description = description
        self.headers = dict(headers or {})


def invalid_request(description: str, *, status: int = 400) -> ApiError:
    """Refuse a request that is wrong, whoever sent it."""
    return ApiError(status, "invalid_request", description)


def changed_meanwhile() -> ApiError:
    """Refuse to replace what the client has not seen."""
    return ApiError(412, "changed_meanwhile", "The note is not there in the version that If-Match names.")


def missing_token() -> ApiError:
    """Refuse a request that presented no token: the challenge names no error (RFC 6750 section 3.1)."""
    description = "This needs an access token in an Authorization: Bearer header."
    return ApiError(401, "missing_token", description, {"WWW-Authenticate": "Bearer"})


def invalid_token(description: str) -> ApiError:
    """Refuse a token that does not work, or works no longer."""
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    return ApiError(401, "invalid_token", description, {"WWW-Authenticate": challenge})


def handlers() -> dict[type[Exception], ExceptionHandler]:
    """Tell Starlette what becomes of each exception an endpoint may raise."""
    return {ApiError: _refuse, HTTPException: _refuse_route, ClientDisconnect: _give_up}


def _answer(request: Request, error: ApiError) -> Response:
    entry_of(request.scope).error = error.code
    body = {"error": error.code, "error_description": error.description}
    return JSONResponse(body, status_code=error.status, headers=error.headers)


async def _refuse(request: Request, error: Exception) -> Response:
    return _answer(request, cast("ApiError", error))


async def _refuse_route(request: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)
    if not request.scope["path"].startswith(("/api", "/mock")):
        return PlainTextResponse(error.detail, status_code=error.status_code, headers=error.headers)
    code = HTTP_CODES.get(error.status_code, "invalid_request")
    return _answer(request, ApiError(error.status_code, code, f"{error.detail}.", error.headers))


async def _give_up(request: Request, _: Exception) -> Response:
    """End a request whose client went away in mid-body; nobody reads this."""
    return _answer(request, invalid_request("The body ended early."))
