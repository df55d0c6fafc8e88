"""Front: what every answer carries, whoever made it: the server's date, how it may be cached, who may read it.

It stands outside the faults, as a gateway would: an injected 503 can be read across origins too, and a browser's
preflight is answered here without using up a rule. To an origin that is not on the list the server has never heard of
CORS: its answers say nothing about it.
"""

from __future__ import annotations

from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.state import Server


class AllowListMiddleware(CORSMiddleware):
    """CORS for the origins in the settings, as they are at the moment; no cookies."""

    def __init__(self, app: ASGIApp, *, server: Server) -> None:
        super().__init__(
            app,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "If-Match", "X-Request-Id"),
            expose_headers=("WWW-Authenticate", "Retry-After", "Date"),
            # A browser that remembered a permission would not notice that a test has taken it back.
            max_age=0,
        )
        self.server = server

    def is_allowed_origin(self, origin: str) -> bool:
        """Tell whether pages of this origin may read the answers."""
        return origin in self.server.settings.cors_origins

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer the question in advance; 400 when what is asked for is not allowed."""
        answer = super().preflight_response(request_headers)
        return answer if self.is_allowed_origin(request_headers["origin"]) else _silent(answer)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Pass on an answer, with what its reader may see of it."""
        if self.is_allowed_origin(request_headers.get("origin", "")):
            await super().send(message, send, request_headers)
            return
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).add_vary_header("Origin")
        await send(message)


def _silent(answer: Response) -> Response:
    for name in [name for name in answer.headers if name.startswith("access-control-")]:
        del answer.headers[name]
    return answer


class DateMiddleware:
    """Adds Date, by the server's own clock, and keeps answers about somebody out of every cache."""

    def __init__(self, app: ASGIApp, *, server: Server) -> None:
        self.app = app
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("date", formatdate(self.server.now(), usegmt=True))
                if scope["path"].startswith(("/api/", "/mock/")):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, dated)
