"""Numbered transport: each request of this page says which one it is, so that the server's journal can be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freshfetch import Body, Request, Response, Target, Transport

    from .ledger import Ledger


class NumberedTransport:
    """A transport with an ``X-Request-Id`` on what carries a token. A request sent again keeps its id."""

    def __init__(self, transport: Transport, ledger: Ledger) -> None:
        self._transport = transport
        self._ledger = ledger

    def resolve(self, url: str) -> Target:
        """Say where ``url`` leads."""
        return self._transport.resolve(url)

    def snapshot(self, body: Any) -> Body:
        """Take a body as it is now."""
        return self._transport.snapshot(body)

    async def send(self, request: Request) -> Response:
        """Send the request."""
        if "authorization" in request.headers and "x-request-id" not in request.headers:
            headers = request.headers.having(x_request_id=self._ledger.request_id(request.number))
            request = replace(request, headers=headers)
        return await self._transport.send(request)
