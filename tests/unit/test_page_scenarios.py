"""Scenarios: what a client asked for, held against the journal; and what the naive client does."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import freshfetch
from freshfetch import (
    Event,
    RefreshFailed,
    RefreshStarted,
    RequestAnswered,
    RequestFailed,
    RequestSent,
    SessionExpired,
)
from page.naive import NaiveClient
from page.scenarios.account import Account
from page.scenarios.proof import Proof, compare, judge, line, sentence

NONE = ("refreshes", "retries", "refused", "lost", "changed", "doubled", "withheld", "strangers")
NAIVE = Path(__file__).parents[2] / "app" / "page" / "naive.py"


def account(*events: Event) -> Account:
    """Return ada's account of these events."""
    made = Account(user="ada", name=lambda number: f"page-{number}", paths=("/api/data/run-", "/api/echo"))
    for event in events:
        made.listen(event)
    return made


def sent(number: int, path: str, method: str = "GET") -> RequestSent:
    """A request has left."""
    return RequestSent(at=0, number=number, method=method, path=path, replay=False)


def answered(number: int, path: str, status: int = 200, method: str = "GET") -> RequestAnswered:
    """A request was answered."""
    return RequestAnswered(at=0, number=number, method=method, path=path, status=status, refused=status == 401)


def failed(number: int, path: str, error: str) -> RequestFailed:
    """A caller was told an error."""
    return RequestFailed(at=0, number=number, method="GET", path=path, error=error)


def entry(request_id: str | None, path: str, status: int | None = 200, **more: Any) -> dict[str, Any]:
    """Return one line of a journal."""
    usual = {"method": "GET", "user": "ada", "family": 1, "effects": [], "done": True}
    return {"requestId": request_id, "path": path, "status": status, **usual, **more}


def refresh(**more: Any) -> dict[str, Any]:
    """Return a refresh as the journal has it."""
    return entry(None, "/api/auth/refresh", method="POST", **more)


def test_a_request_refused_and_sent_again_is_one_request_and_not_lost() -> None:
    """The journal has it twice and a refresh between."""
    own = account(
        sent(1, "/api/data/run-1"), answered(1, "/api/data/run-1", 401), answered(1, "/api/data/run-1"), sent(9, "/x")
    )
    journal = [entry("page-1", "/api/data/run-1", 401), refresh(), entry("page-1", "/api/data/run-1")]
    found = judge(own, journal)
    assert line(found) == "1 request, 1 refresh, 0 lost, 0 doubled"
    assert sentence(found) == "Every request was answered. 1 was refused first and sent again."


def test_what_only_one_side_knows_of_is_lost() -> None:
    """Answered, says the client, and the journal has nothing; done, says the journal, and the client heard nothing."""
    own = account(
        answered(1, "/api/data/run-1"),
        sent(2, "/api/data/run-2"),
        failed(2, "/api/data/run-2", "TransportError"),
        answered(3, "/api/data/run-3", 503),
    )
    journal = [entry("page-2", "/api/data/run-2", None), entry("page-3", "/api/data/run-3", 503)]
    assert judge(own, journal).lost == 3


def test_a_post_that_arrived_as_a_get_is_lost() -> None:
    """What the server did is not what was asked."""
    own = account(answered(1, "/api/echo", method="POST"))
    found = judge(own, [entry("page-1", "/api/echo", 401, method="POST"), entry("page-1", "/api/echo")])
    assert (found.lost, found.changed) == (1, 1)
    found = judge(own, [entry("page-1", "/api/echo", method="POST", effects=["echoed"])])
    assert (found.lost, found.changed) == (0, 0)
    assert judge(own, [entry("page-1", "/api/echo", 401, method="POST")]).changed == 0


def test_an_effect_that_happened_twice_is_doubled() -> None:
    """Both lines bear the same id."""
    own = account(answered(1, "/api/echo", method="POST"))
    once = entry("page-1", "/api/echo", method="POST", effects=["echoed"])
    assert judge(own, [once]).doubled == 0
    assert judge(own, [once, once]).doubled == 1


def test_a_retry_is_no_second_refresh() -> None:
    """Also when a fault rule answered in the server's place, so that the journal does not know whose it was."""
    own = account(answered(1, "/api/data/run-1"), RefreshFailed(at=0, status=503, retry_in=1.0))
    journal = [refresh(status=503, family=None, user=None), refresh(), entry("page-1", "/api/data/run-1")]
    found = judge(own, journal)
    assert line(found) == "1 request, 1 refresh and 1 retry, 0 lost, 0 doubled"
    assert sentence(found).startswith("Every request was answered, after 1 retry of the refresh.")


def test_the_refreshes_of_others_do_not_count() -> None:
    """Another sign-in's, and those of a client that numbers its own."""
    own = account(answered(1, "/api/data/run-1"))
    others = entry("other-refresh", "/api/auth/refresh", 503, family=None)
    journal = [entry("page-1", "/api/data/run-1"), refresh(family=2), others]
    assert judge(own, journal).refreshes == 0
    own.refresh_id = "other-refresh"
    assert judge(own, journal).refreshes == 1


def test_what_was_not_sent_for_somebody_else_is_withheld() -> None:
    """Unless the server did it, whatever the client says: then it went out in the wrong name."""
    own = account(sent(1, "/api/data/run-1"), failed(1, "/api/data/run-1", "IdentityChangedError"))
    found = judge(own, [entry("page-1", "/api/data/run-1", 401)])
    assert (found.withheld, found.lost, found.strangers) == (1, 0, 0)
    assert "not sent in the other name" in sentence(found)
    found = judge(own, [entry("page-1", "/api/data/run-1", user="grace")])
    assert (found.withheld, found.strangers) == (0, 1)


def test_asked_again_after_signing_in_it_is_the_same_request() -> None:
    """Two POSTs to one path were told that the session is over; asked again they are still two."""
    own = account(
        *(sent(number, "/api/echo", "POST") for number in (1, 2)),
        SessionExpired(at=0, reason="invalid_grant"),
        *(
            RequestFailed(at=0, number=number, method="POST", path="/api/echo", error="SessionExpiredError")
            for number in (1, 2)
        ),
        *(answered(number, "/api/echo", method="POST") for number in (3, 4)),
    )
    journal = [entry(f"page-{number}", "/api/echo", method="POST", effects=["echoed"]) for number in (3, 4)]
    found = judge(own, journal)
    assert (found.requests, found.lost, found.signed_out) == (2, 0, True)
    assert sentence(found) == "The person had to sign in again, and nothing was lost."


def test_another_tab_adds_its_account() -> None:
    """What it tells is plain data, and survives the way over."""
    other = account(answered(1, "/api/data/run-1"), RefreshFailed(at=0, status=503, retry_in=1.0))
    own = account(answered(2, "/api/data/run-2"))
    own.add(json.loads(json.dumps(other.to_json())))
    assert [each.ids for each in own.asked] == [["page-2"], ["page-1"]]
    assert own.retries == 1


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"lost": 2}, "2 of 9 requests were lost."),
        ({"lost": 3, "changed": 1}, "3 of 9 requests were lost (1 POST that was sent again as a GET)."),
        ({"lost": 1, "signed_out": True}, "1 of 9 requests was lost and the person has to sign in again."),
        ({"doubled": 1}, "1 request had effect twice."),
    ],
)
def test_harm_is_named(changes: dict[str, Any], said: str) -> None:
    """In one sentence."""
    none = dict.fromkeys(NONE, 0)
    found = Proof(**{"requests": 9, "signed_out": False, **none, **changes})
    assert sentence(found) == said
    assert not found.good


def test_two_clients_are_compared_in_what_concerns_either() -> None:
    """A row for which both have nothing to show is left out, but not of those that a proof is about."""
    none = dict.fromkeys(NONE, 0)
    quiet = Proof(requests=9, signed_out=False, **none)
    loud = Proof(requests=9, signed_out=True, **{**none, "strangers": 2})
    names = ["requests", "refreshes", "answered 401", "lost", "doubled", "in a wrong name", "signed out"]
    assert [name for name, _, _ in compare(quiet, loud)] == names
    assert ("in a wrong name", "0", "2") in compare(quiet, loud)


class Auth:
    """A server of few words: the token ``good`` works; each refresh is counted and answered with ``answer``."""

    def __init__(self, answer: int | None = 200) -> None:
        self.answer = answer
        self.good = "new"
        self.asked: list[tuple[str, str, str | None]] = []

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Answer."""
        self.asked.append((method, path, body))
        await asyncio.sleep(0)
        if path.endswith("/refresh"):
            if self.answer is None:
                raise ConnectionError
            return self.answer, {"accessToken": "new", "refreshToken": "next"} if self.answer == 200 else {}
        return (200 if headers["Authorization"] == f"Bearer {self.good}" else 401), {}

    def refreshes(self) -> list[str | None]:
        """Return the bodies of the refreshes it was asked for."""
        return [body for _, path, body in self.asked if path.endswith("/refresh")]


def naive(auth: Auth) -> tuple[NaiveClient, dict[str, str], list[Event]]:
    """Return a naive client with a dead token, its storage, and what it tells."""
    events: list[Event] = []
    storage = {"accessToken": "old", "refreshToken": "first"}
    client = NaiveClient(auth.send, auth="/auth", name="n", numbers=count(1), storage=storage, emit=events.append)
    return client, storage, events


async def test_naively_each_refused_request_refreshes_for_itself() -> None:
    """And each with the same refresh token, since the new one is thrown away."""
    auth = Auth()
    client, storage, events = naive(auth)
    assert await asyncio.gather(*(client.request(f"/data/{number}") for number in range(3))) == [True] * 3
    assert auth.refreshes() == ['{"refreshToken": "first"}'] * 3
    assert storage == {"accessToken": "new", "refreshToken": "first"}
    assert sum(isinstance(event, RefreshStarted) for event in events) == 3


async def test_naively_a_post_is_sent_again_as_a_get() -> None:
    """Of what was asked only the address is kept."""
    auth = Auth()
    client, _, _ = naive(auth)
    await client.request("/notes", "POST", "text")
    assert [each for each in auth.asked if each[1] == "/notes"] == [("POST", "/notes", "text"), ("GET", "/notes", None)]


@pytest.mark.parametrize("answer, asks", [(None, False), (400, True), (429, True)])
async def test_naively_a_failed_refresh_loses_the_request(answer: int | None, *, asks: bool) -> None:
    """It is sent with the dead token once more; any refusal asks the person to sign in."""
    client, _, events = naive(Auth(answer))
    assert not await client.request("/data/1")
    assert any(isinstance(event, SessionExpired) for event in events) is asks
    assert isinstance(events[-1], RequestAnswered)
    assert events[-1].refused


def test_the_naive_client_knows_the_events_of_the_library_and_nothing_else() -> None:
    """It is nobody's wrapper."""
    found = [
        alias.name
        for node in ast.walk(ast.parse(NAIVE.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("freshfetch")
        for alias in node.names
    ]
    assert found
    assert all(issubclass(getattr(freshfetch, name), Event) for name in found)
