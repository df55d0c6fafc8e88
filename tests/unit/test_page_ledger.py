"""The page's account of its requests against the server's: what left no trace is lost; pure, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from freshfetch import HeartbeatSent, RequestAnswered, RequestFailed, RequestHeld, RequestSent
from page.ledger import LOST, NOT_SIGNED_IN, REMEMBERED, UNSETTLED, Ledger, Verdict
from page.wording import verdict

DATA: dict[str, Any] = {"method": "GET", "path": "/api/data", "at": 0.0}
NOTES: dict[str, Any] = {"method": "PUT", "path": "/api/notes/1", "at": 0.0}


def new() -> Ledger:
    """Return a ledger of a page that repeats what it asks of notes."""
    return Ledger("me", kept=["/api/notes"])


def send(ledger: Ledger, number: int, what: dict[str, Any] = DATA, *, replay: bool = False) -> None:
    """Send a request as the page's transport does."""
    ledger.request_id(number)
    ledger.listen(RequestSent(number=number, replay=replay, **what))


def answer(ledger: Ledger, number: int, status: int = 200, what: dict[str, Any] = DATA) -> None:
    """Tell the page that a request was answered."""
    ledger.listen(RequestAnswered(number=number, status=status, refused=status == 401, **what))


def fail(ledger: Ledger, number: int, what: dict[str, Any] = DATA) -> None:
    """Tell the page that a request failed."""
    ledger.listen(RequestFailed(number=number, error="TransportError", **what))


def entry(number: int, request: object, status: int | None = 200, *effects: str) -> dict[str, Any]:
    """Return an entry of the server's journal."""
    return {"number": number, "requestId": request, "status": status, "effects": list(effects)}


def look(ledger: Ledger, *entries: dict[str, Any]) -> Verdict:
    """Look at the journal, and once more by id at what is not clear."""
    over = ledger.over()
    ledger.read(entries)
    for number in ledger.suspects(over):
        ledger.judge(number)
    return ledger.verdict()


def test_what_the_server_answered_is_confirmed() -> None:
    """Three requests, one of them refused first and then sent again under the same id: all three are there."""
    ledger = new()
    for number in (1, 2, 3):
        send(ledger, number)
    answer(ledger, 1, 401)
    send(ledger, 1, replay=True)
    for number in (1, 2, 3):
        answer(ledger, number)
    entries = [entry(1, "me-1", 401), entry(2, "me-2"), entry(3, "me-3", 404), entry(4, "me-1")]
    assert look(ledger, *entries) == Verdict(made=3, confirmed=3)


def test_what_goes_on_is_open() -> None:
    """Held, sent, or refused and about to be sent again: nothing is said of it; nor is of what ended since the look."""
    ledger = new()
    ledger.listen(RequestHeld(number=1, **DATA))
    ledger.listen(HeartbeatSent(at=0.0))
    send(ledger, 2)
    send(ledger, 3)
    answer(ledger, 3, 401)
    assert look(ledger) == Verdict(made=3, open=3)
    over = ledger.over()
    answer(ledger, 2)
    assert ledger.suspects(over) == []
    assert ledger.verdict().open == 3


def test_what_left_no_trace_is_lost() -> None:
    """Dropped on the way, never sent, or refused to the last; but not what was done although its answer was lost."""
    ledger = new()
    send(ledger, 1)
    fail(ledger, 1)
    fail(ledger, 2)
    send(ledger, 3)
    answer(ledger, 3, 401)
    send(ledger, 3, replay=True)
    answer(ledger, 3, 401)
    send(ledger, 4)
    fail(ledger, 4)
    entries = [entry(1, "me-1", None), entry(2, "me-3", 401), entry(3, "me-4", None, "echoed")]
    assert look(ledger, *entries) == Verdict(made=4, confirmed=1, lost=3)


def test_what_was_lost_can_turn_up() -> None:
    """A server that comes to a request late has not lost it."""
    ledger = new()
    send(ledger, 1)
    fail(ledger, 1)
    assert look(ledger).lost == 1
    assert look(ledger, entry(1, "me-1", None, "echoed")) == Verdict(made=1, confirmed=1)


def test_a_try_that_is_repeated_loses_nothing() -> None:
    """A note that could not be saved is kept by the page, whether the try was sent or not."""
    ledger = new()
    send(ledger, 1, NOTES)
    fail(ledger, 1, NOTES)
    fail(ledger, 2, NOTES)
    send(ledger, 3, NOTES)
    answer(ledger, 3, what=NOTES)
    assert look(ledger, entry(1, "me-3", 201, "note_created")) == Verdict(made=3, confirmed=1, kept=2)


@pytest.mark.parametrize("error", sorted(NOT_SIGNED_IN))
def test_what_waits_for_its_person_is_withheld(error: str) -> None:
    """Not sent, or refused, and its caller knows why: not lost. One of which the server did what it asked is done."""
    ledger = new()
    ledger.listen(RequestFailed(number=1, error=error, **DATA))
    for number in (2, 3):
        send(ledger, number)
        answer(ledger, number, 401)
        ledger.listen(RequestFailed(number=number, error=error, **DATA))
    entries = [entry(1, "me-2", 401), entry(2, "me-3", 401), entry(3, "me-3", None, "echoed")]
    assert look(ledger, *entries) == Verdict(made=3, confirmed=1, withheld=2)


def test_what_was_done_twice_is_doubled() -> None:
    """Also when the second time comes later; an entry that is read again, or a note saved twice, is not twice done."""
    ledger = new()
    for number in (1, 2):
        send(ledger, number, NOTES)
        answer(ledger, number, what=NOTES)
    entries = [entry(1, "me-1", None, "note_created"), entry(2, "me-2", 200, "note_updated")]
    assert look(ledger, *entries, entry(3, "me-2", 200, "note_updated")).doubled == 0
    assert look(ledger, entries[0]).doubled == 0
    assert look(ledger, entry(4, "me-1", 201, "note_created")).doubled == 1


def test_other_pages_requests_are_not_ours() -> None:
    """Nor are those without an id, or with one that only looks like ours; what went out under no id is left out."""
    ledger = new()
    send(ledger, 1)
    answer(ledger, 1)
    entries = [entry(1, None), entry(2, "you-1"), entry(3, "me-x"), entry(4, "me-"), entry(5, "me-²"), entry(6, "1")]
    assert look(ledger, *entries).lost == 1
    ledger.listen(RequestSent(number=2, replay=False, **DATA))
    answer(ledger, 2)
    answer(ledger, 9)
    assert look(ledger) == Verdict(made=1, lost=1)


def test_a_journal_that_begins_anew_says_nothing_of_before() -> None:
    """Requests that were answered by a server that has forgotten it are no longer counted; those under way are."""
    ledger = new()
    send(ledger, 1)
    send(ledger, 2)
    answer(ledger, 1)
    ledger.read([entry(9, "me-2", 401, "echoed")])
    ledger.forget()
    answer(ledger, 2)
    assert look(ledger, entry(1, "me-2", 200, "echoed")) == Verdict(made=1, confirmed=1)


def test_memory_is_bounded() -> None:
    """Nobody looks, all is lost, or all is well: what is kept does not grow, and lost is lost."""
    ledger = new()
    for number in range(UNSETTLED + 5):
        fail(ledger, number)
    assert ledger.verdict().open == UNSETTLED
    assert look(ledger).lost == UNSETTLED
    look(ledger, *(entry(number, f"me-{number}") for number in range(5, UNSETTLED - LOST)))
    assert ledger.verdict().lost == UNSETTLED
    look(ledger, *(entry(number, f"me-{number}") for number in range(UNSETTLED, UNSETTLED + REMEMBERED)))
    assert ledger.verdict().lost == UNSETTLED - 5


def test_what_is_done_twice_is_noticed_for_a_while_only() -> None:
    """The second time counts as long as the first is remembered, and that is not for ever."""
    ledger = new()
    ledger.read(entry(number, f"me-{number}", 200, "echoed") for number in range(1, REMEMBERED + 2))
    ledger.read([entry(REMEMBERED + 5, "me-1", 200, "echoed"), entry(REMEMBERED + 6, "me-9", 200, "echoed")])
    assert ledger.verdict().doubled == 1


def test_the_verdict_is_said_in_words() -> None:
    """What there is none of is left out, except for what is to be proved."""
    assert verdict(Verdict(made=1, confirmed=1)) == "Of 1 request this page made: 1 answered, 0 lost, 0 done twice."
    said = verdict(Verdict(made=9, confirmed=2, open=3, kept=1, withheld=4, lost=2, doubled=1))
    assert said == (
        "Of 9 requests this page made: 2 answered, 3 still open, 1 failed and tried again, "
        "4 withheld since their person was not signed in, 2 lost, 1 done twice."
    )
