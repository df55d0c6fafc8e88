"""When a token that runs out by the clock is renewed. Strange lifetimes and clocks are in tests/faults/test_time.py."""

from __future__ import annotations

import asyncio
import json

import pytest

from freshfetch import Request, Response
from tests.world import Tab, World, seconds_since_start


async def tab_with(world: World, lifetime: float, *, leeway: float = 30.0) -> Tab:
    """Return a tab whose access tokens live so many seconds."""
    await world.control("settings", accessLifetime=lifetime)
    return await world.signed_in_tab(leeway=leeway)


@pytest.mark.parametrize("lifetime, early", [(100.0, 20.0), (1800.0, 30.0), (5.0, 1.0)])
async def test_leeway_takes_a_fifth_of_the_lifetime_at_most(world: World, lifetime: float, early: float) -> None:
    """A token is used until a fifth of its lifetime, but at most the leeway, is left; then it is refreshed first."""
    tab = await tab_with(world, lifetime)
    await asyncio.sleep(lifetime - early - 0.1 - seconds_since_start())
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 0
    await asyncio.sleep(lifetime - early + 0.1 - seconds_since_start())
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_without_leeway_a_token_serves_its_whole_time(world: World) -> None:
    """leeway=0: nothing is refreshed before the expiry, and the expiry is known without a 401."""
    tab = await tab_with(world, 100, leeway=0.0)
    await asyncio.sleep(99)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 0
    await asyncio.sleep(2)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    assert not [entry for entry in world.journal() if entry.status == 401]


async def test_a_server_that_grants_more_time_to_the_same_token_is_believed(world: World) -> None:
    """A sliding expiry: a refresh answers the token there is, with another 300 s: one for fifty requests."""
    tab = await tab_with(world, 300)
    token = world.record().access_token
    send, asked = tab.wire.send, 0

    async def sliding(request: Request) -> Response:
        nonlocal asked
        if request.path != "/api/auth/refresh":
            return await send(request)
        asked += 1
        answer = {"accessToken": token, "refreshToken": f"refresh-token-{asked}", "expiresIn": 300}

        async def read() -> bytes:
            return json.dumps(answer).encode()

        return Response(status=200, url=request.target.url, read=read)

    tab.wire.send = sliding  # type: ignore[method-assign]
    await asyncio.sleep(299)
    answers = [await tab.session.fetch("/api/data") for _ in range(50)]
    assert [answer.status for answer in answers] == [200] * 50
    assert asked == 1
    assert tab.session.snapshot().expires_in == pytest.approx(300, abs=1)
