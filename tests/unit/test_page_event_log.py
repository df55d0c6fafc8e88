"""The page's list of events and its counts of what the server saw: pure, and bounded."""

from __future__ import annotations

from typing import Any

from freshfetch import RefreshSucceeded, RequestAnswered, RequestSent
from page.event_log import LONGEST, TOGETHER, EventLog
from page.journal import NAIVE_IDS, Counts, count, news, settled


def sent(number: int, at: float) -> RequestSent:
    """Return the sending of a request."""
    return RequestSent(at=at, number=number, method="GET", path=f"/api/data/{number}", replay=False)


def entry(number: int, status: int | None = 200, path: str = "/api/data") -> dict[str, Any]:
    """Return an entry of the server's journal."""
    return {"number": number, "status": status, "path": path}


def test_a_burst_becomes_one_row() -> None:
    """Requests that fare alike within a second share a row, which says how many they are."""
    log = EventLog()
    rows = {log.add(sent(number, at=number / 1000)) for number in range(300)}
    assert list(log.rows) == list(rows)
    assert (log.rows[0].count, log.rows[0].detail) == (300, "GET /api/data/0 and 299 more")


def test_what_fares_differently_or_later_has_a_row_of_its_own() -> None:
    """Newest first; a refresh in between does not split the burst, and is never counted together."""
    log = EventLog()
    log.add(sent(1, at=0.0))
    log.add(RefreshSucceeded(at=0.1, expires_in=5.0))
    log.add(RefreshSucceeded(at=0.1, expires_in=5.0))
    log.add(RequestAnswered(at=0.2, number=1, method="GET", path="/", status=200, refused=False))
    log.add(sent(2, at=0.3))
    log.add(sent(3, at=TOGETHER))
    kinds = [(row.kind, row.count) for row in log.rows]
    assert kinds == [
        ("RequestSent", 1),
        ("RequestAnswered", 1),
        ("RefreshSucceeded", 1),
        ("RefreshSucceeded", 1),
        ("RequestSent", 2),
    ]
    assert [row.is_request for row in log.rows] == [True, True, False, False, True]


def test_the_list_is_bounded_and_can_be_cleared() -> None:
    """The oldest rows go; after clearing, a burst does not count on in a row that is gone."""
    log = EventLog()
    for number in range(LONGEST + 10):
        log.add(RefreshSucceeded(at=float(number), expires_in=None))
    assert (len(log.rows), log.rows[-1].at) == (LONGEST, 10.0)
    log.add(sent(1, at=500.0))
    log.clear()
    log.add(sent(2, at=500.1))
    assert [row.count for row in log.rows] == [1]


def test_refreshes_stand_beside_the_requests() -> None:
    """Three numbers, and their difference."""
    entries = [entry(1), entry(2, 401), entry(3, path="/some/api/auth/refresh"), entry(4)]
    before = count(entries)
    assert before == Counts(requests=3, refused=1, refreshes=1)
    assert (before + count([entry(5)])).since(before) == Counts(requests=1)
    assert count([{**entry(6), "requestId": f"{NAIVE_IDS}run-1"}, {**entry(7), "requestId": "me-1"}]) == Counts(
        requests=1
    )


def test_news_are_what_comes_after_the_last_entry_known() -> None:
    """The last one is asked for again, to see whether the journal is still the same."""
    assert news([entry(3), entry(4)], 3) == ([entry(4)], False)
    assert news([entry(1)], 0) == ([entry(1)], False)
    assert news([], 3) == ([], True)


def test_an_entry_still_being_answered_is_waited_for_once() -> None:
    """Its status is not known yet; but a dropped connection never gets one, and must not stop the count."""
    entries = [entry(1), entry(2, None), entry(3)]
    assert settled(entries, seen=0) == [entry(1)]
    assert settled(entries, seen=3) == entries
