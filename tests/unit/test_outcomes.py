"""What the auth server may answer to a refresh, and what a session makes of it.

Terminal: the session ends. Retryable and ambiguous: later again. Misconfigured: never again, and loudly.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from freshfetch import (
    AuthServerError,
    AuthServerMisconfigured,
    FreshfetchError,
    JsonAuthServer,
    RefreshFailed,
    RefreshUnavailableError,
    Refusal,
    Response,
    RetryPolicy,
    SessionExpired,
    SessionExpiredError,
    State,
)
from tests.world import Tab, World, eager_retry, seconds_since_start

REFRESH = "/api/auth/refresh"


async def expiring_tab(world: World, **settings: Any) -> Tab:
    """Return a tab whose token is in its leeway: it works for another twenty seconds."""
    tab = await world.signed_in_tab(**settings)
    await asyncio.sleep(1780)
    return tab


def jwt_for(subject: object) -> str:
    """Return an unsigned JWT with this ``sub``."""
    parts = ({"alg": "none"}, {"sub": subject}, "x")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


MISCONFIGURED = ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope"]


@pytest.mark.parametrize("error", MISCONFIGURED)
async def test_a_rejected_client_keeps_its_token_and_wipes_nothing(world: World, error: str) -> None:
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


async def test_signing_in_again_helps_a_client_that_was_rejected(world: World) -> None:
    """A new sign-in brings a new refresh token, which is tried."""
    tab = await expiring_tab(world)
    await world.fault(REFRESH, "status", status=401, body={"error": "invalid_client"}, times=1)
    assert (await tab.session.fetch("/api/data")).ok
    await tab.session.sign_in("ada", "lovelace")
    await asyncio.sleep(1801)
    assert (await tab.session.fetch("/api/data")).ok


GOOD = {"accessToken": "abc.def", "refreshToken": "new", "expiresIn": 60}
UNUSABLE: dict[str, Any] = {
    "html": "<html><body>Log in to the hotel's network (invalid_grant)</body></html>",
    "nothing": "",
    "object": {},
    "list": [],
    "null": None,
    "number": 7,
    "deep": "[" * 100_000,
    "no access token": {"refreshToken": "new", "expiresIn": 60},
    "access token null": {**GOOD, "accessToken": None},
    "access token empty": {**GOOD, "accessToken": ""},
    "access token number": {**GOOD, "accessToken": 7},
    "access token list": {**GOOD, "accessToken": ["abc"]},
    "access token with newline": {**GOOD, "accessToken": "abc\r\nX-Evil: 1"},
    "access token with space": {**GOOD, "accessToken": "abc def"},
    "access token not ASCII": {**GOOD, "accessToken": "äbc"},
    "access token huge": {**GOOD, "accessToken": "a" * 100_000},
    "refresh token empty": {**GOOD, "refreshToken": ""},
    "refresh token number": {**GOOD, "refreshToken": 7},
    "refresh token huge": {**GOOD, "refreshToken": "a" * 100_000},
    "lifetime negative": {**GOOD, "expiresIn": -1},
    "lifetime text": {**GOOD, "expiresIn": "soon"},
    "lifetime true": {**GOOD, "expiresIn": True},
    "lifetime huge": {**GOOD, "expiresIn": 1e300},
    "lifetime too large for a float": {**GOOD, "expiresIn": 10**400},
    "lifetime list": {**GOOD, "expiresIn": [60]},
    "lifetime NaN": '{"accessToken": "abc", "refreshToken": "new", "expiresIn": NaN}',
    "lifetime infinite": '{"accessToken": "abc", "refreshToken": "new", "expiresIn": 1e999}',
    "refresh lifetime negative": {**GOOD, "refreshExpiresIn": -1},
    "refresh lifetime too large for a float": {**GOOD, "refreshExpiresIn": 10**400},
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_unusable_answer_stores_nothing_and_signs_nobody_out(world: World, name: str) -> None:
    """A 200 that brings no whole grant: the old token is used while it works, the record keeps its tokens."""
    tab = await expiring_tab(world, retry=eager_retry())
    before = world.record()
    # `status` does not ask the app: the refresh token is not spent, and a later refresh can succeed.
    await world.fault(REFRESH, "status", status=200, body=_sent(UNUSABLE[name]), times=1)
    assert (await tab.session.fetch("/api/data")).ok
    after = world.record()
    assert (after.access_token, after.refresh_token) == (before.access_token, before.refresh_token)
    assert tab.session.state is State.SIGNED_IN
    assert [event.status for event in tab.seen(RefreshFailed)] == [200]
    await asyncio.sleep(30)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 2


def _sent(body: Any) -> Any:
    return "null" if body is None else body


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_unusable_answer_to_a_sign_in_is_an_error_of_ours(world: World, name: str) -> None:
    """The same answers to a sign-in: AuthServerError, nothing stored, nobody signed in."""
    tab = world.tab()
    await world.fault("/api/auth/login", "status", status=200, body=_sent(UNUSABLE[name]))
    with pytest.raises(AuthServerError):
        await tab.session.sign_in("ada", "lovelace")
    assert world.store.load() is None
    assert tab.session.state is State.SIGNED_OUT


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


async def test_an_answer_without_a_refresh_token_keeps_the_old_one(world: World) -> None:
    """RFC 6749 section 6: what is not replaced stays, its own date of expiry too."""
    tab = await expiring_tab(world)
    before = world.record()
    await world.fault(REFRESH, "status", status=200, body={"accessToken": "abc", "expiresIn": 60})
    await tab.session.refresh()
    record = world.record()
    assert record.access_token == "abc"
    assert record.refresh_token == before.refresh_token
    assert record.refresh_expires_at == before.refresh_expires_at


@pytest.mark.parametrize(
    "body",
    [
        {"accessToken": jwt_for("grace"), "refreshToken": "new", "expiresIn": 60},
        {"accessToken": "opaque", "refreshToken": "new", "expiresIn": 60, "user": "grace"},
        {"accessToken": "opaque", "refreshToken": "new", "expiresIn": 60, "sub": "grace"},
    ],
    ids=["sub of the JWT", "user field", "sub field"],
)
async def test_an_answer_for_another_person_is_never_stored(world: World, body: dict[str, Any]) -> None:
    """The refresh brings tokens that say they are grace's: nothing is stored, nothing leaves with them."""
    tab = await expiring_tab(world)
    before = world.record()
    await world.fault(REFRESH, "status", status=200, body=body)
    assert (await tab.session.fetch("/api/data")).ok
    assert world.record() == before
    assert [event.error for event in tab.seen(AuthServerMisconfigured)] == ["other_subject"]


PASSING: list[dict[str, Any]] = [
    {"kind": "status", "status": status} for status in (400, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504)
] + [
    {"kind": "status", "status": 500, "body": {"error": "invalid_grant"}},
    {"kind": "status", "status": 503, "body": "invalid_grant"},
    {"kind": "status", "status": 400, "body": "<html>invalid_grant</html>"},
    {"kind": "status", "status": 400, "body": ["invalid_grant"]},
    {"kind": "status", "status": 400, "body": {"error": ["invalid_grant"]}},
    {"kind": "status", "status": 400, "body": {"error": "temporarily_unavailable"}},
    {"kind": "redirect", "location": "https://elsewhere.example/token"},
    {"kind": "redirect", "location": "/login", "status": 302},
    {"kind": "status", "status": 204},
    {"kind": "status", "status": 304},
    {"kind": "drop_before"},
]


@pytest.mark.parametrize(
    "fault", PASSING, ids=lambda fault: f"{fault['kind']} {fault.get('status', '')} {fault.get('body', '')}"
)
async def test_nothing_but_the_servers_own_word_ends_a_session(world: World, fault: dict[str, Any]) -> None:
    """For a minute the refresh is answered in a way that proves nothing: requests wait and succeed afterwards."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
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


async def test_a_truncated_answer_is_a_lost_one(world: World) -> None:
    """Half of the tokens arrive: they are not stored; within the grace the same refresh token is presented again."""
    await world.control("settings", grace=30)
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "truncate", times=1)
    assert (await tab.session.fetch("/api/data")).ok
    assert [entry.effects for entry in world.journal(REFRESH)] == [["refreshed"], ["grace_reissued"]]


async def test_a_refresh_whose_answer_stalls_is_given_up_and_tried_again(world: World) -> None:
    """The server accepts and never answers: after refresh_timeout the same token is presented again."""
    await world.control("settings", grace=30)
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "stall", sendHeaders=True, times=1)
    began = seconds_since_start()
    assert (await tab.session.fetch("/api/data")).ok
    assert seconds_since_start() - began == pytest.approx(11, abs=0.5)  # 10 s of patience, 1 s of backoff


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


async def test_an_hour_without_the_server_costs_a_bounded_number_of_attempts(world: World) -> None:
    """With a dead token and a steady caller: at the most 3 + 3600/30 attempts and one, at the least 3600/190.

    The windows are 0.5-2, 2-8, 8-30 and then 30-180 s: three short waits, then none below 30 s or above 180 s
    (and a little for the requests themselves).
    """
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    before = world.record()
    tab.wire.cut = True

    async def keep_asking() -> None:
        for _ in range(12):
            with pytest.raises(RefreshUnavailableError):
                await tab.session.fetch("/api/data", timeout=300)

    await keep_asking()
    attempts = [request for request in tab.wire.sent if request.path == REFRESH]
    assert 3600 / 190 <= len(attempts) <= 3 + 3600 / 30 + 1
    assert world.record().refresh_token == before.refresh_token
    assert tab.session.state is State.OFFLINE


async def test_an_hour_of_refusals_with_a_working_token_is_bounded_too(world: World) -> None:
    """An early refresh answered 503, a request a second: attempts keep to the windows, every request succeeds."""
    await world.control("settings", accessLifetime=20_000)
    tab = await world.signed_in_tab(leeway=4000.0)
    await asyncio.sleep(16_100)
    await world.fault(REFRESH, "status", status=503)
    for _ in range(1200):
        assert (await tab.session.fetch("/api/data")).ok
        await asyncio.sleep(3)
    assert 3600 / 190 <= world.refreshes() <= 3 + 3600 / 30 + 1


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


async def test_a_clock_set_back_after_a_failure_does_not_put_the_next_attempt_off_for_hours(world: World) -> None:
    """A retry was planned, then the clock was set back five hours: it takes place within the longest planned wait."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.expire()
    await world.fault(REFRESH, "status", status=503, times=1)
    with pytest.raises(FreshfetchError):
        await tab.session.fetch("/api/data", timeout=0.5)
    world.clock.offset -= 5 * 3600
    await asyncio.sleep(1300)
    assert (await tab.session.fetch("/api/data", timeout=60)).ok


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


async def test_an_unusable_success_may_have_spent_the_refresh_token(world: World) -> None:
    """A 200 without tokens, then a refusal: the session ends with the reason that an answer was lost."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.expire()
    await world.fault(REFRESH, "body", body="<html>", times=1)
    with pytest.raises(SessionExpiredError) as ending:
        await tab.session.fetch("/api/data")
    assert ending.value.reason == "rotation_ambiguous"
