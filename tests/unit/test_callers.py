"""What a caller may do to a request, and what a request never does to its caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from freshfetch import (
    AmbiguousRequestError,
    Body,
    FreshfetchError,
    Headers,
    HTTPStatusError,
    InvalidRequestError,
    Request,
    RequestTimeoutError,
    Response,
    is_expired_token,
)
from freshfetch.memory import ASGITransport
from tests.world import Tab, Wire, World, outcomes, seconds_since_start


async def echoed(response: Response) -> Any:
    """Return what the server says has arrived."""
    assert response.ok, await response.text()
    return await response.json()


def tokens_sent(tab: Tab) -> list[str | None]:
    """Return the Authorization headers of everything this tab has sent, but to the auth server."""
    sent = [request for request in tab.wire.sent if not request.path.startswith("/api/auth/")]
    return [request.headers.get("authorization") for request in sent]


async def test_json_says_what_it_is_unless_the_caller_does(world: World) -> None:
    """json= sets a Content-Type; the caller's own wins."""
    tab = await world.signed_in_tab()
    usual = await echoed(await tab.session.fetch("/api/echo", method="POST", json=[1]))
    own = {"Content-Type": "application/x"}
    other = await echoed(await tab.session.fetch("/api/echo", method="POST", json=[1], headers=own))
    assert usual["headers"]["content-type"] == "application/json"
    assert other["headers"]["content-type"] == "application/x"


# -- whom the token is shown --


@pytest.mark.parametrize(
    "base", ["http://localhost:8000/", "http://127.0.0.1:8000/", "http://[::1]:8000/", "http://t/"]
)
def test_the_transport_in_memory_resolves_below_its_base(base: str) -> None:
    """A relative URL leads below the base, whatever the host looks like."""
    target = ASGITransport(lambda *_: asyncio.sleep(0), base_url=base).resolve("api/data")
    assert target.url == f"{base}api/data"
    assert target.origin == base.rstrip("/")


# -- what passes through --


async def test_other_answers_can_be_named_expired(world: World) -> None:
    """With is_expired_token a server's 419 leads to a refresh and a replay; the default no longer applies."""

    def is_419(response: Response) -> bool:
        return response.status == 419

    tab = await world.signed_in_tab(is_expired_token=is_419)
    await world.fault("/api/data", "status", status=419, times=1)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1
    await world.expire()
    assert (await tab.session.fetch("/api/data")).status == 401


async def test_nobody_signed_in_sends_no_token(world: World) -> None:
    """Without a session requests are sent as they are: no ``Bearer null``, no refresh, no ``refreshToken: null``."""
    tab = world.tab()
    assert (await tab.session.fetch("/api/data")).status == 401
    assert tokens_sent(tab) == [None]
    assert world.refreshes() == 0
    with pytest.raises(FreshfetchError):
        await tab.session.refresh()
    assert len(tab.wire.sent) == 1


@pytest.mark.parametrize("word", ["null", "None", "undefined", ""])
async def test_a_token_is_never_made_of_nothing(world: World, word: str) -> None:
    """Through sign-in, expiry, revocation and sign-out, no header and no body holds ``Bearer null`` or its like."""
    tab = await world.signed_in_tab()
    await world.expire()
    await tab.session.fetch("/api/data")
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"), tab.session.fetch("/api/data"))
    await tab.session.sign_out()
    await tab.session.fetch("/api/auth/login")
    for request in tab.wire.sent:
        assert request.headers.get("authorization") != f"Bearer {word}"
        assert request.body is None or f'"refreshToken": "{word}"' not in request.body.content
        assert request.body is None or '"refreshToken": null' not in request.body.content


# -- bad input --


circle: list[Any] = []
circle.append(circle)
BAD: dict[str, dict[str, Any]] = {
    "body and json": {"method": "POST", "body": "a", "json": {}},
    "json that is none": {"method": "POST", "json": object()},
    "json in circles": {"method": "POST", "json": circle},
    "json not a number": {"method": "POST", "json": float("nan")},
    "body of a wrong kind": {"method": "POST", "body": {"a": 1}},
    "body number": {"method": "POST", "body": 7},
    "body that is no text": {"method": "POST", "body": "\ud800"},
    "method empty": {"method": ""},
    "method with a space": {"method": "GET /"},
    "method none": {"method": None},
    "method newline": {"method": "GET\r\nX: y"},
    "timeout zero": {"timeout": 0},
    "timeout negative": {"timeout": -1},
    "timeout NaN": {"timeout": float("nan")},
    "timeout text": {"timeout": "5"},
    "timeout true": {"timeout": True},
    "replay text": {"replay": "no"},
    "replay number": {"replay": 0},
    "headers text": {"headers": "X: y"},
    "headers numbers": {"headers": [1, 2]},
    "header value with newline": {"headers": {"X-A": "b\r\nX-Evil: 1"}},
    "header value none": {"headers": {"X-A": None}},
    "header value bytes": {"headers": {"X-A": b"b"}},
    "headers triples": {"headers": [("X-A", "b", "c")]},
    "header name with space": {"headers": {"X A": "b"}},
    "header name empty": {"headers": {"": "b"}},
    "header value beyond latin-1": {"headers": {"X-A": "\u20ac"}},
}


@pytest.mark.parametrize("name", BAD)
async def test_arguments_that_make_no_request_are_refused_at_once(world: World, name: str) -> None:
    """InvalidRequestError from the call itself, before anything is awaited or sent."""
    tab = await world.signed_in_tab()
    with pytest.raises(InvalidRequestError):
        tab.session.fetch("/api/echo", **BAD[name]).close()
    assert tokens_sent(tab) == []


# -- replay --


async def test_without_replay_the_refusal_is_the_answer_and_the_token_is_renewed(world: World) -> None:
    """replay=False: the 401 goes to the caller at once, the refresh runs all the same, the next request works."""
    tab = await world.signed_in_tab()
    await world.expire()
    assert (await tab.session.fetch("/api/data", replay=False)).status == 401
    assert (await tab.session.fetch("/api/data", replay=False)).ok
    assert world.refreshes() == 1


class StreamWire(Wire):
    """A wire that takes iterators as bodies, which it can send once."""

    def snapshot(self, body: Any) -> Body:
        """Take the iterator as a spent-once body."""
        return Body(b"".join(body), replayable=False)


async def test_replaying_a_stream_cannot_be_promised(world: World) -> None:
    """replay=True with a stream is refused at once."""
    tab = await world.signed_in_tab(transport=StreamWire(world.app))
    with pytest.raises(InvalidRequestError):
        tab.session.fetch("/api/echo", method="POST", body=iter([b"a"]), replay=True).close()


# -- time limits and cancelling --


async def test_a_time_limit_on_an_answer_that_does_not_come(world: World) -> None:
    """Sent and unanswered: RequestTimeoutError for a GET, AmbiguousRequestError for a POST, at the second asked for."""
    tab = await world.signed_in_tab()
    await world.fault("/api/echo", "stall")
    await world.fault("/api/data", "stall")
    began = seconds_since_start()
    with pytest.raises(RequestTimeoutError):
        await tab.session.fetch("/api/data", timeout=3)
    with pytest.raises(AmbiguousRequestError):
        await tab.session.fetch("/api/echo", method="POST", body="x", timeout=3)
    assert seconds_since_start() - began == pytest.approx(6)


async def test_a_time_limit_on_a_replay(world: World) -> None:
    """Replayed, and the replay is not answered: now a POST is ambiguous."""
    tab = await world.signed_in_tab()
    await world.expire()
    await world.fault("/api/notes", "stall", skip=1)
    with pytest.raises(AmbiguousRequestError):
        await tab.session.fetch("/api/notes", method="POST", json={"text": "x"}, timeout=3)
    assert len(world.journal("/api/notes")) == 2


# -- interleavings --


async def test_an_early_refresh_joined_by_a_refused_request_waits_for_the_token(world: World) -> None:
    """The refresh was a precaution, then the server refuses the token: requests wait, nothing is sent in vain."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/slow", "delay", delay=3, times=1)
    await asyncio.sleep(1765)
    slow = asyncio.create_task(tab.session.fetch("/api/data/slow"))
    await asyncio.sleep(1)
    await world.expire()
    await asyncio.sleep(5)
    assert (await slow).ok
    assert world.refreshes() == 1
    assert world.statuses("/api/data/slow") == [401, 200]


async def test_two_refreshes_back_to_back_serve_everybody(world: World) -> None:
    """The token dies again the moment it is renewed: requests of both waves succeed, with one refresh for each."""
    tab = await world.signed_in_tab()
    for _ in range(10):
        await world.expire()
        calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(10)]
        assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert world.refreshes() == 10


async def test_a_token_revoked_while_it_is_on_its_way_costs_the_caller_one_refusal_at_most(world: World) -> None:
    """The new token dies before the replay arrives: the second 401 is the caller's answer, and nothing goes round."""
    tab = await world.signed_in_tab()
    await world.expire()

    async def kill(request: Request) -> None:
        if request.path == "/api/auth/refresh":
            await world.expire()

    tab.wire.before_answer = kill
    assert (await tab.session.fetch("/api/data")).status == 401
    assert world.statuses("/api/data") == [401, 401]
    assert world.refreshes() == 1


async def test_the_answer_holds_what_pyfetch_gives(world: World) -> None:
    """status, ok, url, headers, text, bytes, json and raise_for_status are there."""
    tab = await world.signed_in_tab()
    answer = await tab.session.fetch("/api/data")
    assert (answer.status, answer.ok, answer.url) == (200, True, "http://localhost/api/data")
    assert answer.headers["Content-Type"] == "application/json"
    assert (await answer.json())["user"] == "ada"
    assert (await answer.text()).encode() == await answer.bytes()
    missing = await tab.session.fetch("/api/nowhere?secret=1")
    with pytest.raises(HTTPStatusError) as refusal:
        missing.raise_for_status()
    assert refusal.value.status == 404
    assert "secret" not in str(refusal.value)


async def test_a_timeout_counts_from_the_call(world: World) -> None:
    """A request that is made now and awaited three seconds later has three seconds less."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data", "stall")
    asked = tab.session.fetch("/api/data", timeout=5)
    await asyncio.sleep(3)
    began = seconds_since_start()
    with pytest.raises(RequestTimeoutError):
        await asked
    assert seconds_since_start() - began == pytest.approx(2)


@pytest.mark.parametrize(
    "challenge, expired",
    [
        ('Basic realm="x", Bearer error="invalid_token"', True),
        ("Negotiate, Bearer", True),
        ('Bearer realm="a", error="insufficient_scope", error_description="not an invalid_token"', False),
        ('Bearer error = "invalid_token"', True),
        ("Basic realm=x", False),
    ],
)
def test_one_of_several_challenges_may_be_ours(challenge: str, *, expired: bool) -> None:
    """Browsers join header lines with commas: the Bearer challenge counts wherever it stands."""

    async def nothing() -> bytes:
        return b""

    response = Response(status=401, url="", headers=Headers({"WWW-Authenticate": challenge}), read=nothing)
    assert is_expired_token(response) is expired


def test_doubled_header_fields_are_joined() -> None:
    """As fetch does."""
    assert Headers([("accept", "a"), ("Accept", "b")])["accept"] == "a, b"
