"""The checker checked: each invariant passes on a run that is as it should be, and fails on one that violates it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.invariants import (
    INVARIANTS,
    NEVER,
    Act,
    Call,
    Departure,
    Evidence,
    Redemption,
    Stored,
    TabEvidence,
    Text,
    check_all,
    violations,
)
from tests.faults.watched import WatchedWorld

TOKEN = "header.payload-of-a-token.signature"
NEXT = "another-refresh-token-altogether"
RECORD: dict[str, Any] = {
    "schema": 1,
    "generation": 4,
    "session_id": "s",
    "subject": "ada",
    "access_token": "abc.def",
    "refresh_token": "a refresh token",
    "obtained_at": 1.0,
    "expires_at": None,
    "not_before": 0.0,
    "failures": 0,
}


def stored(**changes: Any) -> Stored:
    """Return a value the library wrote."""
    return Stored(value=json.dumps({**RECORD, **changes}))


def entry(**fields: Any) -> dict[str, Any]:
    """Return a journal entry of a POST that created a note."""
    usual = {
        "number": 1,
        "at": 1.0,
        "method": "POST",
        "path": "/api/notes",
        "status": 201,
        "user": "ada",
        "family": 1,
        "requestId": "1.1",
        "error": None,
        "fault": None,
        "effects": ["note_created"],
    }
    return {**usual, **fields}


def told(*names: str, time: float = 5.0) -> list[dict[str, Any]]:
    """Return events of these names, a second apart."""
    return [{"event": name, "time": time + at} for at, name in enumerate(names)]


def good() -> Evidence:
    """Return evidence of a run in which a note was posted, one answer was lost, and the session expired."""
    post = Call(
        request_id="1.1", method="POST", repeatable=False, user="ada", outcome="answered", status=201, settled=1
    )
    tab = TabEvidence(
        calls=[post],
        events=told("SignedIn", "RefreshStarted", "RefreshSucceeded", "RefreshStarted", "SessionExpired", time=0.0),
        peaks={"held": 3},
        caps={"held": 3},
        windows=[(1.0, 2.0)],
    )
    return Evidence(
        journal=[entry(status=401, number=1, effects=[]), entry(number=2)],
        tabs=[tab],
        stores=[[stored(), stored(generation=5), Stored(how="refused", value=json.dumps({**RECORD, "generation": 5}))]],
        redemptions=[
            Redemption(token=TOKEN, successor=NEXT, began=1.0, ended=2.0, status=200, succeeded=True),
            Redemption(token=NEXT, began=3.0, ended=4.0, status=400, error="invalid_grant"),
        ],
        departures=[Departure(url="https://api.example:443/x", credential=True)],
        allowed_origins=["https://api.example"],
        texts=[Text(where="console", text="nothing to see")],
        secrets=[TOKEN, NEXT],
    )


Change = Callable[[Evidence], object]


def change_call(**fields: Any) -> Change:
    """Return what alters the first call."""

    def change(evidence: Evidence) -> None:
        for name, value in fields.items():
            setattr(evidence.tabs[0].calls[0], name, value)

    return change


def change_tab(**fields: Any) -> Change:
    """Return what alters the tab."""

    def change(evidence: Evidence) -> None:
        for name, value in fields.items():
            setattr(evidence.tabs[0], name, value)

    return change


def change(**fields: Any) -> Change:
    """Return what alters the evidence."""

    def alter(evidence: Evidence) -> None:
        for name, value in fields.items():
            setattr(evidence, name, value)

    return alter


def and_also(evidence_of: str, *more: Any) -> Change:
    """Return what adds to one of the lists of evidence."""

    def alter(evidence: Evidence) -> None:
        getattr(evidence, evidence_of).extend(more)

    return alter


def both(*changes: Change) -> Change:
    """Return what alters several things."""

    def alter(evidence: Evidence) -> None:
        for each in changes:
            each(evidence)

    return alter


def refusal(**fields: Any) -> Change:
    """Return what alters the answer that ended the session."""

    def alter(evidence: Evidence) -> None:
        assert evidence.redemptions is not None
        for name, value in fields.items():
            setattr(evidence.redemptions[1], name, value)

    return alter


def redemptions(*found: Redemption, **fields: Any) -> Change:
    """Return what replaces the refreshes, and silences the events."""

    def alter(evidence: Evidence) -> None:
        evidence.redemptions = list(found)
        evidence.tabs[0].events = []
        change_tab(**fields)(evidence)

    return alter


def twice(second: str, **fields: Any) -> tuple[Redemption, Redemption]:
    """Return two refreshes, of which the second begins a tenth of a second after the first had its answer."""
    first = Redemption(token=TOKEN, began=1.0, ended=2.0, **fields)
    return first, Redemption(tab=second, token=TOKEN, began=2.1, ended=3.0, status=200, succeeded=True)


VIOLATIONS: dict[str, tuple[str, Change]] = {
    "a call that never settles": ("I1", change_call(settled=0, outcome="pending")),
    "a call that settles twice": ("I1", change_call(settled=2)),
    "a queue that is not empty": ("I1", change_tab(queue_size=1)),
    "a place that was never given back": ("I1", change_tab(queue_pending=1)),
    "a timer left behind": ("I1", change_tab(left=["a timer"])),
    "an answer after a failure": (
        "I1",
        change_tab(events=[{**each, "number": 1} for each in told("RequestFailed", "RequestAnswered")]),
    ),
    "a success without an effect": ("I2", change(journal=[entry(effects=[])])),
    "a success that nobody answered": ("I2", change(journal=[])),
    "a success with two effects": ("I2", change(journal=[entry(), entry(number=2)])),
    "a failure with two effects": (
        "I2",
        both(change_call(outcome="AmbiguousRequestError"), and_also("journal", entry(number=3))),
    ),
    "two refreshes at once": (
        "I3",
        redemptions(Redemption(began=1.0, ended=2.0), Redemption(tab="2", token="x", began=1.9, ended=3.0)),
    ),
    "a refresh beside one that never ended": (
        "I3",
        redemptions(Redemption(began=1.0, ended=NEVER), Redemption(tab="2", token="x", began=60.0, ended=61.0)),
    ),
    "a spent token presented again": ("I3", redemptions(*twice("2", succeeded=True, successor=NEXT))),
    "a reuse alarm without a lost answer": (
        "I3",
        and_also("journal", entry(requestId=None, status=400, effects=["reuse_detected"])),
    ),
    "a reuse alarm after an answer that came": (
        "I3",
        and_also(
            "journal",
            entry(requestId=None, status=200, effects=["refreshed"]),
            entry(requestId=None, status=400, effects=["reuse_detected"]),
        ),
    ),
    "two refreshes at once, as told by two tabs": (
        "I3",
        change(
            redemptions=None,
            tabs=[
                TabEvidence(name=name, events=told("RefreshStarted", "RefreshSucceeded", time=time))
                for name, time in (("1", 1.0), ("2", 1.5))
            ],
        ),
    ),
    "a credential for another port": (
        "I4",
        change(departures=[Departure(url="https://api.example:8443/", credential=True)]),
    ),
    "a credential over http": ("I4", change(departures=[Departure(url="http://api.example/", credential=True)])),
    "a token in a URL": (
        "I4",
        change(departures=[Departure(url=f"https://evil.example/?t={TOKEN}", credential=False)]),
    ),
    "a token quoted in a URL": (
        "I4",
        change(departures=[Departure(url="https://evil.example/?%70%61%79load-of", credential=False)]),
    ),
    "a token in the console": ("I5", change(texts=[Text(where="console", text=f"got {TOKEN}!")])),
    "eight characters of a token": ("I5", change(texts=[Text(where="title", text="(payload-)")])),
    "a record that is no JSON": ("I6", change(stores=[[Stored(value="{")]])),
    "a record without a field": ("I6", change(stores=[[Stored(value="{}")]])),
    "a record with half a token": ("I6", change(stores=[[stored(access_token="")]])),
    "an instant that is none": ("I6", change(stores=[[stored(obtained_at=True)]])),
    "a generation that goes down": ("I6", change(stores=[[stored(), Stored(), stored(generation=3)]])),
    "a refused write that changes something": ("I6", change(stores=[[stored(), Stored(how="refused")]])),
    "a request sent as somebody else": ("I7", change(journal=[entry(user="grace")])),
    "a request of nobody sent as somebody": ("I7", change_call(user=None)),
    "an expiry after a 503": ("I8", refusal(status=503)),
    "an expiry after a 429": ("I8", refusal(status=429)),
    "an expiry after no answer": ("I8", refusal(status=None, error="")),
    "an expiry before the answer": ("I8", refusal(ended=9.0)),
    "an expiry of a session that was renewed since": (
        "I8",
        and_also("redemptions", Redemption(token="x", began=4.0, ended=4.0, succeeded=True)),
    ),
    "a sign-out that nobody asked for": ("I8", change_tab(events=told("SignedIn", "SignedOut"))),
    "a request sent three times": ("I9", change(journal=[entry(effects=[]), entry(effects=[]), entry()])),
    "a queue over its cap": ("I9", change_tab(peaks={"held": 4})),
    "a retry that is too hasty": ("I9", redemptions(*twice("1", status=503))),
    "a refresh that starts twice": (
        "I10",
        change_tab(events=told("RefreshStarted", "RefreshStarted", "RefreshFailed")),
    ),
    "a refresh that never ends": ("I10", change_tab(events=told("RefreshStarted"))),
    "a refresh that ends twice": (
        "I10",
        change_tab(events=told("RefreshStarted", "RefreshFailed", "RefreshSucceeded")),
    ),
    "a session that expires twice": ("I10", change_tab(events=told("SessionExpired", "SessionExpired"))),
    "events that go back in time": ("I10", change_tab(events=told("A", time=9) + told("B", time=8))),
    "a state that came from nowhere": (
        "I10",
        change_tab(events=[{**each, "old": "signed in", "new": "offline"} for each in told(*["StateChanged"] * 2)]),
    ),
}


def test_a_run_as_it_should_be_violates_nothing() -> None:
    """Good evidence passes: what is found below is found for its own reason."""
    assert violations(good()) == []


@pytest.mark.parametrize("name", VIOLATIONS)
def test_each_violation_is_found_and_named(name: str) -> None:
    """One thing is changed; the invariant it breaks says so, and names no token."""
    invariant, alter = VIOLATIONS[name]
    evidence = good()
    alter(evidence)
    with pytest.raises(AssertionError) as found:
        check_all(evidence)
    assert any(line.startswith(f"{invariant} ") for line in str(found.value).splitlines())
    assert TOKEN[7:15] not in str(found.value)
    assert NEXT[:8] not in str(found.value)


def test_every_invariant_has_a_violation_to_find() -> None:
    """None of the ten is left without evidence against it."""
    assert {name.split()[0] for name in INVARIANTS} == {invariant for invariant, _ in VIOLATIONS.values()}


EXCUSES: dict[str, Change] = {
    "a killed tab's call": both(change_call(settled=0), change_tab(gone=True)),
    "a lost answer": redemptions(*twice("1", status=None, given_up=True)),
    "a frozen tab": redemptions(
        Redemption(began=1.0, ended=9.0), Redemption(tab="2", token="x", began=2.0, ended=3.0), frozen=[(1.5, 8.0)]
    ),
    "an explicit sign-out": both(
        change_tab(events=told("SignedOut")), and_also("acts", Act(time=1.0, kind="sign_out"))
    ),
    "an answer that was made up by a fault": change(journal=[entry(effects=[], fault="status")]),
    "a token that does not rotate": redemptions(*twice("1", succeeded=True, successor=TOKEN)),
    "storage that the test wiped": change(stores=[[stored(), Stored(how="wiped"), stored(generation=1)]]),
}


@pytest.mark.parametrize("name", EXCUSES)
def test_what_is_no_violation_is_not_taken_for_one(name: str) -> None:
    """A killed or frozen tab, a lost answer, a person who signs out: the invariants allow for them."""
    evidence = good()
    EXCUSES[name](evidence)
    assert violations(evidence) == []


async def test_the_watched_world_sees_what_the_invariants_need(world: WatchedWorld) -> None:
    """Calls, effects, refreshes, stored values, departures, events and tokens are all taken down."""
    tab = await world.signed_in_tab()
    await world.expire()
    answer = await tab.session.fetch("/api/notes", method="POST", json={"text": "x"})
    await tab.session.sign_out()
    evidence = world.evidence()
    assert answer.status == 201
    assert [(call.method, call.user, call.outcome, call.settled) for call in tab.calls] == [
        ("POST", "ada", "answered", 1)
    ]
    assert [each["effects"] for each in evidence.journal if each["requestId"] == "1.1"] == [[], ["note_created"]]
    assert evidence.redemptions is not None
    assert [(each.status, each.succeeded) for each in evidence.redemptions] == [(200, True)]
    assert [
        [json.loads(moment.value)["generation"] if moment.value else None for moment in history]
        for history in evidence.stores
    ] == [[1, 2, None]]
    assert [departure.credential for departure in evidence.departures] == [True] * 5
    assert len(evidence.secrets) == 5  # two pairs of tokens, one password
    assert "RefreshSucceeded" in {event["event"] for event in tab.told()}


async def test_a_token_that_is_printed_is_caught(world: WatchedWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """What a test prints, logs or raises is read for tokens; here a part of one is."""
    await world.signed_in_tab()
    evidence = world.evidence()
    token = next(secret for secret in evidence.secrets if len(secret) > 20)
    evidence.texts.append(Text(where="the console", text=f"oh: {token[5:13]}"))
    with pytest.raises(AssertionError, match="I5 silence: the console"):
        check_all(evidence)
