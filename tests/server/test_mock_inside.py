"""The server in its client's own Python: how answers leave, what is saved when, and clients that do not wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mock_server.inside import InsideServer, start

SIGN_IN = {"username": "ada", "password": "lovelace"}


class Disk:
    """What a browser keeps for the page."""

    def __init__(self) -> None:
        self.saved = ""
        self.refuses = False
        self.may_save = asyncio.Event()
        self.may_save.set()

    async def save(self, text: str) -> None:
        """Keep a text, as soon as that may be."""
        await self.may_save.wait()
        if self.refuses:
            raise OSError("the disk is full")
        self.saved = text

    def start(self) -> InsideServer:
        """Start a server that goes on from what is kept."""
        return start(self.save, self.saved)


async def ask(
    server: InsideServer,
    method: str,
    path: str,
    content: object = None,
    *,
    token: str = "",
    told: list[Any] | None = None,
) -> tuple[int, Any]:
    """Ask as an ASGI client does; return status and JSON. What the server says is in ``told`` as soon as it says it."""
    given = [{"type": "http.request", "body": b"" if content is None else json.dumps(content).encode()}]
    told = [] if told is None else told

    async def receive() -> Any:
        if not given:
            await asyncio.Event().wait()
        return given.pop()

    async def send(message: Any) -> None:
        told.append(message)

    headers = [(b"host", b"inside.invalid"), (b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers if token else headers[:1],
        "client": None,
        "server": ("inside.invalid", 443),
    }
    await server(scope, receive, send)
    return told[0]["status"], json.loads(b"".join(part["body"] for part in told[1:]) or b"null")


async def sign_in(server: InsideServer) -> str:
    """Sign ada in; return her access token."""
    status, tokens = await ask(server, "POST", "/api/auth/login", SIGN_IN)
    assert status == 200
    return str(tokens["accessToken"])


@pytest.fixture
async def disk() -> Disk:
    """A place to keep a text that is empty so far."""
    return Disk()


async def test_no_answer_leaves_before_its_change_is_saved(disk: Disk) -> None:
    """While saving takes its time nothing is said; the next server knows the token and the note."""
    server = disk.start()
    token = await sign_in(server)
    disk.may_save.clear()
    told: list[Any] = []
    asked = asyncio.ensure_future(ask(server, "POST", "/api/notes", {"text": "kept"}, token=token, told=told))
    await asyncio.sleep(0.01)
    assert told == []
    disk.may_save.set()
    assert (await asked)[0] == 201
    _, notes = await ask(disk.start(), "GET", "/api/notes", token=token)
    assert [note["text"] for note in notes["notes"]] == ["kept"]


async def test_a_request_goes_on_when_nobody_waits_for_it(disk: Disk) -> None:
    """Broken off by the client, as by a time limit: it is carried out and saved; a stalled one is told, and ends."""
    server = disk.start()
    token = await sign_in(server)
    await ask(server, "PUT", "/mock/settings", {"latency": 0.01})
    late = asyncio.ensure_future(ask(server, "POST", "/api/notes", {"text": "kept"}, token=token))
    await asyncio.sleep(0)
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    await ask(server, "POST", "/mock/faults", {"path": "/api/data", "kind": "stall"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(server, "GET", "/api/data", token=token), 0.03)
    _, notes = await ask(server, "GET", "/api/notes", token=token)
    assert [note["text"] for note in notes["notes"]] == ["kept"]
    _, journal = await ask(server, "GET", "/mock/journal")
    assert [entry["done"] for entry in journal["entries"] if entry["path"] == "/api/data"] == [True]


@pytest.mark.parametrize("kind,is_done", [("drop_before", False), ("drop_after", True)])
async def test_a_dropped_connection_is_an_error_and_what_was_done_is_saved(
    disk: Disk, kind: str, is_done: bool
) -> None:
    """The client learns nothing but that; the server has kept what it did."""
    server = disk.start()
    token = await sign_in(server)
    await ask(server, "POST", "/mock/faults", {"path": "/api/notes", "kind": kind})
    with pytest.raises(ConnectionResetError):
        await ask(server, "POST", "/api/notes", {"text": "kept"}, token=token)
    assert ("kept" in disk.saved) is is_done


async def test_where_nothing_can_be_saved_memory_has_to_do(disk: Disk) -> None:
    """A disk that is full, or no disk at all, keeps nobody waiting."""
    disk.refuses = True
    for server in (disk.start(), start(None, "")):
        token = await sign_in(server)
        assert (await ask(server, "GET", "/api/heartbeat", token=token))[0] == 200
    assert disk.saved == ""
