"""Values that somebody means badly, or never meant: from servers, from the person, from other scripts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from freshfetch import (
    InvalidRequestError,
    Request,
    Response,
    SessionExpired,
)
from freshfetch._json import DEEPEST, parse_json
from freshfetch._ports import Hint
from tests.world import Wire, World, outcomes, until

DEEP = "[" * 100_000


def response_of(text: str) -> Response:
    """Return an answer with this body."""

    async def read() -> bytes:
        return text.encode()

    return Response(status=200, url="http://localhost/", read=read)


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 300, "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)])
async def test_an_answer_nested_without_end_is_not_json(text: str) -> None:
    """Reading it would be the end of a browser's Python: it is refused as JSON that cannot be read."""
    with pytest.raises(json.JSONDecodeError):
        await response_of(text).json()
    assert await response_of(text).text() == text


@pytest.mark.parametrize(
    "value",
    [
        ["["] * 1000,
        ["]" * 1000, '"' * 1000, "\\[" * 1000],
        [[1]] * 1000,
        {str(n): {} for n in range(1000)},
        "[" * 100_000,
    ],
)
def test_brackets_alone_are_no_nesting(value: Any) -> None:
    """Brackets side by side, or inside texts, are read however many there are."""
    assert parse_json(json.dumps(value)) == value


async def test_an_auth_server_that_nests_without_end_signs_nobody_out(world: World) -> None:
    """It is an unusable answer like any other."""
    tab = await world.signed_in_tab()
    await world.fault("/api/auth/refresh", "body", body=DEEP, times=1)
    await outcomes(tab.session.refresh())
    assert tab.session.subject == "ada"


@pytest.mark.parametrize("username", ["", "a" * 257, "\ud800", None, 7, b"ada"])
async def test_what_can_be_no_user_name_is_refused_at_once(world: World, username: Any) -> None:
    """No request is made of it, and no record that could not be read again."""
    tab = world.tab()
    with pytest.raises(InvalidRequestError):
        await tab.session.sign_in(username, "lovelace")
    with pytest.raises(InvalidRequestError):
        await tab.session.sign_in("ada", None)  # type: ignore[arg-type]
    assert tab.wire.sent == []


@pytest.mark.parametrize("user", ["", "\ud800", "a" * 257, 7, None, ["ada"]])
async def test_a_server_that_names_nobody_leaves_the_name_that_was_typed(world: World, user: Any) -> None:
    """An unusable ``user`` in the answer is passed over; the record can be read again."""
    tab = world.tab()
    grant = {"accessToken": "abc", "refreshToken": "def", "expiresIn": 60, "user": user}
    await world.fault("/api/auth/login", "status", status=200, body=json.dumps(grant))
    await tab.session.sign_in("ada", "lovelace")
    assert world.record().subject == tab.session.subject == "ada"


@pytest.mark.parametrize("reason", ["<img src=x onerror=alert(1)>", "a" * 65, "", "two words", "\u202e"])
async def test_a_reason_made_up_by_another_script_is_not_shown(world: World, reason: str) -> None:
    """A hint of an expiry is passed on under the standard's name unless it is a plain code."""
    tab = await world.signed_in_tab()
    async with tab.session:
        await world.store.commit(None, expected=world.record().generation)
        world.channel.publish(Hint("expired", reason))
        await until(lambda: tab.seen(SessionExpired))
    assert [event.reason for event in tab.seen(SessionExpired)] == ["invalid_grant"]


class Astray(Wire):
    """A wire whose answers say that they come from a place nobody could have asked."""

    async def send(self, request: Request) -> Response:
        """Send, and answer from elsewhere."""
        answer = await super().send(request)
        elsewhere = "https://user:secret@evil.example/"
        return Response(status=401, url=elsewhere, read=answer.read) if "/api/data" in request.target.url else answer


async def test_a_redirect_to_what_nobody_could_ask_is_an_answer(world: World) -> None:
    """A 401 from a URL with a password in it says nothing about our token: it is the caller's, nothing is refreshed."""
    tab = await world.signed_in_tab(transport=Astray(world.app))
    answer = await tab.session.fetch("/api/data")
    assert answer.status == 401
    assert world.refreshes() == 0


async def test_numbers_may_be_header_values(world: World) -> None:
    """A number is written out, as other clients do."""
    tab = await world.signed_in_tab()
    answer = await tab.session.fetch("/api/echo", method="POST", headers={"X-Number": 7}, body="a")  # type: ignore[arg-type]
    assert (await answer.json())["headers"]["x-number"] == "7"


async def test_an_endless_timeout_is_no_timeout(world: World) -> None:
    """Infinity is a number of seconds above 0: the request waits for its answer."""
    tab = await world.signed_in_tab()
    tab.wire.delay = 1000.0
    assert (await asyncio.ensure_future(tab.session.fetch("/api/data", timeout=float("inf")))).ok
