"""Numbered transport: each request of this page says which one it is, so that the server's journal can be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from freshfetch.browser import FetchTransport

if TYPE_CHECKING:
    from freshfetch import Request, Response

    from .ledger import Ledger


class NumberedTransport(FetchTransport):
    """The browser's fetch, with an ``X-Request-Id`` on what carries a token. A request sent again keeps its id."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    async def send(self, request: Request) -> Response:
        """Send the request."""
        if "authorization" in request.headers and "x-request-id" not in request.headers:
            headers = request.headers.having(x_request_id=self._ledger.request_id(request.number))
            request = replace(request, headers=headers)
        return await super().send(request)
