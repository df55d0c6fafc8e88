"""The in-memory adapters keep the contracts of the ports (the browser's are held to them in Chromium)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from freshfetch import Body, Headers, Request
from freshfetch.memory import ASGITransport, MemoryChannel, MemoryLock, MemoryTokenStore
from mock_server.app import create_app
from tests.contracts import channel, lock, token_store, transport

Check = Callable[..., Awaitable[None]]


def _named(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", token_store.CHECKS, ids=_named)
async def test_memory_token_store(check: Check) -> None:
    """MemoryTokenStore keeps the contract of TokenStore."""
    store = MemoryTokenStore()
    await check(lambda: store)


@pytest.mark.parametrize("check", lock.CHECKS, ids=_named)
async def test_memory_lock(check: Check) -> None:
    """MemoryLock keeps the contract of Lock."""
    shared = MemoryLock()
    await check(lambda: shared)


@pytest.mark.parametrize("check", channel.CHECKS, ids=_named)
async def test_memory_channel(check: Check) -> None:
    """MemoryChannel keeps the contract of Channel."""
    shared = MemoryChannel()
    await check(lambda: shared)


@pytest.mark.parametrize("check", transport.CHECKS, ids=_named)
async def test_asgi_transport(check: Check) -> None:
    """ASGITransport keeps the contract of Transport."""
    app = create_app()

    async def server(method: str, path: str, content: Any) -> Any:
        to_app = ASGITransport(app)
        fields = Headers({"content-type": "application/json"})
        body = Body(json.dumps(content))
        await to_app.send(Request(target=to_app.resolve(path), method=method, headers=fields, body=body))

    await check(lambda: ASGITransport(app), server)
