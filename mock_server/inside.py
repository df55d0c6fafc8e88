"""Inside: the same app for a client in the same Python, without a worker between them.

Its rules are those of `embedded.py`: no part of an answer leaves before what the request changed is saved, and a
request goes on when its client does not wait for it any more. Nothing here imports `js`.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.app import create_app
from mock_server.embedded import Keeper, Save


class Client:
    """One request's client, as the app sees it: it may go away, and the app is not broken off by that."""

    def __init__(self, receive: Receive, send: Send, keeper: Keeper) -> None:
        self._receive = receive
        self._send = send
        self._keeper = keeper
        self._has_given = False
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        """Give the app the request's body, then wait until the client is gone."""
        if not self._has_given:
            self._has_given = True
            return await self._receive()
        return await self._keeper.disconnect(self.gone)

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer, when all that it tells of is saved."""
        if message["type"] == "http.response.start":
            await self._keeper.keep()
        if not self.gone.is_set():
            await self._send(message)


class InsideServer:
    """An ASGI app: the server, which keeps its state. Each request runs in a task of its own."""

    def __init__(self, app: ASGIApp, keeper: Keeper) -> None:
        self._app = app
        self._keeper = keeper
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. A dropped connection is a ConnectionResetError."""
        client = Client(receive, send, self._keeper)
        task = asyncio.ensure_future(self._answer(scope, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        finally:
            client.gone.set()

    async def _answer(self, scope: Scope, client: Client) -> None:
        try:
            await self._app(scope, client.receive, client.send)
        finally:
            await self._keeper.keep()


async def _forget(_state: str) -> None:
    """Save nothing."""


def start(save: Save | None, saved: str) -> InsideServer:
    """Start the server with what `save` was given last, or "" the first time; None where nothing can be kept."""
    app = create_app(controls=True)
    keeper = Keeper(app.state.server, save or _forget)
    keeper.recall(saved)
    return InsideServer(app, keeper)
