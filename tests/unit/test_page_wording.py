"""The page's words: every event and every state of a note can be said, plainly and without a token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import freshfetch
from freshfetch import (
    AuthServerError,
    AuthServerMisconfigured,
    Event,
    FreshfetchError,
    HeartbeatAnswered,
    HeartbeatFailed,
    HeartbeatSent,
    HTTPStatusError,
    InvalidCredentialsError,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestFailed,
    RequestHeld,
    RequestSent,
    RevocationFailed,
    SessionExpired,
    SignedIn,
    SignedOut,
    State,
    StateChanged,
    StorageFailed,
    TokensAdopted,
    TransportError,
)
from page import wording
from page.note import Note, Remark, SaveState
from page.wording import Sign

STATIC = Path(__file__).resolve().parents[2] / "app" / "static"

REQUEST: dict[str, Any] = {"at": 0.0, "number": 7, "method": "GET", "path": "/api/notes"}
LINES: list[tuple[Event, wording.Line]] = [
    (RequestHeld(**REQUEST), wording.Line("Request held", "GET /api/notes", "busy")),
    (RequestSent(**REQUEST, replay=False), wording.Line("Request sent", "GET /api/notes")),
    (RequestSent(**REQUEST, replay=True), wording.Line("Request sent again", "GET /api/notes")),
    (RequestAnswered(**REQUEST, status=200, refused=False), wording.Line("Answered 200", "GET /api/notes", "good")),
    (RequestAnswered(**REQUEST, status=503, refused=False), wording.Line("Answered 503", "GET /api/notes", "bad")),
    (RequestAnswered(**REQUEST, status=401, refused=True), wording.Line("Token refused", "GET /api/notes", "bad")),
    (
        RequestFailed(**REQUEST, error="TransportError"),
        wording.Line("Given up: TransportError", "GET /api/notes", "bad"),
    ),
    (
        RefreshStarted(at=0.0, reason="refused"),
        wording.Line("Renewing the session", "the server refused the access token", "busy"),
    ),
    (RefreshSucceeded(at=0.0, expires_in=None), wording.Line("Session renewed", "new access token", "good")),
    (
        RefreshSucceeded(at=0.0, expires_in=1800.0),
        wording.Line("Session renewed", "new access token, good for 30 min", "good"),
    ),
    (
        RefreshFailed(at=0.0, status=None, retry_in=2.0),
        wording.Line("Renewal failed", "no answer, tried again in 2 s", "bad"),
    ),
    (
        RefreshFailed(at=0.0, status=None, retry_in=None),
        wording.Line("Renewal dropped", "somebody else was first: another tab, or another person"),
    ),
    (
        RefreshFailed(at=0.0, status=503, retry_in=2.0),
        wording.Line("Renewal failed", "status 503, tried again in 2 s", "bad"),
    ),
    (TokensAdopted(at=0.0), wording.Line("Renewed by another tab", "its new token is used, nothing was sent", "good")),
    (HeartbeatSent(at=0.0), wording.Line("Heartbeat", "does the token still work?")),
    (HeartbeatAnswered(at=0.0, status=200), wording.Line("Heartbeat answered", "status 200", "good")),
    (HeartbeatFailed(at=0.0, error="TransportError"), wording.Line("Heartbeat unanswered", "TransportError", "bad")),
    (
        StateChanged(at=0.0, old=State.SIGNED_IN, new=State.OFFLINE),
        wording.Line("Now: offline", "before: signed in"),
    ),
    (SignedIn(at=0.0, subject="ada", elsewhere=False), wording.Line("ada signed in", "here", "good")),
    (SignedOut(at=0.0, elsewhere=True), wording.Line("Signed out", "in another tab")),
    (
        SessionExpired(at=0.0, reason="invalid_grant"),
        wording.Line("Session over", "the refresh token is dead: invalid_grant", "bad"),
    ),
    (RevocationFailed(at=0.0), wording.Line("Sign-out not delivered", "the auth server could not be told", "bad")),
    (
        AuthServerMisconfigured(at=0.0, status=400, error="invalid_client"),
        wording.Line("Auth server rejects this client", "invalid_client, status 400", "bad"),
    ),
    (StorageFailed(at=0.0, problem="full"), wording.Line("Storage refused", "full", "bad")),
]


@pytest.mark.parametrize(
    "event, line", LINES, ids=[f"{type(event).__name__}: {line.title}, {line.detail}" for event, line in LINES]
)
def test_an_event_is_said_in_words(event: Event, line: wording.Line) -> None:
    """Title, detail and tone of each event."""
    assert wording.describe(event) == line


def test_no_event_of_the_library_is_left_out() -> None:
    """An event that is added to the library needs its words here."""
    public = {getattr(freshfetch, name) for name in freshfetch.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Event)}
    assert {type(event) for event, _ in LINES} == kinds - {Event, freshfetch.RequestEvent}


def test_every_state_has_a_name() -> None:
    """A badge without a word would be an empty pill."""
    assert set(wording.STATES) == set(State)


@pytest.mark.parametrize("state", SaveState)
@pytest.mark.parametrize("deleted", [False, True])
def test_every_state_of_a_note_has_words(state: SaveState, *, deleted: bool) -> None:
    """Whatever becomes of a note, the person is told. A deleted note is never empty."""
    note = Note(id="1", number=1, text="x", state=state, deleted=deleted, error=HTTPStatusError(413, "/"))
    words = wording.save_state(note, in_trouble=False)[1]
    assert words or (deleted and state is SaveState.EMPTY)


def test_saving_while_the_server_is_silent_is_waiting() -> None:
    """A person does not care that a request is technically under way."""
    note = Note(id="1", number=1, text="x", state=SaveState.SAVING)
    assert wording.save_state(note, in_trouble=False)[0] is SaveState.SAVING
    assert wording.save_state(note, in_trouble=True)[0] is SaveState.WAITING


@pytest.mark.parametrize(
    "error, words",
    [
        (HTTPStatusError(413, "/"), "it is too long for the server. Make it shorter"),
        (HTTPStatusError(400, "/"), "the server refused it (status 400). Change it or try again"),
        (
            AuthServerError("no", status=400),
            "the server takes nothing from this page. Copy the text before you close it",
        ),
    ],
)
def test_why_a_note_could_not_be_saved(error: FreshfetchError, words: str) -> None:
    """The reason follows the colon, and what to do follows the reason."""
    assert wording.why(error) == words


def test_sign_in_problems_tell_the_password_from_the_network() -> None:
    """Only one of them is the person's to mend."""
    assert "do not match" in wording.sign_in_problem(InvalidCredentialsError("no", status=401))
    assert "cannot be reached" in wording.sign_in_problem(TransportError("no"))
    assert "could not sign you in" in wording.sign_in_problem(AuthServerError("no", status=500))


@pytest.mark.parametrize(
    "seconds, words", [(-1, "0 s"), (0.4, "0 s"), (5, "5 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h")]
)
def test_durations_have_one_unit(seconds: float, words: str) -> None:
    """Seconds up to two minutes, then minutes, then hours."""
    assert wording.duration(seconds) == words


@pytest.mark.parametrize("seconds, words", [(0, "0:00"), (59.6, "1:00"), (1800, "30:00"), (3661, "1:01:01")])
def test_countdowns_look_like_a_clock(seconds: float, words: str) -> None:
    """Minutes and seconds, with hours where there are any."""
    assert wording.countdown(seconds) == words


def test_small_sentences() -> None:
    """Numbers, next tries, reasons, and what is kept."""
    assert wording.counted(1, "refresh", "refreshes") == "1 refresh"
    assert wording.counted(0, "refresh", "refreshes") == "0 refreshes"
    assert (wording.ago(0.5), wording.ago(3.9)) == ("now", "3 s ago")
    assert (wording.next_try(None), wording.next_try(0.2)) == ("", "Trying again now.")
    assert wording.next_try(4.2) == "Next try in 4 s."
    assert wording.kept_for("ada", 0, is_safe=True).startswith("What ada was writing is kept in this browser")
    assert wording.kept_for("ada", 2, is_safe=True).startswith("2 unsaved notes are kept in this browser")
    assert wording.kept_for("ada", 2, is_safe=False).startswith("2 unsaved notes are kept in this page only. Leave it")
    assert wording.signed_in_elsewhere("grace").startswith("grace signed in in another tab")
    assert wording.signed_in_elsewhere("مريم").startswith("\u2068مريم\u2069 signed in")
    assert wording.why_sign_in("rotation_ambiguous") != wording.why_sign_in("invalid_grant")
    assert wording.trouble(State.OFFLINE, is_safe=True) != wording.trouble(State.REFRESHING, is_safe=True)
    assert wording.trouble(State.OFFLINE, is_safe=True, still=True).startswith("The server still cannot be reached, or")
    assert "kept in this browser" in wording.trouble(State.OFFLINE, is_safe=True)
    assert "leave this page open" in wording.trouble(State.OFFLINE, is_safe=False)


@pytest.mark.parametrize(
    "state, in_trouble, renewing, unsaved, expected",
    [
        (State.SIGNED_OUT, False, False, True, Sign.SIGNED_OUT),
        (State.SIGNED_IN, False, False, False, Sign.SIGNED_IN),
        (State.SIGNED_IN, False, False, True, Sign.UNSAVED),
        (State.REFRESHING, False, False, True, Sign.UNSAVED),
        (State.REFRESHING, False, True, True, Sign.REFRESHING),
        (State.OFFLINE, True, True, True, Sign.OFFLINE),
        (State.SIGN_IN_REQUIRED, True, True, True, Sign.SIGN_IN_REQUIRED),
    ],
)
def test_the_tab_shows_what_is_most_pressing(
    state: State, *, in_trouble: bool, renewing: bool, unsaved: bool, expected: Sign
) -> None:
    """The end of a session before a server in trouble, before a renewal that takes long, before unsaved text."""
    assert wording.sign(state, in_trouble=in_trouble, renewing=renewing, unsaved=unsaved) is expected


def test_each_sign_has_a_title_and_an_icon() -> None:
    """No two titles are the same, each begins with the state, and each icon is a file of the page."""
    assert set(wording.TITLES) == set(Sign)
    assert len(set(wording.TITLES.values())) == len(Sign)
    for each in set(Sign) - {Sign.SIGNED_IN}:
        assert (STATIC / f"favicon-{each.value}.svg").is_file()


def test_a_remark_follows_the_state() -> None:
    """Who typed over somebody is told so at the note itself, unless it is deleted."""
    note = Note(id="1", number=1, text="mine", state=SaveState.SAVED, remark=Remark.COPY)
    assert wording.save_state(note, in_trouble=False)[1] == "Saved. Changed in another tab too: both versions are kept"
    note.deleted = True
    assert wording.save_state(note, in_trouble=False)[1] == "Deleted"
