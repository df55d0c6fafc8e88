"""Scenarios 1 to 11: what the auth server may answer to a refresh, and what nobody may notice of it."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from freshfetch import (
    AuthServerError,
    AuthServerMisconfigured,
    HeartbeatPolicy,
    HeartbeatSent,
    JsonAuthServer,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RefreshUnavailableError,
    Refusal,
    Response,
    RetryPolicy,
    SessionExpired,
    SessionExpiredError,
    SessionRecord,
    State,
)
from freshfetch.memory import MemoryChannel
from tests.faults.watched import REFRESH, WatchedTab, WatchedWorld
from tests.world import START, eager_retry, outcomes, roomy_queue, seconds_since_start, until

HOUR = 3600.0
WINDOWS = ((0.5, 2.0), (2.0, 8.0), (8.0, 30.0), (30.0, 180.0))
"""The usual retry policy's, written down again: a test that asks the library for its own figures proves nothing."""


async def expired_tab(world: WatchedWorld, **settings: Any) -> WatchedTab:
    """Return a tab whose access token is over its time."""
    tab = await world.signed_in_tab(**settings)
    await asyncio.sleep(1801)
    return tab


async def expiring_tab(world: WatchedWorld, **settings: Any) -> WatchedTab:
    """Return a tab whose token is in its leeway: it works for another twenty seconds."""
    tab = await world.signed_in_tab(**settings)
    await asyncio.sleep(1780)
    return tab


async def running_tabs(world: WatchedWorld, number: int, **settings: Any) -> list[WatchedTab]:
    """Return so many tabs of ada's that listen to each other."""
    tabs = [await world.signed_in_tab(**settings), *(world.tab(**settings) for _ in range(number - 1))]
    for tab in tabs:
        await tab.session.__aenter__()
    await asyncio.sleep(0)
    return tabs


def presented(world: WatchedWorld) -> list[str]:
    """Return the refresh tokens that were presented, in order."""
    return [each.token for each in world.redemptions]


def effects(world: WatchedWorld) -> list[str]:
    """Return everything that refreshes changed at the server, in order."""
    return [effect for entry in world.journal(REFRESH) for effect in entry.effects]


def tokens(record: SessionRecord) -> SessionRecord:
    """Return a record without what is only planned."""
    return replace(record, not_before=0.0, failures=0, unanswered=False)


# -- 1 and 2: the answer is lost --

LOST: dict[str, dict[str, Any]] = {
    "closed without an answer": {"kind": "drop_after"},
    "cut off in the middle": {"kind": "truncate"},
    "never begun": {"kind": "stall"},
    "headers and then nothing": {"kind": "stall", "sendHeaders": True},
}


@pytest.mark.parametrize("loss", LOST)
async def test_01_an_answer_lost_after_rotation_is_asked_for_again_within_the_grace(
    world: WatchedWorld, loss: str
) -> None:
    """Rotated, answer lost: the same refresh token is presented once more within the grace; all that waited succeed.

    Also with a grace of ten seconds, as short as they come, and when chance draws the longest first wait.
    """
    usual = RetryPolicy()
    longest_wait = usual.windows[0][1]
    tab = await expired_tab(world, retry=replace(usual, windows=((longest_wait, longest_wait), *usual.windows[1:])))
    await world.control("settings", grace=10)
    await world.fault(REFRESH, times=1, **LOST[loss])
    posts = [tab.session.fetch("/api/notes", method="POST", json={"text": str(n)}) for n in range(10)]
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(20)), *posts)
    assert all(answer.ok for answer in answers)
    first, second = world.redemptions
    assert first.token == second.token
    assert second.began - first.began < 10
    assert effects(world) == ["refreshed", "grace_reissued"]
    assert len(world.server.notes.of("ada")) == 10
    assert tab.session.state is State.SIGNED_IN


@pytest.mark.parametrize("loss", [*LOST, "a page instead of tokens"])
async def test_02_without_a_grace_the_session_ends_and_says_that_an_answer_was_lost(
    world: WatchedWorld, loss: str
) -> None:
    """Strict server: presented twice at the most, then ``rotation_ambiguous``; each caller gets its request back."""
    tab = await expired_tab(world, retry=eager_retry())
    await world.fault(REFRESH, times=1, **LOST.get(loss, {"kind": "body", "body": "<html>"}))
    results = await outcomes(*(tab.session.fetch(f"/api/data/{n}") for n in range(10)))
    assert {type(result) for result in results} == {SessionExpiredError}
    assert {result.reason for result in results} == {"rotation_ambiguous"}
    assert [result.request.path for result in results] == [f"/api/data/{n}" for n in range(10)]
    assert len(presented(world)) == 2
    assert len(set(presented(world))) == 1
    assert [event.reason for event in tab.seen(SessionExpired)] == ["rotation_ambiguous"]
    assert world.store.load() is None
    await tab.session.sign_in("ada", "lovelace")
    again = [await tab.session.resend(result.request) for result in results]
    assert all(answer.ok for answer in again)


class Deaf(MemoryChannel):
    """A channel that loses every hint, so that only the storage can tell."""

    def publish(self, hint: object) -> None:
        """Lose it."""


async def test_02_storage_is_read_again_before_the_refresh_token_is_presented_again(world: WatchedWorld) -> None:
    """An answer is lost, another tab stores newer tokens and no hint of it arrives: nothing is presented twice."""
    settings = {"channel": Deaf(), "retry": eager_retry(windows=((20.0, 20.0),))}
    tab, other = await world.signed_in_tab(**settings), world.tab(**settings)
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "drop_after", times=1)
    calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(10)]
    await until(lambda: tab.seen(RefreshFailed))
    await other.session.sign_in("ada", "lovelace")
    assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert len(presented(world)) == 1
    assert effects(world) == ["refreshed"]


# -- 3: the auth server is down --

DOWN: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "502": {"kind": "status", "status": 502, "body": "<html>Bad Gateway</html>"},
    "503": {"kind": "status", "status": 503},
    "refused": {"kind": "drop_before"},
}


@pytest.mark.parametrize("failure", DOWN)
async def test_03_an_hour_without_the_auth_server_is_waited_out(world: WatchedWorld, failure: str) -> None:
    """Token dead, auth server down for an hour: each request waits until its own deadline, the tokens stay stored.

    The n-th wait lies in the n-th window, the last window stays, and no two waits of it are the same.
    """
    tab = await expired_tab(world)
    before = world.record()
    await world.fault(REFRESH, **DOWN[failure])
    began = seconds_since_start()
    ends: dict[float, float] = {}

    async def ask(timeout: float) -> None:
        with pytest.raises(RefreshUnavailableError) as unavailable:
            await tab.session.fetch(f"/api/data/{timeout:.0f}", timeout=timeout)
        assert unavailable.value.request is not None
        ends[timeout] = seconds_since_start() - began

    deadlines = [0.25, 7.0, 60.0, 600.0, HOUR]
    await asyncio.gather(*(ask(timeout) for timeout in deadlines))
    assert ends == pytest.approx({timeout: timeout for timeout in deadlines}, abs=0.001)
    waits = [later.began - earlier.ended for earlier, later in pairwise(world.redemptions)]
    for number, wait in enumerate(waits):
        low, high = WINDOWS[min(number, 3)]
        assert low <= wait <= high + 0.02
    assert HOUR / 180 - 3 <= len(waits) <= 3 + HOUR / 30
    drawn = {round(wait, 3) for wait in waits[3:]}
    assert len(drawn) > 0.8 * len(waits[3:])  # by chance, so two of them may be alike
    assert tokens(world.record()) == before
    assert set(presented(world)) == {before.refresh_token}
    assert [entry.path for entry in world.journal() if entry.path != REFRESH] == []
    world.heal()
    assert (await tab.session.fetch("/api/data")).ok


@pytest.mark.parametrize("failure", DOWN)
async def test_03_a_token_that_works_is_used_while_the_auth_server_is_down(world: WatchedWorld, failure: str) -> None:
    """Within a leeway of an hour and more: a request each ten seconds succeeds, attempts keep to the windows."""
    await world.control("settings", accessLifetime=20_000)
    tab = await world.signed_in_tab(leeway=4000.0)
    await asyncio.sleep(16_100)
    before = world.record()
    await world.fault(REFRESH, **DOWN[failure])
    for _ in range(360):
        asked = seconds_since_start()
        assert (await tab.session.fetch("/api/data")).ok
        assert seconds_since_start() - asked < 0.1
        await asyncio.sleep(10)
    assert HOUR / 190 <= world.refreshes() <= 3 + HOUR / 30 + 1
    assert tokens(world.record()) == before
    assert tab.session.subject == "ada"


# -- 4: the auth server asks for patience --

RETRY_AFTER: dict[str, tuple[str, float]] = {
    "seconds": ("120", 120.0),
    "zero": ("0", 0.0),
    "garbage": ("soon", 0.0),
    "negative": ("-5", 0.0),
    "fraction": ("1.5", 0.0),
    "huge": ("1000000000", 600.0),
    "absurd": ("9" * 400, 600.0),
    "date": (formatdate(START + 1801 + 120, usegmt=True), 120.0),
    "long ago": (formatdate(START - 86_400, usegmt=True), 0.0),
    "far future": (formatdate(START + 86_400, usegmt=True), 600.0),
    "not a date": ("Mon, 99 Foo 2026 99:99:99 GMT", 0.0),
    "list": ("120, 240", 0.0),
}


@pytest.mark.parametrize("name", RETRY_AFTER)
@pytest.mark.parametrize("status", [429, 503])
async def test_04_retry_after_is_honoured_capped_shared_and_never_a_logout(
    world: WatchedWorld, name: str, status: int
) -> None:
    """No tab tries before the server's Retry-After, capped at 600 s, plus a drawn second; nobody is signed out."""
    value, wait = RETRY_AFTER[name]
    tabs = await running_tabs(world, 3, queue=roomy_queue(), retry=eager_retry())
    await asyncio.sleep(1801)
    body = {"error": "invalid_grant"}  # whatever else it says
    await world.fault(REFRESH, "status", status=status, headers={"Retry-After": value}, body=body, times=1)
    began = seconds_since_start()
    calls = [asyncio.create_task(tab.session.fetch("/api/data", timeout=1000)) for tab in tabs]
    assert all(answer.ok for answer in await asyncio.gather(*calls))
    assert seconds_since_start() - began == pytest.approx(wait + 1.0, abs=0.2 if name != "date" else 1.2)
    assert world.refreshes() == 2
    assert {tab.session.subject for tab in tabs} == {"ada"}
    assert not [event for tab in tabs for event in tab.seen(SessionExpired)]


async def test_04_a_date_is_read_by_the_servers_own_clock(world: WatchedWorld) -> None:
    """The device's clock is an hour behind the server's: a Retry-After date two minutes ahead is two minutes."""
    [tab] = await running_tabs(world, 1, retry=eager_retry())
    await world.control("settings", clockOffset=3600)
    await asyncio.sleep(1801)
    date = formatdate(world.clock.now() + 3600 + 120, usegmt=True)
    await world.fault(REFRESH, "status", status=503, headers={"Retry-After": date}, times=1)
    began = seconds_since_start()
    assert (await tab.session.fetch("/api/data", timeout=1000)).ok
    assert seconds_since_start() - began == pytest.approx(121, abs=2)


async def test_04_a_tab_opened_during_the_wait_waits_as_well(world: WatchedWorld) -> None:
    """A page opened (or loaded again) while the server asked for patience does not send a refresh of its own."""
    [first] = await running_tabs(world, 1, retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "status", status=503, headers={"Retry-After": "100"}, times=1)
    call = asyncio.create_task(first.session.fetch("/api/data"))
    await until(lambda: first.seen(RefreshFailed))
    second = world.tab(retry=eager_retry())
    began = seconds_since_start()
    assert (await second.session.fetch("/api/data", timeout=500)).ok
    assert seconds_since_start() - began > 99
    assert (await call).ok
    assert world.refreshes() == 2


# -- 5: the auth server accepts and never answers --

HANGING: dict[str, Any] = {"kind": "delay", "delay": HOUR}


async def test_05_a_hanging_refresh_does_not_hold_up_a_token_that_works(world: WatchedWorld) -> None:
    """The first request waits a second for the early refresh; all others, during it and after it, go out at once."""
    tab = await expiring_tab(world)
    await world.fault(REFRESH, **HANGING)
    began = seconds_since_start()
    assert (await tab.session.fetch("/api/data")).ok
    assert seconds_since_start() - began < 1.1
    for _ in range(80):
        asked = seconds_since_start()
        assert (await tab.session.fetch("/api/data")).ok
        assert seconds_since_start() - asked < 0.05
        await asyncio.sleep(0.2)
    assert world.refreshes() >= 2
    assert tab.session.subject == "ada"


async def test_05_a_hanging_refresh_is_waited_for_within_limits(world: WatchedWorld) -> None:
    """Token dead: a request waits until its own limit, one without a limit for max_wait; neither is ever sent."""
    tab = await expired_tab(world, queue=roomy_queue(max_wait=200.0))
    await world.fault(REFRESH, **HANGING)
    began = seconds_since_start()
    limited = asyncio.create_task(tab.session.fetch("/api/data/limited", timeout=25))
    [unlimited] = await outcomes(asyncio.wait_for(tab.session.fetch("/api/data/unlimited"), 1000))
    assert isinstance(unlimited, RefreshUnavailableError)
    assert seconds_since_start() - began == pytest.approx(200)
    assert isinstance((await outcomes(limited))[0], RefreshUnavailableError)
    assert [entry.path for entry in world.journal() if entry.path != REFRESH] == []


async def test_05_a_hanging_refresh_gives_the_lock_back_in_time(world: WatchedWorld) -> None:
    """Whoever waits for the lock has it when the refresh's time limit is over, and not a moment later."""
    tab = await expired_tab(world, retry=eager_retry())
    await world.fault(REFRESH, **HANGING)
    call = asyncio.create_task(tab.session.fetch("/api/data", timeout=30))
    await until(lambda: tab.seen(RefreshStarted))
    began = seconds_since_start()
    async with world.lock.hold("default", 100.0):
        assert seconds_since_start() - began == pytest.approx(RetryPolicy().refresh_timeout, abs=0.01)
    assert isinstance((await outcomes(call))[0], RefreshUnavailableError)


# -- 6 and 7: the refresh token is dead --


async def test_06_a_dead_refresh_token_ends_the_session_once_for_everybody(world: WatchedWorld) -> None:
    """One refresh request, one event a tab, the record gone in every tab, every caller told, no heartbeat after it."""
    beats = HeartbeatPolicy(interval=60.0)
    tab, *others = tabs = await running_tabs(world, 3, heartbeat=beats)
    await asyncio.sleep(1801)
    await world.revoke()
    world.start_journal()
    calls = [each.session.fetch(f"/api/data/{n}") for n in range(10) for each in tabs]
    results = await outcomes(*calls)
    assert {type(result) for result in results} == {SessionExpiredError}
    assert world.refreshes() == 1
    await asyncio.sleep(1)
    assert world.store.load() is None
    for each in tabs:
        assert [event.reason for event in each.seen(SessionExpired)] == ["invalid_grant"]
        assert each.session.state is State.SIGN_IN_REQUIRED
    told = [len(each.seen(HeartbeatSent)) for each in tabs]
    await asyncio.sleep(HOUR)
    assert [len(each.seen(HeartbeatSent)) for each in tabs] == told
    assert world.journal("/api/heartbeat") == []
    for each in (tab, *others):
        assert isinstance((await outcomes(each.session.fetch("/api/data")))[0], SessionExpiredError)
    assert world.refreshes() == 1


async def test_07_a_refresh_token_that_dies_first_leaves_the_access_token_its_time(world: WatchedWorld) -> None:
    """Early refresh refused for good: the access token is used until it expires; that refresh token never again."""
    tab, other = await running_tabs(world, 2)
    await asyncio.sleep(1780)
    await world.control("revoke", accessTokens=False)
    for _ in range(9):
        assert all(answer.ok for answer in await asyncio.gather(*(t.session.fetch("/api/data") for t in (tab, other))))
        await asyncio.sleep(2)
    for each in (tab, other, world.tab()):
        with pytest.raises(SessionExpiredError):
            await each.session.refresh()
    assert world.refreshes() == 1
    assert tab.session.state is State.SIGNED_IN
    assert tab.seen(SessionExpired) == []
    await asyncio.sleep(10)
    with pytest.raises(SessionExpiredError) as ending:
        await tab.session.fetch("/api/data")
    assert ending.value.reason == "invalid_grant"
    assert world.refreshes() == 1
    await asyncio.sleep(1)
    assert len(tab.seen(SessionExpired)) == len(other.seen(SessionExpired)) == 1


# -- 8: answers that are wrong --

CLASS_C = ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope"]


@pytest.mark.parametrize("error", CLASS_C)
async def test_08_a_rejected_client_keeps_its_token_and_wipes_nothing(world: WatchedWorld, error: str) -> None:
    """A class C error: the developer is told once, the token serves out its time, and no second try is made."""
    tab = await expiring_tab(world)
    before = world.record()
    await world.fault(REFRESH, "status", status=400, body={"error": error})
    assert (await tab.session.fetch("/api/data")).ok
    assert (await tab.session.fetch("/api/data")).ok
    assert [(event.status, event.error) for event in tab.seen(AuthServerMisconfigured)] == [(400, error)]
    await asyncio.sleep(30)
    for _ in range(3):
        with pytest.raises(AuthServerError) as refusal:
            await tab.session.fetch("/api/data")
        assert refusal.value.error == error
        assert refusal.value.request is not None
    assert world.refreshes() == 1
    assert world.record() == before
    assert tab.session.state is State.SIGNED_IN


GOOD = {"accessToken": "abc.def", "refreshToken": "new", "expiresIn": 60}
FIELDS = ("accessToken", "refreshToken", "expiresIn", "refreshExpiresIn")
HOSTILE: dict[str, dict[str, Any]] = {
    "accessToken": {
        "missing": ...,
        "null": None,
        "empty": "",
        "number": 7,
        "true": True,
        "list": ["abc"],
        "object": {"a": 1},
        "newline": "abc\r\nX-Evil: 1",
        "space": "abc def",
        "control": "abc\x00",
        "not ASCII": "\u00e4bc",
        "huge": "a" * 100_000,
    },
    "refreshToken": {
        "empty": "",
        "number": 7,
        "true": True,
        "list": ["abc"],
        "object": {"a": 1},
        "newline": "abc\n",
        "not ASCII": "\u00e4bc",
        "huge": "a" * 100_000,
    },
    **{
        name: {
            "negative": -1,
            "text": "soon",
            "empty": "",
            "true": True,
            "list": [60],
            "object": {"a": 1},
            "huge": 1e300,
            "too large for a float": 10**400,
        }
        for name in ("expiresIn", "refreshExpiresIn")
    },
}
UNUSABLE: dict[str, Any] = {
    "html": "<html><body>Log in to the hotel's network (invalid_grant)</body></html>",
    "nothing": "",
    "object": {},
    "list": [],
    "null": "null",
    "number": 7,
    "deep": "[" * 100_000,
    "NaN": '{"accessToken": "abc", "refreshToken": "new", "expiresIn": NaN}',
    "infinite": '{"accessToken": "abc", "refreshToken": "new", "expiresIn": 1e999}',
    **{
        f"{field} {name}": {key: value for key, value in {**GOOD, field: worth}.items() if value is not ...}
        for field, values in HOSTILE.items()
        for name, worth in values.items()
    },
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_08_an_unusable_answer_stores_nothing_and_signs_nobody_out(world: WatchedWorld, name: str) -> None:
    """A 200 that brings no whole grant: the old token is used while it works, and the next refresh is as any other."""
    tab = await expiring_tab(world, retry=eager_retry())
    before = world.record()
    # `status` does not ask the app: the refresh token is not spent, and a later refresh can succeed.
    await world.fault(REFRESH, "status", status=200, body=UNUSABLE[name], times=1)
    assert (await tab.session.fetch("/api/data")).ok
    assert tokens(world.record()) == before
    assert tab.session.state is State.SIGNED_IN
    assert [event.status for event in tab.seen(RefreshFailed)] == [200]
    await asyncio.sleep(30)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 2


@pytest.mark.parametrize("name", UNUSABLE)
async def test_08_an_unusable_answer_to_a_sign_in_is_an_error_of_ours(world: WatchedWorld, name: str) -> None:
    """The same answers to a sign-in: AuthServerError, nothing stored, nobody signed in."""
    tab = world.tab()
    await world.fault("/api/auth/login", "status", status=200, body=UNUSABLE[name])
    with pytest.raises(AuthServerError):
        await tab.session.sign_in("ada", "lovelace")
    assert world.store.load() is None
    assert tab.session.state is State.SIGNED_OUT


PASSING: list[dict[str, Any]] = [
    {"kind": "status", "status": status} for status in (400, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504)
] + [
    {"kind": "status", "status": 500, "body": {"error": "invalid_grant"}},
    {"kind": "status", "status": 408, "body": {"error": "invalid_grant"}},
    {"kind": "status", "status": 425, "body": {"error": "invalid_grant"}},
    {"kind": "status", "status": 503, "body": "invalid_grant"},
    {"kind": "status", "status": 400, "body": "<html>invalid_grant</html>"},
    {"kind": "status", "status": 400, "body": ["invalid_grant"]},
    {"kind": "status", "status": 400, "body": {"error": ["invalid_grant"]}},
    {"kind": "status", "status": 400, "body": {"error": "temporarily_unavailable"}},
    {"kind": "status", "status": 204},
    {"kind": "status", "status": 304},
    {"kind": "drop_before"},
]


@pytest.mark.parametrize(
    "fault", PASSING, ids=lambda fault: f"{fault['kind']} {fault.get('status', '')} {fault.get('body', '')}"
)
async def test_08_nothing_but_the_servers_own_word_ends_a_session(world: WatchedWorld, fault: dict[str, Any]) -> None:
    """For a minute the refresh is answered in a way that proves nothing: requests wait and succeed afterwards."""
    tab = await expired_tab(world, retry=eager_retry())
    before = world.record()
    await world.fault(REFRESH, **fault)
    call = asyncio.create_task(tab.session.fetch("/api/data"))
    await asyncio.sleep(60)
    assert not call.done()
    assert world.record().refresh_token == before.refresh_token
    assert tab.seen(SessionExpired) == []
    world.heal()
    assert (await call).ok
    assert tab.session.state is State.SIGNED_IN


# -- 9 to 11: successes that are not quite what was expected --


async def test_09_an_answer_without_a_refresh_token_keeps_the_old_one(world: WatchedWorld) -> None:
    """RFC 6749 section 6: what is not replaced stays, its own date of expiry too, and is presented the next time."""
    await world.control("settings", rotation=False)
    tab = await expiring_tab(world)
    before = world.record()
    await world.fault(REFRESH, "status", status=200, body={"accessToken": "abc", "expiresIn": 60}, times=1)
    await tab.session.refresh()
    record = world.record()
    assert record.access_token == "abc"
    assert (record.refresh_token, record.refresh_expires_at) == (before.refresh_token, before.refresh_expires_at)
    await asyncio.sleep(61)
    assert (await tab.session.fetch("/api/data")).ok
    assert presented(world) == [before.refresh_token] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://elsewhere.example/token", "/login"])
async def test_10_a_redirect_of_the_token_endpoint_is_not_followed(
    world: WatchedWorld, location: str, status: int
) -> None:
    """The refresh request forbids redirects, nothing else is sent with the refresh token, and nobody is signed out."""
    tab = await expired_tab(world, retry=eager_retry())
    await world.fault(REFRESH, "redirect", status=status, location=location, times=2)
    assert (await tab.session.fetch("/api/data")).ok
    carriers = [request for request in tab.sent if request.body is not None and "refreshToken" in request.body.content]
    assert {request.target.url for request in carriers} == {"http://localhost/api/auth/refresh"}
    assert {request.options["redirect"] for request in carriers} == {"error"}
    assert len(carriers) == 3
    assert [event.status for event in tab.seen(RefreshFailed)] == [status] * 2
    assert tab.session.state is State.SIGNED_IN


def jwt_for(subject: object) -> str:
    """Return an unsigned JWT with this ``sub``."""
    parts = ({"alg": "none"}, {"sub": subject}, "x")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize(
    "body",
    [
        {"accessToken": jwt_for("grace"), "refreshToken": "new", "expiresIn": 60},
        {"accessToken": "opaque", "refreshToken": "new", "expiresIn": 60, "user": "grace"},
        {"accessToken": "opaque", "refreshToken": "new", "expiresIn": 60, "sub": "grace"},
    ],
    ids=["sub of the JWT", "user field", "sub field"],
)
async def test_11_an_answer_for_another_person_is_never_stored(world: WatchedWorld, body: dict[str, Any]) -> None:
    """The refresh brings tokens that say they are grace's: nothing is stored, nothing leaves with them."""
    tab = await expiring_tab(world)
    before = world.record()
    await world.fault(REFRESH, "status", status=200, body=body)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.record() == before
    assert [event.error for event in tab.seen(AuthServerMisconfigured)] == ["other_subject"]
    assert not [request for request in tab.sent if body["accessToken"] in request.headers.get("authorization", "")]
    assert tab.session.subject == "ada"


async def test_11_a_narrower_scope_is_stored_and_told_and_no_logout(world: WatchedWorld) -> None:
    """The new tokens are good for less: they are used, listeners hear the scope, the API's 403 goes to the caller."""
    tab = await expired_tab(world)
    body = {"accessToken": "narrow.token", "refreshToken": "narrow refresh", "expiresIn": 60, "scope": "read notes:own"}
    await world.fault(REFRESH, "status", status=200, body=body, times=1)
    challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="write"'}
    await world.fault("/api/notes", "status", status=403, headers=challenge, body={"error": "insufficient_scope"})
    answer = await tab.session.fetch("/api/notes", method="POST", json={"text": "x"})
    assert answer.status == 403
    assert answer.headers["WWW-Authenticate"] == challenge["WWW-Authenticate"]
    assert await answer.json() == {"error": "insufficient_scope"}
    assert [event.scope for event in tab.seen(RefreshSucceeded)] == ["read notes:own"]
    assert world.record().access_token == "narrow.token"
    assert world.refreshes() == 1
    assert tab.session.state is State.SIGNED_IN


SCOPES: dict[str, tuple[Any, str | None]] = {
    "one": ("read", "read"),
    "two": ("read write", "read write"),
    "absent": (None, None),
    "empty": ("", None),
    "number": (7, None),
    "list": (["read"], None),
    "newline": ("read\nwrite", None),
    "quote": ('re"ad', None),
    "backslash": ("re\\ad", None),
    "doubled space": ("read  write", None),
    "not ASCII": ("l\u00e4sen", None),
    "huge": ("a" * 1001, None),
    "the refresh token": ("read old-refresh-token", None),
    "a part of the new access token": ("new-acce read", None),
}


@pytest.mark.parametrize("name", SCOPES)
async def test_11_a_scope_is_checked_before_it_is_told(name: str) -> None:
    """What is no scope of RFC 6749 section 3.3, is too long or repeats a token is dropped; the tokens are taken."""
    scope, expected = SCOPES[name]
    content = json.dumps({"accessToken": "new-access-token", "expiresIn": 60, "scope": scope}).encode()

    async def read() -> bytes:
        return content

    response = Response(status=200, url="http://localhost/", read=read)
    answer = await JsonAuthServer().read(response, secrets=("old-refresh-token",))
    assert not isinstance(answer, Refusal)
    assert answer.scope == expected
