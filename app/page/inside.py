"""Inside: the way to a server that runs in this page's own Python, as in the page that is one file.

It is the library's transport for ASGI applications; nothing else of the session knows the difference.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import js

from freshfetch.memory import ASGITransport

ADDRESS = "https://freshfetch.invalid/"
"""What the server is called. No such host can exist (RFC 2606): nothing could leave the page by mistake."""


def is_chosen() -> bool:
    """Tell whether that is the page's server. Then there is one window: a second would have a second server."""
    return str(js.freshfetchServer.kind) == "inside"


def keeps() -> bool:
    """Tell whether the page's server still knows tomorrow what it knows today: only then is a token worth keeping."""
    return not is_chosen() or bool(js.freshfetchServer.kept)


def transport(module: str) -> ASGITransport:
    """Start the server of this module and return what sends requests to it.

    What the server knows is what the browser has kept for it, see tools/single_server.js.
    """
    kept = js.freshfetchServer.kept
    if not kept:
        return ASGITransport(import_module(module).start(None, ""), base_url=ADDRESS)

    async def save(state: str) -> None:
        await kept.save(state)

    server: Any = import_module(module).start(save, str(kept.text))
    return ASGITransport(server, base_url=ADDRESS)
