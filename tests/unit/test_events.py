"""What listeners hear: in which order, whatever they do themselves, and never a token."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from itertools import pairwise
from typing import Any

import pytest

from freshfetch import (
    Event,
    Headers,
    JsonAuthServer,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    Refusal,
    Request,
    RequestAnswered,
    RequestFailed,
    RequestHeld,
    RequestSent,
    Response,
    SessionExpired,
    SignedIn,
    SignedOut,
    State,
    StateChanged,
    TokensAdopted,
)
from tests.world import Tab, World, eager_retry, outcomes

REFRESHING = (RefreshStarted, RefreshSucceeded, RefreshFailed, SessionExpired, TokensAdopted)
LEAK = 8


def changes(tab: Tab) -> list[State]:
    """Return the states a tab went through, and check that each change starts where the last one ended."""
    seen = tab.seen(StateChanged)
    assert all(earlier.new is later.old for earlier, later in pairwise(seen))
    return [event.new for event in seen]


def names(events: list[Event], *kinds: type[Event]) -> list[str]:
    """Return the names of the events of these kinds."""
    return [type(event).__name__ for event in events if isinstance(event, kinds)]


# -- order --


async def test_a_refresh_is_told_from_its_start_to_its_one_end(world: World) -> None:
    """Through success, outage and revocation: after each RefreshStarted comes exactly one end before the next start."""
    tab = await world.signed_in_tab(retry=eager_retry())
    await world.expire()
    await tab.session.fetch("/api/data")
    await world.expire()
    await world.fault("/api/auth/refresh", "status", status=503, times=2)
    await tab.session.fetch("/api/data")
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    await asyncio.sleep(0)
    told = names(tab.events, *REFRESHING)
    assert told == [
        *("RefreshStarted", "RefreshSucceeded"),
        *("RefreshStarted", "RefreshFailed", "RefreshStarted", "RefreshFailed", "RefreshStarted", "RefreshSucceeded"),
        *("RefreshStarted", "SessionExpired"),
    ]


async def test_a_refused_request_is_told_step_by_step(world: World) -> None:
    """Sent, refused, held, sent again as a replay, answered: all with one number."""
    tab = await world.signed_in_tab()
    await world.expire()
    await tab.session.fetch("/api/data")
    await asyncio.sleep(0)
    kinds = (RequestSent, RequestHeld, RequestAnswered, RequestFailed)
    expected = ["RequestSent", "RequestAnswered", "RequestHeld", "RequestSent", "RequestAnswered"]
    assert names(tab.events, *kinds) == expected
    assert [event.replay for event in tab.seen(RequestSent)] == [False, True]
    assert [(event.status, event.refused) for event in tab.seen(RequestAnswered)] == [(401, True), (200, False)]
    assert len({event.number for kind in kinds for event in tab.seen(kind)}) == 1


async def test_the_reason_of_a_refresh_is_told(world: World) -> None:
    """``expiring``, ``refused`` and ``forced``."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1780)
    await tab.session.fetch("/api/data")
    await world.expire()
    await tab.session.fetch("/api/data")
    await tab.session.refresh()
    await asyncio.sleep(0)
    assert [event.reason for event in tab.seen(RefreshStarted)] == ["expiring", "refused", "forced"]


async def test_the_states_of_a_days_work(world: World) -> None:
    """Sign-in, renewal, outage and its end, revocation, another sign-in, sign-out: each state once, in order."""
    tab = world.tab(retry=eager_retry())
    await tab.session.sign_in("ada", "lovelace")
    await world.expire()
    await tab.session.fetch("/api/data")
    tab.wire.cut = True
    await outcomes(tab.session.fetch("/api/data"))
    tab.wire.cut = False
    await tab.session.fetch("/api/data")
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    await tab.session.sign_in("ada", "lovelace")
    await tab.session.sign_out()
    await asyncio.sleep(0)
    assert changes(tab) == [
        State.SIGNED_IN,
        *(State.REFRESHING, State.SIGNED_IN),
        *(State.OFFLINE, State.SIGNED_IN),
        *(State.REFRESHING, State.SIGN_IN_REQUIRED),
        *(State.SIGNED_IN, State.SIGNED_OUT),
    ]


async def test_the_session_is_in_the_state_it_has_announced(world: World) -> None:
    """When SignedIn or SignedOut is delivered, session.state and session.subject say the same."""
    tab = world.tab()
    seen: list[tuple[str, State, str | None]] = []

    def look(event: Event) -> None:
        if isinstance(event, (SignedIn, SignedOut)):
            seen.append((type(event).__name__, tab.session.state, tab.session.subject))

    tab.session.subscribe(look)
    await tab.session.sign_in("ada", "lovelace")
    await asyncio.sleep(0.1)
    await tab.session.sign_out()
    await asyncio.sleep(0.1)
    assert seen == [("SignedIn", State.SIGNED_IN, "ada"), ("SignedOut", State.SIGNED_OUT, None)]


async def test_every_event_says_when(world: World) -> None:
    """``at`` is the clock's time and never goes back."""
    tab = await world.signed_in_tab()
    for _ in range(3):
        await world.expire()
        await tab.session.fetch("/api/data")
        await asyncio.sleep(5)
    instants = [event.at for event in tab.events]
    assert instants == sorted(instants)
    assert instants[-1] > 1_800_000_000


# -- listeners --


async def test_a_listener_may_leave_and_others_come_inside_of_it(world: World) -> None:
    """Unsubscribing oneself or another inside a listener holds at once; whoever joins hears what comes later."""
    tab = await world.signed_in_tab()
    heard: list[str] = []

    def first(_: Event) -> None:
        heard.append("first")
        leave_first()
        leave_first()
        leave_second()
        tab.session.subscribe(lambda _: heard.append("third"))

    leave_first = tab.session.subscribe(first)
    leave_second = tab.session.subscribe(lambda _: heard.append("second"))
    await tab.session.refresh()
    await asyncio.sleep(0.1)
    assert heard[0] == "first"
    assert set(heard[1:]) == {"third"}


# -- silence --


def pieces(token: str) -> set[str]:
    """Return every run of characters of a token that would give some of it away."""
    signature = token.rpartition(".")[2]  # what comes before is the same in all JWTs of this server
    return {signature[at : at + LEAK] for at in range(len(signature) - LEAK + 1)}


async def test_no_token_is_told_to_anybody(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through everything that can happen: no repr, str, traceback, event, log or print holds a part of a token."""
    caplog.set_level(logging.DEBUG)
    tab, other = world.tab(retry=eager_retry()), world.tab()
    said: list[Any] = []
    tab.session.subscribe(said.append)
    async with tab.session, other.session:
        await tab.session.sign_in("ada", "lovelace")
        said.append(world.record())
        for fault in ("drop_after", "drop_before", "truncate"):
            await world.fault("/api/notes", fault, times=1)
            said += await outcomes(tab.session.fetch("/api/notes", method="POST", json={"text": "x"}))
        await world.expire()
        said += await outcomes(tab.session.fetch("/api/data"), tab.session.fetch("/api/nowhere"))
        await world.fault("/api/auth/refresh", "status", status=503, times=1)
        await world.expire()
        said += await outcomes(tab.session.fetch("/api/data", timeout=0.5), tab.session.fetch("/api/data"))
        said += await outcomes(tab.session.sign_in("ada", "zyxwvutsrqponmlk"))
        spent = world.record()
        assert spent.refresh_token is not None
        parrot = {"error": "invalid_grant", "error_description": f"{spent.refresh_token} {spent.access_token}"}
        await world.fault("/api/auth/refresh", "status", status=400, body=parrot)
        await world.expire()
        said += await outcomes(tab.session.fetch("/api/data"), tab.session.refresh())
        said += [tab.session, other.session, tab.session.snapshot(), *tab.wire.sent, *other.events]
        said += [task for task in asyncio.all_tasks() if "freshfetch" in task.get_name()]
    # Every token there ever was, as the wire has seen them.
    carried = [request.headers.get("authorization", "")[7:] for request in tab.wire.sent]
    tokens = {*carried, *world.server.families.refresh_index, "zyxwvutsrqponmlk"} - {""}
    assert len(tokens) > 6
    text = "\n".join(_everything_about(each) for each in said) + caplog.text + "".join(capsys.readouterr())
    assert not [token for token in tokens for piece in pieces(token) if piece in text]


def _everything_about(thing: Any) -> str:
    said = [repr(thing), str(thing)]
    if isinstance(thing, BaseException):
        said += traceback.format_exception(thing)
        said += [repr(vars(thing)), repr(thing.args)]
    if isinstance(thing, Request):
        said += [repr(thing.headers), repr(thing.body), repr(thing.target), repr(thing.owner)]
    return "\n".join(said)


async def test_values_do_not_show_what_they_carry() -> None:
    """Headers, Request and Response name their parts without showing values or bodies."""
    transport_answer = Headers({"Authorization": "Bearer abcdefghij"})
    assert "abcdefgh" not in repr(transport_answer)

    async def read() -> bytes:
        return b"abcdefghij"

    assert "abcdefgh" not in repr(Response(status=200, url="http://localhost/", headers=transport_answer, read=read))


async def test_what_the_auth_server_says_is_not_passed_on_with_a_token_in_it() -> None:
    """An ``error`` or description that repeats the refresh token is dropped, in any part of 8 characters or more."""
    token = "qwertyuiopasdfghjklzxcvbnm"

    for words in (token, token[5:13], f"no such token: {token}", token[-9:]):
        text = json.dumps({"error": words, "error_description": words}).encode()

        async def read(text: bytes = text) -> bytes:
            return text

        answer = await JsonAuthServer().read(Response(status=400, url="http://localhost/", read=read), secrets=(token,))
        assert isinstance(answer, Refusal)
        assert (answer.error, answer.description) == ("", "")
