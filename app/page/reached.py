"""Reached transport: nothing is sent past the server inside this browser, to whoever the page came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from freshfetch import TransportError

if TYPE_CHECKING:
    from freshfetch import Body, Request, Response, Target, Transport


class ReachedTransport:
    """A transport for a server that may come late: until requests get to it, each is one that nobody answers."""

    def __init__(self, transport: Transport, is_reached: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_reached = is_reached

    def resolve(self, url: str) -> Target:
        """Say where ``url`` leads."""
        return self._transport.resolve(url)

    def snapshot(self, body: Any) -> Body:
        """Take a body as it is now."""
        return self._transport.snapshot(body)

    async def send(self, request: Request) -> Response:
        """Send the request; TransportError as long as it would get to another server."""
        if not self._is_reached():
            raise TransportError("The server inside this browser is not there yet.")
        return await self._transport.send(request)
