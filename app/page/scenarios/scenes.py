"""Scenes: what goes wrong in each scenario, step by step, whoever the client is. No browser in here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

REFRESH = "/api/auth/refresh"
MINUTE = 60
"""Seconds after which the server forgets a rule, should nobody be there to remove it."""
GRACE = 10
"""Seconds for which the server lets a refresh token that is spent be shown once more: a usual figure."""
SLOW = 4
"""Seconds a slow refresh takes: enough to sign in meanwhile, and less than any client waits."""
SHORTEST = 0.1
"""Seconds that a rule lasts at least."""


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

    @property
    def retry_in(self) -> float:
        """Seconds until a refresh that failed is tried again; 0 when it will not be."""

    async def renew(self) -> None:
        """Get a new access token."""

    async def refreshing(self, *, failed: bool = False) -> None:
        """Wait until a refresh is under way, or has failed."""

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
    await stage.set(rotation=True, grace=GRACE)
    await stage.rule(path=REFRESH, kind="drop_after", times=1, seconds=MINUTE)
    await stage.kill_token()
    stage.say("20 requests meet a dead token. The server renews the session, and its answer is thrown away.")
    await stage.client.send(20)
    stage.say("From now on no refresh token counts twice. The token dies again: 20 more requests.")
    await stage.set(grace=0)
    await stage.kill_token()
    await stage.client.send(20)


async def server_down(stage: Stage) -> None:
    """The token is dead, and so is the server for a while: first where tokens are renewed, then everywhere."""
    loop = asyncio.get_running_loop()
    until = loop.time() + stage.seconds
    down = {"kind": "status", "status": 503}
    await stage.rule(path="/api/auth/*", seconds=stage.seconds, **down)
    await stage.kill_token()
    stage.say("The token is dead, and the auth server answers 503. One request finds out.")
    first = asyncio.ensure_future(stage.client.send(1))
    back = loop.call_at(until, lambda: stage.say(_is_back(stage.client.retry_in)))
    try:
        await _news(stage.client.refreshing(failed=True), unless=first)
        await stage.rule(path="/api/*", seconds=max(SHORTEST, until - loop.time()), **down)
        stage.say(f"Everything answers 503, for {stage.seconds} s in all. 19 more requests are made.")
        await asyncio.gather(first, stage.client.send(19))
    finally:
        back.cancel()
        first.cancel()


def _is_back(retry_in: float) -> str:
    again = f" What waits goes out after the next try, in {retry_in:.0f} s." if retry_in >= 1 else ""
    return f"The server answers again.{again}"


async def rate_limited(stage: Stage) -> None:
    """The auth server asks for three seconds of patience."""
    limit = {"status": 429, "headers": {"Retry-After": "3"}, "seconds": 3}
    await stage.rule(path=REFRESH, kind="status", **limit)
    await stage.kill_token()
    stage.say("20 requests meet a dead token; the auth server answers 429 for 3 s.")
    await stage.client.send(20)


async def race(stage: Stage) -> None:
    """Two tabs, one dead token, the same moment."""
    assert stage.second is not None
    await stage.kill_token()
    stage.say("Both tabs make 40 requests, now.")
    sending = [asyncio.ensure_future(each.send(40)) for each in (stage.client, stage.second)]
    try:
        await asyncio.gather(*sending)
    finally:
        for each in sending:
            each.cancel()


async def other_person(stage: Stage) -> None:
    """Somebody else signs in while requests wait here for a slow refresh."""
    assert stage.second is not None
    await stage.rule(path=REFRESH, kind="delay", delay=SLOW, seconds=MINUTE)
    await stage.kill_token()
    waiting = asyncio.ensure_future(stage.client.send(20))
    try:
        await _news(stage.client.refreshing(), unless=waiting)
        stage.say(f"20 requests of {stage.client.user} wait here; {stage.other} signs in over there.")
        await stage.second.sign_in(stage.other)
        await waiting
        stage.say(f"{stage.other} sends 5 requests from over there.")
        await stage.second.send(5)
    finally:
        waiting.cancel()


async def _news(news: Awaitable[None], *, unless: asyncio.Future[None]) -> None:
    """Wait for news of something, or until that is over: then none will come."""
    waiting = asyncio.ensure_future(news)
    try:
        await asyncio.wait({waiting, unless}, return_when=asyncio.FIRST_COMPLETED)
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
