"""Reached transport: nothing is sent past the server inside this browser, to whoever the page came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import js

from freshfetch import TransportError
from freshfetch.browser import FetchTransport

if TYPE_CHECKING:
    from freshfetch import Request, Response


class ReachedTransport(FetchTransport):
    """The browser's fetch, for a server that may come late: until requests get to it nobody answers them."""

    async def send(self, request: Request) -> Response:
        """Send the request; TransportError as long as it would get to another server."""
        if not js.freshfetchServer.isReached:
            raise TransportError("The server inside this browser is not there yet.")
        return await super().send(request)
