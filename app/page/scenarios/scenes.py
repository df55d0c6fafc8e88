"""Scenes: what goes wrong in each scenario, step by step, whoever the client is. No browser in here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

REFRESH = "/api/auth/refresh"
MINUTE = 60
"""Seconds after which the server forgets a rule, should nobody be there to remove it."""


class Tab(Protocol):
    """Another tab of the same client."""

    async def send(self, size: int) -> None:
        """Send so many requests at once, and wait for their fate."""

    async def sign_in(self, user: str) -> None:
        """Sign somebody else in."""


class Client(Tab, Protocol):
    """Who is put to the test."""

    @property
    def user(self) -> str:
        """Who is signed in when the scene begins."""

    @property
    def ended(self) -> bool:
        """Whether the person was asked to sign in again."""

    async def renew(self) -> None:
        """Get a new access token."""

    async def refreshing(self, *, failed: bool = False) -> None:
        """Wait until a refresh has been started, or has failed."""

    async def sign_in_again(self) -> None:
        """Wait until the person has signed in again; go on with what was kept for that."""


class Stage(Protocol):
    """What a scene is played on."""

    client: Client
    second: Tab | None
    other: str
    seconds: int

    async def kill_token(self) -> None:
        """Make the client's access token stop working."""

    async def revoke(self) -> None:
        """End the client's session at the server."""

    async def set(self, **settings: Any) -> None:
        """Change the server's settings."""

    async def rule(self, **rule: Any) -> None:
        """Set a fault rule."""

    async def restore(self) -> None:
        """Put back what was changed so far."""

    async def count_from_here(self) -> None:
        """Leave out of the account what the server was asked so far."""

    def say(self, text: str) -> None:
        """Say what is happening now."""


async def expire(stage: Stage) -> None:
    """The token dies; ten requests find out."""
    await stage.kill_token()
    await stage.client.send(10)


async def burst(stage: Stage) -> None:
    """Two hundred requests on a dead token."""
    await stage.kill_token()
    await stage.client.send(200)


async def lost_answer(stage: Stage) -> None:
    """The server renews the session and its answer gets lost. Later the token dies once more, with no grace."""
    await stage.set(rotation=True, grace=10)
    await stage.kill_token()
    await stage.rule(path=REFRESH, kind="drop_after", times=1, seconds=MINUTE)
    stage.say("20 requests; the answer to the refresh is thrown away.")
    await stage.client.send(20)
    stage.say("The grace window is closed, the token dies again, 20 more requests.")
    await stage.set(grace=0)
    await stage.kill_token()
    await stage.client.send(20)


async def server_down(stage: Stage) -> None:
    """The token is dead, and so is the server for a while."""
    down = {"kind": "status", "status": 503, "seconds": stage.seconds}
    await stage.kill_token()
    await stage.rule(path="/api/auth/*", **down)
    first = asyncio.ensure_future(stage.client.send(1))
    try:
        await stage.client.refreshing(failed=True)
        await stage.rule(path="/api/*", **down)
        stage.say(f"The server is down for {stage.seconds} s. 20 requests want something of it.")
        await asyncio.gather(first, stage.client.send(19))
    finally:
        first.cancel()


async def rate_limited(stage: Stage) -> None:
    """The auth server asks for three seconds of patience."""
    await stage.kill_token()
    limit = {"status": 429, "headers": {"Retry-After": "3"}, "seconds": 3}
    await stage.rule(path=REFRESH, kind="status", **limit)
    stage.say("20 requests; the auth server answers 429 for 3 s.")
    await stage.client.send(20)


async def race(stage: Stage) -> None:
    """Two tabs, one dead token, the same moment."""
    assert stage.second is not None
    await stage.kill_token()
    stage.say("Both tabs send 40 requests, now.")
    await asyncio.gather(stage.client.send(40), stage.second.send(40))


async def other_person(stage: Stage) -> None:
    """Somebody else signs in while requests wait here for a slow refresh."""
    assert stage.second is not None
    await stage.kill_token()
    await stage.rule(path=REFRESH, kind="delay", delay=2, seconds=MINUTE)
    waiting = asyncio.ensure_future(stage.client.send(20))
    try:
        await stage.client.refreshing()
        stage.say(f"20 requests of {stage.client.user} wait here; {stage.other} signs in over there.")
        await stage.second.sign_in(stage.other)
        await waiting
        stage.say(f"{stage.other} sends 5 requests from over there.")
        await stage.second.send(5)
    finally:
        waiting.cancel()


async def revoked(stage: Stage) -> None:
    """The session is over at the server."""
    await stage.revoke()
    await stage.client.send(10)
    if stage.client.ended:
        stage.say("The session is over. Sign in again: what was asked for is kept.")
        await stage.client.sign_in_again()


async def sleep(stage: Stage) -> None:
    """A token that lives two seconds, in a tab that stands still for four."""
    await stage.set(accessLifetime=2)
    await stage.client.renew()
    await stage.restore()
    await stage.count_from_here()
    stage.say("Good night. Nothing on this page moves for 4 s.")
    await asyncio.sleep(0.2)
    time.sleep(4)  # noqa: ASYNC251 - that is the point: nothing runs, as in a closed laptop
    await stage.client.send(20)


Play = Callable[[Stage], Awaitable[None]]
SCENES: Mapping[str, Play] = {
    "expire": expire,
    "burst": burst,
    "lost": lost_answer,
    "down": server_down,
    "limit": rate_limited,
    "race": race,
    "other": other_person,
    "revoke": revoked,
    "sleep": sleep,
}
IN_TWO_TABS = frozenset({"race", "other"})
