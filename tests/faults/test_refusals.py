"""Scenarios 12 to 19: answers of 401 and 403, and sending again what was refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from freshfetch import (
    AmbiguousRequestError,
    Body,
    FreshfetchError,
    NotReplayableError,
    RefreshStarted,
    RefreshSucceeded,
    Response,
    State,
    TokensAdopted,
    TransportError,
)
from tests.faults.watched import AUTH, REFRESH, WatchedTab, WatchedWorld
from tests.world import Wire, outcomes, roomy_queue, seconds_since_start, until


async def echoed(response: Response) -> Any:
    """Return what the server says has arrived."""
    assert response.ok, await response.text()
    return await response.json()


async def wide_open_tab(world: WatchedWorld) -> WatchedTab:
    """Return a tab that lets everything go at once, since a refresh has just succeeded and it is not idle yet."""
    tab = await world.signed_in_tab(queue=roomy_queue())
    await world.fault("/api/data/poll", "delay", delay=0.2)
    poll = asyncio.create_task(tab.session.fetch("/api/data/poll"))
    await asyncio.sleep(0)
    await tab.session.refresh()
    world.start_journal()
    tab.events.clear()
    tab.sent.clear()
    poll.add_done_callback(lambda _: None)
    return tab


async def refused_together(world: WatchedWorld, calls: list[Any]) -> list[Any]:
    """Make the calls at once and let the token die while they are under way; return what each brought."""
    await world.fault("/api/data/*", "delay", delay=1, times=len(calls))
    await world.fault("/api/notes", "delay", delay=1, times=len(calls))
    running = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0.5)
    await world.expire()
    return await outcomes(*running)


# -- 12 to 14: the access token is refused --


async def test_12_a_thousand_refusals_at_once_are_one_refresh(world: WatchedWorld) -> None:
    """1000 requests under way when the token dies: one refresh, each is sent exactly twice, and all succeed."""
    tab = await wide_open_tab(world)
    gets = [tab.session.fetch(f"/api/data/{n}") for n in range(500)]
    posts = [tab.session.fetch("/api/notes", method="POST", json={"text": f"{n}"}) for n in range(500)]
    answers = await refused_together(world, gets + posts)
    assert Counter(answer.status for answer in answers) == {200: 500, 201: 500}
    assert world.refreshes() == 1
    assert tab.seen(TokensAdopted) == []  # nor was there a second one that found the work done
    for n in range(500):
        assert world.statuses(f"/api/data/{n}") == [401, 200]
    assert Counter(world.statuses("/api/notes")) == {401: 500, 201: 500}
    assert sorted(int(note.text) for note in world.server.notes.of("ada")) == list(range(500))
    sendings = Counter(request.number for request in tab.sent if request.owner is not None)
    assert set(sendings.values()) == {2}


async def test_13_late_refusals_of_the_old_token_cause_no_second_refresh(world: WatchedWorld) -> None:
    """401s that arrive 1 to 30 s after the tokens were renewed are replayed with the new ones at once."""
    tab = await world.signed_in_tab()
    await world.expire()
    for delay in (1, 5, 30):
        await world.fault(f"/api/data/{delay}", "delay", delay=delay, times=1)
    late = [asyncio.create_task(tab.session.fetch(f"/api/data/{delay}")) for delay in (1, 5, 30)]
    assert (await tab.session.fetch("/api/data/quick")).ok
    began = seconds_since_start()
    assert all(answer.ok for answer in await asyncio.gather(*late))
    assert seconds_since_start() - began == pytest.approx(30, abs=0.1)
    assert len(tab.seen(RefreshSucceeded)) == world.refreshes() == 1
    assert tab.seen(TokensAdopted) == []
    assert [world.statuses(f"/api/data/{delay}") for delay in (1, 5, 30)] == [[401, 200]] * 3


@pytest.mark.parametrize("together", [False, True])
async def test_14_a_new_token_that_is_refused_too_is_the_callers_answer(world: WatchedWorld, *, together: bool) -> None:
    """A route that answers 401 whatever the token: one refresh and one replay, then no refresh for 100 requests."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/never", "status", status=401, headers={"WWW-Authenticate": "Bearer"})
    assert (await asyncio.wait_for(tab.session.fetch("/api/data/never"), 5)).status == 401
    assert world.statuses("/api/data/never") == [401, 401]
    calls = [tab.session.fetch("/api/data/never") for _ in range(100)]
    answers = await asyncio.gather(*calls) if together else [await call for call in calls]
    assert {answer.status for answer in answers} == {401}
    assert len(world.journal("/api/data/never")) == 102
    assert world.refreshes() == 1
    assert (await tab.session.fetch("/api/data/other")).ok
    assert tab.session.state is State.SIGNED_IN


async def test_14_the_next_refresh_for_such_a_route_comes_after_the_cool_down(world: WatchedWorld) -> None:
    """The cool-down after a fruitless refresh is over at some time, and doubles with each one."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/never", "status", status=401)
    for _ in range(100):
        await tab.session.fetch("/api/data/never")
        await asyncio.sleep(1)
    assert 2 <= world.refreshes() <= 3


@pytest.mark.parametrize("kind", ["replay=False", "stream"])
async def test_14_nor_do_requests_that_are_not_replayed_refresh_for_ever(world: WatchedWorld, kind: str) -> None:
    """Such a route polled with requests that cannot be replayed: one refresh, then none until the cool-down is over."""
    tab = await world.signed_in_tab(transport=StreamWire(world.app))
    await world.fault("/api/data/never", "status", status=401)
    settings: dict[str, Any] = {"replay": False} if kind == "replay=False" else {"method": "POST"}

    async def poll() -> None:
        for _ in range(20):
            body = iter([b"once"]) if kind == "stream" else None
            await outcomes(tab.session.fetch("/api/data/never", body=body, **settings))

    await poll()
    assert world.refreshes() == 1
    assert (await tab.session.fetch("/api/data/other")).ok
    await asyncio.sleep(31)
    await poll()
    assert world.refreshes() == 2


# -- 15: refusals that are about something else --

PASSED: dict[str, dict[str, Any]] = {
    "403": {"status": 403},
    "insufficient scope": {"status": 403, "headers": {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}},
    "401 insufficient scope": {"status": 401, "headers": {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}},
    "401 invalid request": {"status": 401, "headers": {"WWW-Authenticate": 'Bearer error="invalid_request"'}},
    "401 Basic": {"status": 401, "headers": {"WWW-Authenticate": 'Basic realm="x"'}},
    "401 Digest": {"status": 401, "headers": {"WWW-Authenticate": 'Digest realm="bearer"'}},
    "401 DPoP": {"status": 401, "headers": {"WWW-Authenticate": 'DPoP error="invalid_token"'}},
    "404": {"status": 404, "body": "401 Unauthorized"},
    "419": {"status": 419},
    "500": {"status": 500, "body": {"error": "invalid_token"}},
}


@pytest.mark.parametrize("name", PASSED)
async def test_15_what_is_no_expired_token_is_the_callers_answer(world: WatchedWorld, name: str) -> None:
    """The answer is handed over untouched, headers and body: no refresh, no replay, nobody signed out."""
    tab = await world.signed_in_tab()
    fault = {"body": {"error": "said by the API"}, **PASSED[name]}
    await world.fault("/api/data", "status", **fault)
    answer = await tab.session.fetch("/api/data")
    assert answer.status == fault["status"]
    assert answer.headers.get("www-authenticate") == fault.get("headers", {}).get("WWW-Authenticate")
    content = await answer.text() if isinstance(fault["body"], str) else await answer.json()
    assert content == fault["body"]
    assert len(world.journal()) == 1
    assert tab.session.state is State.SIGNED_IN


async def test_15_a_refusal_without_a_refresh_token_is_the_callers_answer(world: WatchedWorld) -> None:
    """A session that was granted no refresh token: its 401s pass through, nothing is refreshed, nobody signed out."""
    tab = world.tab()
    await world.fault("/api/auth/login", "status", status=200, body={"accessToken": "abc", "expiresIn": 100})
    await tab.session.sign_in("ada", "lovelace")
    answers = await asyncio.gather(*(tab.session.fetch("/api/data") for _ in range(10)))
    await asyncio.sleep(200)  # beyond its lifetime
    answers.append(await tab.session.fetch("/api/data"))
    assert [answer.status for answer in answers] == [401] * 11
    assert len(world.journal("/api/data")) == 11
    assert world.refreshes() == 0
    assert tab.session.state is State.SIGNED_IN


# -- 16: requests that change something --


async def test_16_a_post_that_was_refused_is_replayed_once_and_byte_by_byte(world: WatchedWorld) -> None:
    """A POST answered 401 is replayed once: method, URL, headers and every byte of its body are the same."""
    tab = await world.signed_in_tab()
    await world.expire()
    content = bytes(range(256)) * 100
    call = tab.session.fetch("/api/echo?q=1", method="POST", headers={"X-Colour": "blue"}, body=content)
    seen = await echoed(await call)
    assert seen["bodySha256"] == hashlib.sha256(content).hexdigest()
    assert seen["headers"]["x-colour"] == "blue"
    assert world.statuses("/api/echo") == [401, 200]
    first, second = (request for request in tab.sent if request.path == "/api/echo")
    assert replace(first, headers=second.headers) == second
    assert first.headers["authorization"] != second.headers["authorization"]
    for request in (first, second):
        assert {**request.headers, "authorization": ""} == {**first.headers, "authorization": ""}


PROCESSED: dict[str, dict[str, Any]] = {
    "dropped": {"kind": "drop_after"},
    "cut off": {"kind": "truncate"},
    "stalled": {"kind": "stall"},
}


@pytest.mark.parametrize("refused_first", [False, True])
@pytest.mark.parametrize("loss", PROCESSED)
async def test_16_a_post_that_was_processed_is_never_sent_again(
    world: WatchedWorld, loss: str, *, refused_first: bool
) -> None:
    """The note was created, the answer lost: there is one note, however long one waits, and the caller is told so."""
    tab = await world.signed_in_tab()
    if refused_first:
        await world.expire()
    await world.fault("/api/notes", skip=int(refused_first), **PROCESSED[loss])
    with pytest.raises(AmbiguousRequestError) as lost:
        await tab.session.fetch("/api/notes", method="POST", json={"text": "x"}, timeout=20)
    assert lost.value.request is not None
    await asyncio.sleep(600)
    await tab.session.refresh()
    assert (await tab.session.fetch("/api/data")).ok
    assert [note.text for note in world.server.notes.of("ada")] == ["x"]
    assert len(world.journal("/api/notes")) == 1 + refused_first


@pytest.mark.parametrize(
    "method, again, error",
    [
        ("POST", None, AmbiguousRequestError),
        ("PATCH", None, AmbiguousRequestError),
        ("POST", True, TransportError),
        ("GET", None, TransportError),
        ("PUT", None, TransportError),
        ("DELETE", None, TransportError),
        ("POST", False, AmbiguousRequestError),
    ],
)
async def test_16_a_lost_answer_is_named_by_what_a_repeat_would_do(
    world: WatchedWorld, method: str, again: Any, error: type[FreshfetchError]
) -> None:
    """Sent once and never again by us; the error says whether the caller may, and gives the request back."""
    tab = await world.signed_in_tab()
    await world.fault("/api/notes*", "drop_after")
    with pytest.raises(FreshfetchError) as lost:
        await tab.session.fetch("/api/notes/n1", method=method, json={"text": "x"}, replay=again)
    assert type(lost.value) is error
    assert lost.value.request is not None
    assert len(world.journal()) == 1


# -- 17: bodies --


async def test_17_what_the_caller_changes_afterwards_is_not_replayed(world: WatchedWorld) -> None:
    """Headers, json and bytearray changed right after the call and after the 401: the replay is what was asked."""
    tab = await world.signed_in_tab()
    await world.expire()
    headers, content, raw = {"X-Colour": "blue"}, {"text": ["hi"]}, bytearray(b"abc")
    first = asyncio.ensure_future(tab.session.fetch("/api/echo", method="POST", headers=headers, json=content))
    second = asyncio.ensure_future(tab.session.fetch("/api/echo", method="POST", headers=headers, body=raw))
    headers["X-Colour"] = "red"
    content["text"].append("no")
    raw[:] = b"xyz"
    await until(lambda: tab.seen(RefreshStarted))
    headers.clear()
    content.clear()
    raw[:] = b""
    seen = [await echoed(await first), await echoed(await second)]
    assert [each["headers"]["x-colour"] for each in seen] == ["blue", "blue"]
    assert [each["body"] for each in seen] == ['{"text": ["hi"]}', "abc"]
    assert world.statuses("/api/echo") == [401, 401, 200, 200]


@pytest.mark.parametrize("body", ["gr\u00fcn", b"\x00\xff", bytearray(b"abc"), memoryview(b"abc"), ""])
async def test_17_text_and_bytes_of_every_kind_are_replayed(world: WatchedWorld, body: Any) -> None:
    """str, bytes, bytearray and memoryview arrive as they are, the second time too."""
    tab = await world.signed_in_tab()
    await world.expire()
    expected = body.encode() if isinstance(body, str) else bytes(body)
    seen = await echoed(await tab.session.fetch("/api/echo", method="POST", body=body))
    assert seen["bodySha256"] == hashlib.sha256(expected).hexdigest()
    assert world.statuses("/api/echo") == [401, 200]


class StreamWire(Wire):
    """A wire that takes iterators as bodies, which it can send once."""

    def snapshot(self, body: Any) -> Body:
        """Take the iterator as a spent-once body."""
        return Body(b"".join(body), replayable=False)


async def test_17_a_spent_stream_is_never_replayed_empty(world: WatchedWorld) -> None:
    """A stream answered 401: NotReplayableError, the token is renewed, and calling again with a new stream works."""
    tab = await world.signed_in_tab(transport=StreamWire(world.app))
    await world.expire()
    with pytest.raises(NotReplayableError) as spent:
        await tab.session.fetch("/api/echo", method="POST", body=iter([b"a", b"b"]))
    assert spent.value.request is not None
    seen = await echoed(await tab.session.fetch("/api/echo", method="POST", body=iter([b"a", b"b"])))
    assert seen["body"] == "ab"
    assert world.statuses("/api/echo") == [401, 200]
    assert world.refreshes() == 1


async def test_17_a_stream_that_was_not_sent_yet_may_wait_for_a_refresh(world: WatchedWorld) -> None:
    """The token is known to be over: the refresh comes first, the stream is sent once, whole."""
    tab = await world.signed_in_tab(transport=StreamWire(world.app))
    await asyncio.sleep(1801)
    seen = await echoed(await tab.session.fetch("/api/echo", method="POST", body=iter([b"a", b"b"])))
    assert seen["body"] == "ab"
    assert world.statuses("/api/echo") == [200]


# -- 18: the release --


@pytest.mark.parametrize("how", ["held", "refused"])
async def test_18_failures_among_two_hundred_released_requests_touch_nobody_else(world: WatchedWorld, how: str) -> None:
    """500s, 429s, drops and hangs among 200: each told to its own caller, the others succeed, in order, six at once."""
    if how == "held":
        tab = await world.signed_in_tab(queue=roomy_queue())
        await asyncio.sleep(1801)
        await world.fault(REFRESH, "delay", delay=2)
    else:
        tab = await wide_open_tab(world)
    faults: dict[int, dict[str, Any]] = {
        1: {"kind": "status", "status": 500},
        3: {"kind": "drop_before"},
        5: {"kind": "status", "status": 429, "headers": {"Retry-After": "60"}},
        7: {"kind": "drop_after"},
    }
    for last, fault in faults.items():
        await world.fault(f"/api/data/*{last}", skip=20 * (how == "refused"), **fault)
    calls = [tab.session.fetch(f"/api/data/{n}", timeout=100) for n in range(200)]
    if how == "held":
        running = [asyncio.create_task(call) for call in calls]
        await until(lambda: tab.session.snapshot().queue_size == 200)
    else:
        await world.fault("/api/data/*", "delay", delay=1, times=200)
        running = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0.5)
        await world.expire()
        await until(lambda: tab.seen(RefreshStarted))
    tab.wire.most_under_way = 0
    results = await outcomes(*running)
    for n, result in enumerate(results):
        fault = faults.get(n % 10, {})
        if fault.get("kind") in ("drop_before", "drop_after"):
            assert type(result) is TransportError
        else:
            assert result.status == fault.get("status", 200)
    assert tab.wire.most_under_way == 6
    order = [request.path for request in tab.sent if request.path.startswith("/api/data")]
    expected = [f"/api/data/{n}" for n in range(200)]
    assert order == expected * (2 if how == "refused" else 1)
    assert world.refreshes() == 1


# -- 19: what is not ours to authorize --


async def test_19_the_callers_own_authorization_wins(world: WatchedWorld) -> None:
    """A request with an Authorization header of its own is sent as it is; its 401 causes no refresh."""
    tab = await world.signed_in_tab()
    answer = await tab.session.fetch("/api/data", headers={"AUTHORIZATION": "Bearer mine"})
    assert answer.status == 401
    assert [request.headers["authorization"] for request in tab.sent if request.path == "/api/data"] == ["Bearer mine"]
    assert world.refreshes() == 0
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    assert tab.session.state is State.SIGN_IN_REQUIRED
    assert (await tab.session.fetch("/api/data", headers={"Authorization": "Bearer mine"})).status == 401


@pytest.mark.parametrize("path", [REFRESH, f"{AUTH}login", f"{AUTH}logout", f"{REFRESH}?x=1#y"])
async def test_19_the_auth_servers_routes_are_never_intercepted_or_queued(world: WatchedWorld, path: str) -> None:
    """A call to them carries no token, waits for nothing, and its refusal causes no refresh of ours."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "delay", delay=3600, times=1)
    held = asyncio.create_task(tab.session.fetch("/api/data", timeout=5))
    await until(lambda: tab.seen(RefreshStarted))
    began = seconds_since_start()
    answer = await tab.session.fetch(path, method="POST", json={"refreshToken": "x", "username": "x", "password": "x"})
    assert answer.status in (204, 400, 401)
    assert seconds_since_start() - began < 0.1
    assert "authorization" not in tab.sent[-1].headers
    assert len(tab.seen(RefreshStarted)) == 1
    await outcomes(held)


async def test_19_the_auth_servers_routes_are_open_when_the_session_is_over(world: WatchedWorld) -> None:
    """After the session expired, a page's own call to the sign-in route goes through."""
    tab = await world.signed_in_tab()
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    content = {"username": "ada", "password": "lovelace"}
    assert (await tab.session.fetch("/api/auth/login", method="POST", json=content)).ok
