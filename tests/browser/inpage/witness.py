"""What happens in a page, told to the test at once: a page that is killed has told it already."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import fields
from enum import Enum
from typing import Any

import freshfetch
import js
from freshfetch import browser

PATIENCE = 60.0
PASSWORDS = {"ada": "lovelace", "grace": "hopper"}

sessions: list[freshfetch.Session] = []
_numbers = itertools.count(1)
_page = secrets.token_hex(4)


def tell(kind: str, **what: object) -> None:
    """Tell the test something."""
    js.tellTest(json.dumps({"kind": kind, "page": _page, "time": time.time(), **what}))


def connect(auth_server: Any = "/api/auth", **settings: Any) -> freshfetch.Session:
    """Return a session whose events the test hears; without a heartbeat, unless one is asked for."""
    settings.setdefault("heartbeat", freshfetch.HeartbeatPolicy(url=None))
    settings.setdefault("retry", freshfetch.RetryPolicy())
    session = browser.connect(auth_server, **settings)
    number = len(sessions)
    sessions.append(session)
    tell("session", session=number, windows=settings["retry"].windows)
    session.subscribe(lambda event: tell("event", session=number, **described(event)))
    return session


def described(event: freshfetch.Event) -> dict[str, object]:
    """Return an event as what JSON can hold."""
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    plain = {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}
    return {"event": type(event).__name__, **plain}


async def sign_in(session: freshfetch.Session, username: str = "ada") -> None:
    """Sign a demo user in, and tell."""
    tell("act", act="sign_in")
    await session.sign_in(username, PASSWORDS[username])


async def sign_out(session: freshfetch.Session) -> None:
    """Sign out, and tell."""
    tell("act", act="sign_out")
    await session.sign_out()


def ask(
    session: freshfetch.Session, url: str, *, headers: dict[str, str] | None = None, **options: Any
) -> Awaitable[freshfetch.Response]:
    """Fetch with a request id of its own; the test hears what came of it."""
    request_id = f"{_page}-{next(_numbers)}"
    asked = session.fetch(url, headers={"X-Request-Id": request_id, **(headers or {})}, **options)
    whose = {"user": session.subject, "session": sessions.index(session)}
    method, replay = options.get("method", "GET"), options.get("replay")
    tell("asked", id=request_id, method=method, repeatable=replay is True or method not in ("POST", "PATCH"), **whose)
    return _settled(request_id, asked)


async def _settled(request_id: str, asked: Awaitable[freshfetch.Response]) -> freshfetch.Response:
    try:
        response = await asked
    except BaseException as error:
        name = "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
        tell("settled", id=request_id, outcome=name, text=f"{error} {error!r}")
        raise
    tell("settled", id=request_id, outcome="answered", status=response.status)
    return response


async def outcome(asked: Awaitable[Any]) -> object:
    """Return the status of what was asked, or the name of the error it ended with."""
    try:
        answer = await asked
    except freshfetch.FreshfetchError as error:
        return type(error).__name__
    return None if answer is None else answer.status


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def at_rest() -> list[dict[str, object]]:
    """Return what each session says of itself."""
    return [_at_rest(number, session) for number, session in enumerate(sessions)]


def _at_rest(number: int, session: freshfetch.Session) -> dict[str, object]:
    snapshot = session.snapshot()
    return {
        "page": _page,
        "session": number,
        "queue_size": snapshot.queue_size,
        "queue_pending": snapshot.queue_pending,
        "shown": f"{session!r} {snapshot!r}",
    }
