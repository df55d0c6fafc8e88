"""Page: serves the page's own files from the same origin, and nothing else of the directory they lie in.

Types come from a table, not from the machine: a browser refuses modules and WebAssembly of the wrong type. Files are
read without a thread; they are local, and this is not a server for the world.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

ENTRIES = {name: name for name in ("index.html", "pyscript.toml", "favicon.ico", "favicon.svg", "app", "vendor")}
# A service worker has power over what lies below it, so this one must be served from the top.
ENTRIES["service-worker.js"] = "app/static/service-worker.js"
Made = Mapping[str, Callable[[], bytes]]
OCTETS = "application/octet-stream"
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".whl": "application/zip",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
}


class Page:
    """Files by the first part of their path: the page's entries, mounts by name, and what is made when asked for."""

    def __init__(self, root: Path | None, mounts: Mapping[str, Path], made: Made) -> None:
        self.places = {name: root / place for name, place in ENTRIES.items()} if root else {}
        self.places |= {prefix.strip("/"): path for prefix, path in mounts.items()}
        self.made = made if root else {}

    async def serve(self, request: Request) -> Response:
        """Send one file, or 304 when the browser has it."""
        url_path = request.scope["path"]
        if (make := self.made.get(url_path.removeprefix("/"))) is not None:
            content = make()
            return _file(request, Path(url_path), hashlib.sha256(content).hexdigest(), lambda: content)
        path = self.find(url_path)
        if path is None:
            raise HTTPException(404)
        stat = path.stat()
        return _file(request, path, f"{stat.st_mtime_ns:x}-{stat.st_size:x}", path.read_bytes)

    def find(self, url_path: str) -> Path | None:
        """Find the file for a URL's path; None when it is not there, hidden, or outside its place."""
        first, _, rest = url_path.removeprefix("/").partition("/")
        place = self.places.get(first or "index.html")
        if place is None or "\\" in rest or any(part.startswith(".") for part in rest.split("/")):
            return None
        file = place / rest if rest else place
        return _readable(file / "index.html" if url_path.endswith("/") and first else file, place)


def _file(request: Request, path: Path, version: str, read: Callable[[], bytes]) -> Response:
    etag = f'"{version}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(read(), media_type=TYPES.get(path.suffix, OCTETS), headers=headers)


def _readable(file: Path, place: Path) -> Path | None:
    try:
        # A link may lead to the place itself (a shared vendor directory) but not out of it.
        real = file.resolve()
        return real if real.is_relative_to(place.resolve()) and real.is_file() else None
    except (OSError, ValueError):
        return None
