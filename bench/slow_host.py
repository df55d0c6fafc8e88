"""A static host as there are many, beside an API: compresses what they compress, lets files be kept for ten minutes.

It can be slow: then all that it sends shares so many bits a second, and each request, and each new connection, takes a
round trip.
"""

from __future__ import annotations

import asyncio
import gzip
import mimetypes
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CHUNK = 16 * 1024
COMPRESSED = (".css", ".html", ".js", ".json", ".mjs", ".py", ".svg", ".toml", ".wasm")
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".toml": "application/toml"}
API = ("api", "mock", "oauth", ".well-known")


class Line:
    """The way to the browser: how many bits a second all answers share, and how long a round trip takes in seconds."""

    def __init__(self, bits: float, round_trip: float) -> None:
        self.bits = bits
        self.round_trip = round_trip
        self._free_at = 0.0

    async def carry(self, size: int) -> None:
        """Wait until so many bytes are through."""
        if self.bits:
            self._free_at = max(self._free_at, time.monotonic()) + 8 * size / self.bits
            await asyncio.sleep(self._free_at - time.monotonic())


class Host:
    """Serves folders below names of their own; what is below a name and looks like an API goes to ``api``."""

    def __init__(self, folders: Mapping[str, Path], api: ASGIApp, *, compresses: bool) -> None:
        self.api = api
        self.line = Line(0, 0)
        self.files: dict[str, tuple[Message, bytes]] = {}
        for name, folder in folders.items():
            for path in folder.rglob("*"):
                if path.is_file():
                    self.files[f"/{name}/{path.relative_to(folder).as_posix()}"] = _answer(path, compresses=compresses)
        self._connections: set[object] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        await asyncio.sleep(self.line.round_trip * (1 if self._knows(scope) else 2))
        name, _, path = scope["path"].removeprefix("/").partition("/")
        if path.partition("/")[0] in API:
            await self.api({**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, receive, send)
        else:
            await self._serve(scope, f"/{name}/{path or 'index.html'}", send)

    def _knows(self, scope: Scope) -> bool:
        known = scope["client"] in self._connections
        self._connections.add(scope["client"])
        return known

    async def _serve(self, scope: Scope, path: str, send: Send) -> None:
        if path not in self.files:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        start, body = self.files[path]
        etag = dict(start["headers"])[b"etag"]
        if etag in dict(scope["headers"]).get(b"if-none-match", b""):
            start, body = {**start, "status": 304, "headers": [(b"etag", etag)]}, b""
        await send(start)
        for begin in range(0, len(body), CHUNK):
            chunk = body[begin : begin + CHUNK]
            await self.line.carry(len(chunk))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _answer(path: Path, *, compresses: bool) -> tuple[Message, bytes]:
    body = path.read_bytes()
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = [
        (b"content-type", kind.encode()),
        (b"cache-control", b"max-age=600"),
        (b"etag", f'"{path.stat().st_mtime_ns:x}-{len(body):x}"'.encode()),
    ]
    if compresses and path.suffix in COMPRESSED:
        body = gzip.compress(body, 6)
        headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
    headers.append((b"content-length", str(len(body)).encode()))
    return {"type": "http.response.start", "status": 200, "headers": headers}, body


@contextmanager
def serving(host: Host) -> Iterator[str]:
    """Serve in a thread for a while; give the base URL."""
    server = uvicorn.Server(uvicorn.Config(host, port=0, log_level="warning", lifespan="off", timeout_keep_alive=60))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(5)
