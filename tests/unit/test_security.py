"""Where tokens may go, how much of an answer is read, and what may be shown of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from freshfetch import (
    JsonAuthServer,
    RefreshUnavailableError,
    Refusal,
    Request,
    Response,
    Session,
    TransportError,
)
from freshfetch.auth_servers import LONGEST_ANSWER
from freshfetch.memory import (
    AlwaysPresent,
    ASGITransport,
    MemoryChannel,
    MemoryLock,
    MemoryTokenStore,
    SystemClock,
)
from tests.world import World

REFRESH = "/api/auth/refresh"
HOME = "https://app.example/"


def session_of(auth_server: JsonAuthServer, *, home: str = HOME, origins: tuple[str, ...] = ()) -> Session:
    """Make a session for a page at ``home``; nothing is sent."""
    return Session(
        auth_server,
        transport=ASGITransport(lambda *_: asyncio.sleep(0), base_url=home),
        store=MemoryTokenStore(),
        lock=MemoryLock(),
        channel=MemoryChannel(),
        clock=SystemClock(),
        presence=AlwaysPresent(),
        origins=origins,
    )


def test_an_auth_server_of_another_origin_is_not_shown_the_access_token_elsewhere() -> None:
    """An auth server may live on another origin over https; that alone does not put its origin on the allow-list."""
    session = session_of(JsonAuthServer("https://login.example/auth"))
    assert session._delivery._rules.origins == {"https://app.example"}


async def test_an_answer_of_the_auth_server_is_read_up_to_a_limit(world: World) -> None:
    """A refresh answered with more than 200 kB is no answer: nothing stored, nobody signed out, tried again."""
    tab = await world.signed_in_tab()
    before = world.record()
    await world.fault(REFRESH, "status", status=200, body="x" * (LONGEST_ANSWER + 1), times=1)
    with pytest.raises(RefreshUnavailableError):
        await tab.session.refresh()
    assert world.record().access_token == before.access_token
    assert world.record().unanswered
    await asyncio.sleep(60)
    await tab.session.refresh()
    assert world.record().access_token != before.access_token


async def test_a_sign_in_is_answered_in_200_kilobytes_or_not_at_all(world: World) -> None:
    """A sign-in page of a proxy that never ends is a TransportError."""
    tab = world.tab()
    await world.fault("/api/auth/login", "status", status=200, body="x" * (LONGEST_ANSWER + 1), times=1)
    with pytest.raises(TransportError, match="longer than"):
        await tab.session.sign_in("ada", "lovelace")


async def test_other_answers_are_read_whatever_their_length(world: World) -> None:
    """The limit is the auth server's; a caller's own download has none."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data", "status", status=200, body="x" * (LONGEST_ANSWER + 1), times=1)
    response = await tab.session.fetch("/api/data")
    assert len(await response.bytes()) == LONGEST_ANSWER + 1


@pytest.mark.parametrize("secret", ["hopper", "h", "hopperhopper"])
async def test_a_short_password_is_not_repeated_either(secret: str) -> None:
    """An ``error`` or a description that holds the whole password is dropped, however short that is."""

    async def read() -> bytes:
        return json.dumps({"error": f"no_{secret}", "error_description": f"no {secret} here"}).encode()

    answer = Response(status=400, url=HOME, read=read)
    refusal = await JsonAuthServer().read(answer, secrets=(secret,))
    assert isinstance(refusal, Refusal)
    assert (refusal.error, refusal.description) == ("", "")


def test_a_repr_holds_no_query() -> None:
    """What was looked for, or a code in a callback's URL, does not get into a log by way of a repr."""

    async def read() -> bytes:
        return b""

    target = ASGITransport(lambda *_: asyncio.sleep(0)).resolve("/search?q=secret")
    shown = [target, Request(target=target), Response(status=200, url=target.url, read=read)]
    assert "secret" not in repr(shown)
    assert "/search" in repr(shown)
