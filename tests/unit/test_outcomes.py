"""What the auth server may answer to a refresh, and what a session makes of it.

Terminal: the session ends. Retryable and ambiguous: later again. Misconfigured: never again, and loudly.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from freshfetch import (
    JsonAuthServer,
    Refusal,
    Response,
    RetryPolicy,
    Tokens,
)
from tests.world import Tab, World

REFRESH = "/api/auth/refresh"


async def expiring_tab(world: World, **settings: Any) -> Tab:
    """Return a tab whose token is in its leeway: it works for another twenty seconds."""
    tab = await world.signed_in_tab(**settings)
    await asyncio.sleep(1780)
    return tab


async def test_signing_in_again_helps_a_client_that_was_rejected(world: World) -> None:
    """A new sign-in brings a new refresh token, which is tried."""
    tab = await expiring_tab(world)
    await world.fault(REFRESH, "status", status=401, body={"error": "invalid_client"}, times=1)
    assert (await tab.session.fetch("/api/data")).ok
    await tab.session.sign_in("ada", "lovelace")
    await asyncio.sleep(1801)
    assert (await tab.session.fetch("/api/data")).ok


@pytest.mark.parametrize(
    "names",
    [
        ("accessToken", "refreshToken", "expiresIn"),
        ("access_token", "refresh_token", "expires_in"),
        ("token", "refreshToken", "expiresIn"),
        ("token", "refresh_token", "expires_in"),
    ],
)
async def test_tokens_are_read_under_all_their_names(world: World, names: tuple[str, str, str]) -> None:
    """``accessToken``, ``access_token`` and ``token``, camelCase or snake_case: the grant is stored whole."""
    tab = await expiring_tab(world)
    values = dict(zip(names, ("access.one", "refresh one", 77), strict=True))
    await world.fault(REFRESH, "status", status=200, body=values)
    await tab.session.refresh()
    record = world.record()
    assert (record.access_token, record.refresh_token) == ("access.one", "refresh one")
    assert record.lifetime == 77


async def test_a_lifetime_written_as_text_is_read(world: World) -> None:
    """``"expires_in": "3600"``, as some servers send it, is an hour."""
    tab = await expiring_tab(world)
    body = {"access_token": "abc", "refresh_token": "def", "expires_in": "3600"}
    await world.fault(REFRESH, "status", status=200, body=body)
    await tab.session.refresh()
    assert world.record().lifetime == 3600


async def test_a_bare_status_is_terminal_only_where_it_was_named_so() -> None:
    """For a server that refuses a dead refresh token with a bare 401 that status can be made terminal."""

    async def nothing() -> bytes:
        return b""

    answer = Response(status=401, url="http://localhost/", read=nothing)
    usual = await JsonAuthServer().read(answer, secrets=())
    named = await JsonAuthServer(terminal_statuses=frozenset({401})).read(answer, secrets=())
    assert isinstance(usual, Refusal)
    assert isinstance(named, Refusal)
    assert (usual.kind, named.kind) == ("retryable", "terminal")


async def test_the_waits_between_attempts_widen_and_stay_within_their_windows() -> None:
    """The n-th wait is drawn from the n-th window, the last window stays."""
    policy = RetryPolicy()
    lows = [policy.delay(failures, draw=min) for failures in range(1, 7)]
    highs = [policy.delay(failures, draw=max) for failures in range(1, 7)]
    assert lows == [0.5, 2.0, 8.0, 60.0, 60.0, 60.0]
    assert highs == [2.0, 8.0, 30.0, 120.0, 120.0, 120.0]


def test_an_outage_of_five_minutes_costs_few_tries_and_its_end_is_found_within_two() -> None:
    """However the waits fall: at most ten tries, the last of which succeeds, and none more than 120 s after the end."""
    policy = RetryPolicy()
    tries, waited = 1, 0.0
    while waited <= 300:
        waited += policy.delay(tries, draw=min)
        tries += 1
    assert tries <= 10
    assert max(policy.delay(failures, draw=max) for failures in range(1, 20)) <= 120


async def test_the_servers_words_are_shown_without_what_they_were_sent() -> None:
    """An error or description that repeats a part of the password or token is dropped."""
    secret = "correct-horse-battery"

    for text in (secret, secret[3:12], f"x{secret[:9]}y"):
        content = json.dumps({"error": text, "error_description": f"bad: {text}"}).encode()

        async def read(content: bytes = content) -> bytes:
            return content

        answer = Response(status=400, url="http://localhost/", read=read)
        refusal = await JsonAuthServer().read(answer, secrets=(secret,))
        assert secret[3:11] not in repr(refusal)
        assert secret[:9] not in repr(refusal)


async def test_a_name_that_repeats_a_token_is_no_name() -> None:
    """Listeners are told who has signed in: a server that answers its own token as the user tells nobody."""
    content = json.dumps({"accessToken": "secret-token-0123456789", "user": "token-0123456789"}).encode()

    async def read() -> bytes:
        return content

    tokens = await JsonAuthServer().read(Response(status=200, url="http://localhost/", read=read), secrets=())
    assert isinstance(tokens, Tokens)
    assert tokens.subject is None
