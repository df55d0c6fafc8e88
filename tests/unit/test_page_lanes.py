"""The timeline's lanes, bands and marks: what the library told and nothing else; pure, and bounded."""

from __future__ import annotations

import json
from typing import Any

from freshfetch import (
    Event,
    HeartbeatAnswered,
    HeartbeatFailed,
    HeartbeatSent,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestFailed,
    RequestHeld,
    RequestSent,
    SessionExpired,
    SignedIn,
    SignedOut,
    StorageFailed,
    TokensAdopted,
)
from page.lanes import FRESHFETCH, GAP, LONGEST, OLDEST, QUIET, Band, Lane, Lanes, Mark
from page.wording import tally

PATH: dict[str, Any] = {"method": "GET", "path": "/api/data"}


def held(number: int, at: float) -> RequestHeld:
    """Return the holding of a request."""
    return RequestHeld(at=at, number=number, **PATH)


def sent(number: int, at: float, *, replay: bool = False) -> RequestSent:
    """Return the sending of a request."""
    return RequestSent(at=at, number=number, replay=replay, **PATH)


def answered(number: int, at: float, status: int = 200) -> RequestAnswered:
    """Return the answer to a request; 401 refuses the token."""
    return RequestAnswered(at=at, number=number, status=status, refused=status == 401, **PATH)


def failed(number: int, at: float, error: str = "TransportError") -> RequestFailed:
    """Return the failure of a request."""
    return RequestFailed(at=at, number=number, error=error, **PATH)


def told(*events: Event, track: str = "freshfetch") -> Lanes:
    """Return the lanes after these events."""
    lanes = Lanes()
    for event in events:
        lanes.add(event, track)
    return lanes


def lanes_of(lanes: Lanes, track: str = "freshfetch") -> list[Lane]:
    """Return one client's lanes."""
    return list(lanes.tracks[track].lanes.values())


def bands_of(lanes: Lanes) -> list[Band]:
    """Return the refreshes."""
    return list(lanes.tracks["freshfetch"].bands)


def marks_of(lanes: Lanes) -> list[Mark]:
    """Return the marks."""
    return list(lanes.tracks["freshfetch"].marks)


def test_a_request_held_refused_and_sent_again_is_one_lane() -> None:
    """Each step is a segment from one event to the next; what came of it is a point at its end."""
    lanes = told(
        held(1, 0.0), sent(1, 1.0), answered(1, 2.0, 401), held(1, 2.0), sent(1, 3.0, replay=True), answered(1, 4.0)
    )
    (lane,) = lanes_of(lanes)
    assert lane.title == "GET /api/data"
    assert lane.segments == [["held", 0.0, 1.0], ["sent", 1.0, 2.0], ["held", 2.0, 3.0], ["replayed", 3.0, 4.0]]
    assert lane.points == [("refused", 2.0, "401"), ("done", 4.0, "200")]


def test_what_still_goes_on_has_no_end() -> None:
    """A request that was sent has no answer until one comes; held twice in a row is held all along."""
    lanes = told(held(1, 0.0), held(1, 1.0), sent(2, 1.0))
    assert [lane.segments for lane in lanes_of(lanes)] == [[["held", 0.0, None]], [["sent", 1.0, None]]]
    assert lanes.tally().under_way == 2


def test_a_request_that_fails_says_how() -> None:
    """With the error's name, after whatever it did; also one that was never sent at all."""
    lanes = told(sent(1, 0.0), failed(1, 1.0), failed(2, 1.0, "QueueFullError"))
    first, second = lanes_of(lanes)
    assert (first.segments, first.points) == ([["sent", 0.0, 1.0]], [("failed", 1.0, "TransportError")])
    assert (second.segments, second.points) == ([], [("failed", 1.0, "QueueFullError")])
    assert (second.began_at, second.over_at) == (1.0, 1.0)


def test_a_second_refusal_is_the_last_word() -> None:
    """Answered 401 again after it was sent again, a request has failed; after the first 401 it still goes on."""
    lanes = told(sent(1, 0.0), answered(1, 1.0, 401))
    assert lanes_of(lanes)[0].over_at is None
    lanes.add(sent(1, 2.0, replay=True))
    lanes.add(answered(1, 3.0, 401))
    assert lanes_of(lanes)[0].over_at == 3.0
    assert (lanes.tally().refused, lanes.tally().failed, lanes.tally().done) == (2, 1, 0)


def test_a_client_with_two_refreshes_in_flight_has_two_bands() -> None:
    """Each ends when something is told of it, the older one first."""
    lanes = told(RefreshStarted(at=1.0, reason="refused"), RefreshStarted(at=2.0, reason="refused"))
    lanes.add(RefreshSucceeded(at=3.0, expires_in=60.0))
    lanes.add(RefreshFailed(at=4.0, status=503, retry_in=None))
    shown = [(band.start, band.end, band.outcome) for band in bands_of(lanes)]
    assert shown == [(1.0, 3.0, "succeeded"), (2.0, 4.0, "failed")]


def test_a_refresh_is_a_band_from_its_start_to_its_end() -> None:
    """It says how it ended; one that has not ended has no end."""
    lanes = told(RefreshStarted(at=1.0, reason="refused"))
    assert [(band.start, band.end, band.outcome) for band in bands_of(lanes)] == [(1.0, None, "running")]
    lanes.add(RefreshSucceeded(at=2.0, expires_in=60.0))
    lanes.add(RefreshStarted(at=3.0, reason="refused"))
    lanes.add(RefreshFailed(at=4.0, status=503, retry_in=1.0))
    lanes.add(RefreshStarted(at=5.0, reason="refused"))
    lanes.add(RefreshFailed(at=6.0, status=None, retry_in=2.0))
    lanes.add(RefreshStarted(at=7.0, reason="refused"))
    lanes.add(SessionExpired(at=8.0, reason="invalid_grant"))
    shown = [(band.start, band.end, band.outcome, band.label) for band in bands_of(lanes)]
    assert shown == [
        (1.0, 2.0, "succeeded", "refused"),
        (3.0, 4.0, "failed", "503"),
        (5.0, 6.0, "failed", "no answer"),
        (7.0, 8.0, "ended", "refused"),
    ]
    assert (lanes.tally().refreshes, lanes.tally().vain) == (1, 3)


def test_a_refresh_that_somebody_else_was_first_with_is_void() -> None:
    """There is no answer and no next try; a naive client, which never tries again, had no answer."""
    lanes = Lanes()
    for track in (FRESHFETCH, "naive"):
        lanes.add(RefreshStarted(at=1.0, reason="refused"), track)
        lanes.add(RefreshFailed(at=2.0, status=None, retry_in=None), track)
    shown = {name: [(band.outcome, band.label) for band in track.bands] for name, track in lanes.tracks.items()}
    assert shown == {FRESHFETCH: [("void", "refused")], "naive": [("failed", "no answer")]}


def test_refreshes_that_overlap_are_bands_that_overlap() -> None:
    """A client that knows no better starts several at once: each answer ends the oldest; the session's end, all."""
    lanes = told(*(RefreshStarted(at=at, reason="refused") for at in (11.0, 12.0, 13.0, 14.0)))
    lanes.add(RefreshSucceeded(at=15.0, expires_in=None))
    lanes.add(RefreshFailed(at=16.0, status=400, retry_in=None))
    assert [band.end for band in bands_of(lanes)] == [15.0, 16.0, None, None]
    assert lanes.episode == (11.0, 16.0, True)
    lanes.add(SessionExpired(at=17.0, reason="invalid_grant"))
    assert [band.outcome for band in bands_of(lanes)] == ["succeeded", "failed", "ended", "ended"]
    assert lanes.episode == (11.0, 17.0, False)


def test_what_other_tabs_did_is_marked() -> None:
    """Tokens that another tab got, and who comes and goes there; what does not concern the timeline is left out."""
    lanes = told(
        TokensAdopted(at=1.0),
        SignedIn(at=2.0, subject="grace", elsewhere=True),
        SignedOut(at=3.0, elsewhere=False),
        SessionExpired(at=4.0, reason="invalid_grant"),
        StorageFailed(at=5.0, problem="full"),
    )
    assert [(mark.kind, mark.at, mark.label) for mark in marks_of(lanes)] == [
        ("adopted", 1.0, "another tab refreshed"),
        ("signed-in", 2.0, "grace signed in in another tab"),
        ("signed-out", 3.0, "signed out"),
        ("expired", 4.0, "session over"),
    ]
    assert bands_of(lanes) == []


def test_a_heartbeat_is_one_tick_where_it_was_sent() -> None:
    """Its answer changes what the tick is, not where it is."""
    lanes = told(HeartbeatSent(at=1.0))
    assert [mark.kind for mark in marks_of(lanes)] == ["beat"]
    lanes.add(HeartbeatAnswered(at=1.5, status=200))
    lanes.add(HeartbeatSent(at=2.0))
    lanes.add(HeartbeatFailed(at=3.0, error="TransportError"))
    assert [(mark.kind, mark.at) for mark in marks_of(lanes)] == [("beat-answered", 1.0), ("beat-failed", 2.0)]


def test_a_burst_has_a_row_for_each_request() -> None:
    """Fifty at once are fifty rows, in their order; the next ones use the same rows, after a while."""
    lanes = told(*(held(number, 1.0) for number in range(50)), *(answered(number, 2.0) for number in range(50)))
    assert [lane.row for lane in lanes_of(lanes)] == list(range(50))
    lanes.add(sent(60, 2.0 + GAP - 0.1))
    lanes.add(sent(61, 2.0 + GAP))
    lanes.add(sent(62, 2.0 + GAP))
    assert [lane.row for lane in lanes_of(lanes)[50:]] == [50, 0, 1]


def test_changes_are_handed_out_once_and_are_plain_data() -> None:
    """Each lane, band or mark that is new or different, as it is now; then nothing until something changes."""
    lanes = told(sent(1, 1.0), RefreshStarted(at=1.0, reason="forced"))
    lanes.mark("burst of 200", 1.0)
    changes = json.loads(json.dumps(lanes.changes()))
    assert changes["lanes"] == [[1, "freshfetch", 0, "GET /api/data", [["sent", 1.0, None]], []]]
    assert changes["bands"] == [[2, "freshfetch", 1.0, None, "running", "forced"]]
    assert changes["marks"] == [[3, "", "scenario", 1.0, "burst of 200"]]
    assert [lanes.changes()[kind] for kind in ("lanes", "bands", "marks", "gone")] == [[], [], [], []]
    lanes.add(answered(1, 2.0))
    assert [lane[0] for lane in lanes.changes()["lanes"]] == [1]


def test_two_clients_have_lanes_of_their_own() -> None:
    """The same number is another request on another track; clearing one leaves the other."""
    lanes = told(sent(1, 1.0))
    lanes.add(sent(1, 1.0), "naive")
    lanes.add(answered(1, 2.0), "naive")
    assert (lanes.tally().under_way, lanes.tally("naive").done) == (1, 1)
    lanes.changes()
    lanes.clear("naive")
    assert (len(lanes_of(lanes)), lanes.tally("naive").requests) == (1, 0)
    assert lanes.changes()["gone"] == [2]


def test_what_was_cleared_does_not_come_back() -> None:
    """The rest of a request that went on while its track was cleared is not drawn; a new request is."""
    lanes = told(sent(1, 1.0))
    lanes.clear("freshfetch")
    for event in (answered(1, 2.0, 401), held(1, 2.0), sent(1, 3.0, replay=True), answered(1, 4.0)):
        lanes.add(event)
    lanes.add(sent(2, 5.0))
    lanes.add(answered(7, 5.0))
    assert [lane.number for lane in lanes_of(lanes)] == [2]
    assert lanes.tracks["freshfetch"].dropped == set()
    lanes.clear("nobody")


def test_memory_is_bounded_in_number() -> None:
    """However many requests and refreshes there are, the oldest go, open ones too, and what is gone is told."""
    lanes = Lanes()
    for number in range(LONGEST + 10):
        lanes.add(sent(number, 1.0))
        lanes.add(RefreshStarted(at=1.0, reason="forced"))
        lanes.add(HeartbeatSent(at=1.0))
    track = lanes.tracks["freshfetch"]
    assert (len(track.lanes), len(track.by_number)) == (LONGEST, LONGEST)
    assert (len(track.bands), len(track.marks)) == (LONGEST // 4, LONGEST // 4)
    changes = lanes.changes()
    assert len(changes["lanes"]) == LONGEST
    assert len(changes["gone"]) == 10 + 2 * (LONGEST + 10 - LONGEST // 4)
    lanes.add(failed(0, 2.0))
    assert lanes.changes()["lanes"] == []
    lanes.add(RefreshSucceeded(at=2.0, expires_in=None))
    assert bands_of(lanes)[0].end == 2.0
    assert lanes.tally().requests == LONGEST + 10


def test_memory_is_bounded_in_time() -> None:
    """What was over ten minutes ago goes, oldest first; what still goes on stays, with what came after it."""
    lanes = told(sent(1, 0.0), answered(1, 1.0), sent(2, 1.0), sent(3, 1.0), answered(3, 2.0), TokensAdopted(at=1.0))
    lanes.add(sent(4, 2.0 + OLDEST + 1))
    assert [lane.number for lane in lanes_of(lanes)][:2] == [2, 3]
    assert marks_of(lanes) == []
    lanes.add(answered(2, 2.0 + OLDEST + 2))
    assert [lane.number for lane in lanes_of(lanes)] == [2, 3, 4]


def test_an_episode_is_a_spell_of_activity() -> None:
    """It goes on while anything is under way, and a while longer; what comes after that begins another."""
    lanes = told(sent(1, 10.0))
    assert lanes.episode == (10.0, 10.0, True)
    lanes.add(answered(1, 30.0))
    assert lanes.episode == (10.0, 30.0, False)
    lanes.add(sent(2, 30.0 + QUIET))
    lanes.add(answered(2, 32.0))
    assert lanes.episode == (10.0, 32.0, False)
    lanes.add(RefreshStarted(at=40.0, reason="forced"))
    assert lanes.episode == (40.0, 40.0, True)


def test_a_heartbeat_alone_is_no_episode() -> None:
    """It does not take the view away from what was there; but what it leads to begins with it."""
    lanes = told(sent(1, 10.0), answered(1, 11.0), HeartbeatSent(at=20.0), HeartbeatAnswered(at=20.1, status=200))
    assert lanes.episode == (10.0, 11.0, False)
    lanes.add(RefreshStarted(at=20.2, reason="refused"))
    assert lanes.episode == (20.0, 20.2, True)


def test_the_counts_are_said_in_words() -> None:
    """Who made the requests is said of everybody but freshfetch; what there is none of is left out, if nobody asks."""
    lanes = told(sent(1, 1.0), answered(1, 2.0, 401), RefreshStarted(at=2.0, reason="refused"))
    lanes.add(RefreshSucceeded(at=3.0, expires_in=None))
    lanes.add(sent(2, 3.0), "naive")
    lanes.add(failed(2, 4.0), "naive")
    lanes.add(RefreshStarted(at=4.0, reason="refused"), "naive")
    lanes.add(RefreshFailed(at=5.0, status=None, retry_in=None), "naive")
    said = tally([(name, track.tally) for name, track in lanes.tracks.items()])
    assert said == (
        "1 request, 1 answered 401, 1 refresh, 1 under way, 0 failed. "
        "A naive client: 1 request, 0 refreshes and 1 in vain, 1 failed."
    )
