"""The ports, in memory: for tests and demos, and for pages whose browser refuses the real ones.

Sessions that share one ``MemoryTokenStore``, ``MemoryLock`` and ``MemoryChannel`` behave like tabs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from ._errors import InvalidRequestError, TransportError
from ._models import Body, Headers, Request, Response, Target
from ._ports import Hint
from ._record import SessionRecord

__all__ = [
    "ASGITransport",
    "AlwaysPresent",
    "MemoryChannel",
    "MemoryLock",
    "MemoryTokenStore",
    "SystemClock",
]

_Scope = MutableMapping[str, Any]
_ASGIApp = Callable[[_Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]
_DEFAULT_PORTS = {"http": 80, "https": 443}


class MemoryTokenStore:
    """A token store that forgets everything with the page."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._generation = 0

    def load(self) -> SessionRecord | None:
        """Return the record."""
        return None if self._text is None else SessionRecord.from_json(self._text)

    async def make_current(self) -> int:
        """Return the generation; there is nothing to wait for."""
        return self._generation

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record if the generation still is ``expected``."""
        if self._generation != expected:
            return False
        self._text = None if record is None else record.to_json()
        self._generation = expected + 1 if record is None else record.generation
        return True


class MemoryLock:
    """A lock for the sessions of one event loop."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    def hold(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold the lock; after ``timeout`` seconds go on under a second one."""
        return self._hold(name, timeout)

    @asynccontextmanager
    async def _hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        lock = await self._acquire(name, timeout)
        second = await self._acquire(f"{name} second", timeout, held=lock)
        if lock is not None and second is not None:
            second.release()  # only to see that nobody who passed by is inside
        holding = lock or second
        if holding is None:
            raise TransportError(f"The lock {name!r} was not to be had.")
        try:
            yield
        finally:
            holding.release()

    async def _acquire(self, name: str, timeout: float, held: asyncio.Lock | None = None) -> asyncio.Lock | None:
        """Acquire a lock in time; if that is broken off, release the one that is ``held``."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout):
                await lock.acquire()
        except TimeoutError:
            return None
        except BaseException:
            if held is not None:
                held.release()
            raise
        return lock


class MemoryChannel:
    """A channel for the sessions of one event loop. Hints come back to their sender too."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Hint], None]] = []

    def publish(self, hint: Hint) -> None:
        """Tell everybody soon."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.call_soon(self._tell, listener, hint)

    def subscribe(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call ``listener`` with each hint."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def _tell(self, listener: Callable[[Hint], None], hint: Hint) -> None:
        if listener in self._listeners:
            listener(hint)


class SystemClock:
    """The device's clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()


class AlwaysPresent:
    """Somebody who never goes away."""

    visible = True
    online = True

    def idle_for(self) -> float:
        """Return 0: there was activity just now."""
        return 0.0

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Never call ``listener``: nothing ever changes."""
        del listener
        return lambda: None


class ASGITransport:
    """Sends requests to an ASGI application in this process, without a socket.

    An application that breaks off (raises, or returns before its answer is whole) is a server that cannot
    be reached. The answer's body is there when ``send`` returns.
    """

    def __init__(self, app: _ASGIApp, *, base_url: str = "http://localhost/", client: str = "127.0.0.1") -> None:
        self._app = app
        self._base_url = base_url
        self._client = client

    def resolve(self, url: str) -> Target:
        """Resolve against the base URL; strict, since every leniency in URLs is a way around an allow-list."""
        if not isinstance(url, str) or not url.isascii() or "\\" in url or any(ord(mark) <= 32 for mark in url):
            raise InvalidRequestError("A URL is ASCII text without spaces, control characters or backslashes.")
        try:
            parts = urlsplit(urljoin(self._base_url, url))
            port = parts.port
        except ValueError:
            raise InvalidRequestError("The URL cannot be parsed.") from None
        after_address = parts.netloc.rpartition("]")[2] if "]" in parts.netloc else ""
        if after_address and not after_address.startswith(":"):
            raise InvalidRequestError("The URL cannot be parsed.")
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
            raise InvalidRequestError("A URL is http or https, names a host, and holds no user name or password.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        netloc = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
        target = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
        return Target(target, f"{parts.scheme}://{netloc}")

    def snapshot(self, body: Any) -> Body:
        """Refuse: text and bytes are taken before a transport is asked."""
        raise InvalidRequestError(f"A body is str, bytes or None here, not {type(body).__name__}.")

    async def send(self, request: Request) -> Response:
        """Run the application for one request."""
        exchange = _Exchange(request)
        try:
            await self._app(self._scope(request), exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - whatever an application raises, its connection broke
            if not exchange.complete:  # else the answer was out before it fell over: a server's 500
                raise TransportError(f"The connection broke ({type(error).__name__}).") from None
        if not exchange.complete:
            raise TransportError("The connection was closed before the answer was complete.")
        return Response(
            status=exchange.status,
            url=request.target.url,
            headers=Headers(exchange.headers),
            read=exchange.read,
        )

    def _scope(self, request: Request) -> _Scope:
        parts = urlsplit(request.target.url)
        fields = {"host": parts.netloc, **request.headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": parts.scheme,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
            "client": (self._client, 0),
            "server": (parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]),
        }


class _Exchange:
    """One request's conversation with the application."""

    def __init__(self, request: Request) -> None:
        content = b"" if request.body is None else request.body.content
        self._request_body: bytes = content.encode() if isinstance(content, str) else content
        self._longest = request.longest_answer
        self._asked = False
        self._parts: list[bytes] = []
        self.status = 0
        self.headers: Iterable[tuple[str, str]] = ()
        self.complete = False

    async def receive(self) -> dict[str, Any]:
        if self._asked:
            await asyncio.Event().wait()  # the client stays; whoever listens for its going is cancelled
        self._asked = True
        return {"type": "http.request", "body": self._request_body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))
            self.complete = not message.get("more_body", False)

    async def read(self) -> bytes:
        content = b"".join(self._parts)
        if self._longest is not None and len(content) > self._longest:
            raise TransportError(f"The answer is longer than {self._longest} bytes.")
        return content
