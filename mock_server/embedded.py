"""Embedded: the same app inside the browser, in a worker, behind a service worker.

`app/static/server-worker.js` brings requests and takes answers away; what it does for this module is two functions
that are passed in, so this runs on a host as well. Nothing here imports `js`.

Rules for people who edit this module:

- No part of an answer leaves before what the request changed is saved: who was told of a change finds it again, after
  a reload and after the loss of the worker. A request that ends without an answer is saved, too.
- Whatever becomes of a request, its last part is sent exactly once: `whole`, `end` or `fail`. Nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp, Message, Scope

from mock_server.app import create_app
from mock_server.state import Server

Save = Callable[[str], Awaitable[object]]
"""Stores a text in place of the one before, and returns when it is safe. A failure is an exception."""


class Post(Protocol):
    """Takes one part of an answer to whoever waits for it."""

    def __call__(self, call: str, part: str, head: str, content: bytes, /) -> object:
        """Send it; `call` names the request, `part` what it is.

        whole   all of the answer at once; `head` is JSON, {"status", "headers": [[name, value], ...]}
        start   the head alone
        chunk   some of the body
        end     there is no more of it
        fail    there is no (more of the) answer: the connection was dropped
        """


class Keeper:
    """Saves the server's state when it has changed since it was last saved."""

    def __init__(self, server: Server, save: Save) -> None:
        self._server = server
        self._save = save
        self._saved = ""
        self._saving = asyncio.Lock()

    def recall(self, saved: str) -> None:
        """Go on from what was saved; from the start if that is nothing, or not to be understood."""
        with contextlib.suppress(ValueError):
            self._server.load(json.loads(saved))

    async def keep(self) -> None:
        """Return when all that has changed up to now is saved. Where nothing can be stored, memory has to do."""
        async with self._saving:
            # Those who waited find that one before them has saved their changes, too.
            text = json.dumps(self._server.dump())
            if text == self._saved:
                return
            with contextlib.suppress(Exception):  # whatever JavaScript raises; the next change tries again
                await self._save(text)
                self._saved = text

    async def disconnect(self, gone: asyncio.Event) -> Message:
        """Save what a request has changed, and tell it when its client is gone."""
        await self.keep()
        await gone.wait()
        return {"type": "http.disconnect"}


class Reply:
    """One request's answer, on its way out; also tells the app when nobody waits for it any more."""

    def __init__(self, call: str, body: bytes, *, keeper: Keeper, post: Post) -> None:
        self._call = call
        self._body: bytes | None = body
        self._keeper = keeper
        self._post = post
        self._head = ""
        self._has_started = False
        self.has_ended = False
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        """Give the app the request's body, then wait until the client is gone."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._keeper.disconnect(self.gone)

    async def send(self, message: Message) -> None:
        """Take a part of the answer from the app."""
        if message["type"] == "http.response.start":
            await self._keeper.keep()
            self._head = _head(message)
            # A body that follows at once goes along; one that is long in coming must not keep the head back.
            asyncio.get_running_loop().call_soon(self._start)
        elif message.get("more_body", False):
            self._start()
            self._tell("chunk", content=message.get("body", b""))
        else:
            self._finish(message.get("body", b""))

    def fail(self) -> None:
        """End it: the rest of the answer is lost."""
        self._end("fail")

    def _finish(self, body: bytes) -> None:
        if not self._has_started:
            self._end("whole", self._head, body)
            return
        if body:
            self._tell("chunk", content=body)
        self._end("end")

    def _start(self) -> None:
        if not self._has_started and not self.has_ended:
            self._has_started = True
            self._tell("start", self._head)

    def _end(self, part: str, head: str = "", content: bytes = b"") -> None:
        self._tell(part, head, content)
        self.has_ended = True

    def _tell(self, part: str, head: str = "", content: bytes = b"") -> None:
        if not self.gone.is_set():
            self._post(self._call, part, head, content)


class EmbeddedServer:
    """The server, and the requests it is answering."""

    def __init__(self, app: ASGIApp, keeper: Keeper, post: Post) -> None:
        self._app = app
        self._keeper = keeper
        self._post = post
        self._replies: dict[str, Reply] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, call: str, head: str, body: Any) -> None:
        """Begin to answer a request; `body` is bytes or a view of such, `head` is JSON.

        {"origin", "method", "path", "query", "headers": [[name, value], ...]}: `path` begins with a slash where the
        server begins, and is encoded as in the URL; `query` has no question mark.
        """
        reply = self._replies[call] = Reply(call, bytes(body), keeper=self._keeper, post=self._post)
        task = asyncio.ensure_future(self._answer(call, scope_of(json.loads(head)), reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def give_up(self, call: str) -> None:
        """Note that nobody waits for the answer any more."""
        if (reply := self._replies.get(call)) is not None:
            reply.gone.set()

    async def _answer(self, call: str, scope: Scope, reply: Reply) -> None:
        # A dropped connection is a ConnectionResetError; a bug was answered with a 500 before it got here.
        with contextlib.suppress(Exception):
            await self._app(scope, reply.receive, reply.send)
        if not reply.has_ended:
            await self._keeper.keep()
            reply.fail()
        del self._replies[call]


def start(post: Post, save: Save, saved: str) -> EmbeddedServer:
    """Start the server with what `save` was given last, or "" the first time."""
    app = create_app(controls=True)
    keeper = Keeper(app.state.server, save)
    keeper.recall(saved)
    return EmbeddedServer(app, keeper, post)


def scope_of(head: Mapping[str, Any]) -> Scope:
    """Describe a request as ASGI does."""
    origin = urlsplit(head["origin"])
    headers = [[name.lower().encode("latin-1"), value.encode("latin-1")] for name, value in head["headers"]]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": head["method"],
        "scheme": origin.scheme,
        "path": unquote(head["path"]),
        "raw_path": head["path"].encode(),
        "root_path": "",
        "query_string": head["query"].encode(),
        "headers": [[b"host", origin.netloc.encode()], *headers],
        "client": None,
        "server": (origin.hostname, origin.port),
    }


def _head(message: Message) -> str:
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in message.get("headers", ())]
    return json.dumps({"status": message["status"], "headers": headers})
